// top_k.wgsl -- the k largest of each row in descending order, and dense labels of them
// entries   forward : x[B,D] -> values[B,k], indices[B,k]     labels : x -> values, indices, labels[B,D]
// parallel  one workgroup per row, threads stride over D; radix selection, one byte of the key per pass
// numerics  exact: keys order as the values do, then by lower index; NaN lowest, -0 equals 0
// limits    D <= 2^24, k <= 64; 2.6 KiB workgroup memory, 4 bindings
// twin      src/engine/ops/top_k.rs

struct Params {
    rows: u32,
    columns: u32,
    k: u32,
}

const WG: u32 = 256u;
const LAST: u32 = 0xffffffu; // the largest index: f32 holds no more whole numbers

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
@group(0) @binding(3) var<storage, read_write> indices: array<f32>;
@group(0) @binding(4) var<storage, read_write> labels_out: array<f32>;

/// What is known of the smallest key that is taken: the bits under the masks. `need` elements are still to be
/// taken from those that agree with it; `done` when that is all of them.
struct Cut {
    key: vec2<u32>,
    mask: vec2<u32>,
    need: u32,
    done: u32,
}

var<workgroup> histogram: array<atomic<u32>, 256>;
var<workgroup> at_least: array<u32, 256>;
var<workgroup> found: Cut;
var<workgroup> taken: atomic<u32>;
var<workgroup> candidates: array<vec2<u32>, 64>;

/// A key that orders as the value does, then by lower index.
fn key_of(value: f32, column: u32) -> vec2<u32> {
    let bits = bitcast<u32>(value);
    var high = select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
    if ((bits << 1u) == 0u) { high = 0x80000000u; }
    if (is_nan(value)) { high = 0u; }
    return vec2<u32>(high, LAST - column);
}

fn less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x < b.x || (a.x == b.x && a.y < b.y);
}

/// The smallest key of the k largest of the row that starts at `base`.
fn smallest_taken(base: u32, lane: u32) -> vec2<u32> {
    var cut = Cut(vec2<u32>(0u), vec2<u32>(0u), params.k, 0u);
    // Four bytes of the value's key, then three of the index.
    for (var level = 0u; level < 7u && cut.done == 0u; level += 1u) {
        let word = level / 4u;
        let shift = select(24u - 8u * level, 48u - 8u * level, word == 1u);
        atomicStore(&histogram[lane], 0u);
        workgroupBarrier();
        for (var column = lane; column < params.columns; column += WG) {
            let key = key_of(x[base + column], column);
            if (all((key & cut.mask) == cut.key)) {
                atomicAdd(&histogram[(select(key.x, key.y, word == 1u) >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();
        // Elements in this bin or a higher one.
        let count = atomicLoad(&histogram[lane]);
        var sum = count;
        for (var step = 1u; step < WG; step *= 2u) {
            at_least[lane] = sum;
            workgroupBarrier();
            if (lane + step < WG) { sum += at_least[lane + step]; }
            workgroupBarrier();
        }
        if (sum >= cut.need && sum - count < cut.need) {
            let bin = lane << shift;
            let bits = 255u << shift;
            let need = cut.need - (sum - count);
            let low = word == 1u;
            found = Cut(cut.key | select(vec2<u32>(bin, 0u), vec2<u32>(0u, bin), low),
                        cut.mask | select(vec2<u32>(bits, 0u), vec2<u32>(0u, bits), low),
                        need, u32(need == count));
        }
        cut = workgroupUniformLoad(&found);
    }
    return cut.key;
}

/// Writes values and indices in order; returns the smallest key taken.
fn write_row(row: u32, lane: u32) -> vec2<u32> {
    let base = row * params.columns;
    let smallest = smallest_taken(base, lane);
    if (lane == 0u) { atomicStore(&taken, 0u); }
    workgroupBarrier();
    for (var column = lane; column < params.columns; column += WG) {
        let key = key_of(x[base + column], column);
        if (!less(key, smallest)) { candidates[atomicAdd(&taken, 1u)] = key; }
    }
    workgroupBarrier();
    // Keys are distinct, so ranks do not depend on the order in which the candidates came.
    if (lane < params.k) {
        let mine = candidates[lane];
        var rank = 0u;
        for (var other = 0u; other < unfolded(params.k, lane); other += 1u) {
            rank += u32(less(mine, candidates[other]));
        }
        let column = LAST - mine.y;
        values[row * params.k + rank] = x[base + column];
        indices[row * params.k + rank] = f32(column);
    }
    return smallest;
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    write_row(row, lane);
}

@compute @workgroup_size(256)
fn labels(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.rows) { return; }
    let smallest = write_row(row, lane);
    let base = row * params.columns;
    for (var column = lane; column < params.columns; column += WG) {
        labels_out[base + column] = f32(!less(key_of(x[base + column], column), smallest));
    }
}
