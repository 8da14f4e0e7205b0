// ema.wgsl -- exponential moving average of parameters
// entries   forward : p[n], q[n] -> p_next[n]
// parallel  one thread per vec4
// numerics  f32; 1 - momentum comes from the host in f64
// limits    none: chunks of one binding are independent
// twin      src/engine/ops/ema.rs

struct Params {
    vec4s: u32,
    keep: f32,
    take: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> p_next: array<vec4<f32>>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    p_next[i] = params.keep * p[i] + params.take * q[i];
}
