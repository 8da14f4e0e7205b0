// reduce.wgsl -- sums of rows and of columns, scaled and shifted; and the broadcast of their gradient
// entries   rows : x[R,C] -> y[R*parts]     columns : x[A,R,C] -> y[A,parts,C]     backward : dy[m] -> dx[n]
// parallel  rows: one workgroup per part of a row, 256 lanes stride over it, tree sum; columns: one workgroup
//           per 32 columns of a part of a matrix's rows, 8 lanes per column, tree sum. Long sums take further passes
// numerics  a lane adds at most 64 values before the tree
// limits    1 KiB of workgroup memory, 2 bindings; blocks of rows are independent
// twin      src/engine/ops/reduce.rs

struct Params {
    outer: u32,         // rows bound; matrices bound
    terms: u32,         // columns of a row; rows of a matrix
    inner: u32,         // columns of a matrix
    part: u32,          // terms in one part
    parts: u32,         // parts of a row or matrix
    y_at: u32,          // where the outputs of this block start
    factor: f32,        // y = factor * (sum - less)
    less: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [outer, terms, inner]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [outer, parts, inner]

@compute @workgroup_size(256)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = flat_group(group, groups);
    if (index >= params.outer * params.parts) { return; }
    let row = index / params.parts;
    let first = (index % params.parts) * params.part;
    let last = min(first + params.part, params.terms);
    var sum = 0.0;
    for (var c = first + lane; c < last; c += 256u) { sum += x[row * params.terms + c]; }
    sum = tree_sum(sum, lane);
    if (lane == 0u) { y[params.y_at + index] = params.factor * (sum - params.less); }
}

@compute @workgroup_size(256)
fn columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let tiles = (params.inner + 31u) / 32u;
    let index = flat_group(group, groups);
    if (index >= params.outer * params.parts * tiles) { return; }
    let c = (index % tiles) * 32u + lane % 32u;
    let sum_at = index / tiles; // of [outer, parts]
    let matrix = sum_at / params.parts * params.terms;
    let first = sum_at % params.parts * params.part;
    let last = min(first + params.part, params.terms);
    var sum = 0.0;
    if (c < params.inner) {
        for (var r = first + lane / 32u; r < last; r += 8u) { sum += x[(matrix + r) * params.inner + c]; }
    }
    tree[lane] = sum;
    workgroupBarrier();
    for (var width = 128u; width >= 32u; width /= 2u) {
        if (lane < width) { tree[lane] += tree[lane + width]; }
        workgroupBarrier();
    }
    if (lane < 32u && c < params.inner) {
        y[params.y_at + sum_at * params.inner + c] = params.factor * (tree[lane] - params.less);
    }
}

struct BackwardParams {
    count: u32,         // elements bound
    start: u32,         // index of the first one
    matrix: u32,        // terms * inner: dx[i] = factor * dy[i / matrix * inner + i % inner]
    inner: u32,
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
    let at = back.start + i;
    dx[i] = back.factor * dy[at / back.matrix * back.inner + at % back.inner];
}
