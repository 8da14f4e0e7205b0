// prelude.wgsl -- put before every shader: what more than one of them needs

/// Undoes the host's folding of a large count of workgroups over two dimensions.
fn flat_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.x + group.y * groups.x;
}

/// `x`, in a way that no compiler sees to follow from params alone; `index` is any below 2^31 of the lane or workgroup.
/// Mesa's software driver (22.3) compiles a kernel anew at each dispatch where params alone decide a condition or the
/// length of a loop, and keeps them all.
fn unfolded(x: u32, index: u32) -> u32 {
    return x + (index >> 31u);
}

/// WGSL may assume that there are no NaNs, so NaN is seen by its bits.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

/// Where a relu of this value lets a gradient through: where it is neither zero nor negative, so at NaN too.
fn passes(y: vec4<f32>) -> vec4<bool> {
    let bits = bitcast<vec4<u32>>(y);
    return (bits != vec4(0u)) & (bits - vec4(0x80000000u) > vec4(0x7f800000u));
}

/// max(x, 0) that keeps NaN, which max() and a comparison of floats need not.
fn relu(x: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), x, passes(x));
}

/// Whether x is one of the whole numbers below the bound.
fn is_index(x: f32, bound: u32) -> bool {
    return !is_nan(x) && x >= 0.0 && x < f32(bound) && floor(x) == x;
}

/// 1 / (1 + exp(-x)) without overflow.
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

/// log(1 + exp(x)) without overflow.
fn softplus(x: f32) -> f32 {
    let e = exp(-abs(x));
    // log(1 + e) loses all digits of a small e; the series keeps them.
    let log1p = select(log(1.0 + e), e * (1.0 - 0.5 * e), e < 1e-3);
    return max(x, 0.0) + log1p;
}

var<workgroup> tree: array<f32, 256>;

/// Sum over the 256 lanes of a workgroup, always in the same order. All lanes must call it, and get the sum.
fn tree_sum(value: f32, lane: u32) -> f32 {
    tree[lane] = value;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width /= 2u) {
        if (lane < width) { tree[lane] += tree[lane + width]; }
        workgroupBarrier();
    }
    let total = tree[0];
    workgroupBarrier();
    return total;
}

/// Maximum over the 256 lanes of a workgroup. All lanes must call it, and get the maximum.
fn tree_max(value: f32, lane: u32) -> f32 {
    tree[lane] = value;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width /= 2u) {
        if (lane < width) { tree[lane] = max(tree[lane], tree[lane + width]); }
        workgroupBarrier();
    }
    let most = tree[0];
    workgroupBarrier();
    return most;
}
