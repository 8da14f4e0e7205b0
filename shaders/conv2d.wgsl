// conv2d.wgsl -- convolution, images NHWC and weights OHWI, as an implicit matrix product of m rows, n columns, k steps
// entries   tiled     : x, w, bias[n], y or parts[p,m,n]              n divides by 4
//           tiled_add : x, w -> y, which it adds to
//           tiled_odd : as tiled for any n
//           tiled_statistics : as tiled, and blocks[m / 8 TY,2,n] instead of reading a bias: mean and squared
//                              deviations of each column in each tile
//           direct    : as tiled_odd, for adapters that are CPUs
//           all of them with NORM : x is normalised as it is read, relu(scale[group,c] (x - mean[group,c]) + shift[group,c])
//           sum_parts : parts[p,m,n], bias[n] -> y, but for grad_weight, whose parts are summed by sum_parts.wgsl
//           KIND 0, forward     : rows are cells (n,oh,ow), columns o, steps (kh,kw,i); x image, w weight
//           KIND 1, grad_input  : rows are cells (n,ih,iw) of one phase, columns i, steps (kh,kw,o); x is dy, w weight
//           KIND 2, grad_weight : rows are o, columns (kh,kw,i), steps are cells (n,oh,ow); x image, w is dy
// parallel  TY x TX threads own a tile of 8 TY rows and 8 TX columns, 8x8 of it each; a long k is cut into parts
//           of `part` steps, one per group, that are added in ascending order. With stride s, grad_input is s*s
//           dense products, one per phase (ih mod s, iw mod s), each over the taps that reach that phase
// numerics  f32 fma in ascending k inside a part
// limits    512 (TY + TX) bytes of workgroup memory, 5 bindings, TY and TX powers of two from 4 to 16
// twin      src/engine/ops/conv2d.rs

