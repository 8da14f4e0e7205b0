//! Nearest keys of each query, and how many of them share a label with it.

use crate::engine::device::Device;
use crate::engine::ops::top_k::{MAX_COLUMNS, MAX_K, largest};
use crate::engine::ops::{Matmul, TopK, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;

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

/// Products that are made at a time.
const AT_ONCE: usize = 1 << 22;

/// The `k` keys with the largest products with each query, largest first, of equals the first; all if there are fewer. Products are
/// made and compared on `device`; where `k` is more than [`TopK`] takes they are compared on the host.
///
/// # Errors
/// The device's.
pub(super) fn largest_products(
    device: &Device,
    queries: &[f32],
    keys: &[f32],
    width: usize,
    k: usize,
) -> Result<Vec<Vec<Neighbour>>> {
    let (count, rows) = (keys.len() / width.max(1), queries.len() / width.max(1));
    let k = k.min(count);
    if k == 0 {
        return Ok(vec![Vec::new(); rows]);
    }
    let keys = Tensor::new(device, [count, width], keys)?;
    let mut found = Vec::with_capacity(rows);
    for queries in queries.chunks((AT_ONCE / count).max(1) * width) {
        let queries = Tensor::new(device, [queries.len() / width, width], queries)?;
        let products = run(&Matmul::NT, &[&queries, &keys])?.swap_remove(0); // [Q, K]
        if k <= MAX_K && count <= MAX_COLUMNS {
            let best = run(&TopK { k, labels: false }, &[&products])?; // values and places, [Q, k]
            let read = Tensor::read(&[&best[0], &best[1]])?;
            let of_one = |(values, places): (&[f64], &[f64])| {
                let pairs = places.iter().zip(values);
                pairs.map(|(&key, &v)| Neighbour { key: key as usize, similarity: v as f32 }).collect()
            };
            found.extend(read[0].chunks(k).zip(read[1].chunks(k)).map(of_one));
        } else {
            let of_one = |row: &[f32]| -> Vec<Neighbour> {
                let best = largest(row, k).into_iter();
                best.map(|(similarity, key)| Neighbour { key, similarity }).collect()
            };
            found.par_extend(products.to_vec()?.par_chunks(count).map(of_one));
        }
    }
    Ok(found)
}

/// Cosines of one query with every key of another photo.
///
/// # Errors
/// The device's.
/// # Source
/// MLS, Fig. 2: `g1 . Q_g`, `z1 . Q_z`; the query's own key is left out.
pub fn scores(device: &Device, query: usize, queries: &Points, keys: &Points) -> Result<Vec<f32>> {
    let q =
        Tensor::new(device, [1, queries.width], &queries.values[query * queries.width..][..queries.width])?;
    let all = Tensor::new(device, [keys.photos.len(), keys.width], keys.values)?;
    let cosines = run(&Matmul::NT, &[&q, &all])?.swap_remove(0).to_vec()?;
    let others = cosines.into_iter().zip(keys.photos);
    Ok(others.filter(|(_, photo)| **photo != queries.photos[query]).map(|(cosine, _)| cosine).collect())
}

/// The `k` nearest keys of every query, nearest first, keys of the query's own photo left out; all if there are
/// fewer. Of equally near keys the first row is nearer.
///
/// # Errors
/// The device's.
pub fn nearest(device: &Device, queries: &Points, keys: &Points, k: usize) -> Result<Vec<Vec<Neighbour>>> {
    let mut own: HashMap<usize, usize> = HashMap::new();
    keys.photos.iter().for_each(|&photo| *own.entry(photo).or_default() += 1);
    let most = queries.photos.iter().filter_map(|photo| own.get(photo)).max().copied().unwrap_or(0);
    let mut found =
        largest_products(device, queries.values, keys.values, keys.width, k.saturating_add(most))?;
    for (near, query) in found.iter_mut().zip(queries.photos) {
        near.retain(|n| keys.photos[n.key] != *query);
        near.truncate(k);
    }
    Ok(found)
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
