// match_cells.wgsl -- for each cell of one map the most similar cell of another map of the same image
// entries   forward : f1[N,P,C], f2[N,P,C] -> index[N,P]
// parallel  one workgroup per cell of f1; for each cell of f2 256 lanes stride over C, tree sum
// numerics  cosines if the cells have unit length; of equal ones the lowest cell wins, the first NaN over all
// limits    1 KiB of workgroup memory, 3 bindings; blocks of images are independent
// twin      src/engine/ops/match_cells.rs

struct Params {
    images: u32,
    cells: u32,
    channels: u32,
    first: u32,     // number of the block's first image
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> f1: array<f32>;            // [N, P, C]
@group(0) @binding(2) var<storage, read> f2: array<f32>;            // [N, P, C]
@group(0) @binding(3) var<storage, read_write> index: array<f32>;   // [N, P]

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let cell = flat_group(group, groups);
    if (cell >= params.images * params.cells) { return; }
    let image = cell / params.cells;
    var best = 0u;
    var most = 0.0;
    for (var other = 0u; other < unfolded(params.cells, cell); other += 1u) {
        let b = (image * params.cells + other) * params.channels;
        var sum = 0.0;
        for (var c = lane; c < params.channels; c += 256u) { sum += f1[cell * params.channels + c] * f2[b + c]; }
        sum = tree_sum(sum, lane);
        let nan = is_nan(sum);
        if (other == 0u || (!is_nan(most) && (nan || sum > most))) {
            most = sum;
            best = other;
        }
    }
    if (lane == 0u) { index[cell] = f32((params.first + image) * params.cells + best); }
}
