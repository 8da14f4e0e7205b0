// roi_align.wgsl -- parts of feature maps under boxes, each resampled to the same size
// entries   forward, forward_odd   : x[N,H,W,C], rois[R,5] -> y[R,P,Q,C]       C divides by 4; any C
//           backward, backward_odd : dy[R,P,Q,C], rois -> dx[N,H,W,C]          the same
// parallel  one thread per vec4 (per element where C is odd) of what is written; backward gathers over regions, then bins
// numerics  sums in ascending order of samples (forward), of regions, bins and samples (backward)
// limits    none: R and N are split where one binding can't hold them; at most 1,024 samples along an axis of a bin
// twin      src/engine/ops/roi_align.rs

struct Params {
    height: u32,        // H and W: the map's sides
    width: u32,
    channels: u32,      // C, or C / 4
    rows: u32,          // P and Q: bins
    columns: u32,
    samples: u32,       // along each axis of a bin; 0: as many as it is cells long
    scale_bits: u32,    // cells to a pixel, as its bits
    images: u32,        // N of all dispatches
    start: u32,         // first image of this one, and one past the last
    end: u32,
    regions: u32,       // R of this one
    first: u32,         // 1 in the first dispatch of a sum
    count: u32,         // threads
    nan_bits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;               // [N,H,W,C]
@group(0) @binding(1) var<storage, read> x_odd: array<f32>;                 // the same
@group(0) @binding(2) var<storage, read> rois: array<f32>;                  // [R,5]: image, x0, y0, x1, y1
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;         // [R,P,Q,C]
@group(0) @binding(3) var<storage, read_write> y_odd: array<f32>;           // the same

/// A region along one axis: where it begins on the map, how long a bin is, and how many samples it has.
struct Axis { start: f32, bin: f32, samples: u32 }

fn axis(low: f32, high: f32, bins: u32) -> Axis {
    let scale = bitcast<f32>(params.scale_bits);
    let bin = (high - low) * scale / f32(bins);
    let samples = select(params.samples, u32(clamp(ceil(bin), 0.0, 1024.0)), params.samples == 0u);
    return Axis(low * scale - 0.5, bin, samples);
}

fn down(region: u32) -> Axis { return axis(rois[5u * region + 2u], rois[5u * region + 4u], params.rows); }
fn across(region: u32) -> Axis { return axis(rois[5u * region + 1u], rois[5u * region + 3u], params.columns); }

/// Whether a region names an image and is finite.
fn is_sound(region: u32) -> bool {
    var sound = is_index(rois[5u * region], params.images);
    for (var i = 1u; i < 5u; i += 1u) { sound = sound && (bitcast<u32>(rois[5u * region + i]) & 0x7f800000u) != 0x7f800000u; }
    return sound;
}

/// The two cells between which a sample lies and the weight of the second; `counts` is 0 for one outside of the map.
struct Place { low: u32, high: u32, weight: f32, counts: f32 }

fn place(a: Axis, bin: u32, sample: u32, length: u32) -> Place {
    let at = a.start + (f32(bin) + (f32(sample) + 0.5) / f32(a.samples)) * a.bin;
    let counts = select(0.0, 1.0, at >= -1.0 && at <= f32(length));
    let on = clamp(at, 0.0, f32(length - 1u));
    let low = u32(on);
    return Place(low, min(low + 1u, length - 1u), on - f32(low), counts);
}

/// The weight of a cell in a bin: over all samples of it, on one axis.
fn weight_of(a: Axis, bin: u32, cell: u32, length: u32) -> f32 {
    var sum = 0.0;
    for (var k = 0u; k < a.samples; k += 1u) {
        let p = place(a, bin, k, length);
        sum += p.counts * (select(0.0, 1.0 - p.weight, p.low == cell) + select(0.0, p.weight, p.high == cell));
    }
    return sum / f32(a.samples);
}

/// The first and one past the last bin that may reach a cell.
fn bins_of(a: Axis, cell: u32, bins: u32, length: u32) -> vec2<u32> {
    if (a.samples == 0u) { return vec2(0u); }
    // Samples before the map lie on its first cell, those behind it on its last.
    let low = select(f32(cell) - 1.0, -1.0, cell == 0u);
    let high = select(f32(cell) + 1.0, f32(length), cell + 1u == length);
    if (a.bin <= 0.0) { return vec2(0u, bins); }
    // A bin more at either side, for what rounding takes.
    let first = clamp(floor((low - a.start) / a.bin) - 1.0, 0.0, f32(bins));
    let end = clamp(floor((high - a.start) / a.bin) + 2.0, 0.0, f32(bins));
    return vec2(u32(first), u32(end));
}

/// What an output is: a channel of a bin of a region.
struct Output { region: u32, row: u32, column: u32, c: u32 }

fn output(i: u32) -> Output {
    let bin = i / params.channels;
    let column = bin % params.columns;
    let row = bin / params.columns % params.rows;
    return Output(bin / params.columns / params.rows, row, column, i % params.channels);
}

/// What `image_of` says of a region that is not sound, and of one whose image is in another dispatch.
const NO_IMAGE: i32 = -2;
const ELSEWHERE: i32 = -1;

/// The image of a region, counted from this dispatch's first.
fn image_of(region: u32) -> i32 {
    if (!is_sound(region)) { return NO_IMAGE; }
    let image = u32(rois[5u * region]);
    return select(ELSEWHERE, i32(image - params.start), image >= params.start && image < params.end);
}

fn cell_at(image: u32, row: u32, column: u32, c: u32) -> u32 {
    return ((image * params.height + row) * params.width + column) * params.channels + c;
}

/// Between two cells; of weight 0 the second is not taken, so that its infinity or NaN does not spread.
fn between(a: vec4<f32>, b: vec4<f32>, weight: f32) -> vec4<f32> {
    return select(a * (1.0 - weight) + b * weight, a, weight == 0.0);
}

fn between_one(a: f32, b: f32, weight: f32) -> f32 {
    return select(a * (1.0 - weight) + b * weight, a, weight == 0.0);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let o = output(i);
    let found = image_of(o.region);
    if (found == NO_IMAGE && unfolded(params.first, i) == 1u) { y[i] = vec4(bitcast<f32>(params.nan_bits)); }
    if (found < 0) { return; }
    let image = u32(found);
    let rows = down(o.region);
    let columns = across(o.region);
    var sum = vec4(0.0);
    for (var k = 0u; k < rows.samples; k += 1u) {
        let v = place(rows, o.row, k, params.height);
        for (var l = 0u; l < columns.samples; l += 1u) {
            let h = place(columns, o.column, l, params.width);
            if (v.counts * h.counts == 0.0) { continue; }
            let top = between(x[cell_at(image, v.low, h.low, o.c)], x[cell_at(image, v.low, h.high, o.c)], h.weight);
            let bottom = between(x[cell_at(image, v.high, h.low, o.c)], x[cell_at(image, v.high, h.high, o.c)], h.weight);
            sum += between(top, bottom, v.weight);
        }
    }
    y[i] = sum / f32(max(rows.samples * columns.samples, 1u));
}

@compute @workgroup_size(256)
fn forward_odd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let o = output(i);
    let found = image_of(o.region);
    if (found == NO_IMAGE && unfolded(params.first, i) == 1u) { y_odd[i] = bitcast<f32>(params.nan_bits); }
    if (found < 0) { return; }
    let image = u32(found);
    let rows = down(o.region);
    let columns = across(o.region);
    var sum = 0.0;
    for (var k = 0u; k < rows.samples; k += 1u) {
        let v = place(rows, o.row, k, params.height);
        for (var l = 0u; l < columns.samples; l += 1u) {
            let h = place(columns, o.column, l, params.width);
            if (v.counts * h.counts == 0.0) { continue; }
            let top = between_one(x_odd[cell_at(image, v.low, h.low, o.c)], x_odd[cell_at(image, v.low, h.high, o.c)], h.weight);
            let bottom = between_one(x_odd[cell_at(image, v.high, h.low, o.c)], x_odd[cell_at(image, v.high, h.high, o.c)], h.weight);
            sum += between_one(top, bottom, v.weight);
        }
    }
    y_odd[i] = sum / f32(max(rows.samples * columns.samples, 1u));
}

