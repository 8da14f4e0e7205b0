// batch_norm.wgsl -- batch normalisation of rows x[groups * rows, C], fused with residual add and relu
// entries   statistics_blocks : x -> blocks[groups * B, 2, S]
//           merge_blocks : blocks of any rows, gamma[C], beta[C] -> coefs[4,groups,C]: mean, variance, scale, shift
//           given : mean[C], gamma, beta, var[C] -> coefs[4,1,C]
//           forward : x, coefs, residual -> y
//           gradient_blocks : x, y or coefs, dy, coefs, gamma -> blocks[groups * B, 2, S], then factors[groups, 3, S]
//           backward : x, y or coefs, dy, blocks -> dx, dresidual, dgamma[C], dbeta[C]
//           forward_odd, backward_odd : the same for any C, the others need VEC off
// parallel  one workgroup per 32 channels and block of rows: 8 vec4s of channels, 32 shares of the rows, fixed trees.
//           backward first combines all blocks of its channels, so that no pass of its own is needed; the workgroups of the
//           very first block also write what belongs to the channels. given: one thread per vec4 of channels
// numerics  each block is summed around the mean of its first rows, blocks are combined around the first block's mean
// limits    8 KiB of workgroup memory, 8 storage buffers; S is C rounded up to a multiple of 4
// twin      src/engine/ops/batch_norm/twin.rs

struct Params {
    rows: u32,        // in a group
    channels: u32,
    groups: u32,
    block_rows: u32,
    blocks: u32,      // in a group
    first: u32,       // block that this dispatch starts at
    base: u32,        // element of x that the bindings start at
    count: u32,       // blocks of this dispatch
    stride: u32,      // S
    batch_stats: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

override VEC: bool = true; // C divides by 4
override RELU: bool = false;
override RESIDUAL: bool = false;
override COEFS: bool = false; // gradient_blocks and backward: y was not kept, and coefs are bound for it

override QUADS: u32 = 8u;           // neighbouring vec4s of channels
override PARTS: u32 = 256u / QUADS; // shares of the rows

/// What a lane works on.
struct Place {
    block: u32,  // counted over all groups
    group: u32,
    c: u32,      // first of four channels
    inside: bool,
    part: u32,   // share of the rows
    row: u32,    // first row of the block
    end: u32,    // past its last
}

fn place(flat: u32, lane: u32) -> Place {
    let tiles = (params.channels + 4u * QUADS - 1u) / (4u * QUADS);
    let block = params.first + flat / tiles;
    let group = block / params.blocks;
    let row = block % params.blocks * params.block_rows;
    let end = min(row + params.block_rows, params.rows);
    let c = (flat % tiles * QUADS + lane % QUADS) * 4u;
    return Place(block, group, c, c < params.channels, lane / QUADS, group * params.rows + row, group * params.rows + end);
}

/// Whether folding has made more workgroups than there is work for.
fn idle(flat: u32) -> bool {
    return flat >= params.count * ((params.channels + 4u * QUADS - 1u) / (4u * QUADS));
}

/// Whether a workgroup has the very first block. It follows from `flat` and params alone, so that every compiler sees that
/// all lanes agree: there are barriers behind it.
fn first_block(flat: u32) -> bool {
    return flat < (params.channels + 4u * QUADS - 1u) / (4u * QUADS) && unfolded(params.first, flat) == 0u;
}

/// The element in the bindings where a row's four channels begin.
fn element(row: u32, c: u32) -> u32 {
    return row * params.channels + c - params.base;
}

struct Pair { a: vec4<f32>, b: vec4<f32> }

var<workgroup> share_a: array<vec4<f32>, 256>;
var<workgroup> share_b: array<vec4<f32>, 256>;

/// Sums over the shares of the rows, for each lane those of its channels. All lanes must call it.
fn share_sum(value: Pair, lane: u32) -> Pair {
    workgroupBarrier();
    share_a[lane] = value.a;
    share_b[lane] = value.b;
    for (var width = QUADS * PARTS / 2u; width >= QUADS; width /= 2u) {
        workgroupBarrier();
        if (lane < width) {
            share_a[lane] += share_a[lane + width];
            share_b[lane] += share_b[lane + width];
        }
    }
    workgroupBarrier();
    return Pair(share_a[lane % QUADS], share_b[lane % QUADS]);
}

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // [M, C]
@group(0) @binding(7) var<storage, read_write> blocks_out: array<vec4<f32>>; // [groups B, 2, S]

/// Four neighbours of x. Behind the end of a row lie those of the next, which no one uses.
fn x_quad(i: u32) -> vec4<f32> {
    if (VEC) { return x[i / 4u]; }
    return vec4(x[i / 4u][i % 4u], x[(i + 1u) / 4u][(i + 1u) % 4u], x[(i + 2u) / 4u][(i + 2u) % 4u], x[(i + 3u) / 4u][(i + 3u) % 4u]);
}

/// Deviations from an infinite mean of a few rows would be NaN, and with them the mean of all, which is infinite.
fn finite_or_zero(v: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), v, (bitcast<vec4<u32>>(v) & vec4(0x7f800000u)) < vec4(0x7f800000u));
}

