// running_stats.wgsl -- running statistics of up to six batch norms after one batch
// entries   forward : running[T], statistics_0[2,G,C0] .. statistics_5[2,G,C5] -> moved[T]
//           running holds mean[C0], var[C0], mean[C1], ..., each from a multiple of 64 on
// parallel  one workgroup per 64 channels of one norm, one thread per channel, groups in order
// numerics  f32; the variance towards the unbiased one
// limits    8 bindings
// twin      src/engine/ops/running_stats.rs

struct Params {
    groups: u32,
    momentum: f32,
    spare: vec2<u32>,
    // Of each norm: channels, where its mean lies, where its variance, values per group and channel.
    norm_0: vec4<u32>,
    norm_1: vec4<u32>,
    norm_2: vec4<u32>,
    norm_3: vec4<u32>,
    norm_4: vec4<u32>,
    norm_5: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> running: array<f32>;
@group(0) @binding(2) var<storage, read> statistics_0: array<f32>;
@group(0) @binding(3) var<storage, read> statistics_1: array<f32>;
@group(0) @binding(4) var<storage, read> statistics_2: array<f32>;
@group(0) @binding(5) var<storage, read> statistics_3: array<f32>;
@group(0) @binding(6) var<storage, read> statistics_4: array<f32>;
@group(0) @binding(7) var<storage, read> statistics_5: array<f32>;
@group(0) @binding(8) var<storage, read_write> moved: array<f32>;

fn norm(which: u32) -> vec4<u32> {
    switch (which) {
        case 0u: { return params.norm_0; }
        case 1u: { return params.norm_1; }
        case 2u: { return params.norm_2; }
        case 3u: { return params.norm_3; }
        case 4u: { return params.norm_4; }
        default: { return params.norm_5; }
    }
}

fn statistic(which: u32, i: u32) -> f32 {
    switch (which) {
        case 0u: { return statistics_0[i]; }
        case 1u: { return statistics_1[i]; }
        case 2u: { return statistics_2[i]; }
        case 3u: { return statistics_3[i]; }
        case 4u: { return statistics_4[i]; }
        default: { return statistics_5[i]; }
    }
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    var tile = flat_group(group, groups);
    var which = 0u;
    while (which < 6u && tile >= (norm(which).x + 63u) / 64u) {
        tile -= (norm(which).x + 63u) / 64u;
        which++;
    }
    if (which == 6u) { return; }
    let n = norm(which);
    let c = tile * 64u + lane;
    if (c >= n.x) { return; }
    var sum_mean = 0.0;
    var sum_variance = 0.0;
    for (var g = 0u; g < unfolded(params.groups, c); g++) {
        sum_mean += statistic(which, g * n.x + c);
        sum_variance += statistic(which, (params.groups + g) * n.x + c);
    }
    let scale = params.momentum / f32(params.groups);
    let unbias = f32(n.w) / (f32(n.w) - 1.0);
    moved[n.y + c] = (1.0 - params.momentum) * running[n.y + c] + scale * sum_mean;
    moved[n.z + c] = (1.0 - params.momentum) * running[n.z + c] + scale * unbias * sum_variance;
}
