// gather_rows.wgsl -- rows of a tensor by their numbers
// entries   forward : x[R,C], index[N] -> y[N,C]     backward : dy[N,C], index -> dx[R,C]
// parallel  forward one thread per element; backward one workgroup per row of dx and 256 columns
// numerics  backward adds the rows of dy in ascending order
// limits    none: R and N are split where one binding can't hold them
// twin      src/engine/ops/gather_rows.rs

struct Params {
    /// Rows of y in this dispatch.
    count: u32,
    columns: u32,
    /// First row of x in this dispatch, and one past the last.
    start: u32,
    end: u32,
    /// Rows of x in all dispatches.
    rows: u32,
    /// 1 in the first dispatch of a sum.
    first: u32,
    nan_bits: u32,
}

const WG: u32 = 256u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * WG + lane;
    if (i >= params.count * params.columns) { return; }
    let row = index[i / params.columns];
    let named = is_index(row, params.rows);
    if (named && row >= f32(params.start) && row < f32(params.end)) {
        y[i] = x[(u32(row) - params.start) * params.columns + i % params.columns];
    } else if (unfolded(params.first, i) == 1u && !named) {
        y[i] = bitcast<f32>(params.nan_bits);
    }
}

@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let blocks = (params.columns + WG - 1u) / WG;
    let flat = flat_group(group, groups);
    let row = params.start + flat / blocks;
    let column = (flat % blocks) * WG + lane;
    if (row >= params.end || column >= params.columns) { return; }
    let at = (row - params.start) * params.columns + column;
    var sum = 0.0;
    if (unfolded(params.first, at) == 0u) { sum = dx[at]; }
    for (var i = 0u; i < unfolded(params.count, at); i += 1u) {
        if (index[i] == f32(row)) { sum += dy[i * params.columns + column]; }
    }
    dx[at] = sum;
}
