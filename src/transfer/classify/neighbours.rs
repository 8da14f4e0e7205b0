//! Nearest keys of each query, and how many of them share a label with it.

use crate::engine::device::Device;
use crate::engine::ops::top_k::{MAX_COLUMNS, MAX_K, largest};
use crate::engine::ops::{Matmul, TopK, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use rayon::prelude::*;
use serde::Serialize;
use std::cmp::Ordering;
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
/// Elements of keys that are on a device at a time: 256 MiB.
const KEYS_AT_ONCE: usize = 1 << 26;

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
    by_blocks(device, queries, keys, width, k, KEYS_AT_ONCE)
}

/// The same with so many elements of keys at a time.
fn by_blocks(
    device: &Device,
    queries: &[f32],
    keys: &[f32],
    width: usize,
    k: usize,
    at_once: usize,
) -> Result<Vec<Vec<Neighbour>>> {
    let width = width.max(1);
    let mut found = vec![Vec::new(); queries.len() / width];
    let block = (at_once / width).max(1);
    for (start, keys) in (0..).step_by(block).zip(keys.chunks(block * width)) {
        let count = keys.len() / width;
        let keys = Tensor::new(device, [count, width], keys)?;
        let rows = (AT_ONCE / count).max(1);
        for (queries, found) in queries.chunks(rows * width).zip(found.chunks_mut(rows)) {
            let queries = Tensor::new(device, [found.len(), width], queries)?;
            let products = run(&Matmul::NT, &[&queries, &keys])?.swap_remove(0); // [Q, K]
            for (found, best) in found.iter_mut().zip(largest_of_rows(&products, k.min(count))?) {
                let best =
                    best.into_iter().map(|(similarity, key)| Neighbour { key: start + key, similarity });
                found.extend(best);
                // Stable: of equals that of the earlier block stays first.
                found.sort_by(|a, b| b.similarity.partial_cmp(&a.similarity).unwrap_or(Ordering::Equal));
                found.truncate(k);
            }
        }
    }
    Ok(found)
}

/// The `k` largest of each row `[Q, K]` and their places, in the order of [`TopK`].
fn largest_of_rows(products: &Tensor, k: usize) -> Result<Vec<Vec<(f32, usize)>>> {
    let columns = products.shape()[1];
    if k == 0 {
        return Ok(vec![Vec::new(); products.shape()[0]]);
    }
    if k > MAX_K || columns > MAX_COLUMNS {
        return Ok(products.to_vec()?.par_chunks(columns).map(|row| largest(row, k)).collect());
    }
    let best = run(&TopK { k, labels: false }, &[products])?; // values and places, [Q, k]
    let read = Tensor::read(&[&best[0], &best[1]])?;
    let rows = read[0].chunks(k).zip(read[1].chunks(k));
    Ok(rows.map(|(v, at)| v.iter().zip(at).map(|(&v, &at)| (v as f32, at as usize)).collect()).collect())
}

/// Cosines of one query with every key of another photo.
///
/// # Errors
/// The device's.
/// # Source
/// MLS, Fig. 2: `g1 . Q_g`, `z1 . Q_z`; the query's own key is left out.
pub fn scores(device: &Device, query: usize, queries: &Points, keys: &Points) -> Result<Vec<f32>> {
    let width = queries.width;
    let q = Tensor::new(device, [1, width], &queries.values[query * width..][..width])?;
    let mut cosines = Vec::with_capacity(keys.photos.len());
    for keys in keys.values.chunks((KEYS_AT_ONCE / width).max(1) * width) {
        let keys = Tensor::new(device, [keys.len() / width, width], keys)?;
        cosines.extend(run(&Matmul::NT, &[&q, &keys])?.swap_remove(0).to_vec()?);
    }
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
