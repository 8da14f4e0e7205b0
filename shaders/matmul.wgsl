// matmul.wgsl -- y = a b (+ bias), each operand stored plainly or transposed
// entries   tiled       : a, b, bias[n], y[m,n] or parts[p,m,n]        n divides by 4
//           tiled_odd   : the same for any n
//           direct      : as tiled_odd, for adapters that are CPUs
//           sum_parts   : parts[p,m,n], bias[n] -> y[m,n]
//           a is [m,k], or [k,m] with A_BY_K; b is [k,n], or [n,k] with B_BY_N; all three may be blocks of larger
//           matrices, with rows that lie `_row` elements apart, the first of them `_at` elements into the binding
// parallel  TY x TX threads own a tile of 8 TY rows and 8 TX columns, 8x8 of it each; a long k is cut into parts
//           of `part` steps, one per group, that sum_parts adds in ascending order
// numerics  f32 fma in ascending k inside a part; blocks of k are added to y one after the other
// limits    512 (TY + TX) bytes of workgroup memory, 4 bindings
// twin      src/engine/ops/matmul.rs

struct Params {
    m: u32,
    n: u32,
    k: u32,
    part: u32,  // steps of k a group takes, a multiple of BK
    parts: u32, // groups that share a tile
    bias: u32,  // 1: add the bias
    bias_at: u32,
    a_row: u32, // elements from one row in memory to the next
    a_at: u32,  // where the block begins in the binding
    b_row: u32,
    b_at: u32,
    y_row: u32,
    y_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // [m,k] or [k,m]
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>; // [k,n] or [n,k]
@group(0) @binding(3) var<storage, read> bias: array<f32>;    // [n]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [m,n] or [parts,m,n]
@group(0) @binding(4) var<storage, read_write> y_odd: array<f32>;   // the same

override TY: u32 = 16u;
override TX: u32 = 16u;
override A_BY_K: bool = false; // rows of a in memory are steps of k
override B_BY_N: bool = false; // rows of b in memory are columns of y
override A_VEC: bool = true;   // rows of a in memory and of its block divide by 4
override B_VEC: bool = true;
override ADD: bool = false;    // add to what y holds
const BK: u32 = 16u; // steps of k in workgroup memory

override THREADS: u32 = TY * TX;
var<workgroup> a_tile: array<vec4<f32>, BK * TY * 2u>; // [BK, 8 TY]
var<workgroup> b_tile: array<vec4<f32>, BK * TX * 2u>; // [BK, 8 TX]

/// Four neighbours in row `line` of a; zero outside.
fn fetch_a(line: u32, at: u32) -> vec4<f32> {
    let lines = select(params.m, params.k, A_BY_K);
    let width = select(params.k, params.m, A_BY_K);
    let first = params.a_at + line * params.a_row + at;
    let inside = line < lines && at < width;
    if A_VEC {
        let v = a[select(0u, first / 4u, inside)];
        return select(vec4(0.0), v, inside);
    }
    var v = vec4(0.0);
    if inside {
        let left = width - at;
        v.x = a[first / 4u][first % 4u];
        if left > 1u { v.y = a[(first + 1u) / 4u][(first + 1u) % 4u]; }
        if left > 2u { v.z = a[(first + 2u) / 4u][(first + 2u) % 4u]; }
        if left > 3u { v.w = a[(first + 3u) / 4u][(first + 3u) % 4u]; }
    }
    return v;
}

/// Four neighbours in row `line` of b; zero outside.
fn fetch_b(line: u32, at: u32) -> vec4<f32> {
    let lines = select(params.k, params.n, B_BY_N);
    let width = select(params.n, params.k, B_BY_N);
    let first = params.b_at + line * params.b_row + at;
    let inside = line < lines && at < width;
    if B_VEC {
        let v = b[select(0u, first / 4u, inside)];
        return select(vec4(0.0), v, inside);
    }
    var v = vec4(0.0);
    if inside {
        let left = width - at;
        v.x = b[first / 4u][first % 4u];
        if left > 1u { v.y = b[(first + 1u) / 4u][(first + 1u) % 4u]; }
        if left > 2u { v.z = b[(first + 2u) / 4u][(first + 2u) % 4u]; }
        if left > 3u { v.w = b[(first + 3u) / 4u][(first + 3u) % 4u]; }
    }
    return v;
}

/// Fills both tiles for the steps from `k`, in blocks of 4x4: lower threads start with a, upper ones with b.
fn load(k: u32, row: u32, column: u32, thread: u32) {
    for (var i = thread; i < TY * 8u; i += THREADS) {
        let quad = i % (TY * 2u);
        let step = i / (TY * 2u) * 4u;
        let r = row + quad * 4u;
        let s = k + step;
        let to = step * TY * 2u + quad;
        if A_BY_K {
            a_tile[to] = fetch_a(s, r);
            a_tile[to + TY * 2u] = fetch_a(s + 1u, r);
            a_tile[to + TY * 4u] = fetch_a(s + 2u, r);
            a_tile[to + TY * 6u] = fetch_a(s + 3u, r);
        } else {
            let t = transpose(mat4x4(fetch_a(r, s), fetch_a(r + 1u, s), fetch_a(r + 2u, s), fetch_a(r + 3u, s)));
            a_tile[to] = t[0];
            a_tile[to + TY * 2u] = t[1];
            a_tile[to + TY * 4u] = t[2];
            a_tile[to + TY * 6u] = t[3];
        }
    }
    for (var i = (thread + THREADS / 2u) % THREADS; i < TX * 8u; i += THREADS) {
        let quad = i % (TX * 2u);
        let step = i / (TX * 2u) * 4u;
        let c = column + quad * 4u;
        let s = k + step;
        let to = step * TX * 2u + quad;
        if B_BY_N {
            let t = transpose(mat4x4(fetch_b(c, s), fetch_b(c + 1u, s), fetch_b(c + 2u, s), fetch_b(c + 3u, s)));
            b_tile[to] = t[0];
            b_tile[to + TX * 2u] = t[1];
            b_tile[to + TX * 4u] = t[2];
            b_tile[to + TX * 6u] = t[3];
        } else {
            b_tile[to] = fetch_b(s, c);
            b_tile[to + TX * 2u] = fetch_b(s + 1u, c);
            b_tile[to + TX * 4u] = fetch_b(s + 2u, c);
            b_tile[to + TX * 6u] = fetch_b(s + 3u, c);
        }
    }
}

/// Where a group works: its part of k and the first row and column of its tile.
struct Place { part: u32, row: u32, column: u32 }

fn place(group: u32, height: u32, width: u32) -> Place {
    let across = (params.n + width - 1u) / width;
    let down = (params.m + height - 1u) / height;
    let tile = group / across;
    return Place(tile / down, tile % down * height, group % across * width);
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

/// Sums over the part's steps. Rows 4 ty.. and 4 (TY + ty).., columns 4 tx.. and 4 (TX + tx)..
fn accumulate(at: Place, thread: u32, acc: ptr<function, array<vec4<f32>, 16>>) {
    let stop = min(params.k, (at.part + 1u) * params.part);
    for (var k = at.part * params.part; k < stop; k += BK) {
        load(k, at.row, at.column, thread);
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
    }
}

/// Where a part's row of y begins.
fn first_of(part: u32, row: u32) -> u32 {
    return params.y_at + (part * params.m + row) * params.y_row;
}

fn put(i: u32, v: vec4<f32>) {
    if ADD { y[i] += v; } else { y[i] = v; }
}

fn put_odd(i: u32, v: f32) {
    if ADD { y_odd[i] += v; } else { y_odd[i] = v; }
}

fn bias_at(column: u32) -> f32 {
    if unfolded(params.bias, column) == 1u && column < params.n { return bias[params.bias_at + column]; }
    return 0.0;
}

fn bias_quad(column: u32) -> vec4<f32> {
    return vec4(bias_at(column), bias_at(column + 1u), bias_at(column + 2u), bias_at(column + 3u));
}

/// Writes row `i` of a thread's eight: two quads of columns.
fn write_row(at: Place, thread: u32, i: u32, left: vec4<f32>, right: vec4<f32>) {
    let row = at.row + (i / 4u * TY + thread / TX) * 4u + i % 4u;
    if row >= params.m { return; }
    let first = first_of(at.part, row);
    let c0 = at.column + thread % TX * 4u;
    let c1 = c0 + TX * 4u;
    if c0 < params.n { put((first + c0) / 4u, left); }
    if c1 < params.n { put((first + c1) / 4u, right); }
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

/// As [write_row] for any n.
fn write_row_odd(at: Place, thread: u32, i: u32, left: vec4<f32>, right: vec4<f32>) {
    let row = at.row + (i / 4u * TY + thread / TX) * 4u + i % 4u;
    if row >= params.m { return; }
    let c0 = at.column + thread % TX * 4u;
    store(first_of(at.part, row), c0, left);
    store(first_of(at.part, row), c0 + TX * 4u, right);
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
    let start = at.part * params.part;
    let stop = min(params.k, start + params.part);
    let column = at.column + thread * 12u;
    var acc: array<array<array<vec4<f32>, 4>, 3>, 2>; // [quad of rows][quad of columns][row]
    for (var k = start; k < stop; k += 4u) {
        var bs: array<mat4x4<f32>, 3>; // [quad of columns][step]
        for (var q = 0u; q < 3u; q++) {
            let c = column + q * 4u;
            if B_BY_N {
                bs[q] = transpose(mat4x4(fetch_b(c, k), fetch_b(c + 1u, k), fetch_b(c + 2u, k), fetch_b(c + 3u, k)));
            } else {
                bs[q] = mat4x4(fetch_b(k, c), fetch_b(k + 1u, c), fetch_b(k + 2u, c), fetch_b(k + 3u, c));
            }
        }
        for (var p = 0u; p < 2u; p++) {
            let r = at.row + p * 4u;
            var rows: mat4x4<f32>; // [row][step]
            if A_BY_K {
                rows = transpose(mat4x4(fetch_a(k, r), fetch_a(k + 1u, r), fetch_a(k + 2u, r), fetch_a(k + 3u, r)));
            } else {
                rows = mat4x4(fetch_a(r, k), fetch_a(r + 1u, k), fetch_a(r + 2u, k), fetch_a(r + 3u, k));
            }
            for (var q = 0u; q < 3u; q++) {
                for (var i = 0u; i < 4u; i++) {
                    var sum = acc[p][q][i];
                    for (var j = 0u; j < 4u; j++) { sum = fma(vec4(rows[i][j]), bs[q][j], sum); }
                    acc[p][q][i] = sum;
                }
            }
        }
    }
    for (var p = 0u; p < 2u; p++) {
        for (var q = 0u; q < 3u; q++) {
            for (var i = 0u; i < 4u; i++) {
                let row = at.row + p * 4u + i;
                let c = column + q * 4u;
                if row < params.m { store(first_of(at.part, row), c, acc[p][q][i]); }
            }
        }
    }
}

/// Writes four neighbours in the row of y that begins at `first`.
fn store(first: u32, column: u32, v: vec4<f32>) {
    if column < params.n { put_odd(first + column, v.x + bias_at(column)); }
    if column + 1u < params.n { put_odd(first + column + 1u, v.y + bias_at(column + 1u)); }
    if column + 2u < params.n { put_odd(first + column + 2u, v.z + bias_at(column + 2u)); }
    if column + 3u < params.n { put_odd(first + column + 3u, v.w + bias_at(column + 3u)); }
}

@group(0) @binding(1) var<storage, read> parts: array<f32>;      // [parts,m,n]
@group(0) @binding(2) var<storage, read> parts_bias: array<f32>; // [n]
@group(0) @binding(3) var<storage, read_write> total: array<f32>; // [m,n], y

@compute @workgroup_size(256)
fn sum_parts(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = flat_group(wid, n) * 256u + thread;
    let size = params.m * params.n;
    if i >= size { return; }
    var sum = 0.0;
    for (var p = 0u; p < unfolded(params.parts, i); p++) { sum += parts[p * size + i]; }
    if unfolded(params.bias, i) == 1u { sum += parts_bias[params.bias_at + i % params.n]; }
    let to = params.y_at + i / params.n * params.y_row + i % params.n;
    if ADD { total[to] += sum; } else { total[to] = sum; }
}
