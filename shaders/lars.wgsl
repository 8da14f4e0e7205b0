// lars.wgsl -- one step of LARS: momentum SGD with a rate for each tensor
// entries   squares : p[n], g[n] -> parts[groups,2], sums of squares of p and of g
//           trust   : parts[groups,2] -> factor[1]
//           forward : p[n], g[n], buffer[n], factor[1] -> p_next[n], buffer_next[n]
// parallel  squares: one workgroup per 16384 elements, 16 vec4 a lane, tree sums; trust: one workgroup;
//           forward: one thread per vec4
// numerics  f32; squares below 1e-38 vanish, so norms below 1e-19 count as 0
// limits    1 KiB of workgroup memory, 6 bindings; chunks of one binding are independent
// twin      src/engine/ops/lars.rs

struct NormParams {
    count: u32,         // elements bound
    first: u32,         // where their parts begin
    parts: u32,         // in all chunks together
    weight_decay: f32,
    trust: f32,
    eps: f32,
    spare: vec2<u32>,
}

@group(0) @binding(0) var<uniform> norm: NormParams;
@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>;           // [n]
@group(0) @binding(2) var<storage, read> g: array<vec4<f32>>;           // [n]
@group(0) @binding(3) var<storage, read_write> parts: array<vec2<f32>>; // [groups, 2]

/// Which of four neighbours are elements: behind an odd end lie arbitrary values.
fn inside(at: u32) -> vec4<bool> {
    return vec4(at) + vec4(0u, 1u, 2u, 3u) < vec4(norm.count);
}

@compute @workgroup_size(256)
fn squares(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let part = flat_group(group, groups);
    let start = part * 4096u;
    if (4u * start >= norm.count) { return; }
    let end = min(start + 4096u, (norm.count + 3u) / 4u);
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
    if (lane == 0u) { parts[norm.first + part] = vec2(total_p, total_g); }
}

@group(0) @binding(1) var<storage, read> sums: array<vec2<f32>>;        // [groups, 2]
@group(0) @binding(2) var<storage, read_write> factor_out: array<f32>;  // [1]

@compute @workgroup_size(256)
fn trust(@builtin(local_invocation_index) lane: u32) {
    var sum = vec2(0.0);
    for (var i = lane; i < norm.parts; i += 256u) { sum += sums[i]; }
    let p_norm = sqrt(tree_sum(sum.x, lane));
    let g_norm = sqrt(tree_sum(sum.y, lane));
    if (lane == 0u) {
        let factor = norm.trust * p_norm / (g_norm + norm.weight_decay * p_norm + norm.eps);
        // By bits: a norm that is NaN is not 0.
        factor_out[0] = select(factor, 1.0, bitcast<u32>(p_norm) == 0u || bitcast<u32>(g_norm) == 0u);
    }
}

struct Params {
    vec4s: u32,
    lr: f32,
    momentum: f32,
    weight_decay: f32,
}

override FIRST: bool = false; // no buffer yet

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> buffer: array<vec4<f32>>;      // [n]
@group(0) @binding(4) var<storage, read> factor: array<f32>;            // [1]
@group(0) @binding(5) var<storage, read_write> p_next: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> buffer_next: array<vec4<f32>>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    var next = factor[0] * (g[i] + params.weight_decay * p[i]);
    if (!FIRST) { next += params.momentum * buffer[i]; }
    buffer_next[i] = next;
    p_next[i] = p[i] - params.lr * next;
}
