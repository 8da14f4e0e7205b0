// winograd.wgsl -- 3x3 convolution of stride 1 by Winograd's minimal filtering: y = A' [(G w G') * (B' x B)] A for each
//                  tile of SIDE x SIDE outputs, F(2x2,3x3) or F(4x4,3x3), with T = (SIDE + 2)^2 elements
// entries   weights    : w[o,3,3,c] -> u[T,depth,width]
//           input      : x[images,h,w,x_c] -> v[tiles,row], a row being [T,depth] and some elements that no one reads
//           output     : m[T,tiles,width], bias[y_c] -> y[images,oh,ow,y_c]      y_c divides by 4
//           output_odd : the same for any y_c
//           matmul.wgsl's m[t] = v[:,t,:] u[t] comes before output; depth and width are channels with zeros behind them
//           BACK, gradient of the input: x is dy, y is dx, and the weights are turned and their channels exchanged
// parallel  one thread for four channels of a tile; for the weights, of y and one channel of x
// numerics  f32; the sum over channels is the product's. F(2x2,3x3) is as close to f64 as a direct sum, F(4x4,3x3) 3 to
//           9 times as far; a NaN or infinity spreads over its tile
// limits    3 bindings, no workgroup memory
// twin      src/engine/ops/winograd.rs

struct Params {
    tiles: u32,
    down: u32,   // rows of tiles in an image
    across: u32, // tiles in a row
    row: u32,    // elements from one tile to the next in v
    x_c: u32,    // channels of x
    y_c: u32,
    depth: u32, // x_c, rounded up to a multiple of 16
    width: u32, // y_c, rounded up to a multiple of 4
    image: vec2<u32>, // x: height, width
    size: vec2<u32>,  // y: height, width
    padding: vec2<u32>,
    bias: u32, // 1: add the bias
}

@group(0) @binding(0) var<uniform> params: Params;

override SIDE: u32 = 4u; // M: outputs along a side of a tile, 2 or 4
override BACK: bool = false;
override X_VEC: bool = true; // x_c divides by 4
override INPUTS: u32 = SIDE + 2u;
const ZERO: vec4<f32> = vec4(0.0);

/// Values along one axis of a tile, four channels each; F(2,3) has no e and f.
struct Six { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, e: vec4<f32>, f: vec4<f32> }
/// The columns of a tile, or its rows. Fields rather than arrays: they stay in registers.
struct Tile { a: Six, b: Six, c: Six, d: Six, e: Six, f: Six }

fn transposed(t: Tile) -> Tile {
    return Tile(
        Six(t.a.a, t.b.a, t.c.a, t.d.a, t.e.a, t.f.a),
        Six(t.a.b, t.b.b, t.c.b, t.d.b, t.e.b, t.f.b),
        Six(t.a.c, t.b.c, t.c.c, t.d.c, t.e.c, t.f.c),
        Six(t.a.d, t.b.d, t.c.d, t.d.d, t.e.d, t.f.d),
        Six(t.a.e, t.b.e, t.c.e, t.d.e, t.e.e, t.f.e),
        Six(t.a.f, t.b.f, t.c.f, t.d.f, t.e.f, t.f.f),
    );
}

/// G w, of three taps: points 0, 1, -1, for F(4,3) also 2, -2, and infinity.
fn weight_axis(w: Six) -> Six {
    if SIDE == 2u {
        let ends = w.a + w.c;
        return Six(w.a, (ends + w.b) * 0.5, (ends - w.b) * 0.5, w.c, ZERO, ZERO);
    }
    let ends = (w.a + w.c) * (-1.0 / 6.0);
    let middle = w.b * (1.0 / 6.0);
    let ends_2 = w.a * (1.0 / 24.0) + w.c * (1.0 / 6.0);
    let middle_2 = w.b * (1.0 / 12.0);
    return Six(w.a * 0.25, ends - middle, ends + middle, ends_2 + middle_2, ends_2 - middle_2, w.c);
}

/// B' x
fn input_axis(x: Six) -> Six {
    if SIDE == 2u { return Six(x.a - x.c, x.b + x.c, x.c - x.b, x.b - x.d, ZERO, ZERO); }
    let even = x.e - 4.0 * x.c;
    let odd = x.d - 4.0 * x.b;
    let even_2 = x.e - x.c;
    let odd_2 = 2.0 * (x.d - x.b);
    let first = 4.0 * x.a - 5.0 * x.c + x.e;
    let last = 4.0 * x.b - 5.0 * x.d + x.f;
    return Six(first, even + odd, even - odd, even_2 + odd_2, even_2 - odd_2, last);
}

/// A' m, to SIDE outputs.
fn output_axis(m: Six) -> Six {
    if SIDE == 2u { return Six(m.a + m.b + m.c, m.b - m.c - m.d, ZERO, ZERO, ZERO, ZERO); }
    let sum = m.b + m.c;
    let difference = m.b - m.c;
    let sum_2 = m.d + m.e;
    let difference_2 = m.d - m.e;
    let last = difference + 8.0 * difference_2 + m.f;
    return Six(m.a + sum + sum_2, difference + 2.0 * difference_2, sum + 4.0 * sum_2, last, ZERO, ZERO);
}

