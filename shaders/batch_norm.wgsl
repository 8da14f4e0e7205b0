// batch_norm.wgsl -- batch normalisation of rows x[groups * rows, C], fused with residual add and relu
// entries   statistics_blocks : x -> blocks[groups * B, 2, C]       statistics : blocks, gamma[C], beta[C] -> stats[2,groups,C], coefs[groups,C]
//           fold : gamma, beta, mean[C], var[C] -> coefs[C]         forward : x, coefs, residual -> y
//           gradient_blocks : x, y, dy, mean -> blocks              gradients : blocks, gamma, mean, var -> coefs, dgamma[C], dbeta[C]
//           backward : x, y, dy, coefs -> dx                        backward_residual : y, dy -> dresidual
//           zero : -> dmean[C] or dvar[C], which are constants
// parallel  reductions: one workgroup per 32 channels and block of rows, then one per 32 channels over all blocks, fixed trees;
//           the others: one thread per vec4 of elements
// numerics  each block is summed around the mean of its first rows, blocks are combined around the first block's mean
// limits    3 KiB of workgroup memory, 7 storage buffers
// twin      src/ops/batch_norm/twin.rs

struct Params {
    rows: u32,        // in a group
    channels: u32,
    groups: u32,
    block_rows: u32,
    blocks: u32,      // in a group
    first: u32,       // block or element that this dispatch starts at
    base: u32,        // element of x that the bindings start at
    count: u32,       // blocks or elements of this dispatch
    var_at: u32,      // where the variances start in `variance`
    relu: u32,
    batch_stats: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

const LANES: u32 = 32u; // neighbouring channels
const PARTS: u32 = 8u;  // shares of the rows

var<workgroup> shares: array<vec2<f32>, 256>;
var<workgroup> centre: array<f32, 32>;

/// Sum over the shares of a channel; the result is with part 0.
fn share_sum(value: vec2<f32>, lane: u32, part: u32) -> vec2<f32> {
    workgroupBarrier();
    shares[part * LANES + lane] = value;
    for (var half = PARTS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (part < half) {
            shares[part * LANES + lane] += shares[(part + half) * LANES + lane];
        }
    }
    return shares[part * LANES + lane];
}

/// First and past-the-last row of a block, counted over all groups.
fn block_rows(block: u32) -> vec2<u32> {
    let group = block / params.blocks;
    let first = (block % params.blocks) * params.block_rows;
    let last = min(first + params.block_rows, params.rows);
    return vec2<u32>(first, last) + group * params.rows;
}

@group(0) @binding(1) var<storage, read> x: array<f32>;                  // [M, C]
@group(0) @binding(2) var<storage, read_write> block_stats: array<f32>;  // [groups B, 2, C]: mean, squared deviations

@compute @workgroup_size(32, 8)
fn statistics_blocks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles = (params.channels + LANES - 1u) / LANES;
    let flat = flat_group(group, groups);
    if (flat >= params.count * tiles) { return; }
    let block = params.first + flat / tiles;
    let c = (flat % tiles) * LANES + local.x;
    let rows = block_rows(block);
    var shift = 0.0;
    var sums = vec2<f32>(0.0);
    if (c < params.channels) {
        let start = min(PARTS, rows.y - rows.x);
        for (var row = rows.x; row < rows.x + start; row += 1u) {
            shift += x[row * params.channels + c - params.base];
        }
        shift /= f32(start);
        for (var row = rows.x + local.y; row < rows.y; row += PARTS) {
            let d = x[row * params.channels + c - params.base] - shift;
            sums += vec2<f32>(d, d * d);
        }
    }
    let total = share_sum(sums, local.x, local.y);
    if (local.y == 0u && c < params.channels) {
        let mean = total.x / f32(rows.y - rows.x);
        block_stats[block * 2u * params.channels + c] = shift + mean;
        block_stats[(block * 2u + 1u) * params.channels + c] = total.y - total.x * mean;
    }
}

@group(0) @binding(1) var<storage, read> all_blocks: array<f32>;     // [groups B, 2, C]
@group(0) @binding(2) var<storage, read> gamma: array<f32>;          // [C]
@group(0) @binding(3) var<storage, read> beta: array<f32>;           // [C]
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;    // [2, groups, C]: mean, biased variance
@group(0) @binding(5) var<storage, read_write> coefs: array<vec4<f32>>; // [groups, C]: mean, gamma rstd, beta, 0

