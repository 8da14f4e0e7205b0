// psa_mask.wgsl -- what is predicted for offsets, as weights between pairs of positions
// entries   forward : x[N,H,W,M] -> y[N,HW,HW]     backward : dy[N,HW,HW] -> dx[N,H,W,M]
// parallel  one thread per element of what is written
// numerics  copies; 0 where an offset is outside of the mask, or leads out of the map
// limits    2 bindings; batches are split where one binding can't hold them
// twin      src/engine/ops/psa_mask.rs

// Vectors are of rows, then of columns.
struct Params {
    size: vec2<u32>,    // H and W
    mask: vec2<u32>,    // rows and columns of offsets, M in all
    collect: u32,       // 1: lines of y predict; 0: columns do
    count: u32,         // threads
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [N,H,W,M]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [N,HW,HW]

fn half_mask() -> vec2<i32> { return (vec2<i32>(params.mask) - 1) / 2; }

/// Row and column of a position.
fn place(p: u32) -> vec2<i32> { return vec2(i32(p / params.size.y), i32(p % params.size.y)); }

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let positions = params.size.x * params.size.y;
    let line = i / positions;
    let collects = params.collect == 1u;
    let p = select(i % positions, line % positions, collects);
    let q = select(line % positions, i % positions, collects);
    let offset = place(q) - place(p) + half_mask();
    var value = 0.0;
    if (all(offset >= vec2(0)) && all(offset < vec2<i32>(params.mask))) {
        let m = u32(offset.x) * params.mask.y + u32(offset.y);
        value = x[(line / positions * positions + p) * params.mask.x * params.mask.y + m];
    }
    y[i] = value;
}

@group(0) @binding(1) var<storage, read> dy: array<f32>;            // [N,HW,HW]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;      // [N,H,W,M]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let positions = params.size.x * params.size.y;
    let channels = params.mask.x * params.mask.y;
    let m = i % channels;
    let image = i / channels / positions;
    let p = i / channels % positions;
    let to = place(p) + vec2(i32(m / params.mask.y), i32(m % params.mask.y)) - half_mask();
    var value = 0.0;
    if (all(to >= vec2(0)) && all(to < vec2<i32>(params.size))) {
        let q = u32(to.x) * params.size.y + u32(to.y);
        let line = select(q, p, params.collect == 1u);
        let column = select(p, q, params.collect == 1u);
        value = dy[(image * positions + line) * positions + column];
    }
    dx[i] = value;
}
