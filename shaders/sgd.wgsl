// sgd.wgsl -- one step of stochastic gradient descent with momentum
// entries   forward : p[n], g[n], buffer[n] -> p_next[n], buffer_next[n]
// parallel  one thread per vec4
// numerics  f32; the learning rate stays outside the buffer
// limits    none: chunks of one binding are independent
// twin      src/engine/ops/sgd.rs

struct Params {
    vec4s: u32,
    lr: f32,
    momentum: f32,
    weight_decay: f32,
}

override NESTEROV: bool = false;
override FIRST: bool = false; // no buffer yet

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> buffer: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> p_next: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> buffer_next: array<vec4<f32>>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    let d = g[i] + params.weight_decay * p[i];
    var next = d;
    if (!FIRST) { next = params.momentum * buffer[i] + d; }
    var move_by = next;
    if (NESTEROV) { move_by = d + params.momentum * next; }
    buffer_next[i] = next;
    p_next[i] = p[i] - params.lr * move_by;
}
