// knn_softmax.wgsl -- several positives, each against itself and all negatives
// entries   forward : logits[B,D], labels[B,D] -> row_loss[B], stats[B,4]
//           backward : logits[B,D], labels[B,D], stats[B,4], dloss[1] -> dlogits[B,D]
// parallel  one workgroup per row, 256 lanes stride over D, tree maximum and sums
// numerics  the log-sum-exp of the negatives is kept as maximum and the log of the sum above it; softplus in its
//           stable form
// limits    1 KiB of workgroup memory, 5 bindings; blocks of rows are independent
// twin      src/engine/ops/fused/knn_softmax.rs

struct Params {
    rows: u32,
    columns: u32,
    factor: f32,        // 1 / B
}

const LEAST: f32 = -0x1.fffffep127;   // stands for the log of an empty sum, and for the maximum of nothing

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;            // [B, D]
@group(0) @binding(2) var<storage, read> labels: array<f32>;            // [B, D], 1 for positives
@group(0) @binding(3) var<storage, read_write> row_loss: array<f32>;    // [B]
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;       // [B, 4]

/// label > 0, by bits: NaN is no positive.
fn is_positive(label: f32) -> bool {
    return bitcast<u32>(label) - 1u < 0x7f800000u;
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    var most = LEAST;
    var count = 0.0;
    for (var c = lane; c < params.columns; c += 256u) {
        let positive = is_positive(labels[start + c]);
        most = select(max(most, logits[start + c]), most, positive);
        count += select(0.0, 1.0, positive);
    }
    most = tree_max(most, lane);
    count = max(tree_sum(count, lane), 1.0);
    var sum = 0.0;
    for (var c = lane; c < params.columns; c += 256u) {
        if (!is_positive(labels[start + c])) { sum += exp(logits[start + c] - most); }
    }
    sum = tree_sum(sum, lane);
    let log_sum = select(log(sum), 0.0, bitcast<u32>(sum) == 0u);   // no negatives: most alone is the least
    var loss = 0.0;
    var weight = 0.0;
    for (var c = lane; c < params.columns; c += 256u) {
        if (is_positive(labels[start + c])) {
            let above = (most - logits[start + c]) + log_sum;
            loss += softplus(above);
            weight += sigmoid(above);
        }
    }
    loss = tree_sum(loss, lane);
    weight = tree_sum(weight, lane);
    if (lane == 0u) {
        row_loss[row] = loss / count;
        stats[4u * row] = select(most, log_sum, is_nan(log_sum));
        stats[4u * row + 1u] = log_sum;
        stats[4u * row + 2u] = weight / count;
        stats[4u * row + 3u] = 1.0 / count;
    }
}

@group(0) @binding(3) var<storage, read> saved: array<vec4<f32>>;       // [B, 4], stats of forward
@group(0) @binding(4) var<storage, read> dloss: array<f32>;             // [1]
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;     // [B, D]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let start = row * params.columns;
    let stat = saved[row];
    let scale = dloss[0] * params.factor;
    for (var c = lane; c < params.columns; c += 256u) {
        let above = (stat.x - logits[start + c]) + stat.y;
        if (is_positive(labels[start + c])) {
            dlogits[start + c] = -scale * stat.w * sigmoid(above);
        } else {
            dlogits[start + c] = scale * stat.z * exp(-above);
        }
    }
}
