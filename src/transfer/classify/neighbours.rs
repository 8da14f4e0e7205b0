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

/// Cosines of one query with every key of another photo, with the keys' rows.
///
/// # Source
/// MLS, Fig. 2: `g1 . Q_g`, `z1 . Q_z`; the query's own key is left out.
pub fn scores(query: usize, queries: &Points, keys: &Points) -> Vec<(usize, f32)> {
    let q = &queries.values[query * queries.width..][..queries.width];
    let mut cosines = vec![0.0; keys.photos.len()];
    matmul(false, true, 1, cosines.len(), keys.width, q, keys.values, None, &mut cosines);
    let others = cosines.into_iter().enumerate();
    others.filter(|&(key, _)| keys.photos[key] != queries.photos[query]).collect()
}

/// The `k` nearest keys of every query, nearest first, keys of the query's own photo left out; all if there are
/// fewer. Of equally near keys the first row is nearer.
pub fn nearest(queries: &Points, keys: &Points, k: usize) -> Vec<Vec<Neighbour>> {
    let of_one = |query| {
        let (rows, cosines): (Vec<usize>, Vec<f32>) = scores(query, queries, keys).into_iter().unzip();
        let best = largest(&cosines, k).into_iter();
        best.map(|(similarity, i)| Neighbour { key: rows[i], similarity }).collect()
    };
    (0..queries.photos.len()).into_par_iter().map(of_one).collect()
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
mod tests {
    use super::*;
    use crate::rng::KeyedRng;

    /// Random unit rows.
    fn rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut rng = KeyedRng::new("test", seed, [0; 3]);
        let mut values: Vec<f32> = (0..count * width).map(|_| rng.normal() as f32).collect();
        for row in values.chunks_mut(width) {
            let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            row.iter_mut().for_each(|v| *v /= norm);
        }
        values
    }

    #[test]
    fn neighbours_and_purity_equal_a_naive_loop_without_the_querys_own_photo() {
        let (q, k) = (rows(9, 5, 1), rows(40, 5, 2));
        let photos: Vec<usize> = (0..40).map(|i| (i * 7) % 40).collect();
        let own: Vec<usize> = (0..9).collect();
        let labels: Vec<Vec<usize>> = (0..40).map(|i| vec![i % 3, 3 + i % 4]).collect();
        let queries = Points { values: &q, width: 5, photos: &own };
        let keys = Points { values: &k, width: 5, photos: &photos };
        let related = |query: usize, key: usize| share_a_label(&labels[own[query]], &labels[photos[key]]);
        let found = nearest(&queries, &keys, 6);
        let curve = purity(&found, &related);
        for top in 1..=6 {
            let mut sum = 0.0;
            for query in 0..9 {
                let cosine = |key: usize| (0..5).map(|c| q[query * 5 + c] * k[key * 5 + c]).sum::<f32>();
                let mut order: Vec<usize> = (0..40).filter(|&key| photos[key] != query).collect();
                order.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)));
                let expected: Vec<usize> = found[query][..top].iter().map(|n| n.key).collect();
                assert_eq!(order[..top], expected);
                let common = |key: &usize| labels[query].iter().any(|l| labels[photos[*key]].contains(l));
                sum += order[..top].iter().filter(|key| common(key)).count() as f64 / top as f64;
            }
            assert!((curve[top - 1] - sum / 9.0).abs() < 1e-12, "k = {top}");
        }
    }

    #[test]
    fn chance_is_the_share_among_all_other_photos() {
        let labels = [0, 0, 0, 1];
        let photos = [0, 1, 2, 3];
        let related = |query: usize, key: usize| labels[query] == labels[key];
        assert!((chance(&photos, &photos, &related) - (3.0 * 2.0 / 3.0) / 4.0).abs() < 1e-12);
        assert_eq!(chance(&[], &photos, &related), 0.0);
    }

    #[test]
    fn the_worst_query_has_the_fewest_shared_labels_then_the_lowest_similarity() {
        let near = |pairs: &[(usize, f32)]| -> Vec<Neighbour> {
            pairs.iter().map(|&(key, similarity)| Neighbour { key, similarity }).collect()
        };
        let found = [
            near(&[(0, 0.5), (1, 0.4)]),
            near(&[(2, 0.9), (1, 0.8)]),
            near(&[(2, 0.7), (1, 0.6)]),
            near(&[(0, 0.3), (0, 0.3)]),
        ];
        assert_eq!(worst(&found, None), Some(3), "the lowest mean cosine");
        let related = |_: usize, key: usize| key == 0;
        assert_eq!(worst(&found, Some(&related)), Some(2), "no shared label, and less similar than query 1");
        assert_eq!(worst(&[], None), None);
    }

    #[test]
    fn few_keys_give_short_curves_and_none_gives_none() {
        let (q, k) = (rows(2, 3, 1), rows(4, 3, 2));
        let keys = Points { values: &k, width: 3, photos: &[0, 1, 2, 3] };
        let found = nearest(&Points { values: &q, width: 3, photos: &[0, 9] }, &keys, 64);
        assert_eq!((found[0].len(), found[1].len()), (3, 4));
        assert_eq!(purity(&found, &|_, _| true), [1.0; 3]);
        assert!(purity(&[], &|_, _| true).is_empty());
    }
}
