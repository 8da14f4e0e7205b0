// max_pool.wgsl -- maximum over windows of images NHWC, padding of minus infinity
// entries   forward : x[n,h,w,C] -> y[n,oh,ow,C], index[n,oh,ow,C]     backward : index, dy[n,oh,ow,C] -> dx[n,h,w,C]
// parallel  one thread per output element; backward one per input element, which gathers from the windows that hold it
// numerics  exact; the first of equal maxima wins, a NaN wins over everything; index is the tap ky kw + kx
// limits    none: images are independent, the host splits the batch
// twin      src/engine/ops/max_pool/twin.rs

struct Params {
    h: u32,
    w: u32,
    channels: u32,
    oh: u32,
    ow: u32,
    kh: u32,
    kw: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    count: u32, // elements to write
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;            // [n, h, w, C]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;      // [n, oh, ow, C]
@group(0) @binding(3) var<storage, read_write> index: array<f32>;  // [n, oh, ow, C]

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let out = flat_group(group, groups) * 256u + lane;
    if (out >= params.count) { return; }
    let pixel = out / params.channels;
    let c = out - pixel * params.channels;
    let line = pixel / params.ow;
    let j = pixel - line * params.ow;
    let image = line / params.oh;
    let i = line - image * params.oh;
    // Coordinates with the padding; the shape rule sees to it that every window holds a pixel.
    let a0 = i * params.stride_y;
    let b0 = j * params.stride_x;
    var best = 0.0;
    var best_bits_nan = false;
    var best_tap = 0u;
    var started = false;
    for (var a = max(a0, params.pad_y); a < min(a0 + params.kh, params.h + params.pad_y); a += 1u) {
        for (var b = max(b0, params.pad_x); b < min(b0 + params.kw, params.w + params.pad_x); b += 1u) {
            let at = (image * params.h + a - params.pad_y) * params.w + b - params.pad_x;
            let value = x[at * params.channels + c];
            let nan = is_nan(value);
            if (!started || (!best_bits_nan && (nan || value > best))) {
                best = value;
                best_bits_nan = nan;
                best_tap = (a - a0) * params.kw + b - b0;
            }
            started = true;
        }
    }
    y[out] = best;
    index[out] = f32(best_tap);
}

@group(0) @binding(1) var<storage, read> taken: array<f32>;        // [n, oh, ow, C]: index of forward
@group(0) @binding(2) var<storage, read> dy: array<f32>;           // [n, oh, ow, C]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;     // [n, h, w, C]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let out = flat_group(group, groups) * 256u + lane;
    if (out >= params.count) { return; }
    let pixel = out / params.channels;
    let c = out - pixel * params.channels;
    let line = pixel / params.w;
    let image = line / params.h;
    let b = pixel - line * params.w + params.pad_x;
    let a = line - image * params.h + params.pad_y;
    // Windows i with i stride <= a < i stride + kernel.
    let first_i = (max(a + 1u, params.kh) - params.kh + params.stride_y - 1u) / params.stride_y;
    let first_j = (max(b + 1u, params.kw) - params.kw + params.stride_x - 1u) / params.stride_x;
    var sum = 0.0;
    for (var i = first_i; i < min(params.oh, a / params.stride_y + 1u); i += 1u) {
        for (var j = first_j; j < min(params.ow, b / params.stride_x + 1u); j += 1u) {
            let at = ((image * params.oh + i) * params.ow + j) * params.channels + c;
            let tap = (a - i * params.stride_y) * params.kw + b - j * params.stride_x;
            sum += select(0.0, dy[at], u32(taken[at]) == tap);
        }
    }
    dx[out] = sum;
}