@compute @workgroup_size(256)
fn statistics_blocks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) lane: u32) {
    let flat = flat_group(group, groups);
    if (idle(flat)) { return; }
    let at = place(flat, lane);
    var shift = vec4(0.0);
    var sums = Pair(vec4(0.0), vec4(0.0));
    if (at.inside) {
        let start = min(8u, at.end - at.row);
        for (var row = at.row; row < at.row + start; row++) { shift += x_quad(element(row, at.c)); }
        shift = finite_or_zero(shift / f32(start));
        for (var row = at.row + at.part; row < at.end; row += PARTS) {
            let d = x_quad(element(row, at.c)) - shift;
            sums.a += d;
            sums.b += d * d;
        }
    }
    let total = share_sum(sums, lane);
    if (at.part == 0u && at.inside) {
        let mean = total.a / f32(at.end - at.row);
        let to = (at.block * 2u * params.stride + at.c) / 4u;
        blocks_out[to] = shift + mean;
        // Squares over f32's range stay infinite: infinity less infinity would be NaN.
        let infinite = bitcast<vec4<u32>>(total.b) == vec4(0x7f800000u);
        blocks_out[to + params.stride / 4u] = select(total.b - total.a * mean, total.b, infinite);
    }
}

@group(0) @binding(2) var<storage, read> blocks: array<vec4<f32>>;         // [groups B, 2, S]: mean, squared deviations
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;          // [C]
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;           // [C]
@group(0) @binding(6) var<storage, read_write> coefs_out: array<f32>;      // [4, groups, C]

fn block_quad(block: u32, which: u32, c: u32) -> vec4<f32> {
    return blocks[((block * 2u + which) * params.stride + c) / 4u];
}

fn rows_in_block(i: u32) -> f32 {
    return f32(min(params.block_rows, params.rows - i * params.block_rows));
}

/// Mean and variance of a group, from its blocks. All lanes must call it.
fn statistics(at: Place, lane: u32) -> Pair {
    let first = at.group * params.blocks;
    var shift = vec4(0.0);
    var sums = Pair(vec4(0.0), vec4(0.0));
    if (at.inside) {
        shift = finite_or_zero(block_quad(first, 0u, at.c));
        for (var i = at.part; i < params.blocks; i += PARTS) {
            sums.a += rows_in_block(i) * (block_quad(first + i, 0u, at.c) - shift);
        }
    }
    let mean = shift + share_sum(sums, lane).a / f32(params.rows);
    sums.a = vec4(0.0);
    if (at.inside) {
        for (var i = at.part; i < params.blocks; i += PARTS) {
            let d = block_quad(first + i, 0u, at.c) - mean;
            sums.a += block_quad(first + i, 1u, at.c) + rows_in_block(i) * d * d;
        }
    }
    // Rounding may make it negative; NaN and infinity stay.
    return Pair(mean, relu(share_sum(sums, lane).a / f32(params.rows)));
}

