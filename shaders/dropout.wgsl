// dropout.wgsl -- random elements or channels set to 0
// entries   apply : x[n] -> y[n], or dy -> dx
// parallel  one thread per element, which draws for itself
// numerics  whole numbers decide: the generator of src/rng.rs, out(n) = mix(mix(k0 + n GAMMA) ^ k1), in two words of 32 bits
// limits    2 bindings; blocks of rows are independent: k0 is that of a block's first draw
// twin      src/engine/ops/dropout.rs

struct Params {
    k0: vec2<u32>,      // the lower word first
    k1: vec2<u32>,
    count: u32,         // threads
    row: u32,           // element i is decided by draw i / row * draws + i % draws
    draws: u32,
    bound: u32,         // below this the upper word of a draw drops
    kept: f32,          // what is kept is multiplied by this
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [n]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;       // [n]

/// The whole product of two words.
fn product(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return vec2((other << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u));
}

/// The lower 64 bits of a product.
fn times(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = product(a.x, b.x);
    return vec2(low.x, low.y + a.x * b.y + a.y * b.x);
}

/// `a ^ (a >> bits)`, for 1 to 31 bits.
fn folded(a: vec2<u32>, bits: u32) -> vec2<u32> {
    return a ^ vec2((a.x >> bits) | (a.y << (32u - bits)), a.y >> bits);
}

/// SplitMix64's finaliser.
fn mix64(a: vec2<u32>) -> vec2<u32> {
    let b = times(folded(a, 30u), vec2(0x1CE4E5B9u, 0xBF58476Du));
    return folded(times(folded(b, 27u), vec2(0x133111EBu, 0x94D049BBu)), 31u);
}

/// Draw `n` of the stream.
fn draw(n: u32) -> vec2<u32> {
    let ahead = times(vec2(n, 0u), vec2(0x7F4A7C15u, 0x9E3779B9u));
    let low = params.k0.x + ahead.x;
    let carry = select(0u, 1u, low < ahead.x);
    return mix64(mix64(vec2(low, params.k0.y + ahead.y + carry)) ^ params.k1);
}

@compute @workgroup_size(256)
fn apply(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let drawn = draw(i / params.row * params.draws + i % params.draws);
    y[i] = x[i] * select(params.kept, 0.0, drawn.y < params.bound);
}