@compute @workgroup_size(32, 8)
fn statistics(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles = (params.channels + LANES - 1u) / LANES;
    let flat = flat_group(workgroup, groups);
    if (flat >= params.groups * tiles) { return; }
    let group = flat / tiles;
    let c = (flat % tiles) * LANES + local.x;
    let inside = c < params.channels;
    let first = group * params.blocks;
    var shift = 0.0;
    var sums = vec2<f32>(0.0);
    if (inside) {
        shift = all_blocks[first * 2u * params.channels + c];
        for (var i = local.y; i < params.blocks; i += PARTS) {
            let rows = block_rows(first + i);
            sums.x += f32(rows.y - rows.x) * (all_blocks[(first + i) * 2u * params.channels + c] - shift);
        }
    }
    let offset = share_sum(sums, local.x, local.y).x / f32(params.rows);
    if (local.y == 0u) { centre[local.x] = shift + offset; }
    workgroupBarrier();
    let mean = centre[local.x];
    sums = vec2<f32>(0.0);
    if (inside) {
        for (var i = local.y; i < params.blocks; i += PARTS) {
            let rows = block_rows(first + i);
            let at = (first + i) * 2u * params.channels + c;
            let d = all_blocks[at] - mean;
            sums.x += all_blocks[at + params.channels] + f32(rows.y - rows.x) * d * d;
        }
    }
    let variance = max(share_sum(sums, local.x, local.y).x / f32(params.rows), 0.0);
    if (local.y == 0u && inside) {
        let at = group * params.channels + c;
        stats[at] = mean;
        stats[params.groups * params.channels + at] = variance;
        coefs[at] = vec4<f32>(mean, gamma[c] / sqrt(variance + params.eps), beta[c], 0.0);
    }
}

@group(0) @binding(1) var<storage, read> fold_gamma: array<f32>;             // [C]
@group(0) @binding(2) var<storage, read> fold_beta: array<f32>;              // [C]
@group(0) @binding(3) var<storage, read> fold_mean: array<f32>;              // [C]
@group(0) @binding(4) var<storage, read> fold_variance: array<f32>;          // [C]
@group(0) @binding(5) var<storage, read_write> fold_coefs: array<vec4<f32>>; // [C]

@compute @workgroup_size(64)
fn fold(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let c = flat_group(group, groups) * 64u + lane;
    if (c >= params.channels) { return; }
    let scale = fold_gamma[c] / sqrt(fold_variance[c] + params.eps);
    fold_coefs[c] = vec4<f32>(fold_mean[c], scale, fold_beta[c], 0.0);
}

/// Where an element's coefficients are: walks over neighbouring elements with one division.
struct Place {
    row: u32,
    c: u32,
    group: u32,
}

fn place(element: u32) -> Place {
    let row = element / params.channels;
    return Place(row, element - row * params.channels, min(row / params.rows, params.groups - 1u));
}

fn next(p: Place) -> Place {
    if (p.c + 1u < params.channels) { return Place(p.row, p.c + 1u, p.group); }
    return Place(p.row + 1u, 0u, min((p.row + 1u) / params.rows, params.groups - 1u));
}

@group(0) @binding(1) var<storage, read> x4: array<vec4<f32>>;            // [M, C] in vec4s
@group(0) @binding(2) var<storage, read> forward_coefs: array<vec4<f32>>; // [groups, C]: mean, scale, beta, 0
@group(0) @binding(3) var<storage, read> residual4: array<vec4<f32>>;     // [M, C], read if RESIDUAL
@group(0) @binding(4) var<storage, read_write> y4: array<vec4<f32>>;      // [M, C]

override RESIDUAL: bool = false;

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (4u * i >= params.count) { return; }
    let value = x4[i];
    var result = vec4<f32>(0.0);
    var p = place(params.first + 4u * i);
    for (var k = 0u; k < 4u; k += 1u) {
        let coef = forward_coefs[p.group * params.channels + p.c];
        result[k] = (value[k] - coef.x) * coef.y + coef.z;
        p = next(p);
    }
    if (RESIDUAL) { result += residual4[i]; }
    if (params.relu != 0u) {
        // Not max(): that may turn NaN into 0.
        result = select(result, vec4<f32>(0.0), result < vec4<f32>(0.0));
    }
    y4[i] = result;
}

@group(0) @binding(1) var<storage, read> grad_x: array<f32>;               // [M, C]
@group(0) @binding(2) var<storage, read> grad_y: array<f32>;               // [M, C], read with relu
@group(0) @binding(3) var<storage, read> grad_dy: array<f32>;              // [M, C]
@group(0) @binding(4) var<storage, read> grad_mean: array<f32>;            // [groups, C]
@group(0) @binding(5) var<storage, read_write> block_grads: array<f32>;    // [groups B, 2, C]: sums of dz, dz (x - mean)

