// update.wgsl -- one step of what moves parameters and running statistics
// entries   sgd     : p[n], g[n], m[n] -> p_next[n], m_next[n]
//           lars    : p[n], g[n], m[n], factor[1] -> p_next[n], m_next[n]
//           adam    : p[n], g[n], m[n], v[n] -> p_next[n], m_next[n], v_next[n]
//           ema     : p[n], g[n] (the new value) -> p_next[n]
//           squares : p[n], g[n] -> parts[groups,2], sums of squares of p and of g
//           trust   : parts[groups,2] -> factor[1]
//           running : running[T], statistics_0[2,G,C0] .. statistics_5[2,G,C5] -> moved[T]; running holds mean[C0],
//                     var[C0], mean[C1], ..., each from a multiple of 64 on
// parallel  sgd, lars, adam, ema: one thread per vec4; squares: one workgroup per 16384 elements, 16 vec4 a lane, tree
//           sums; trust: one workgroup; running: one workgroup per 64 channels of one norm, one thread per channel
// numerics  f32; the learning rate stays outside m; what follows from constants alone comes from the host in f64. squares:
//           those below 1e-38 vanish, so norms below 1e-19 count as 0. running: groups in order
// limits    1 KiB of workgroup memory, 8 bindings; chunks of one binding are independent
// twin      src/engine/ops/update.rs

@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>;      // [n]
@group(0) @binding(2) var<storage, read> g: array<vec4<f32>>;      // [n]
@group(0) @binding(3) var<storage, read> m: array<vec4<f32>>;      // [n]: momentum buffer, or average of the gradients
@group(0) @binding(4) var<storage, read> factor: array<f32>;       // [1]
@group(0) @binding(4) var<storage, read> v: array<vec4<f32>>;      // [n]: average of the squared gradients
@group(0) @binding(5) var<storage, read_write> p_next: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> m_next: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> v_next: array<vec4<f32>>;

struct Momentum {
    vec4s: u32,
    lr: f32,
    momentum: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> momentum: Momentum;

override NESTEROV: bool = false;
override FIRST: bool = false; // m is not there yet

/// Moves along the gradient d.
fn descend(i: u32, d: vec4<f32>) {
    var next = d;
    if (!FIRST) { next = momentum.momentum * m[i] + d; }
    var move_by = next;
    if (NESTEROV) { move_by = d + momentum.momentum * next; }
    m_next[i] = next;
    p_next[i] = p[i] - momentum.lr * move_by;
}

@compute @workgroup_size(256)
fn sgd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= momentum.vec4s) { return; }
    descend(i, g[i] + momentum.weight_decay * p[i]);
}

@compute @workgroup_size(256)
fn lars(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= momentum.vec4s) { return; }
    descend(i, factor[0] * (g[i] + momentum.weight_decay * p[i]));
}

struct Adam {
    vec4s: u32,
    lr: f32,
    weight_decay: f32,
    eps: f32,
    keep_m: f32,
    new_m: f32,
    keep_v: f32,
    new_v: f32,
    correct_m: f32,    // 1 / (1 - beta1^t)
    correct_root: f32, // 1 / sqrt(1 - beta2^t): times v itself, it would leave f32's range first
}

@group(0) @binding(0) var<uniform> moments: Adam;

@compute @workgroup_size(256)
fn adam(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= moments.vec4s) { return; }
    let d = g[i] + moments.weight_decay * p[i];
    let mean = moments.keep_m * m[i] + moments.new_m * d;
    let square = moments.keep_v * v[i] + (moments.new_v * d) * d;
    let root = sqrt(square) * moments.correct_root + moments.eps;
    m_next[i] = mean;
    v_next[i] = square;
    p_next[i] = p[i] - moments.lr * (mean * moments.correct_m) / root;
}

struct Average {
    vec4s: u32,
    keep: f32,
    take: f32,
}

@group(0) @binding(0) var<uniform> average: Average;

@compute @workgroup_size(256)
fn ema(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= average.vec4s) { return; }
    p_next[i] = average.keep * p[i] + average.take * g[i];
}

struct Norms {
    count: u32,         // elements bound
    first: u32,         // where their parts begin
    parts: u32,         // in all chunks together
    weight_decay: f32,
    trust: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> norms: Norms;
@group(0) @binding(3) var<storage, read_write> parts: array<vec2<f32>>; // [groups, 2]

/// Which of four neighbours are elements: behind an odd end lie arbitrary values.
fn inside(at: u32) -> vec4<bool> {
    return vec4(at) + vec4(0u, 1u, 2u, 3u) < vec4(norms.count);
}

@compute @workgroup_size(256)
fn squares(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let part = flat_group(group, groups);
    let start = part * 4096u;
    if (4u * start >= norms.count) { return; }
    let end = min(start + 4096u, (norms.count + 3u) / 4u);
    var sum_p = vec4(0.0);
    var sum_g = vec4(0.0);
    for (var i = start + lane; i < end; i += 256u) {
        let ps = select(vec4(0.0), p[i], inside(4u * i));
        let gs = select(vec4(0.0), g[i], inside(4u * i));
        sum_p += ps * ps;
        sum_g += gs * gs;
    }
    let total_p = tree_sum((sum_p.x + sum_p.y) + (sum_p.z + sum_p.w), lane);
    let total_g = tree_sum((sum_g.x + sum_g.y) + (sum_g.z + sum_g.w), lane);
    if (lane == 0u) { parts[norms.first + part] = vec2(total_p, total_g); }
}

@group(0) @binding(1) var<storage, read> sums: array<vec2<f32>>;        // [groups, 2]
@group(0) @binding(2) var<storage, read_write> factor_out: array<f32>;  // [1]

@compute @workgroup_size(256)
fn trust(@builtin(local_invocation_index) lane: u32) {
    var sum = vec2(0.0);
    for (var i = lane; i < norms.parts; i += 256u) { sum += sums[i]; }
    let p_norm = sqrt(tree_sum(sum.x, lane));
    let g_norm = sqrt(tree_sum(sum.y, lane));
    if (lane == 0u) {
        let ratio = norms.trust * p_norm / (g_norm + norms.weight_decay * p_norm + norms.eps);
        // By bits: a norm that is NaN is not 0.
        factor_out[0] = select(ratio, 1.0, bitcast<u32>(p_norm) == 0u || bitcast<u32>(g_norm) == 0u);
    }
}

struct Running {
    groups: u32,
    momentum: f32,
    // Of each norm: channels, where its mean lies, where its variance, values per group and channel.
    norm_0: vec4<u32>,
    norm_1: vec4<u32>,
    norm_2: vec4<u32>,
    norm_3: vec4<u32>,
    norm_4: vec4<u32>,
    norm_5: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Running;
@group(0) @binding(1) var<storage, read> old: array<f32>;
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
fn running(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
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
    moved[n.y + c] = (1.0 - params.momentum) * old[n.y + c] + scale * sum_mean;
    moved[n.z + c] = (1.0 - params.momentum) * old[n.z + c] + scale * unbias * sum_variance;
}
