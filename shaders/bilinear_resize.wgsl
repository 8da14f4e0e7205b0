// bilinear_resize.wgsl -- images sampled at other sizes, without antialiasing
// entries   forward, forward_odd   : x[N,H,W,C] -> y[N,OH,OW,C]       C divides by 4; any C
//           backward, backward_odd : dy[N,OH,OW,C] -> dx[N,H,W,C]     the same
// parallel  one thread per vec4 (per element where C is odd) of what is written; backward gathers over the pixels of
//           dy that were read from a pixel of dx, in ascending order
// numerics  places between pixels are whole numbers of 1 / unit: no rounding but that of the weight
// limits    4 bindings at most; sizes up to 32768; batches are split where one binding can't hold them
// twin      src/engine/ops/bilinear_resize.rs

// Vectors are of rows, then of columns.
struct Params {
    x_size: vec2<u32>,  // H and W
    y_size: vec2<u32>,  // OH and OW
    step: vec2<u32>,    // output o lies at max(o step + first - back, 0) / unit in x
    first: vec2<u32>,
    back: vec2<u32>,
    unit: vec2<u32>,
    channels: u32,      // C, or C / 4
    count: u32,         // threads
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // [N,H,W,C]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;         // [N,OH,OW,C]
@group(0) @binding(1) var<storage, read> x_odd: array<f32>;                 // the same
@group(0) @binding(2) var<storage, read_write> y_odd: array<f32>;           // the same

/// The two pixels that output `o` reads along one axis, and the weight of the second.
struct Pair { low: u32, high: u32, weight: f32 }

fn pair(o: u32, axis: u32) -> Pair {
    let ahead = o * params.step[axis] + params.first[axis];
    let place = ahead - min(ahead, params.back[axis]);
    let unit = params.unit[axis];
    let low = place / unit;
    return Pair(low, min(low + 1u, params.x_size[axis] - 1u), f32(place % unit) / f32(unit));
}

/// What of output `o` comes from input `i`.
fn weight_of(o: u32, i: u32, axis: u32) -> f32 {
    let p = pair(o, axis);
    return select(0.0, 1.0 - p.weight, p.low == i) + select(0.0, p.weight, p.high == i);
}

/// The first output that reads input `i` or a later one, where they read from `i - 1` on: see the twin.
fn first_reader(i: u32, axis: u32) -> u32 {
    if (i == 0u) { return 0u; }
    let step = params.step[axis];
    let place = (i - 1u) * params.unit[axis] + params.back[axis];
    let ahead = place - min(place, params.first[axis]);
    return select(min((ahead + step - 1u) / max(step, 1u), params.y_size[axis]), params.y_size[axis], step == 0u);
}

/// Place of a pixel's channel `c` in images of this size.
fn at(image: u32, row: u32, column: u32, size: vec2<u32>, c: u32) -> u32 {
    return ((image * size.x + row) * size.y + column) * params.channels + c;
}

/// Between two pixels; of weight 0 the second is not taken, so that its infinity or NaN does not spread.
fn between(a: vec4<f32>, b: vec4<f32>, weight: f32) -> vec4<f32> {
    return select(a * (1.0 - weight) + b * weight, a, weight == 0.0);
}

fn between_one(a: f32, b: f32, weight: f32) -> f32 {
    return select(a * (1.0 - weight) + b * weight, a, weight == 0.0);
}

struct Output { image: u32, rows: Pair, columns: Pair, c: u32 }

fn output(i: u32) -> Output {
    let pixel = i / params.channels;
    let line = pixel / params.y_size.y;
    let rows = pair(line % params.y_size.x, 0u);
    let columns = pair(pixel % params.y_size.y, 1u);
    return Output(line / params.y_size.x, rows, columns, i % params.channels);
}

fn input_at(o: Output, row: u32, column: u32) -> u32 {
    return at(o.image, row, column, params.x_size, o.c);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let o = output(i);
    let top = between(x[input_at(o, o.rows.low, o.columns.low)], x[input_at(o, o.rows.low, o.columns.high)], o.columns.weight);
    let bottom = between(x[input_at(o, o.rows.high, o.columns.low)], x[input_at(o, o.rows.high, o.columns.high)], o.columns.weight);
    y[i] = between(top, bottom, o.rows.weight);
}

@compute @workgroup_size(256)
fn forward_odd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let o = output(i);
    let top = between_one(x_odd[input_at(o, o.rows.low, o.columns.low)], x_odd[input_at(o, o.rows.low, o.columns.high)], o.columns.weight);
    let bottom = between_one(x_odd[input_at(o, o.rows.high, o.columns.low)], x_odd[input_at(o, o.rows.high, o.columns.high)], o.columns.weight);
    y_odd[i] = between_one(top, bottom, o.rows.weight);
}

@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;              // [N,OH,OW,C]
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;        // [N,H,W,C]
@group(0) @binding(1) var<storage, read> dy_odd: array<f32>;                // the same
@group(0) @binding(2) var<storage, read_write> dx_odd: array<f32>;          // the same

/// A pixel of dx and the ranges of outputs that read it.
struct Readers { image: u32, row: u32, column: u32, rows: vec2<u32>, columns: vec2<u32>, c: u32 }

fn readers(i: u32) -> Readers {
    let pixel = i / params.channels;
    let line = pixel / params.x_size.y;
    let row = line % params.x_size.x;
    let column = pixel % params.x_size.y;
    let rows = vec2(first_reader(row, 0u), first_reader(row + 2u, 0u));
    let columns = vec2(first_reader(column, 1u), first_reader(column + 2u, 1u));
    return Readers(line / params.x_size.x, row, column, rows, columns, i % params.channels);
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let r = readers(i);
    var sum = vec4(0.0);
    for (var row = r.rows.x; row < r.rows.y; row++) {
        let down = weight_of(row, r.row, 0u);
        for (var column = r.columns.x; column < r.columns.y; column++) {
            let across = weight_of(column, r.column, 1u);
            let weight = down * across;
            if (weight != 0.0) { sum += weight * dy[at(r.image, row, column, params.y_size, r.c)]; }
        }
    }
    dx[i] = sum;
}

@compute @workgroup_size(256)
fn backward_odd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let r = readers(i);
    var sum = 0.0;
    for (var row = r.rows.x; row < r.rows.y; row++) {
        let down = weight_of(row, r.row, 0u);
        for (var column = r.columns.x; column < r.columns.y; column++) {
            let across = weight_of(column, r.column, 1u);
            let weight = down * across;
            if (weight != 0.0) { sum += weight * dy_odd[at(r.image, row, column, params.y_size, r.c)]; }
        }
    }
    dx_odd[i] = sum;
}