struct Params {
    m: u32,
    n: u32,
    k: u32,
    part: u32,  // steps of k a group takes, a multiple of BK
    parts: u32, // groups that share a tile
    bias: u32,  // 1: add the bias
    cells: vec2<u32>, // the grid of cells in one image: height, width
    image: vec2<u32>, // x, the image that cells look at through taps: height, width
    image_c: u32,     // and channels
    w_taps: i32,      // grad_input: taps of the weight
    taps: vec2<u32>,
    stride: vec2<i32>,   // pixels of x between two cells
    first: vec2<i32>,    // pixel of x that cell 0 sees through tap 0
    dilation: vec2<i32>, // pixels of x between two taps
    w_step: vec2<i32>, // grad_input: taps of the weight between two taps,
    w_first: i32,      // and which of them is tap 0
    y_image: u32,      // pixels of y: in an image,
    y_step: vec2<u32>, // between two cells,
    y_first: u32,      // before cell 0
    y_part: u32, // parts before this dispatch's
    group: u32,  // NORM: elements of x in a group,
    channels: u32, // and elements of one list of `norm`: groups times image_c
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [images,image_h,image_w,image_c]
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>; // [o,kh,kw,i] or [images,cells_h,cells_w,m]
@group(0) @binding(3) var<storage, read> bias: array<f32>;    // [n]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [pixels,n], [m,n] or [parts,m,n]
@group(0) @binding(4) var<storage, read_write> y_odd: array<f32>;   // the same
@group(0) @binding(5) var<storage, read> norm: array<vec4<f32>>; // [4,groups,image_c]: mean, variance, scale, shift

override KIND: u32 = 0u;
override NORM: bool = false;    // x is normalised on load; X_VEC is on
override GROUPED: bool = false; // NORM: images belong to more than one group
override TY: u32 = 16u;
override TX: u32 = 16u;
override X_VEC: bool = true; // image_c divides by 4
override W_VEC: bool = true; // rows of w in memory divide by 4
const FORWARD: u32 = 0u;
const GRAD_INPUT: u32 = 1u;
const GRAD_WEIGHT: u32 = 2u;
const BK: u32 = 16u; // steps of k in workgroup memory

override THREADS: u32 = TY * TX;
var<workgroup> a_tile: array<vec4<f32>, BK * TY * 2u>; // [BK, 8 TY]
var<workgroup> b_tile: array<vec4<f32>, BK * TX * 2u>; // [BK, 8 TX]

/// A number in three digits: a tap as (channel, kw, kh) or a cell as (w, h, image).
struct Digits { low: u32, mid: u32, high: u32 }

fn carried(d: Digits, base: vec2<u32>) -> Digits {
    var e = d;
    if e.low >= base.x {
        e.mid += e.low / base.x;
        e.low %= base.x;
        if e.mid >= base.y {
            e.high += e.mid / base.y;
            e.mid %= base.y;
        }
    }
    return e;
}

fn digits(i: u32, base: vec2<u32>) -> Digits { return carried(Digits(i, 0u, 0u), base); }
fn ahead(d: Digits, by: u32, base: vec2<u32>) -> Digits { return carried(Digits(d.low + by, d.mid, d.high), base); }
fn tap_base() -> vec2<u32> { return vec2(params.image_c, params.taps.y); }
fn cell_base() -> vec2<u32> { return params.cells.yx; }
fn step_base() -> vec2<u32> { return select(tap_base(), cell_base(), KIND == GRAD_WEIGHT); }

/// Where a cell looks through tap 0: row and column, and the first element of that pixel in x (any if outside).
fn corner(cell: Digits) -> vec3<i32> {
    let at = vec2<i32>(vec2(cell.mid, cell.low)) * params.stride + params.first;
    return vec3(at, ((i32(cell.high * params.image.x) + at.x) * i32(params.image.y) + at.y) * i32(params.image_c));
}

/// A corner outside of every image.
const NOWHERE: vec3<i32> = vec3(-0x40000000, 0, 0);

/// Whether a tap of a cell lies in the image, and the element of x.
struct Seen { inside: bool, i: u32 }

fn seen(c: vec3<i32>, tap: Digits) -> Seen {
    let away = vec2<i32>(vec2(tap.high, tap.mid)) * params.dilation;
    let elements = (away.x * i32(params.image.y) + away.y) * i32(params.image_c) + i32(tap.low);
    let inside = all(vec2<u32>(c.xy + away) < params.image) && tap.high < params.taps.x;
    return Seen(inside, u32(c.z + elements));
}

/// Four channels of x, from element `i` and from `channel` of its pixel on, normalised.
fn normalised(v: vec4<f32>, i: u32, channel: u32) -> vec4<f32> {
    if !NORM { return v; }
    var at = channel / 4u;
    if GROUPED { at += i / params.group * (params.image_c / 4u); }
    let list = params.channels / 4u;
    return relu((v - norm[at]) * norm[at + 2u * list] + norm[at + 3u * list]);
}

fn x_one(c: vec3<i32>, tap: Digits) -> f32 {
    let s = seen(c, tap);
    let i = select(0u, s.i, s.inside);
    return select(0.0, x[i / 4u][i % 4u], s.inside);
}

/// Four taps in a row, seen from one cell; zero outside.
fn x_quad(c: vec3<i32>, tap: Digits) -> vec4<f32> {
    if X_VEC {
        let s = seen(c, tap);
        let i = select(0u, s.i, s.inside);
        return select(vec4(0.0), normalised(x[i / 4u], i, tap.low), s.inside);
    }
    let base = tap_base();
    return vec4(x_one(c, tap), x_one(c, ahead(tap, 1u, base)), x_one(c, ahead(tap, 2u, base)), x_one(c, ahead(tap, 3u, base)));
}

/// Four neighbours of w from element `first` on, `left` of them in the same row; zero outside.
fn w_quad(first: u32, left: i32) -> vec4<f32> {
    if W_VEC {
        let quad = w[select(0u, first / 4u, left > 0)];
        return select(vec4(0.0), quad, left > 0);
    }
    var v = vec4(0.0);
    if left > 0 { v.x = w[first / 4u][first % 4u]; }
    if left > 1 { v.y = w[(first + 1u) / 4u][(first + 1u) % 4u]; }
    if left > 2 { v.z = w[(first + 2u) / 4u][(first + 2u) % 4u]; }
    if left > 3 { v.w = w[(first + 3u) / 4u][(first + 3u) % 4u]; }
    return v;
}

/// forward: four steps from `step` on in weight row `o`.
fn w_forward(o: u32, step: u32) -> vec4<f32> {
    return w_quad(o * params.k + step, select(0, i32(params.k) - i32(step), o < params.n));
}

/// grad_input: four columns from `column` on at step `tap`.
fn w_back(tap: Digits, column: u32) -> vec4<f32> {
    let at = params.w_first + i32(tap.high) * params.w_step.x + i32(tap.mid) * params.w_step.y;
    let row = u32(i32(tap.low) * params.w_taps + at);
    return w_quad(row * params.n + column, select(0, i32(params.n) - i32(column), tap.high < params.taps.x));
}

/// grad_weight: four rows from `row` on at step `cell`.
fn dy_quad(cell: u32, row: u32) -> vec4<f32> {
    return w_quad(cell * params.m + row, select(0, i32(params.m) - i32(row), cell < params.k));
}

/// Where a group works: its part of k and the first row and column of its tile.
struct Place { part: u32, row: u32, column: u32 }

fn place(group: u32, height: u32, width: u32) -> Place {
    let across = (params.n + width - 1u) / width;
    let down = (params.m + height - 1u) / height;
    let tile = group / across;
    return Place(tile / down, tile % down * height, group % across * width);
}

fn row_corner(row: u32) -> vec3<i32> {
    if row >= params.m { return NOWHERE; }
    return corner(digits(row, cell_base()));
}

fn step_corner(cell: Digits, step: u32) -> vec3<i32> {
    let c = corner(cell);
    return vec3(select(NOWHERE.x, c.x, step < params.k), c.y, c.z);
}

/// One step of k: 64 multiply-adds on 16 values of the tiles. Every index of `acc` is a constant, here and where it is read:
/// one that is not would put the whole array in memory instead of registers.
fn step(ia: u32, ib: u32, acc: ptr<function, array<vec4<f32>, 16>>) {
    let a0 = a_tile[ia];
    let a1 = a_tile[ia + TY];
    let b0 = b_tile[ib];
    let b1 = b_tile[ib + TX];
    (*acc)[0] = fma(vec4(a0.x), b0, (*acc)[0]);
    (*acc)[1] = fma(vec4(a0.x), b1, (*acc)[1]);
    (*acc)[2] = fma(vec4(a0.y), b0, (*acc)[2]);
    (*acc)[3] = fma(vec4(a0.y), b1, (*acc)[3]);
    (*acc)[4] = fma(vec4(a0.z), b0, (*acc)[4]);
    (*acc)[5] = fma(vec4(a0.z), b1, (*acc)[5]);
    (*acc)[6] = fma(vec4(a0.w), b0, (*acc)[6]);
    (*acc)[7] = fma(vec4(a0.w), b1, (*acc)[7]);
    (*acc)[8] = fma(vec4(a1.x), b0, (*acc)[8]);
    (*acc)[9] = fma(vec4(a1.x), b1, (*acc)[9]);
    (*acc)[10] = fma(vec4(a1.y), b0, (*acc)[10]);
    (*acc)[11] = fma(vec4(a1.y), b1, (*acc)[11]);
    (*acc)[12] = fma(vec4(a1.z), b0, (*acc)[12]);
    (*acc)[13] = fma(vec4(a1.z), b1, (*acc)[13]);
    (*acc)[14] = fma(vec4(a1.w), b0, (*acc)[14]);
    (*acc)[15] = fma(vec4(a1.w), b1, (*acc)[15]);
}

/// Four steps from `now`, the `k`-th, of four columns: [step]. `tap` is what the first column sees in grad_weight.
fn columns_block(k: u32, now: Digits, column: u32, tap: Digits) -> mat4x4<f32> {
    if KIND == FORWARD {
        return transpose(mat4x4(w_forward(column, k), w_forward(column + 1u, k), w_forward(column + 2u, k), w_forward(column + 3u, k)));
    }
    let base = step_base();
    let s1 = ahead(now, 1u, base);
    let s2 = ahead(s1, 1u, base);
    let s3 = ahead(s2, 1u, base);
    if KIND == GRAD_INPUT {
        return mat4x4(w_back(now, column), w_back(s1, column), w_back(s2, column), w_back(s3, column));
    }
    return mat4x4(
        x_quad(step_corner(now, k), tap),
        x_quad(step_corner(s1, k + 1u), tap),
        x_quad(step_corner(s2, k + 2u), tap),
        x_quad(step_corner(s3, k + 3u), tap),
    );
}

/// Four steps from `now`, the `k`-th, of four rows: [row], or [step] in grad_weight. `c` are the rows' corners.
fn rows_block(k: u32, now: Digits, row: u32, c: array<vec3<i32>, 4>) -> mat4x4<f32> {
    if KIND == GRAD_WEIGHT {
        return mat4x4(dy_quad(k, row), dy_quad(k + 1u, row), dy_quad(k + 2u, row), dy_quad(k + 3u, row));
    }
    return mat4x4(x_quad(c[0], now), x_quad(c[1], now), x_quad(c[2], now), x_quad(c[3], now));
}

fn row_corners(row: u32) -> array<vec3<i32>, 4> {
    return array(row_corner(row), row_corner(row + 1u), row_corner(row + 2u), row_corner(row + 3u));
}

/// Sums over the part's steps. Rows 4 ty.. and 4 (TY + ty).., columns 4 tx.. and 4 (TX + tx)..
/// Tiles are filled in blocks of 4x4, at most two of each a thread: lower threads start with a, upper ones with b.
fn accumulate(at: Place, thread: u32, acc: ptr<function, array<vec4<f32>, 16>>) {
    let other = (thread + THREADS / 2u) % THREADS;
    var corners: array<array<vec3<i32>, 4>, 2>; // forward, grad_input: of the rows this thread loads
    var taps: array<Digits, 2>;                 // grad_weight: of the columns this thread loads
    for (var j = 0u; j * THREADS < TY * 8u; j++) {
        if KIND != GRAD_WEIGHT { corners[j] = row_corners(at.row + (thread + j * THREADS) % (TY * 2u) * 4u); }
    }
    for (var j = 0u; j * THREADS < TX * 8u; j++) {
        if KIND == GRAD_WEIGHT { taps[j] = digits(at.column + (other + j * THREADS) % (TX * 2u) * 4u, tap_base()); }
    }
    let base = step_base();
    let start = at.part * params.part;
    let stop = min(params.k, start + params.part);
    var now = digits(start, base);
    for (var k = start; k < stop; k += BK) {
        for (var j = 0u; j * THREADS < TY * 8u; j++) {
            let i = thread + j * THREADS;
            let quad = i % (TY * 2u);
            let s = i / (TY * 2u) * 4u;
            let to = s * TY * 2u + quad;
            if i < TY * 8u {
                var t = rows_block(k + s, ahead(now, s, base), at.row + quad * 4u, corners[j]);
                if KIND != GRAD_WEIGHT { t = transpose(t); }
                a_tile[to] = t[0];
                a_tile[to + TY * 2u] = t[1];
                a_tile[to + TY * 4u] = t[2];
                a_tile[to + TY * 6u] = t[3];
            }
        }
        for (var j = 0u; j * THREADS < TX * 8u; j++) {
            let i = other + j * THREADS;
            let quad = i % (TX * 2u);
            let s = i / (TX * 2u) * 4u;
            let to = s * TX * 2u + quad;
            if i < TX * 8u {
                let t = columns_block(k + s, ahead(now, s, base), at.column + quad * 4u, taps[j]);
                b_tile[to] = t[0];
                b_tile[to + TX * 2u] = t[1];
                b_tile[to + TX * 4u] = t[2];
                b_tile[to + TX * 6u] = t[3];
            }
        }
        workgroupBarrier();
        for (var i = 0u; i < BK; i += 8u) {
            // The remainders change nothing; they let a compiler see that the offsets below cannot overflow.
            let ia = (i * TY * 2u + thread / TX) % (BK * TY * 2u);
            let ib = (i * TX * 2u + thread % TX) % (BK * TX * 2u);
            step(ia, ib, acc);
            step(ia + TY * 2u, ib + TX * 2u, acc);
            step(ia + TY * 4u, ib + TX * 4u, acc);
            step(ia + TY * 6u, ib + TX * 6u, acc);
            step(ia + TY * 8u, ib + TX * 8u, acc);
            step(ia + TY * 10u, ib + TX * 10u, acc);
            step(ia + TY * 12u, ib + TX * 12u, acc);
            step(ia + TY * 14u, ib + TX * 14u, acc);
        }
        workgroupBarrier();
        now = ahead(now, BK, base);
    }
}

/// First element of a row of y: of its pixel, or of the row in a part.
fn y_row(part: u32, row: u32) -> u32 {
    if unfolded(params.parts, part) > 1u || KIND == GRAD_WEIGHT { return ((params.y_part + part) * params.m + row) * params.n; }
    return y_pixel(row) * params.n;
}

fn y_pixel(row: u32) -> u32 {
    if unfolded(params.y_step.y, row) == 1u && unfolded(params.y_step.x, row) == params.cells.y { return row; }
    let cell = digits(row, cell_base());
    return cell.high * params.y_image + params.y_first + cell.mid * params.y_step.x + cell.low * params.y_step.y;
}

fn bias_at(column: u32) -> f32 {
    let taken = unfolded(params.bias, column) == 1u && unfolded(params.parts, column) == 1u;
    if taken && column < params.n { return bias[column]; }
    return 0.0;
}

fn bias_quad(column: u32) -> vec4<f32> {
    return vec4(bias_at(column), bias_at(column + 1u), bias_at(column + 2u), bias_at(column + 3u));
}

/// Writes row `i` of a thread's eight: two quads of columns.
fn write_row(at: Place, thread: u32, i: u32, left: vec4<f32>, right: vec4<f32>) {
    let row = at.row + (i / 4u * TY + thread / TX) * 4u + i % 4u;
    if row >= params.m { return; }
    let first = y_row(at.part, row);
    let c0 = at.column + thread % TX * 4u;
    let c1 = c0 + TX * 4u;
    if c0 < params.n { y[(first + c0) / 4u] = left; }
    if c1 < params.n { y[(first + c1) / 4u] = right; }
}

@compute @workgroup_size(THREADS)
fn tiled(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = place(flat_group(wid, n), TY * 8u, TX * 8u);
    if at.part >= params.parts { return; }
    var acc: array<vec4<f32>, 16>;
    accumulate(at, thread, &acc);
    let c0 = at.column + thread % TX * 4u;
    let left = bias_quad(c0);
    let right = bias_quad(c0 + TX * 4u);
    write_row(at, thread, 0u, acc[0] + left, acc[1] + right);
    write_row(at, thread, 1u, acc[2] + left, acc[3] + right);
    write_row(at, thread, 2u, acc[4] + left, acc[5] + right);
    write_row(at, thread, 3u, acc[6] + left, acc[7] + right);
    write_row(at, thread, 4u, acc[8] + left, acc[9] + right);
    write_row(at, thread, 5u, acc[10] + left, acc[11] + right);
    write_row(at, thread, 6u, acc[12] + left, acc[13] + right);
    write_row(at, thread, 7u, acc[14] + left, acc[15] + right);
}

/// Adds to row `i` of a thread's eight.
fn add_row(at: Place, thread: u32, i: u32, left: vec4<f32>, right: vec4<f32>) {
    let row = at.row + (i / 4u * TY + thread / TX) * 4u + i % 4u;
    if row >= params.m { return; }
    let first = y_row(at.part, row);
    let c0 = at.column + thread % TX * 4u;
    let c1 = c0 + TX * 4u;
    if c0 < params.n { y[(first + c0) / 4u] += left; }
    if c1 < params.n { y[(first + c1) / 4u] += right; }
}

@compute @workgroup_size(THREADS)
fn tiled_add(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = place(flat_group(wid, n), TY * 8u, TX * 8u);
    if at.part >= params.parts { return; }
    var acc: array<vec4<f32>, 16>;
    accumulate(at, thread, &acc);
    add_row(at, thread, 0u, acc[0], acc[1]);
    add_row(at, thread, 1u, acc[2], acc[3]);
    add_row(at, thread, 2u, acc[4], acc[5]);
    add_row(at, thread, 3u, acc[6], acc[7]);
    add_row(at, thread, 4u, acc[8], acc[9]);
    add_row(at, thread, 5u, acc[10], acc[11]);
    add_row(at, thread, 6u, acc[12], acc[13]);
    add_row(at, thread, 7u, acc[14], acc[15]);
}

@group(0) @binding(3) var<storage, read_write> blocks: array<vec4<f32>>; // [tiles of rows,2,n]

/// Sums over the rows of a tile, given those of each thread's 8 rows: two quads of columns. All threads must call it.
fn column_sums(thread: u32, a: vec4<f32>, b: vec4<f32>) -> array<vec4<f32>, 2> {
    workgroupBarrier();
    a_tile[thread * 2u] = a;
    a_tile[thread * 2u + 1u] = b;
    for (var half = THREADS / 2u; half >= TX; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            a_tile[thread * 2u] += a_tile[(thread + half) * 2u];
            a_tile[thread * 2u + 1u] += a_tile[(thread + half) * 2u + 1u];
        }
    }
    workgroupBarrier();
    return array(a_tile[thread % TX * 2u], a_tile[thread % TX * 2u + 1u]);
}

