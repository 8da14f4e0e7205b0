// map.wgsl -- functions of each element on its own, of one or two inputs, with broadcasting
// entries   forward : a, b -> y[n]     backward : a, b, dy[n], value[n] -> dx[n], the gradient of a, or of b if SECOND
//           forward_repeated, backward_repeated : the same where an operand is repeated in another way than one
//           element for all; the gradient of a repeated operand is that of each repetition
// parallel  one thread per vec4, or per element where an operand has strides
// numerics  one rounding per operation; NaN is seen by its bits, what exp, log and division make of infinity is said
// limits    none: chunks of one binding are independent; an operand with strides must fit one binding
// twin      src/engine/ops/map.rs

struct Params {
    count: u32,           // threads
    start: u32,           // element of y that this dispatch starts at
    low: f32,             // the constant of the function; of a clamp the lower bound
    high: f32,
    sizes: vec4<u32>,     // y as four dimensions
    a_strides: vec4<u32>, // elements of a from one index of each to the next, 0 where it is repeated
    b_strides: vec4<u32>,
}

override KIND: u32 = 0u;
override SECOND: bool = false;
override A: u32 = 0u;   // how a meets y: FULL element for element, ONE element for all, or else by its strides
override B: u32 = 0u;

const FULL: u32 = 0u;
const ONE: u32 = 1u;

const ADD: u32 = 0u;
const SUB: u32 = 1u;
const MUL: u32 = 2u;
const DIV: u32 = 3u;
const MAX: u32 = 4u;
const MIN: u32 = 5u;
const SCALE: u32 = 6u;
const OFFSET: u32 = 7u;
const EXP: u32 = 8u;
const LOG: u32 = 9u;
const SQRT: u32 = 10u;
const SQUARE: u32 = 11u;
const ABS: u32 = 12u;
const SIGMOID: u32 = 13u;
const SOFTPLUS: u32 = 14u;
const RELU: u32 = 15u;
const CLAMP: u32 = 16u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

fn nan_in(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
}

fn each_sigmoid(x: vec4<f32>) -> vec4<f32> {
    return vec4(sigmoid(x.x), sigmoid(x.y), sigmoid(x.z), sigmoid(x.w));
}

fn each_softplus(x: vec4<f32>) -> vec4<f32> {
    return vec4(softplus(x.x), softplus(x.y), softplus(x.z), softplus(x.w));
}

/// The function; q is p where there is one input.
fn value(p: vec4<f32>, q: vec4<f32>) -> vec4<f32> {
    switch (KIND) {
        case ADD: { return p + q; }
        case SUB: { return p - q; }
        case MUL: { return p * q; }
        case DIV: { return p / q; }
        case MAX: { return select(max(p, q), p + q, nan_in(p) | nan_in(q)); }
        case MIN: { return select(min(p, q), p + q, nan_in(p) | nan_in(q)); }
        case SCALE: { return p * params.low; }
        case OFFSET: { return p + params.low; }
        case EXP: { return exp(p); }
        case LOG: { return log(p); }
        case SQRT: { return sqrt(p); }
        case SQUARE: { return p * p; }
        case ABS: { return abs(p); }
        case SIGMOID: { return each_sigmoid(p); }
        case SOFTPLUS: { return each_softplus(p); }
        case RELU: { return relu(p); }
        default: { return select(min(max(p, vec4(params.low)), vec4(params.high)), p, nan_in(p)); }
    }
}

/// The gradient of one input; y is the value.
fn gradient(dy: vec4<f32>, p: vec4<f32>, q: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    let zero = vec4(0.0);
    switch (KIND) {
        case SUB: { return select(dy, -dy, SECOND); }
        case MUL: { return dy * select(q, p, SECOND); }
        case DIV: { return select(dy / q, -dy * (p / q / q), SECOND); }
        case MAX: { return share(dy, select(p < q, q < p, SECOND), p == q); }
        case MIN: { return share(dy, select(q < p, p < q, SECOND), p == q); }
        case SCALE: { return dy * params.low; }
        case EXP: { return dy * y; }
        case LOG: { return dy / p; }
        case SQRT: { return dy / (2.0 * y); }
        case SQUARE: { return dy * (2.0 * p); }
        case ABS: { return dy * select(sign(p), zero, nan_in(p)); }
        case SIGMOID: { return dy * ((1.0 - y) * y); }
        case SOFTPLUS: { return dy * each_sigmoid(p); }
        case RELU: { return select(zero, dy, passes(y)); }
        case CLAMP: {
            let inside = (p >= vec4(params.low)) & (p <= vec4(params.high));
            return select(zero, dy, inside & !nan_in(p));
        }
        default: { return dy; }
    }
}

/// What one of two inputs gets of a maximum's or minimum's gradient.
fn share(dy: vec4<f32>, loses: vec4<bool>, ties: vec4<bool>) -> vec4<f32> {
    return select(select(dy, 0.5 * dy, ties), vec4(0.0), loses);
}

fn quad_a(i: u32) -> vec4<f32> {
    if (A == ONE) { return vec4(a[0].x); }
    return a[i];
}

fn quad_b(i: u32) -> vec4<f32> {
    if (B == ONE) { return vec4(b[0].x); }
    return b[i];
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    y[i] = value(quad_a(i), quad_b(i));
}

@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> result: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4<f32>>;

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    dx[i] = gradient(dy[i], quad_a(i), quad_b(i), result[i]);
}

@group(0) @binding(1) var<storage, read> a_one: array<f32>;
@group(0) @binding(2) var<storage, read> b_one: array<f32>;
@group(0) @binding(3) var<storage, read_write> y_one: array<f32>;

/// Where the operand of element i of this dispatch lies.
fn place(i: u32, how: u32, strides: vec4<u32>) -> u32 {
    if (how == FULL) { return i; }
    let x = params.start + i;
    let line = x / params.sizes.w;
    let plane = line / params.sizes.z;
    let index = vec4(plane / params.sizes.y, plane % params.sizes.y, line % params.sizes.z, x % params.sizes.w);
    let at = index * strides;
    return at.x + at.y + at.z + at.w;
}

fn one_a(i: u32) -> vec4<f32> {
    return vec4(a_one[place(i, A, params.a_strides)]);
}

fn one_b(i: u32) -> vec4<f32> {
    return vec4(b_one[place(i, B, params.b_strides)]);
}

@compute @workgroup_size(256)
fn forward_repeated(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    y_one[i] = value(one_a(i), one_b(i)).x;
}

@group(0) @binding(3) var<storage, read> dy_one: array<f32>;
@group(0) @binding(4) var<storage, read> result_one: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx_one: array<f32>;

@compute @workgroup_size(256)
fn backward_repeated(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    dx_one[i] = gradient(vec4(dy_one[i]), one_a(i), one_b(i), vec4(result_one[i])).x;
}
