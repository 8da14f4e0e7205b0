//! Nearest keys of each query, and how many of them share a label with it.

use crate::engine::ops::matmul::twin::matmul;
use crate::engine::ops::top_k::largest;
use rayon::prelude::*;
use serde::Serialize;

/// Unit embeddings of crops and the photos that they were cut from.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a> {
    /// `[N, width]`, rows of length 1.
    pub values: &'a [f32],
    /// Features of each.
    pub width: usize,
    /// The photo of each, `[N]`.
    pub photos: &'a [usize],
}

/// A key near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Row of the key.
    pub key: usize,
    /// Cosine.
    pub similarity: f32,
}

/// Similarities computed at a time.
const AT_ONCE: usize = 1 << 22;

/// Cosines of one query with every key of another photo, with the keys' rows.
///
/// # Source
/// MLS, Fig. 2: `g1 . Q_g`, `z1 . Q_z`; the query's own key is left out.
pub fn scores(query: usize, queries: &Points, keys: &Points) -> Vec<(usize, f32)> {
    let q = &queries.values[query * queries.width..][..queries.width];
    let mut cosines = vec![0.0; keys.photos.len()];
    matmul(false, true, 1, cosines.len(), keys.width, q, keys.values, None, &mut cosines);
    of_others(queries.photos[query], &cosines, keys)
}

/// Those of the cosines with all keys that are of another photo, with the keys' rows.
fn of_others(photo: usize, cosines: &[f32], keys: &Points) -> Vec<(usize, f32)> {
    let all = cosines.iter().copied().enumerate();
    all.filter(|&(key, _)| keys.photos[key] != photo).collect()
}

/// The `k` nearest keys of every query, nearest first, keys of the query's own photo left out; all if there are
/// fewer. Of equally near keys the first row is nearer.
pub fn nearest(queries: &Points, keys: &Points, k: usize) -> Vec<Vec<Neighbour>> {
    let (count, width) = (keys.photos.len(), keys.width);
    let rows = (AT_ONCE / count.max(1)).max(1);
    let of_part = |(photos, values): (&[usize], &[f32])| {
        let mut cosines = vec![0.0; photos.len() * count];
        matmul(false, true, photos.len(), count, width, values, keys.values, None, &mut cosines);
        let of_one = |(row, &photo): (usize, &usize)| {
            let others = of_others(photo, &cosines[row * count..][..count], keys);
            let (rows, cosines): (Vec<usize>, Vec<f32>) = others.into_iter().unzip();
            let best = largest(&cosines, k).into_iter();
            best.map(|(similarity, i)| Neighbour { key: rows[i], similarity }).collect()
        };
        photos.par_iter().enumerate().map(of_one).collect::<Vec<Vec<Neighbour>>>()
    };
    queries.photos.chunks(rows).zip(queries.values.chunks(rows * width)).flat_map(of_part).collect()
}

/// Purity of neighbourhoods: `purity[k - 1]` is the share of the k nearest keys that share a label with their query,
/// averaged over the queries. Ends at the longest neighbourhood that every query has.
///
/// `related(query, key)` says whether two rows share a label. The neighbours are the pseudo-positives of MLS, Eq. 7.
pub fn purity(neighbours: &[Vec<Neighbour>], related: &dyn Fn(usize, usize) -> bool) -> Vec<f64> {
    let longest = neighbours.iter().map(Vec::len).min().unwrap_or(0);
    let mut sums = vec![0.0; longest];
    for (query, neighbours) in neighbours.iter().enumerate() {
        let mut shared = 0;
        for (i, neighbour) in neighbours[..longest].iter().enumerate() {
            shared += usize::from(related(query, neighbour.key));
            sums[i] += shared as f64 / (i + 1) as f64;
        }
    }
    sums.into_iter().map(|sum| sum / neighbours.len() as f64).collect()
}

/// Purity of keys taken blindly: the share of all keys of other photos that share a label with the query, averaged
/// over the queries.
pub fn chance(queries: &[usize], keys: &[usize], related: &dyn Fn(usize, usize) -> bool) -> f64 {
    let share = |query: usize| {
        let others: Vec<usize> = (0..keys.len()).filter(|&key| keys[key] != queries[query]).collect();
        let shared = others.iter().filter(|&&key| related(query, key)).count();
        shared as f64 / others.len().max(1) as f64
    };
    (0..queries.len()).map(share).sum::<f64>() / queries.len().max(1) as f64
}

/// Whether two photos have a label in common.
pub fn share_a_label(a: &[usize], b: &[usize]) -> bool {
    a.iter().any(|label| b.contains(label))
}

/// Mean cosine of a query's neighbours; 0 of none.
pub fn mean_similarity(neighbours: &[Neighbour]) -> f64 {
    let sum: f64 = neighbours.iter().map(|n| f64::from(n.similarity)).sum();
    sum / neighbours.len().max(1) as f64
}

/// The query whose neighbours fit it least: the lowest share that share a label, where labels are known
/// (`related`), then the lowest mean cosine; of equals the first. `None` without queries.
///
/// MLS, Fig. 4, chose its worst query by hand.
pub fn worst(neighbours: &[Vec<Neighbour>], related: Option<&dyn Fn(usize, usize) -> bool>) -> Option<usize> {
    let badness = |query: usize| {
        let own = &neighbours[query];
        let shared = related.map_or(0, |f| own.iter().filter(|n| f(query, n.key)).count());
        (shared as f64 / own.len().max(1) as f64, mean_similarity(own))
    };
    let order = |a: &usize, b: &usize| {
        let (a, b) = (badness(*a), badness(*b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    };
    (0..neighbours.len()).min_by(order)
}

/// Purity before and after training, and by chance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PurityCurves {
    /// Of the freshly initialised encoder; entry i for the i + 1 nearest keys.
    pub before: Vec<f64>,
    /// Of the trained encoder.
    pub after: Vec<f64>,
    /// Of keys taken blindly.
    pub chance: f64,
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/neighbours.rs"]
mod tests;
