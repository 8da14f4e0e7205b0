// avg_pool.wgsl -- mean over all pixels of each image and channel
// entries   forward : x[n,P,C] -> y[n,C]     backward : dy[n,C] -> dx[n,P,C]
// parallel  one thread per element to write; neighbours read neighbouring channels
// numerics  f32 sums of 32 pixels, then of those sums
// limits    none: images are independent, the host splits the batch
// twin      src/engine/ops/avg_pool/twin.rs

struct Params {
    pixels: u32,
    channels: u32,
    count: u32, // elements to write
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [n, P, C]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [n, C]

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let out = flat_group(group, groups) * 256u + lane;
    if (out >= params.count) { return; }
    let image = out / params.channels;
    let c = out - image * params.channels;
    let pixels = unfolded(params.pixels, out);
    var total = 0.0;
    for (var start = 0u; start < pixels; start += 32u) {
        var sum = 0.0;
        for (var pixel = start; pixel < min(start + 32u, pixels); pixel += 1u) {
            sum += x[(image * params.pixels + pixel) * params.channels + c];
        }
        total += sum;
    }
    y[out] = total / f32(params.pixels);
}

@group(0) @binding(1) var<storage, read> dy: array<f32>;       // [n, C]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [n, P, C]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let out = flat_group(group, groups) * 256u + lane;
    if (out >= params.count) { return; }
    let row = out / params.channels;
    let c = out - row * params.channels;
    dx[out] = dy[row / params.pixels * params.channels + c] / f32(params.pixels);
}
