// reduce.wgsl -- sums of rows and of columns, scaled and shifted; and the broadcast of their gradient
// entries   rows : x[R,C] -> y[R*parts]     columns : x[R,C] -> y[parts,C]     backward : dy[m] -> dx[n]
// parallel  rows: one workgroup per part of a row, 256 lanes stride over it, tree sum; columns: one workgroup
//           per 32 columns of a part of the rows, 8 lanes per column, tree sum. Long sums take further passes
// numerics  a lane adds at most 64 values before the tree
// limits    1 KiB of workgroup memory, 2 bindings; blocks of rows are independent
// twin      src/engine/ops/reduce.rs

struct Params {
    rows: u32,          // rows bound
    columns: u32,
    part: u32,          // columns (entry rows) or rows (entry columns) in one part
    parts: u32,         // parts of a row, or of the rows bound
    y_at: u32,          // where the outputs of this block start
    factor: f32,        // y = factor * (sum - less)
    less: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [R, C]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [R, parts] or [parts, C]

@compute @workgroup_size(256)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = flat_group(group, groups);
    if (index >= params.rows * params.parts) { return; }
    let row = index / params.parts;
    let first = (index % params.parts) * params.part;
    let last = min(first + params.part, params.columns);
    var sum = 0.0;
    for (var c = first + lane; c < last; c += 256u) { sum += x[row * params.columns + c]; }
    sum = tree_sum(sum, lane);
    if (lane == 0u) { y[params.y_at + index] = params.factor * (sum - params.less); }
}

@compute @workgroup_size(256)
fn columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let tiles = (params.columns + 31u) / 32u;
    let index = flat_group(group, groups);
    if (index >= tiles * params.parts) { return; }
    let c = (index % tiles) * 32u + lane % 32u;
    let part = index / tiles;
    let last = min((part + 1u) * params.part, params.rows);
    var sum = 0.0;
    if (c < params.columns) {
        for (var r = part * params.part + lane / 32u; r < last; r += 8u) { sum += x[r * params.columns + c]; }
    }
    tree[lane] = sum;
    workgroupBarrier();
    for (var width = 128u; width >= 32u; width /= 2u) {
        if (lane < width) { tree[lane] += tree[lane + width]; }
        workgroupBarrier();
    }
    if (lane < 32u && c < params.columns) {
        y[params.y_at + part * params.columns + c] = params.factor * (tree[lane] - params.less);
    }
}

struct BackwardParams {
    count: u32,         // elements bound
    start: u32,         // index of the first one
    divisor: u32,       // dx[i] = factor * dy[(i / divisor) % modulus]
    modulus: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> back: BackwardParams;
@group(0) @binding(1) var<storage, read> dy: array<f32>;            // [m]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;      // [n]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= back.count) { return; }
    dx[i] = back.factor * dy[((back.start + i) / back.divisor) % back.modulus];
}
