// nearest.wgsl -- images several times as large, each pixel repeated
// entries   forward : x[N,H,W,C] -> y[N,fH,fW,C]     backward : dy[N,fH,fW,C] -> dx[N,H,W,C]
// parallel  one thread per element of x or dx, which writes or reads its f x f repetitions
// numerics  backward adds them row by row
// limits    2 bindings; batches are split where one binding can't hold them
// twin      src/engine/ops/nearest.rs

struct Params {
    width: u32,         // W and C of x
    channels: u32,
    factor: u32,        // f
    count: u32,         // threads
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;                 // [N,H,W,C]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;           // [N,fH,fW,C]

/// Where the first repetition of element `i` is. Lines of x follow each other across images, and so do those of y.
fn first_of(i: u32) -> u32 {
    let pixel = i / params.channels;
    let line = pixel / params.width * params.factor;
    let column = pixel % params.width * params.factor;
    return (line * params.width * params.factor + column) * params.channels + i % params.channels;
}

/// Where the repetition in row `a` and column `b` is.
fn repetition(first: u32, a: u32, b: u32) -> u32 {
    return first + (a * params.width * params.factor + b) * params.channels;
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let factor = unfolded(params.factor, i);
    for (var a = 0u; a < factor; a += 1u) {
        for (var b = 0u; b < factor; b += 1u) { y[repetition(first_of(i), a, b)] = x[i]; }
    }
}

@group(0) @binding(1) var<storage, read> dy: array<f32>;                // [N,fH,fW,C]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;          // [N,H,W,C]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let factor = unfolded(params.factor, i);
    var sum = 0.0;
    for (var a = 0u; a < factor; a += 1u) {
        for (var b = 0u; b < factor; b += 1u) { sum += dy[repetition(first_of(i), a, b)]; }
    }
    dx[i] = sum;
}
