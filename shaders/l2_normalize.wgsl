// l2_normalize.wgsl -- rows divided by their length
// entries   forward : x[R,C] -> y[R,C], norm[R]     backward : y[R,C], norm[R], dy[R,C] -> dx[R,C]
// parallel  one workgroup per row, 256 lanes stride over C, tree sums
// numerics  rows of very small or large values are scaled before squaring, so that squares stay in range
// limits    1 KiB of workgroup memory, 4 bindings; blocks of rows are independent
// twin      src/engine/ops/l2_normalize.rs

struct Params {
    rows: u32,
    columns: u32,
}

const EPS: f32 = 1e-12;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [R, C]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [R, C]
@group(0) @binding(3) var<storage, read_write> norm: array<f32>;    // [R]

/// length < EPS, by bits: NaN is not short.
fn is_short(length: f32) -> bool {
    return bitcast<u32>(length) < bitcast<u32>(EPS);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    var most = 0.0;
    for (var c = lane; c < params.columns; c += 256u) { most = max(most, abs(x[start + c])); }
    most = tree_max(most, lane);
    let scale = select(clamp(most, 1e-30, 1e30), 1.0, most > 1e-12 && most < 1e12);
    var squares = 0.0;
    for (var c = lane; c < params.columns; c += 256u) {
        let v = x[start + c] / scale;
        squares += v * v;
    }
    let scaled = sqrt(tree_sum(squares, lane));
    let length = scale * scaled;
    // Divided by the scale first: the length itself may be over the largest f32.
    let short = is_short(length);
    let divisor = select(scaled, EPS, short);
    let first = select(scale, 1.0, short);
    for (var c = lane; c < params.columns; c += 256u) { y[start + c] = x[start + c] / first / divisor; }
    if (lane == 0u) { norm[row] = length; }
}

@group(0) @binding(1) var<storage, read> value: array<f32>;         // [R, C], y of forward
@group(0) @binding(2) var<storage, read> lengths: array<f32>;       // [R], norm of forward
@group(0) @binding(3) var<storage, read> dy: array<f32>;            // [R, C]
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;      // [R, C]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    var along = 0.0;
    for (var c = lane; c < params.columns; c += 256u) { along += value[start + c] * dy[start + c]; }
    along = tree_sum(along, lane);
    let length = lengths[row];
    let short = is_short(length);
    let divisor = select(length, EPS, short);
    along = select(along, 0.0, short);
    for (var c = lane; c < params.columns; c += 256u) {
        dx[start + c] = (dy[start + c] - value[start + c] * along) / divisor;
    }
}
