// half.wgsl -- f32 values kept as IEEE 754 binary16, two in a word
// entries   pack : x[n] -> words[n/2]     unpack : words[n/2] -> y[n]
//           pack_before_relu : x[groups,..,C], coefs[4,groups,C] -> words[n/2], each on its element's side of where
//                              scale (x - mean) + shift becomes positive
// parallel  one thread per four elements
// numerics  whole-number operations on bits: pack2x16float may round either way and does not say what becomes of
//           infinities, NaNs and subnormals. Nearest, ties to even; nothing but zero becomes zero, nothing finite
//           becomes infinite; NaN stays NaN
// limits    none: chunks of one binding are independent; up to three elements past an odd end are written
// twin      src/engine/ops/half.rs

struct Params {
    vec4s: u32,
    first: u32,    // element that this dispatch starts at
    channels: u32, // C
    group: u32,    // elements of x in a group
    list: u32,     // groups C
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> words: array<vec2<u32>>;

const INFINITY: u32 = 0x7f800000u;
const SMALLEST: u32 = 0x33800000u; // 2^-24
const SMALLEST_NORMAL: u32 = 0x38800000u; // 2^-14
const LARGEST: u32 = 0x477fe000u; // 65504

/// The bits of the f16 for those of an f32.
fn to_half(bits: u32) -> u32 {
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if (magnitude == 0u) { return sign; }
    if (magnitude > INFINITY) { return sign | 0x7e00u | ((magnitude >> 13u) & 0x3ffu); }
    if (magnitude == INFINITY) { return sign | 0x7c00u; }
    let m = clamp(magnitude, SMALLEST, LARGEST);
    if (m < SMALLEST_NORMAL) {
        // In units of 2^-24.
        let digits = (m & 0x7fffffu) | 0x800000u;
        let shift = 126u - (m >> 23u);
        return sign | ((digits + (1u << (shift - 1u)) - 1u + ((digits >> shift) & 1u)) >> shift);
    }
    // The bias of the exponent is 127 in one and 15 in the other.
    return sign | ((m - (112u << 23u) + 0xfffu + ((m >> 13u) & 1u)) >> 13u);
}

/// The bits of the f32 for those of an f16.
fn from_half(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) { return sign | INFINITY | ((magnitude & 0x3ffu) << 13u); }
    if (magnitude < 0x400u) { return sign | bitcast<u32>(f32(magnitude) * 0x1p-24f); }
    return sign | ((magnitude << 13u) + (112u << 23u));
}

@compute @workgroup_size(256)
fn pack(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    let v = x[i];
    words[i] = vec2<u32>(to_half(v.x) | (to_half(v.y) << 16u), to_half(v.z) | (to_half(v.w) << 16u));
}

@group(0) @binding(3) var<storage, read> coefs: array<f32>; // [4,groups,C]: mean, variance, scale, shift

fn positive(bits: u32, at: u32) -> bool {
    return (bitcast<f32>(bits) - coefs[at]) * coefs[2u * params.list + at] + coefs[3u * params.list + at] > 0.0;
}

/// The f16 of element i on its side, if that is finite.
fn to_half_before_relu(bits: u32, i: u32) -> u32 {
    let half = to_half(bits);
    // Behind an odd end there are no coefficients.
    let at = min(i / params.group * params.channels + i % params.channels, params.list - 1u);
    let kept = from_half(half);
    if (positive(bits, at) == positive(kept, at)) { return half; }
    let above = bitcast<f32>(bits) > bitcast<f32>(kept);
    // Only zero itself is kept as zero, so that this is no zero.
    let next = select(half - 1u, half + 1u, above == (half < 0x8000u));
    return select(next, half, (next & 0x7fffu) >= 0x7c00u);
}

@compute @workgroup_size(256)
fn pack_before_relu(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    let v = x[i];
    let e = params.first + 4u * i;
    let low = to_half_before_relu(v.x, e) | (to_half_before_relu(v.y, e + 1u) << 16u);
    words[i] = vec2<u32>(low, to_half_before_relu(v.z, e + 2u) | (to_half_before_relu(v.w, e + 3u) << 16u));
}

@group(0) @binding(1) var<storage, read> packed: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;

@compute @workgroup_size(256)
fn unpack(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.vec4s) { return; }
    let p = packed[i];
    y[i] = vec4<u32>(from_half(p.x & 0xffffu), from_half(p.x >> 16u), from_half(p.y & 0xffffu), from_half(p.y >> 16u));
}