/// The coefficients of four channels from their mean and variance.
fn store_coefs(group: u32, c: u32, both: Pair) {
    let scale = gamma[c / 4u] / sqrt(both.b + params.eps);
    let shift = beta[c / 4u];
    let to = group * params.channels + c;
    let size = params.groups * params.channels;
    for (var k = 0u; k < min(4u, params.channels - c); k++) {
        coefs_out[to + k] = both.a[k];
        coefs_out[size + to + k] = both.b[k];
        coefs_out[2u * size + to + k] = scale[k];
        coefs_out[3u * size + to + k] = shift[k];
    }
}

@compute @workgroup_size(256)
fn merge_blocks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let tiles = (params.channels + 4u * QUADS - 1u) / (4u * QUADS);
    let flat = flat_group(group, groups);
    if (flat >= params.groups * tiles) { return; }
    let c = (flat % tiles * QUADS + lane % QUADS) * 4u;
    let at = Place(0u, flat / tiles, c, c < params.channels, lane / QUADS, 0u, 0u);
    let both = statistics(at, lane);
    if (!at.inside || at.part > 0u) { return; }
    store_coefs(at.group, c, both);
}

@group(0) @binding(2) var<storage, read> given_mean: array<vec4<f32>>;     // [C]
@group(0) @binding(5) var<storage, read> given_variance: array<vec4<f32>>; // [C]

@compute @workgroup_size(64)
fn given(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let c = (flat_group(group, groups) * 64u + lane) * 4u;
    if (c >= params.channels) { return; }
    store_coefs(0u, c, Pair(given_mean[c / 4u], given_variance[c / 4u]));
}

@group(0) @binding(2) var<storage, read> coefs: array<vec4<f32>>;    // [4, groups, C]
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>; // [M, C], read if RESIDUAL
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;  // [M, C]
@group(0) @binding(7) var<storage, read_write> y_odd: array<f32>;    // the same

/// y = scale (x - mean) + shift
struct Coefs { mean: vec4<f32>, scale: vec4<f32>, shift: vec4<f32> }

/// Where a group's four channels begin in one of the four lists of coefs.
fn coef_at(list: u32, at: Place) -> u32 { return (list * params.groups + at.group) * params.channels + at.c; }

fn coef_quad(i: u32) -> vec4<f32> {
    if (VEC) { return coefs[i / 4u]; }
    return vec4(coefs[i / 4u][i % 4u], coefs[(i + 1u) / 4u][(i + 1u) % 4u], coefs[(i + 2u) / 4u][(i + 2u) % 4u], coefs[(i + 3u) / 4u][(i + 3u) % 4u]);
}

fn residual_quad(i: u32) -> vec4<f32> {
    if (VEC) { return residual[i / 4u]; }
    return vec4(residual[i / 4u][i % 4u], residual[(i + 1u) / 4u][(i + 1u) % 4u], residual[(i + 2u) / 4u][(i + 2u) % 4u], residual[(i + 3u) / 4u][(i + 3u) % 4u]);
}

/// y at four neighbours.
fn normalised(i: u32, by: Coefs) -> vec4<f32> {
    var z = (x_quad(i) - by.mean) * by.scale + by.shift;
    if (RESIDUAL) { z += residual_quad(i); }
    if (RELU) { z = relu(z); }
    return z;
}

fn coefs_of(at: Place) -> Coefs {
    return Coefs(coef_quad(coef_at(0u, at)), coef_quad(coef_at(2u, at)), coef_quad(coef_at(3u, at)));
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let flat = flat_group(group, groups);
    let at = place(flat, lane);
    if (idle(flat) || !at.inside) { return; }
    let by = coefs_of(at);
    for (var row = at.row + at.part; row < at.end; row += PARTS) {
        let i = element(row, at.c);
        y[i / 4u] = normalised(i, by);
    }
}

@compute @workgroup_size(256)
fn forward_odd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let flat = flat_group(group, groups);
    let at = place(flat, lane);
    if (idle(flat) || !at.inside) { return; }
    let by = coefs_of(at);
    for (var row = at.row + at.part; row < at.end; row += PARTS) {
        let i = element(row, at.c);
        let z = normalised(i, by);
        for (var k = 0u; k < min(4u, params.channels - at.c); k++) { y_odd[i + k] = z[k]; }
    }
}

