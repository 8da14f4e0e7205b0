// sum_parts.wgsl -- up to four tensors, each the sum of the parts that workgroups have made of it
// entries   forward : parts_0[P0,n0] .. parts_3[P3,n3] -> sum_0[n0] .. sum_3[n3]
// parallel  one thread per element, in workgroups that belong to one tensor
// numerics  f32, parts in ascending order
// limits    8 bindings
// twin      src/engine/ops/sum_parts.rs

struct Params {
    sizes: vec4<u32>, // n, 0 for none
    parts: vec4<u32>, // P
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts_0: array<f32>;
@group(0) @binding(2) var<storage, read> parts_1: array<f32>;
@group(0) @binding(3) var<storage, read> parts_2: array<f32>;
@group(0) @binding(4) var<storage, read> parts_3: array<f32>;
@group(0) @binding(5) var<storage, read_write> sum_0: array<f32>;
@group(0) @binding(6) var<storage, read_write> sum_1: array<f32>;
@group(0) @binding(7) var<storage, read_write> sum_2: array<f32>;
@group(0) @binding(8) var<storage, read_write> sum_3: array<f32>;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    var tile = flat_group(group, groups);
    var which = 0u;
    while (which < 4u && tile >= (params.sizes[which] + 255u) / 256u) {
        tile -= (params.sizes[which] + 255u) / 256u;
        which++;
    }
    if (which == 4u) { return; }
    let size = params.sizes[which];
    let i = tile * 256u + lane;
    if (i >= size) { return; }
    let end = params.parts[which] * size;
    var sum = 0.0;
    switch (which) {
        case 0u: {
            for (var at = i; at < end; at += size) { sum += parts_0[at]; }
            sum_0[i] = sum;
        }
        case 1u: {
            for (var at = i; at < end; at += size) { sum += parts_1[at]; }
            sum_1[i] = sum;
        }
        case 2u: {
            for (var at = i; at < end; at += size) { sum += parts_2[at]; }
            sum_2[i] = sum;
        }
        default: {
            for (var at = i; at < end; at += size) { sum += parts_3[at]; }
            sum_3[i] = sum;
        }
    }
}