@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;              // [R,P,Q,C]
@group(0) @binding(1) var<storage, read> dy_odd: array<f32>;                // the same
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>;        // [N,H,W,C]
@group(0) @binding(3) var<storage, read_write> dx_odd: array<f32>;          // the same

/// A channel of a cell of the map.
struct Cell { image: i32, row: u32, column: u32, c: u32 }

fn cell(i: u32) -> Cell {
    let at = i / params.channels;
    let line = at / params.width;
    return Cell(i32(line / params.height), line % params.height, at % params.width, i % params.channels);
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let cell = cell(i);
    var sum = vec4(0.0);
    if (unfolded(params.first, i) == 0u) { sum = dx[i]; }
    for (var r = 0u; r < unfolded(params.regions, i); r += 1u) {
        if (image_of(r) != cell.image) { continue; }
        let rows = down(r);
        let columns = across(r);
        let p = bins_of(rows, cell.row, params.rows, params.height);
        let q = bins_of(columns, cell.column, params.columns, params.width);
        for (var row = p.x; row < p.y; row += 1u) {
            let v = weight_of(rows, row, cell.row, params.height);
            if (v == 0.0) { continue; }
            for (var column = q.x; column < q.y; column += 1u) {
                let weight = v * weight_of(columns, column, cell.column, params.width);
                let at = ((r * params.rows + row) * params.columns + column) * params.channels + cell.c;
                if (weight != 0.0) { sum += weight * dy[at]; }
            }
        }
    }
    dx[i] = sum;
}

@compute @workgroup_size(256)
fn backward_odd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let i = flat_group(group, groups) * 256u + lane;
    if (i >= params.count) { return; }
    let cell = cell(i);
    var sum = 0.0;
    if (unfolded(params.first, i) == 0u) { sum = dx_odd[i]; }
    for (var r = 0u; r < unfolded(params.regions, i); r += 1u) {
        if (image_of(r) != cell.image) { continue; }
        let rows = down(r);
        let columns = across(r);
        let p = bins_of(rows, cell.row, params.rows, params.height);
        let q = bins_of(columns, cell.column, params.columns, params.width);
        for (var row = p.x; row < p.y; row += 1u) {
            let v = weight_of(rows, row, cell.row, params.height);
            if (v == 0.0) { continue; }
            for (var column = q.x; column < q.y; column += 1u) {
                let weight = v * weight_of(columns, column, cell.column, params.width);
                let at = ((r * params.rows + row) * params.columns + column) * params.channels + cell.c;
                if (weight != 0.0) { sum += weight * dy_odd[at]; }
            }
        }
    }
    dx_odd[i] = sum;
}
