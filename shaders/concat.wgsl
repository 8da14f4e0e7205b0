// concat.wgsl -- two matrices side by side
// entries   forward : a[B,C1], b[B,C2] -> y[B,C1+C2]     backward : dy[B,C1+C2] -> dx[B,C] from column `start`
// parallel  one thread per element of the output
// numerics  copies
// limits    none: rows are split where one binding can't hold them
// twin      src/engine/ops/concat.rs

struct Params {
    count: u32,
    /// Columns of the output; then forward those of b, backward those of dy.
    columns: u32,
    other: u32,
    /// Forward: columns of a. Backward: the first column of dy.
    start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let row = i / params.columns;
    let column = i % params.columns;
    if (column < params.start) {
        y[i] = a[row * params.start + column];
    } else {
        y[i] = b[row * params.other + column - params.start];
    }
}

@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    dx[i] = dy[i / params.columns * params.other + params.start + i % params.columns];
}
