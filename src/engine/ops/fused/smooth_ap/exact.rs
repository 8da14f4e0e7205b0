//! The exact average precision, which smooth AP tends to as its tau falls.

use super::check_views;
use crate::error::{Error, Result};

/// Average precision of every query, counting ranks exactly.
///
/// `R(i,X) = 1 + |{j in X, j != i : s_qj > s_qi}|`, `AP_q = 1/(K-1) sum_{i in P} R(i,P) / R(i, P u N)`; sets as
/// in [`super::SmoothAp`].
///
/// | value | shape |
/// |---|---|
/// | `similarities` | `[n, n]`, row-major |
/// | returns | `[n]`, each above 0 and at most 1 |
///
/// # Errors
/// [`Error::Shape`] if there are not n x n similarities, or not a whole number of images with at least 2 views.
/// # Source
/// S2R2, Eq. 1-2.
pub fn exact_ap(similarities: &[f32], n: usize, views: usize) -> Result<Vec<f32>> {
    check_views(n, views)?;
    if similarities.len() != n * n {
        let detail = format!("{} similarities are not those of {n} rows with each other", similarities.len());
        return Err(Error::shape("exact_ap", detail));
    }
    let query = |(q, row): (usize, &[f32])| {
        let image = q - q % views..q - q % views + views;
        let precision = |i: usize| {
            let is_above = |j: &usize| *j != q && row[*j] > row[i];
            let rank = 1 + image.clone().filter(is_above).count();
            let rank_all = 1 + (0..n).filter(is_above).count();
            rank as f64 / rank_all as f64
        };
        let sum: f64 = image.clone().filter(|&i| i != q).map(precision).sum();
        (sum / (views - 1) as f64) as f32
    };
    Ok(similarities.chunks(n).enumerate().map(query).collect())
}
