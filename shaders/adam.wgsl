// adam.wgsl -- one step of Adam
// entries   forward : p[n], g[n], m[n], v[n] -> p_next[n], m_next[n], v_next[n]
// parallel  one thread per vec4
// numerics  f32; bias corrections come from the host in f64, eps is added after the square root
// limits    none: chunks of one binding are independent
// twin      src/engine/ops/adam.rs

struct Params {
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

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> m: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> p_next: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> m_next: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> v_next: array<vec4<f32>>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    let d = g[i] + params.weight_decay * p[i];
    let mean = params.keep_m * m[i] + params.new_m * d;
    let square = params.keep_v * v[i] + (params.new_v * d) * d;
    let root = sqrt(square) * params.correct_root + params.eps;
    m_next[i] = mean;
    v_next[i] = square;
    p_next[i] = p[i] - params.lr * (mean * params.correct_m) / root;
}