@group(0) @binding(2) var<storage, read> value: array<vec4<f32>>;           // y [M, C], read with RELU; or coefs [4, groups, C]
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;              // [M, C]
@group(0) @binding(4) var<storage, read> statistics_of: array<f32>;         // [4, groups, C]: coefs, of which mean and variance
@group(0) @binding(6) var<storage, read> scale_gamma: array<vec4<f32>>;     // [C]

fn value_quad(i: u32) -> vec4<f32> {
    if (VEC) { return value[i / 4u]; }
    return vec4(value[i / 4u][i % 4u], value[(i + 1u) / 4u][(i + 1u) % 4u], value[(i + 2u) / 4u][(i + 2u) % 4u], value[(i + 3u) / 4u][(i + 3u) % 4u]);
}

fn dy_quad(i: u32) -> vec4<f32> {
    if (VEC) { return dy[i / 4u]; }
    return vec4(dy[i / 4u][i % 4u], dy[(i + 1u) / 4u][(i + 1u) % 4u], dy[(i + 2u) / 4u][(i + 2u) % 4u], dy[(i + 3u) / 4u][(i + 3u) % 4u]);
}

/// What tells which results the relu let through, if not they themselves.
fn mask_given(at: Place) -> Coefs {
    if (!COEFS || !at.inside) { return Coefs(vec4(0.0), vec4(0.0), vec4(0.0)); }
    return Coefs(value_quad(coef_at(0u, at)), value_quad(coef_at(2u, at)), value_quad(coef_at(3u, at)));
}

/// The gradient behind the relu.
fn dz_quad(i: u32, by: Coefs) -> vec4<f32> {
    let d = dy_quad(i);
    if (!RELU) { return d; }
    if (COEFS) { return select(vec4(0.0), d, passes((x_quad(i) - by.mean) * by.scale + by.shift)); }
    return select(vec4(0.0), d, passes(value_quad(i)));
}

/// Where in the blocks' tensor a group's factors are: mean, 1 / sqrt(var + eps), gamma times that.
fn factors_at(group: u32, c: u32) -> u32 {
    return ((params.groups * params.blocks * 2u + group * 3u) * params.stride + c) / 4u;
}

@compute @workgroup_size(256)
fn gradient_blocks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) lane: u32) {
    let flat = flat_group(group, groups);
    if (idle(flat)) { return; }
    let at = place(flat, lane);
    let s = at.group * params.channels + at.c;
    let by = mask_given(at);
    var mean = vec4(0.0);
    var sums = Pair(vec4(0.0), vec4(0.0));
    if (at.inside) {
        for (var k = 0u; k < min(4u, params.channels - at.c); k++) { mean[k] = statistics_of[s + k]; }
        for (var row = at.row + at.part; row < at.end; row += PARTS) {
            let i = element(row, at.c);
            let dz = dz_quad(i, by);
            sums.a += dz;
            sums.b += dz * (x_quad(i) - mean);
        }
    }
    let total = share_sum(sums, lane);
    if (at.part == 0u && at.inside) {
        let to = (at.block * 2u * params.stride + at.c) / 4u;
        blocks_out[to] = total.a;
        blocks_out[to + params.stride / 4u] = total.b;
        if (at.block % params.blocks == 0u) {
            let size = params.groups * params.channels;
            var variance = vec4(0.0);
            for (var k = 0u; k < min(4u, params.channels - at.c); k++) { variance[k] = statistics_of[size + s + k]; }
            let rstd = 1.0 / sqrt(variance + params.eps);
            let factor = factors_at(at.group, at.c);
            blocks_out[factor] = mean;
            blocks_out[factor + params.stride / 4u] = rstd;
            blocks_out[factor + params.stride / 2u] = scale_gamma[at.c / 4u] * rstd;
        }
    }
}

