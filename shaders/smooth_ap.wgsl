// smooth_ap.wgsl -- smoothed average precision of every view's ranking of all others
// entries   forward : s[n,n] -> ap[n], ranks[n,K-1,2]     backward : s[n,n], ranks[n,K-1,2], dloss[1] -> ds[n,n]
// parallel  one workgroup per query; for each of its positives 256 lanes stride over the candidates, tree sum
// numerics  the derivative of a sigmoid is e/(1+e)^2 with e = exp(-|x|): no difference of close numbers
// limits    1 KiB of workgroup memory, 4 bindings, nothing cubic; blocks of queries are independent
// twin      src/engine/ops/fused/smooth_ap.rs

struct Params {
    queries: u32,       // queries bound
    first: u32,         // index of the first one
    n: u32,             // candidates: B K
    views: u32,         // K
    per_tau: f32,       // 1 / tau
    factor: f32,        // -1 / (n (K-1) tau), backward
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<f32>;             // [queries, n]
@group(0) @binding(2) var<storage, read_write> ap: array<f32>;      // [queries]
@group(0) @binding(3) var<storage, read_write> ranks: array<f32>;   // [queries, K-1, 2]

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.queries) { return; }
    let q = params.first + row;
    let start = row * params.n;
    let image = q - q % params.views;           // its first view
    var lost = 0.0;
    for (var p = 0u; p < unfolded(params.views - 1u, row); p += 1u) {
        let i = image + p + select(0u, 1u, image + p >= q);         // the query is skipped
        let at = s[start + i];
        var positives = 0.0;
        var negatives = 0.0;
        for (var j = lane; j < params.n; j += 256u) {
            let above = sigmoid((s[start + j] - at) * params.per_tau);
            // Unsigned: candidates before the image wrap around to large numbers.
            let same = j - image < params.views;
            positives += select(0.0, above, same && j != i && j != q);
            negatives += select(above, 0.0, same);
        }
        let rank = 1.0 + tree_sum(positives, lane);
        let over = tree_sum(negatives, lane);
        // PRECISION: a GPU's division may be off by 2.5 ulp, so that rank / rank is not 1; 0 / rank is 0.
        lost += over / (rank + over);
        if (lane == 0u) {
            let slot = 2u * (row * (params.views - 1u) + p);
            ranks[slot] = rank;
            ranks[slot + 1u] = over;
        }
    }
    if (lane == 0u) { ap[row] = 1.0 - lost / f32(params.views - 1u); }
}

@group(0) @binding(2) var<storage, read> saved: array<f32>;         // [queries, K-1, 2]
@group(0) @binding(3) var<storage, read> dloss: array<f32>;         // [1]
@group(0) @binding(4) var<storage, read_write> ds: array<f32>;      // [queries, n]

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let row = flat_group(group, groups);
    if (row >= params.queries) { return; }
    let q = params.first + row;
    let start = row * params.n;
    let image = q - q % params.views;
    let scale = dloss[0] * params.factor;
    for (var j = lane; j < params.n; j += 256u) { ds[start + j] = 0.0; }
    for (var p = 0u; p < unfolded(params.views - 1u, row); p += 1u) {
        let i = image + p + select(0u, 1u, image + p >= q);
        let at = s[start + i];
        let slot = 2u * (row * (params.views - 1u) + p);
        let rank = saved[slot];
        let over = saved[slot + 1u];
        let all = rank + over;
        let for_positives = scale * over / (all * all);
        let for_negatives = -scale * rank / (all * all);
        var pushed = 0.0;
        // Lane j % 256 alone touches ds[j], so no barrier is needed between the positives.
        for (var j = lane; j < params.n; j += 256u) {
            let e = exp(-abs(s[start + j] - at) * params.per_tau);
            let slope = e / ((1.0 + e) * (1.0 + e));
            let same = j - image < params.views;
            // Chosen last: what is not a candidate may be NaN.
            let push = select(select(for_negatives, for_positives, same) * slope, 0.0, j == i || j == q);
            ds[start + j] += push;
            pushed += push;
        }
        pushed = tree_sum(pushed, lane);
        if (i % 256u == lane) { ds[start + i] -= pushed; }
    }
}
