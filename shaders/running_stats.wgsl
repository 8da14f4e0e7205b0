// running_stats.wgsl -- batch norm's running statistics after one batch
// entries   forward : mean[C], var[C], statistics[2,G,C] -> new_mean[C], new_var[C]
// parallel  one thread per channel, groups in order
// numerics  f32; the variance towards the unbiased one
// limits    5 bindings
// twin      src/ops/running_stats.rs

struct Params {
    channels: u32,
    groups: u32,
    momentum: f32,
    unbias: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read> statistics: array<f32>;
@group(0) @binding(4) var<storage, read_write> new_mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> new_variance: array<f32>;

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let c = flat_group(group, groups) * 64u + lane;
    if (c >= params.channels) { return; }
    var sum_mean = 0.0;
    var sum_variance = 0.0;
    for (var g = 0u; g < params.groups; g++) {
        sum_mean += statistics[g * params.channels + c];
        sum_variance += statistics[(params.groups + g) * params.channels + c];
    }
    let scale = params.momentum / f32(params.groups);
    new_mean[c] = (1.0 - params.momentum) * mean[c] + scale * sum_mean;
    new_variance[c] = (1.0 - params.momentum) * variance[c] + scale * params.unbias * sum_variance;
}