/// The squares of deviations in row `i` of a thread's eight; 0 past the end.
fn squared(at: Place, thread: u32, i: u32, d: vec4<f32>) -> vec4<f32> {
    let row = at.row + (i / 4u * TY + thread / TX) * 4u + i % 4u;
    return select(vec4(0.0), d * d, row < params.m);
}

@compute @workgroup_size(THREADS)
fn tiled_statistics(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = place(flat_group(wid, n), TY * 8u, TX * 8u);
    if at.part >= params.parts { return; }
    var acc: array<vec4<f32>, 16>;
    accumulate(at, thread, &acc);
    let c0 = at.column + thread % TX * 4u;
    let c1 = c0 + TX * 4u;
    // Rows past the end are zero.
    let sums = column_sums(
        thread,
        acc[0] + acc[2] + acc[4] + acc[6] + acc[8] + acc[10] + acc[12] + acc[14],
        acc[1] + acc[3] + acc[5] + acc[7] + acc[9] + acc[11] + acc[13] + acc[15],
    );
    let count = f32(min(TY * 8u, params.m - at.row));
    let mean0 = sums[0] / count;
    let mean1 = sums[1] / count;
    write_row(at, thread, 0u, acc[0], acc[1]);
    write_row(at, thread, 1u, acc[2], acc[3]);
    write_row(at, thread, 2u, acc[4], acc[5]);
    write_row(at, thread, 3u, acc[6], acc[7]);
    write_row(at, thread, 4u, acc[8], acc[9]);
    write_row(at, thread, 5u, acc[10], acc[11]);
    write_row(at, thread, 6u, acc[12], acc[13]);
    write_row(at, thread, 7u, acc[14], acc[15]);
    let left = squared(at, thread, 0u, acc[0] - mean0) + squared(at, thread, 1u, acc[2] - mean0)
        + squared(at, thread, 2u, acc[4] - mean0) + squared(at, thread, 3u, acc[6] - mean0)
        + squared(at, thread, 4u, acc[8] - mean0) + squared(at, thread, 5u, acc[10] - mean0)
        + squared(at, thread, 6u, acc[12] - mean0) + squared(at, thread, 7u, acc[14] - mean0);
    let right = squared(at, thread, 0u, acc[1] - mean1) + squared(at, thread, 1u, acc[3] - mean1)
        + squared(at, thread, 2u, acc[5] - mean1) + squared(at, thread, 3u, acc[7] - mean1)
        + squared(at, thread, 4u, acc[9] - mean1) + squared(at, thread, 5u, acc[11] - mean1)
        + squared(at, thread, 6u, acc[13] - mean1) + squared(at, thread, 7u, acc[15] - mean1);
    let squares = column_sums(thread, left, right);
    let to = at.row / (TY * 8u) * 2u * params.n;
    if thread < TX && c0 < params.n {
        blocks[(to + c0) / 4u] = mean0;
        blocks[(to + params.n + c0) / 4u] = squares[0];
    }
    if thread < TX && c1 < params.n {
        blocks[(to + c1) / 4u] = mean1;
        blocks[(to + params.n + c1) / 4u] = squares[1];
    }
}

