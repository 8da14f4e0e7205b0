// bce_with_logits.wgsl -- binary cross-entropy of logits, mean of each row
// entries   forward : logits[B,D], targets[B,D] -> row_loss[B]
//           backward : logits[B,D], targets[B,D], dloss[1] -> dlogits[B,D]
// parallel  forward: one workgroup per row, 256 lanes stride over D, tree sum; backward: one thread per element
// numerics  max(x,0) - y x + log(1 + exp(-|x|)); the gradient (1-y) s(x) - y s(-x) cancels no digits at y 0 or 1
// limits    1 KiB of workgroup memory, 4 bindings; blocks of rows are independent
// twin      src/engine/ops/fused/bce_with_logits.rs

struct Params {
    rows: u32,
    columns: u32,
    negatives: f32,     // 1, or 0 for the positive term alone
    factor: f32,        // 1/D forward, 1/(B D) backward
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;            // [B, D]
@group(0) @binding(2) var<storage, read> targets: array<f32>;           // [B, D]
@group(0) @binding(3) var<storage, read_write> row_loss: array<f32>;    // [B]

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    var sum = 0.0;
    for (var c = lane; c < params.columns; c += 256u) {
        let x = logits[start + c];
        let positive = targets[start + c];
        let negative = params.negatives * (1.0 - positive);
        // Not 0 times infinity, where there are no negatives.
        let above = select(negative * max(x, 0.0), 0.0, params.negatives == 0.0);
        sum += positive * max(-x, 0.0) + above + (positive + negative) * softplus(-abs(x));
    }
    sum = tree_sum(sum, lane);
    if (lane == 0u) { row_loss[row] = params.factor * sum; }
}

@group(0) @binding(3) var<storage, read> dloss: array<f32>;             // [1]
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;     // [B, D]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.rows * params.columns) { return; }
    let x = logits[i];
    let positive = targets[i];
    let negative = params.negatives * (1.0 - positive);
    dlogits[i] = dloss[0] * params.factor * (negative * sigmoid(x) - positive * sigmoid(-x));
}