@group(0) @binding(1) var<storage, read> w: array<f32>;             // [o,3,3,c]
@group(0) @binding(2) var<storage, read_write> u: array<vec4<f32>>; // [T,depth,width]

/// Row i, column j of the kernels from channel `c` of x to four channels of y from `o` on.
fn tap(c: u32, o: u32, i: u32, j: u32) -> vec4<f32> {
    let at = 3u * i + j;
    let first = select((o * 9u + at) * params.x_c + c, (c * 9u + 8u - at) * params.y_c + o, BACK);
    let step = select(9u * params.x_c, 1u, BACK);
    var v = ZERO;
    if c < params.x_c {
        if o < params.y_c { v.x = w[first]; }
        if o + 1u < params.y_c { v.y = w[first + step]; }
        if o + 2u < params.y_c { v.z = w[first + 2u * step]; }
        if o + 3u < params.y_c { v.w = w[first + 3u * step]; }
    }
    return v;
}

fn weight_column(c: u32, o: u32, j: u32) -> Six {
    return weight_axis(Six(tap(c, o, 0u, j), tap(c, o, 1u, j), tap(c, o, 2u, j), ZERO, ZERO, ZERO));
}

fn put_u(first: u32, i: u32, w: Six) {
    let row = weight_axis(w);
    let step = params.depth * params.width / 4u;
    let at = first + i * INPUTS * step;
    u[at] = row.a;
    u[at + step] = row.b;
    u[at + 2u * step] = row.c;
    u[at + 3u * step] = row.d;
    if SIDE == 4u {
        u[at + 4u * step] = row.e;
        u[at + 5u * step] = row.f;
    }
}

@compute @workgroup_size(64)
fn weights(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = flat_group(wid, n) * 64u + thread;
    let c = i / (params.width / 4u);
    let o = i % (params.width / 4u) * 4u;
    if c >= params.depth { return; }
    let none = Six(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO);
    let rows = transposed(Tile(weight_column(c, o, 0u), weight_column(c, o, 1u), weight_column(c, o, 2u), none, none, none));
    put_u(i, 0u, rows.a);
    put_u(i, 1u, rows.b);
    put_u(i, 2u, rows.c);
    put_u(i, 3u, rows.d);
    if SIDE == 4u {
        put_u(i, 4u, rows.e);
        put_u(i, 5u, rows.f);
    }
}

/// Where a tile lies: its image, and its first row and column of outputs.
struct Place { image: u32, top: u32, left: u32 }

fn place(tile: u32) -> Place {
    let line = tile / params.across;
    return Place(line / params.down, line % params.down * SIDE, tile % params.across * SIDE);
}

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [images,h,w,x_c]
@group(0) @binding(2) var<storage, read_write> v: array<vec4<f32>>; // [tiles,row]

/// Four channels of a pixel of the tile's window; zero outside.
fn pixel(at: Place, c: u32, i: u32, j: u32) -> vec4<f32> {
    let p = vec2(at.top + i, at.left + j) - params.padding;
    let first = ((at.image * params.image.x + p.x) * params.image.y + p.y) * params.x_c + c;
    let inside = all(p < params.image) && c < params.x_c;
    if X_VEC {
        let quad = x[select(0u, first / 4u, inside)];
        return select(ZERO, quad, inside);
    }
    let left = select(0u, params.x_c - c, inside);
    var q = ZERO;
    if left > 0u { q.x = x[first / 4u][first % 4u]; }
    if left > 1u { q.y = x[(first + 1u) / 4u][(first + 1u) % 4u]; }
    if left > 2u { q.z = x[(first + 2u) / 4u][(first + 2u) % 4u]; }
    if left > 3u { q.w = x[(first + 3u) / 4u][(first + 3u) % 4u]; }
    return q;
}

fn input_column(at: Place, c: u32, j: u32) -> Six {
    var p = Six(pixel(at, c, 0u, j), pixel(at, c, 1u, j), pixel(at, c, 2u, j), pixel(at, c, 3u, j), ZERO, ZERO);
    if SIDE == 4u {
        p.e = pixel(at, c, 4u, j);
        p.f = pixel(at, c, 5u, j);
    }
    return input_axis(p);
}

fn put_v(first: u32, i: u32, x: Six) {
    let row = input_axis(x);
    let step = params.depth / 4u;
    let at = first + i * INPUTS * step;
    v[at] = row.a;
    v[at + step] = row.b;
    v[at + 2u * step] = row.c;
    v[at + 3u * step] = row.d;
    if SIDE == 4u {
        v[at + 4u * step] = row.e;
        v[at + 5u * step] = row.f;
    }
}