/// Writes row `i` of a thread's eight, for any n.
fn write_row_odd(at: Place, thread: u32, i: u32, left: vec4<f32>, right: vec4<f32>) {
    let row = at.row + (i / 4u * TY + thread / TX) * 4u + i % 4u;
    if row >= params.m { return; }
    let first = y_row(at.part, row);
    let c0 = at.column + thread % TX * 4u;
    store(first, c0, left);
    store(first, c0 + TX * 4u, right);
}

@compute @workgroup_size(THREADS)
fn tiled_odd(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = place(flat_group(wid, n), TY * 8u, TX * 8u);
    if at.part >= params.parts { return; }
    var acc: array<vec4<f32>, 16>;
    accumulate(at, thread, &acc);
    write_row_odd(at, thread, 0u, acc[0], acc[1]);
    write_row_odd(at, thread, 1u, acc[2], acc[3]);
    write_row_odd(at, thread, 2u, acc[4], acc[5]);
    write_row_odd(at, thread, 3u, acc[6], acc[7]);
    write_row_odd(at, thread, 4u, acc[8], acc[9]);
    write_row_odd(at, thread, 5u, acc[10], acc[11]);
    write_row_odd(at, thread, 6u, acc[12], acc[13]);
    write_row_odd(at, thread, 7u, acc[14], acc[15]);
}

