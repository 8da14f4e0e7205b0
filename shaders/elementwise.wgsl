// elementwise.wgsl -- add, subtract, multiply, scale, relu, relu of a sum
// entries   forward : a[n], b[n] -> y[n]     backward : dy[n], other[n] -> dx[n]
// parallel  one thread per vec4
// numerics  one rounding per operation
// limits    none: chunks of one binding are independent
// twin      src/engine/ops/elementwise.rs

struct Params {
    vec4s: u32,
    factor: f32,
}

override KIND: u32 = 0u;

const ADD: u32 = 0u;
const SUB: u32 = 1u;
const MUL: u32 = 2u;
const SCALE: u32 = 3u;
const RELU: u32 = 4u;
const ADD_RELU: u32 = 5u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    let p = a[i];
    switch (KIND) {
        case ADD: { y[i] = p + b[i]; }
        case SUB: { y[i] = p - b[i]; }
        case MUL: { y[i] = p * b[i]; }
        case SCALE: { y[i] = p * params.factor; }
        case RELU: { y[i] = relu(p); }
        default: { y[i] = relu(p + b[i]); }
    }
}

@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> other: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;

// `other` is the value y for relus, the other factor for a product.
@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    let g = dy[i];
    switch (KIND) {
        case MUL: { dx[i] = g * other[i]; }
        case RELU, ADD_RELU: { dx[i] = select(vec4<f32>(0.0), g, passes(other[i])); }
        default: { dx[i] = g * params.factor; }
    }
}
