// cross_entropy.wgsl -- softmax cross-entropy of each row, mean over those that count
// entries   forward, forward_narrow : logits[B,D], labels[B] -> terms[B,2], stats[B,2]
//           mean : sums[2] -> loss[1]
//           backward : logits[B,D], labels[B], stats[B,2], sums[2], dloss[1] -> dlogits[B,D]
// parallel  forward: one workgroup per row, 256 lanes stride over D, tree maximum and sum; forward_narrow: one thread per row, for
//           small D; backward: one thread per element
// numerics  stats are the maximum and the log of the sum of exp(x - maximum): kept apart, because their sum
//           would lose the digits of the second for large logits
// limits    1 KiB of workgroup memory, 6 bindings; blocks of rows are independent
// twin      src/engine/ops/fused/cross_entropy.rs

struct Params {
    rows: u32,
    columns: u32,
    ignores: u32,       // 1 where there is a label of rows that do not count
    ignore: f32,        // that label
    nan_bits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;            // [B, D]
@group(0) @binding(2) var<storage, read> labels: array<f32>;            // [B]
@group(0) @binding(3) var<storage, read_write> terms: array<f32>;       // [B, 2]: loss, and 1 if it counts
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;       // [B, 2]

/// NaN, for a label that names no column.
fn no_number() -> f32 {
    return bitcast<f32>(params.nan_bits);
}

/// Whether a row does: NaN, which a comparison need not tell from the ignored label, makes a loss of NaN.
fn counts(row: u32) -> bool {
    return unfolded(params.ignores, row) == 0u || is_nan(labels[row]) || labels[row] != params.ignore;
}

/// Writes what is known of a row by its maximum and the sum of exponentials above it.
fn finish(row: u32, most: f32, sum: f32) {
    let log_sum = log(sum);
    stats[2u * row] = select(most, log_sum, is_nan(log_sum));
    stats[2u * row + 1u] = log_sum;
    let label = labels[row];
    var loss = no_number();
    if (is_index(label, params.columns)) { loss = (most - logits[row * params.columns + u32(label)]) + log_sum; }
    let counted = counts(row);
    terms[2u * row] = select(0.0, loss, counted);
    terms[2u * row + 1u] = select(0.0, 1.0, counted);
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
    if (lane == 0u) { finish(row, most, sum); }
}

@compute @workgroup_size(256)
fn forward_narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups) * 256u + lane;
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    let end = start + params.columns;
    var most = logits[start];
    for (var c = start; c < end; c += 1u) { most = max(most, logits[c]); }
    var sum = 0.0;
    for (var c = start; c < end; c += 1u) { sum += exp(logits[c] - most); }
    finish(row, most, sum);
}

@group(0) @binding(1) var<storage, read> sums: array<f32>;              // [2]
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;        // [1]

@compute @workgroup_size(1)
fn mean() {
    loss[0] = sums[0] / max(sums[1], 1.0);
}

@group(0) @binding(3) var<storage, read> saved: array<f32>;             // [B, 2]
@group(0) @binding(4) var<storage, read> saved_sums: array<f32>;        // [2]
@group(0) @binding(5) var<storage, read> dloss: array<f32>;             // [1]
@group(0) @binding(6) var<storage, read_write> dlogits: array<f32>;     // [B, D]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    let row = i / params.columns;
    if (row >= params.rows) { return; }
    let label = labels[row];
    let counted = counts(row);
    let scale = select(0.0, dloss[0] / max(saved_sums[1], 1.0), counted);
    let p = exp((logits[i] - saved[2u * row]) - saved[2u * row + 1u]);
    let dx = scale * p - select(0.0, scale, f32(i % params.columns) == label);
    dlogits[i] = select(dx, no_number(), counted && !is_index(label, params.columns));
}