/// One thread takes 8 rows and 12 columns straight from memory, four steps of k at a time: a CPU has no workgroup
/// memory, and a barrier there is a loop over threads.
@compute @workgroup_size(8)
fn direct(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = place(flat_group(wid, n), 8u, 96u);
    if at.part >= params.parts { return; }
    let base = step_base();
    let start = at.part * params.part;
    let stop = min(params.k, start + params.part);
    let column = at.column + thread * 12u;
    var corners: array<array<vec3<i32>, 4>, 2>;
    var taps: array<Digits, 3>;
    for (var p = 0u; p < 2u; p++) { corners[p] = row_corners(at.row + p * 4u); }
    for (var q = 0u; q < 3u; q++) { taps[q] = digits(column + q * 4u, tap_base()); }
    var now = digits(start, base);
    var acc: array<array<array<vec4<f32>, 4>, 3>, 2>; // [quad of rows][quad of columns][row]
    for (var k = start; k < stop; k += 4u) {
        var bs: array<mat4x4<f32>, 3>; // [quad of columns][step]
        for (var q = 0u; q < 3u; q++) { bs[q] = columns_block(k, now, column + q * 4u, taps[q]); }
        for (var p = 0u; p < 2u; p++) {
            var rows = rows_block(k, now, at.row + p * 4u, corners[p]); // [row][step]
            if KIND == GRAD_WEIGHT { rows = transpose(rows); }
            for (var q = 0u; q < 3u; q++) {
                for (var i = 0u; i < 4u; i++) {
                    var sum = acc[p][q][i];
                    for (var j = 0u; j < 4u; j++) { sum = fma(vec4(rows[i][j]), bs[q][j], sum); }
                    acc[p][q][i] = sum;
                }
            }
        }
        now = ahead(now, 4u, base);
    }
    for (var p = 0u; p < 2u; p++) {
        for (var q = 0u; q < 3u; q++) {
            for (var i = 0u; i < 4u; i++) {
                let row = at.row + p * 4u + i;
                if row < params.m { store(y_row(at.part, row), column + q * 4u, acc[p][q][i]); }
            }
        }
    }
}

/// Writes four neighbours in the row of y that begins at `first`.
fn store(first: u32, column: u32, v: vec4<f32>) {
    if column < params.n { y_odd[first + column] = v.x + bias_at(column); }
    if column + 1u < params.n { y_odd[first + column + 1u] = v.y + bias_at(column + 1u); }
    if column + 2u < params.n { y_odd[first + column + 2u] = v.z + bias_at(column + 2u); }
    if column + 3u < params.n { y_odd[first + column + 3u] = v.w + bias_at(column + 3u); }
}

@group(0) @binding(1) var<storage, read> parts: array<f32>;      // [parts,m,n]
@group(0) @binding(2) var<storage, read> parts_bias: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> total: array<f32>; // [pixels,n]

@compute @workgroup_size(256)
fn sum_parts(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = flat_group(wid, n) * 256u + thread;
    let size = params.m * params.n;
    if i >= size { return; }
    var sum = 0.0;
    for (var p = 0u; p < unfolded(params.parts, i); p++) { sum += parts[p * size + i]; }
    let row = i / params.n;
    let column = i % params.n;
    if unfolded(params.bias, i) == 1u { sum += parts_bias[column]; }
    total[y_pixel(row) * params.n + column] = sum;
}