@group(0) @binding(4) var<storage, read> grads: array<vec4<f32>>;           // [groups B, 2, S] and factors [groups, 3, S]
@group(0) @binding(5) var<storage, read_write> dx: array<vec4<f32>>;        // [M, C]
@group(0) @binding(5) var<storage, read_write> dx_odd: array<f32>;          // the same
@group(0) @binding(6) var<storage, read_write> dresidual: array<vec4<f32>>; // [M, C], written if RESIDUAL
@group(0) @binding(6) var<storage, read_write> dresidual_odd: array<f32>;   // the same
@group(0) @binding(7) var<storage, read_write> dgamma: array<f32>;          // [C]
@group(0) @binding(8) var<storage, read_write> dbeta: array<f32>;           // [C]

/// Sums of dz and of dz (x - mean) over a group, from its blocks. All lanes must call it.
fn gradient_sums(group: u32, at: Place, lane: u32) -> Pair {
    var sums = Pair(vec4(0.0), vec4(0.0));
    if (at.inside) {
        for (var i = at.part; i < params.blocks; i += PARTS) {
            let first = ((group * params.blocks + i) * 2u * params.stride + at.c) / 4u;
            sums.a += grads[first];
            sums.b += grads[first + params.stride / 4u];
        }
    }
    return share_sum(sums, lane);
}

/// dx = scale (dz - offset - (x - mean) slope)
struct Gradient { mean: vec4<f32>, scale: vec4<f32>, offset: vec4<f32>, slope: vec4<f32> }

/// All lanes must call it.
fn gradient(at: Place, lane: u32) -> Gradient {
    let sums = gradient_sums(at.group, at, lane);
    let factor = factors_at(at.group, select(0u, at.c, at.inside));
    let rstd = grads[factor + params.stride / 4u];
    let share = 1.0 / f32(params.rows);
    return Gradient(grads[factor], grads[factor + params.stride / 2u], sums.a * share, sums.b * share * rstd * rstd);
}

fn dx_quad(i: u32, dz: vec4<f32>, by: Gradient) -> vec4<f32> {
    // Not by an offset and a slope of 0, whose products with infinity are NaN.
    if (unfolded(params.batch_stats, i) == 0u) { return by.scale * dz; }
    return by.scale * (dz - by.offset - (x_quad(i) - by.mean) * by.slope);
}

/// dgamma and dbeta, summed over the groups; by the workgroups of the very first block.
fn store_vectors(flat: u32, at: Place, lane: u32) {
    var whole = Pair(vec4(0.0), vec4(0.0));
    for (var group = 0u; group < unfolded(params.groups, flat); group++) {
        let sums = gradient_sums(group, at, lane);
        let rstd = grads[factors_at(group, select(0u, at.c, at.inside)) + params.stride / 4u];
        whole.a += sums.a;
        whole.b += sums.b * rstd;
    }
    if (at.part == 0u && at.inside) {
        for (var k = 0u; k < min(4u, params.channels - at.c); k++) {
            dbeta[at.c + k] = whole.a[k];
            dgamma[at.c + k] = whole.b[k];
        }
    }
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let flat = flat_group(group, groups);
    if (idle(flat)) { return; }
    let at = place(flat, lane);
    let g = gradient(at, lane);
    let by = mask_given(at);
    if (first_block(flat)) { store_vectors(flat, at, lane); }
    if (!at.inside) { return; }
    for (var row = at.row + at.part; row < at.end; row += PARTS) {
        let i = element(row, at.c);
        let dz = dz_quad(i, by);
        dx[i / 4u] = dx_quad(i, dz, g);
        if (RESIDUAL) { dresidual[i / 4u] = dz; }
    }
}

@compute @workgroup_size(256)
fn backward_odd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let flat = flat_group(group, groups);
    if (idle(flat)) { return; }
    let at = place(flat, lane);
    let g = gradient(at, lane);
    let by = mask_given(at);
    if (first_block(flat)) { store_vectors(flat, at, lane); }
    if (!at.inside) { return; }
    for (var row = at.row + at.part; row < at.end; row += PARTS) {
        let i = element(row, at.c);
        let dz = dz_quad(i, by);
        let d = dx_quad(i, dz, g);
        for (var k = 0u; k < min(4u, params.channels - at.c); k++) {
            dx_odd[i + k] = d[k];
            if (RESIDUAL) { dresidual_odd[i + k] = dz[k]; }
        }
    }
}
