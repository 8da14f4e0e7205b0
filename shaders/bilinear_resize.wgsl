// bilinear_resize.wgsl -- images sampled at other sizes, without antialiasing
// entries   forward, forward_odd   : x[N,H,W,C] -> y[N,OH,OW,C]       C divides by 4; any C
//           backward, backward_odd : dy[N,OH,OW,C] -> dx[N,H,W,C]     the same
// parallel  one thread per vec4 (per element where C is odd) of what is written; backward gathers over the pixels of
//           dy that were read from a pixel of dx, in ascending order
// numerics  places between pixels are whole numbers of 1 / (2 OH): no rounding but that of the weight
// limits    4 bindings at most; sizes up to 32768; batches are split where one binding can't hold them
// twin      src/engine/ops/bilinear_resize.rs

struct Params {
    height: u32,        // H and W: the side of x
    width: u32,
    out_height: u32,    // OH and OW: the side of y
    out_width: u32,
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

fn pair(o: u32, size: u32, out_size: u32) -> Pair {
    // The place max((o + 1/2) size / out_size - 1/2, 0), times 2 out_size.
    let ahead = (2u * o + 1u) * size;
    let place = ahead - min(ahead, out_size);
    let low = place / (2u * out_size);
    let weight = f32(place % (2u * out_size)) / f32(2u * out_size);
    return Pair(low, min(low + 1u, size - 1u), weight);
}

/// What of output `o` comes from input `i`.
fn weight_of(o: u32, i: u32, size: u32, out_size: u32) -> f32 {
    let p = pair(o, size, out_size);
    return select(0.0, 1.0 - p.weight, p.low == i) + select(0.0, p.weight, p.high == i);
}

/// The first output that reads input `i` or a later one, where they read from `i - 1` on: see the twin.
fn first_reader(i: u32, size: u32, out_size: u32) -> u32 {
    if (i == 0u) { return 0u; }
    return min((out_size * (2u * i - 1u) + size - 1u) / size / 2u, out_size);
}

/// Place of a pixel's channel `c` in an image of the batch.
fn at(image: u32, row: u32, column: u32, height: u32, width: u32, c: u32) -> u32 {
    return ((image * height + row) * width + column) * params.channels + c;
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
    let line = pixel / params.out_width;
    let rows = pair(line % params.out_height, params.height, params.out_height);
    let columns = pair(pixel % params.out_width, params.width, params.out_width);
    return Output(line / params.out_height, rows, columns, i % params.channels);
}

fn input_at(o: Output, row: u32, column: u32) -> u32 {
    return at(o.image, row, column, params.height, params.width, o.c);
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
    let line = pixel / params.width;
    let row = line % params.height;
    let column = pixel % params.width;
    let rows = vec2(first_reader(row, params.height, params.out_height),
                    first_reader(row + 2u, params.height, params.out_height));
    let columns = vec2(first_reader(column, params.width, params.out_width),
                       first_reader(column + 2u, params.width, params.out_width));
    return Readers(line / params.height, row, column, rows, columns, i % params.channels);
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let r = readers(i);
    var sum = vec4(0.0);
    for (var row = r.rows.x; row < r.rows.y; row++) {
        let down = weight_of(row, r.row, params.height, params.out_height);
        for (var column = r.columns.x; column < r.columns.y; column++) {
            let across = weight_of(column, r.column, params.width, params.out_width);
            let weight = down * across;
            if (weight != 0.0) { sum += weight * dy[at(r.image, row, column, params.out_height, params.out_width, r.c)]; }
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
        let down = weight_of(row, r.row, params.height, params.out_height);
        for (var column = r.columns.x; column < r.columns.y; column++) {
            let across = weight_of(column, r.column, params.width, params.out_width);
            let weight = down * across;
            if (weight != 0.0) { sum += weight * dy_odd[at(r.image, row, column, params.out_height, params.out_width, r.c)]; }
        }
    }
    dx_odd[i] = sum;
}
