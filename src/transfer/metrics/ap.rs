//! Average precision of a ranking, and its mean over classes.
//!
//! ```
//! # use vista::transfer::metrics::{ApKind, average_precision};
//! let ap = |scores: &[f64]| average_precision(scores, &[1, 0, 1], ApKind::Sum);
//! assert_eq!(ap(&[0.9, 0.1, 0.8])?, Some(1.0)); // both positives first
//! assert!((ap(&[0.9, 0.8, 0.1])?.expect("positives") - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
//! # Ok::<(), vista::Error>(())
//! ```

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the precision-recall curve becomes one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApKind {
    /// Mean over the recalls 0, 0.1, .. 1 of the largest precision at that recall or above (VOC 2007's own).
    #[serde(rename = "11point")]
    ElevenPoint,
    /// Area under the curve after precision is made non-increasing in recall (VOC from 2010 on).
    #[serde(rename = "area")]
    Area,
    /// Sum of precision times step of recall, the curve as it is (scikit-learn).
    #[serde(rename = "sum")]
    Sum,
}

/// Average precision of one class: how far above the negatives its positives are ranked.
///
/// With `hits(t)` the positives and `n(t)` all images scored at or above the threshold t, `precision = hits / n` and
/// `recall = hits / positives`, one point for each distinct score.
///
/// | value | shape | range |
/// |---|---|---|
/// | `scores` | `[N]` | higher is more likely; infinite is allowed, NaN is not |
/// | `labels` | `[N]` | 1 positive, 0 negative, -1 left out |
/// | returns | | 0 to 1; `None` without a positive |
///
/// Ties: images of equal score enter together, so the order of the images never matters and a score that is the same
/// for all gives the share of positives.
///
/// # Errors
/// [`Error::Input`] if lengths differ or a label is another number; [`Error::Run`] if a score is NaN.
/// # Source
/// Everingham et al. 2010, Section 4.2 (11 points); the VOC 2012 development kit (area).
pub fn average_precision(scores: &[f64], labels: &[i8], kind: ApKind) -> Result<Option<f64>> {
    if scores.len() != labels.len() {
        let what = format!("{} scores for {} labels", scores.len(), labels.len());
        return Err(Error::input(what, "average precision", "give one score for each label"));
    }
    if let Some(label) = labels.iter().find(|l| !(-1..=1).contains(*l)) {
        let what = format!("label {label}");
        return Err(Error::input(what, "average precision", "use 1, 0, or -1 for what is left out"));
    }
    if let Some(i) = scores.iter().position(|s| s.is_nan()) {
        return Err(Error::Run(format!("average precision: score {i} is NaN: training diverged, lower lr")));
    }
    let points = points(scores, labels);
    let positives = points.last().map_or(0, |(hits, _)| *hits);
    if positives == 0 {
        return Ok(None);
    }
    Ok(Some(area_below(&points, positives, kind)))
}

/// The number that a precision-recall curve becomes, of at least one positive; some may be at no point of the curve.
pub(super) fn area_below(points: &[(usize, usize)], positives: usize, kind: ApKind) -> f64 {
    let precision = |&(hits, n): &(usize, usize)| hits as f64 / n as f64;
    if kind == ApKind::ElevenPoint {
        let best_from = |tenths: usize| {
            // Whole numbers: a recall of 3 in 10 is 0.3, whatever the rounding of 0.3.
            let reached = points.iter().filter(|(hits, _)| hits * 10 >= tenths * positives);
            reached.map(precision).fold(0.0, f64::max)
        };
        return (0..=10).map(best_from).sum::<f64>() / 11.0;
    }
    // From the lowest threshold up, so that the running maximum is that over all higher recalls.
    let (mut sum, mut envelope) = (0.0, 0.0);
    for (i, point) in points.iter().enumerate().rev() {
        let before = if i == 0 { 0 } else { points[i - 1].0 };
        envelope = if kind == ApKind::Area { precision(point).max(envelope) } else { precision(point) };
        sum += envelope * (point.0 - before) as f64;
    }
    sum / positives as f64
}

/// Points of a precision-recall curve by falling threshold: positives and all images down to each distinct score.
pub(super) fn points(scores: &[f64], labels: &[i8]) -> Vec<(usize, usize)> {
    let mut ranked: Vec<(f64, bool)> =
        scores.iter().zip(labels).filter(|(_, l)| **l >= 0).map(|(&s, &l)| (s, l == 1)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hits, mut points) = (0, Vec::new());
    for (i, &(score, hit)) in ranked.iter().enumerate() {
        hits += usize::from(hit);
        if ranked.get(i + 1).is_none_or(|next| next.0 != score) {
            points.push((hits, i + 1));
        }
    }
    points
}

/// Mean of the known values; 0 if there is none.
pub fn mean_of_known(values: &[Option<f64>]) -> f64 {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    known.iter().sum::<f64>() / known.len().max(1) as f64
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/metrics/ap.rs"]
mod tests;