@compute @workgroup_size(64)
fn input(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = flat_group(wid, n) * 64u + thread;
    let tile = i / (params.depth / 4u);
    let c = i % (params.depth / 4u) * 4u;
    if tile >= params.tiles { return; }
    let at = place(tile);
    var columns: Tile;
    columns.a = input_column(at, c, 0u);
    columns.b = input_column(at, c, 1u);
    columns.c = input_column(at, c, 2u);
    columns.d = input_column(at, c, 3u);
    if SIDE == 4u {
        columns.e = input_column(at, c, 4u);
        columns.f = input_column(at, c, 5u);
    }
    let rows = transposed(columns);
    let first = (tile * params.row + c) / 4u;
    put_v(first, 0u, rows.a);
    put_v(first, 1u, rows.b);
    put_v(first, 2u, rows.c);
    put_v(first, 3u, rows.d);
    if SIDE == 4u {
        put_v(first, 4u, rows.e);
        put_v(first, 5u, rows.f);
    }
}

@group(0) @binding(1) var<storage, read> m: array<vec4<f32>>;       // [T,tiles,width]
@group(0) @binding(2) var<storage, read> bias: array<f32>;          // [y_c]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [images,oh,ow,y_c]
@group(0) @binding(3) var<storage, read_write> y_odd: array<f32>;   // the same

fn output_column(first: u32, j: u32) -> Six {
    let step = params.tiles * params.width / 4u;
    let down = INPUTS * step;
    let at = first + j * step;
    var p = Six(m[at], m[at + down], m[at + 2u * down], m[at + 3u * down], ZERO, ZERO);
    if SIDE == 4u {
        p.e = m[at + 4u * down];
        p.f = m[at + 5u * down];
    }
    return output_axis(p);
}

/// The rows of a tile, each yet to be transformed: `i` counts tiles and their quads of channels.
fn output_rows(i: u32) -> Tile {
    var columns: Tile;
    columns.a = output_column(i, 0u);
    columns.b = output_column(i, 1u);
    columns.c = output_column(i, 2u);
    columns.d = output_column(i, 3u);
    if SIDE == 4u {
        columns.e = output_column(i, 4u);
        columns.f = output_column(i, 5u);
    }
    return transposed(columns);
}

fn bias_at(o: u32) -> f32 {
    if unfolded(params.bias, o) == 1u && o < params.y_c { return bias[o]; }
    return 0.0;
}

fn bias_quad(o: u32) -> vec4<f32> { return vec4(bias_at(o), bias_at(o + 1u), bias_at(o + 2u), bias_at(o + 3u)); }

/// First element of four channels of an output pixel.
fn y_first(at: Place, o: u32, i: u32, j: u32) -> u32 {
    return ((at.image * params.size.x + at.top + i) * params.size.y + at.left + j) * params.y_c + o;
}

fn put_y(at: Place, o: u32, i: u32, m: Six, more: vec4<f32>) {
    if at.top + i >= params.size.x { return; }
    let row = output_axis(m);
    let step = params.y_c / 4u;
    let first = y_first(at, o, i, 0u) / 4u;
    y[first] = row.a + more;
    if at.left + 1u < params.size.y { y[first + step] = row.b + more; }
    if SIDE == 4u && at.left + 2u < params.size.y { y[first + 2u * step] = row.c + more; }
    if SIDE == 4u && at.left + 3u < params.size.y { y[first + 3u * step] = row.d + more; }
}

@compute @workgroup_size(64)
fn output(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = flat_group(wid, n) * 64u + thread;
    let tile = i / (params.width / 4u);
    let o = i % (params.width / 4u) * 4u;
    if tile >= params.tiles { return; }
    let at = place(tile);
    let rows = output_rows(i);
    let more = bias_quad(o);
    put_y(at, o, 0u, rows.a, more);
    put_y(at, o, 1u, rows.b, more);
    if SIDE == 4u {
        put_y(at, o, 2u, rows.c, more);
        put_y(at, o, 3u, rows.d, more);
    }
}

fn store(at: Place, o: u32, i: u32, j: u32, value: vec4<f32>) {
    if at.left + j >= params.size.y { return; }
    let first = y_first(at, o, i, j);
    y_odd[first] = value.x;
    if o + 1u < params.y_c { y_odd[first + 1u] = value.y; }
    if o + 2u < params.y_c { y_odd[first + 2u] = value.z; }
    if o + 3u < params.y_c { y_odd[first + 3u] = value.w; }
}

fn put_y_odd(at: Place, o: u32, i: u32, m: Six, more: vec4<f32>) {
    if at.top + i >= params.size.x { return; }
    let row = output_axis(m);
    store(at, o, i, 0u, row.a + more);
    store(at, o, i, 1u, row.b + more);
    if SIDE == 4u {
        store(at, o, i, 2u, row.c + more);
        store(at, o, i, 3u, row.d + more);
    }
}

@compute @workgroup_size(64)
fn output_odd(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = flat_group(wid, n) * 64u + thread;
    let tile = i / (params.width / 4u);
    let o = i % (params.width / 4u) * 4u;
    if tile >= params.tiles { return; }
    let at = place(tile);
    let rows = output_rows(i);
    let more = bias_quad(o);
    put_y_odd(at, o, 0u, rows.a, more);
    put_y_odd(at, o, 1u, rows.b, more);
    if SIDE == 4u {
        put_y_odd(at, o, 2u, rows.c, more);
        put_y_odd(at, o, 3u, rows.d, more);
    }
}
