// softmax.wgsl -- the softmax of each row, or its logarithm
// entries   forward : x[R,C] -> y[R,C]     backward : y[R,C], dy[R,C] -> dx[R,C]
// parallel  one workgroup per row, 256 lanes stride over C, tree maximum and sums
// numerics  exponentials are of x - max x, at most 1; a maximum that misses a NaN does no harm: the sum has it
// limits    1 KiB of workgroup memory, 3 bindings; blocks of rows are independent
// twin      src/engine/ops/softmax.rs

struct Params {
    rows: u32,
    columns: u32,
    logarithm: u32,     // 1 where y is the logarithm
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
    sum = tree_sum(sum, lane);
    let log_sum = log(sum);
    let is_log = unfolded(params.logarithm, row) != 0u;
    for (var c = lane; c < params.columns; c += 256u) {
        let shifted = x[start + c] - most;
        y[start + c] = select(exp(shifted) / sum, shifted - log_sum, is_log);
    }
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
    let is_log = unfolded(params.logarithm, row) != 0u;
    var sum = 0.0;
    for (var c = lane; c < params.columns; c += 256u) {
        sum += select(value[start + c] * dy[start + c], dy[start + c], is_log);
    }
    sum = tree_sum(sum, lane);
    for (var c = lane; c < params.columns; c += 256u) {
        let v = value[start + c];
        dx[start + c] = select(v * (dy[start + c] - sum), dy[start + c] - exp(v) * sum, is_log);
    }
}
