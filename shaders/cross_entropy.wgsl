// cross_entropy.wgsl -- softmax cross-entropy of each row
// entries   forward : logits[B,D], labels[B] -> row_loss[B], stats[B,2]
//           backward : logits[B,D], labels[B], stats[B,2], dloss[1] -> dlogits[B,D]
// parallel  one workgroup per row, 256 lanes stride over D, tree maximum and sum
// numerics  stats are the maximum and the log of the sum of exp(x - maximum): kept apart, because their sum
//           would lose the digits of the second for large logits
// limits    1 KiB of workgroup memory, 5 bindings; blocks of rows are independent
// twin      src/engine/ops/fused/cross_entropy.rs

struct Params {
    rows: u32,
    columns: u32,
    factor: f32,        // 1 / B
    nan_bits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;            // [B, D]
@group(0) @binding(2) var<storage, read> labels: array<f32>;            // [B]
@group(0) @binding(3) var<storage, read_write> row_loss: array<f32>;    // [B]
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;       // [B, 2]

/// NaN, for a label that names no column.
fn no_number() -> f32 {
    return bitcast<f32>(params.nan_bits);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    var most = logits[start];
    for (var c = lane; c < params.columns; c += 256u) { most = max(most, logits[start + c]); }
    most = tree_max(most, lane);
    var sum = 0.0;
    for (var c = lane; c < params.columns; c += 256u) { sum += exp(logits[start + c] - most); }
    sum = tree_sum(sum, lane);
    if (lane == 0u) {
        let log_sum = log(sum);
        stats[2u * row] = select(most, log_sum, is_nan(log_sum));
        stats[2u * row + 1u] = log_sum;
        let label = labels[row];
        var loss = no_number();
        if (is_index(label, params.columns)) { loss = (most - logits[start + u32(label)]) + log_sum; }
        row_loss[row] = loss;
    }
}

@group(0) @binding(3) var<storage, read> saved: array<f32>;             // [B, 2]
@group(0) @binding(4) var<storage, read> dloss: array<f32>;             // [1]
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;     // [B, D]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    let most = saved[2u * row];
    let log_sum = saved[2u * row + 1u];
    let scale = dloss[0] * params.factor;
    let label = labels[row];
    let named = is_index(label, params.columns);
    for (var c = lane; c < params.columns; c += 256u) {
        let p = exp((logits[start + c] - most) - log_sum);
        dlogits[start + c] = select(no_number(), scale * p - select(0.0, scale, f32(c) == label), named);
    }
}
