// adaptive_avg_pool.wgsl -- images as a few large cells, each the mean of the pixels under it
// entries   forward : x[N,H,W,C] -> y[N,P,Q,C]     backward : dy[N,P,Q,C] -> dx[N,H,W,C]
// parallel  forward: one workgroup per bin and 32 channels, 8 lanes per channel, tree sum; backward: one thread per
//           element of dx, which gathers from the bins over it
// numerics  the mean is a sum divided by the count; backward adds bins in ascending order
// limits    1 KiB of workgroup memory, 2 bindings; batches are split where one binding can't hold them; sides up to 32768
// twin      src/engine/ops/adaptive_avg_pool.rs

// Vectors are of rows, then of columns.
struct Params {
    size: vec2<u32>,    // H and W
    bins: vec2<u32>,    // P and Q
    channels: u32,      // C
    images: u32,        // N of this dispatch
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [N,H,W,C]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [N,P,Q,C]

/// The first, and one past the last, of `size` elements along an axis that lie under element `i` of `count`.
fn under(i: u32, count: u32, size: u32) -> vec2<u32> {
    return vec2(i * size / count, ((i + 1u) * size + count - 1u) / count);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let tiles = (params.channels + 31u) / 32u;
    let bin = flat_group(group, groups) / tiles; // of [N, P, Q]
    if (bin >= params.images * params.bins.x * params.bins.y) { return; }
    let c = flat_group(group, groups) % tiles * 32u + lane % 32u;
    let rows = under(bin / params.bins.y % params.bins.x, params.bins.x, params.size.x);
    let columns = under(bin % params.bins.y, params.bins.y, params.size.y);
    let width = columns.y - columns.x;
    let count = (rows.y - rows.x) * width;
    let first = (bin / params.bins.y / params.bins.x * params.size.x + rows.x) * params.size.y + columns.x;
    var sum = 0.0;
    if (c < params.channels) {
        for (var k = lane / 32u; k < count; k += 8u) {
            sum += x[(first + k / width * params.size.y + k % width) * params.channels + c];
        }
    }
    tree[lane] = sum;
    workgroupBarrier();
    for (var reach = 128u; reach >= 32u; reach /= 2u) {
        if (lane < reach) { tree[lane] += tree[lane + reach]; }
        workgroupBarrier();
    }
    if (lane < 32u && c < params.channels) { y[bin * params.channels + c] = tree[lane] / f32(count); }
}

@group(0) @binding(1) var<storage, read> dy: array<f32>;            // [N,P,Q,C]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;      // [N,H,W,C]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    let pixel = i / params.channels;
    let line = pixel / params.size.y;
    let image = line / params.size.x;
    if (image >= params.images) { return; }
    let down = under(line % params.size.x, params.size.x, params.bins.x);
    let across = under(pixel % params.size.y, params.size.y, params.bins.y);
    var sum = 0.0;
    for (var p = down.x; p < down.y; p += 1u) {
        let rows = under(p, params.bins.x, params.size.x);
        for (var q = across.x; q < across.y; q += 1u) {
            let columns = under(q, params.bins.y, params.size.y);
            let share = 1.0 / f32((rows.y - rows.x) * (columns.y - columns.x));
            sum += share * dy[((image * params.bins.x + p) * params.bins.y + q) * params.channels + i % params.channels];
        }
    }
    dx[i] = sum;
}
