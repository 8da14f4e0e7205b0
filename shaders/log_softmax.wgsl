// log_softmax.wgsl -- logarithm of the softmax of each row
// entries   forward : x[R,C] -> y[R,C]     backward : y[R,C], dy[R,C] -> dx[R,C]
// parallel  one workgroup per row, 256 lanes stride over C, tree maximum and sums
// numerics  rows are shifted by their maximum, which is taken off before the log of the sum: their sum would lose
//           the digits of the second for large x
// limits    1 KiB of workgroup memory, 3 bindings; blocks of rows are independent
// twin      src/engine/ops/log_softmax.rs

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [R, C]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [R, C]

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    var most = x[start];
    for (var c = lane; c < params.columns; c += 256u) { most = max(most, x[start + c]); }
    most = tree_max(most, lane);
    var sum = 0.0;
    for (var c = lane; c < params.columns; c += 256u) { sum += exp(x[start + c] - most); }
    let log_sum = log(tree_sum(sum, lane));
    for (var c = lane; c < params.columns; c += 256u) { y[start + c] = (x[start + c] - most) - log_sum; }
}

@group(0) @binding(1) var<storage, read> value: array<f32>;         // [R, C], y of forward
@group(0) @binding(2) var<storage, read> dy: array<f32>;            // [R, C]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;      // [R, C]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    var sum = 0.0;
    for (var c = lane; c < params.columns; c += 256u) { sum += dy[start + c]; }
    sum = tree_sum(sum, lane);
    for (var c = lane; c < params.columns; c += 256u) {
        dx[start + c] = dy[start + c] - exp(value[start + c]) * sum;
    }
}