@compute @workgroup_size(32, 8)
fn gradient_blocks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_id) local: vec3<u32>) {
    let tiles = (params.channels + LANES - 1u) / LANES;
    let flat = flat_group(group, groups);
    if (flat >= params.count * tiles) { return; }
    let block = params.first + flat / tiles;
    let c = (flat % tiles) * LANES + local.x;
    let rows = block_rows(block);
    var sums = vec2<f32>(0.0);
    if (c < params.channels) {
        let mean = grad_mean[block / params.blocks * params.channels + c];
        for (var row = rows.x + local.y; row < rows.y; row += PARTS) {
            let at = row * params.channels + c - params.base;
            var dz = grad_dy[at];
            if (params.relu != 0u) { dz = select(0.0, dz, grad_y[at] > 0.0); }
            sums += vec2<f32>(dz, dz * (grad_x[at] - mean));
        }
    }
    let total = share_sum(sums, local.x, local.y);
    if (local.y == 0u && c < params.channels) {
        block_grads[block * 2u * params.channels + c] = total.x;
        block_grads[(block * 2u + 1u) * params.channels + c] = total.y;
    }
}

@group(0) @binding(1) var<storage, read> all_grads: array<f32>;              // [groups B, 2, C]
@group(0) @binding(2) var<storage, read> scale_gamma: array<f32>;            // [C]
@group(0) @binding(3) var<storage, read> mean_of: array<f32>;                // [groups, C]
@group(0) @binding(4) var<storage, read> variance: array<f32>;               // from var_at: [groups, C]
@group(0) @binding(5) var<storage, read_write> grad_coefs: array<vec4<f32>>; // [groups, C]: mean, gamma rstd, mean dz, slope
@group(0) @binding(6) var<storage, read_write> dgamma: array<f32>;           // [C]
@group(0) @binding(7) var<storage, read_write> dbeta: array<f32>;            // [C]

@compute @workgroup_size(32, 8)
fn gradients(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_id) local: vec3<u32>) {
    let c = flat_group(workgroup, groups) * LANES + local.x;
    let inside = c < params.channels;
    var whole = vec2<f32>(0.0);
    for (var group = 0u; group < params.groups; group += 1u) {
        var sums = vec2<f32>(0.0);
        if (inside) {
            for (var i = local.y; i < params.blocks; i += PARTS) {
                let at = (group * params.blocks + i) * 2u * params.channels + c;
                sums += vec2<f32>(all_grads[at], all_grads[at + params.channels]);
            }
        }
        let total = share_sum(sums, local.x, local.y);
        if (local.y == 0u && inside) {
            let at = group * params.channels + c;
            let rstd = 1.0 / sqrt(variance[params.var_at + at] + params.eps);
            whole += vec2<f32>(total.x, total.y * rstd);
            let share = select(0.0, 1.0 / f32(params.rows), params.batch_stats != 0u);
            grad_coefs[at] =
                vec4<f32>(mean_of[at], scale_gamma[c] * rstd, total.x * share, total.y * share * rstd * rstd);
        }
    }
    if (local.y == 0u && inside) {
        dbeta[c] = whole.x;
        dgamma[c] = whole.y;
    }
}

@group(0) @binding(1) var<storage, read> back_x: array<vec4<f32>>;        // [M, C] in vec4s
@group(0) @binding(2) var<storage, read> back_y: array<vec4<f32>>;        // [M, C], read with relu
@group(0) @binding(3) var<storage, read> back_dy: array<vec4<f32>>;       // [M, C]
@group(0) @binding(4) var<storage, read> back_coefs: array<vec4<f32>>;    // [groups, C]: mean, scale, mean dz, slope
@group(0) @binding(5) var<storage, read_write> dx: array<vec4<f32>>;      // [M, C]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (4u * i >= params.count) { return; }
    let value = back_x[i];
    var dz = back_dy[i];
    if (params.relu != 0u) { dz = select(vec4<f32>(0.0), dz, back_y[i] > vec4<f32>(0.0)); }
    var result = vec4<f32>(0.0);
    var p = place(params.first + 4u * i);
    for (var k = 0u; k < 4u; k += 1u) {
        let coef = back_coefs[p.group * params.channels + p.c];
        result[k] = coef.y * (dz[k] - coef.z - (value[k] - coef.x) * coef.w);
        p = next(p);
    }
    dx[i] = result;
}

@group(0) @binding(1) var<storage, read> residual_y: array<vec4<f32>>;          // [M, C], read with relu
@group(0) @binding(2) var<storage, read> residual_dy: array<vec4<f32>>;         // [M, C]
@group(0) @binding(3) var<storage, read_write> dresidual: array<vec4<f32>>;     // [M, C]

@compute @workgroup_size(256)
fn backward_residual(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (4u * i >= params.count) { return; }
    var dz = residual_dy[i];
    if (params.relu != 0u) { dz = select(vec4<f32>(0.0), dz, residual_y[i] > vec4<f32>(0.0)); }
    dresidual[i] = dz;
}

@group(0) @binding(1) var<storage, read_write> constant_grad: array<f32>; // [C]

@compute @workgroup_size(64)
fn zero(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let c = flat_group(group, groups) * 64u + lane;
    if (c < params.channels) { constant_grad[c] = 0.0; }
}
