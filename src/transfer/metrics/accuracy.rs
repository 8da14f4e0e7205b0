//! Shares of images whose class was predicted.
//!
//! ```
//! # use vista::transfer::metrics::{accuracy, balanced_accuracy};
//! let (predicted, labels) = ([0, 0, 0, 0], [0, 0, 0, 1]); // always the frequent class
//! assert_eq!((accuracy(&predicted, &labels), balanced_accuracy(&predicted, &labels)), (0.75, 0.5));
//! ```

use super::ap::mean_of_known;
use crate::error::{Error, Result};

/// Fraction of images whose class was predicted; 0 of none.
pub fn accuracy(predicted: &[usize], labels: &[usize]) -> f64 {
    let right = predicted.iter().zip(labels).filter(|(p, l)| p == l).count();
    right as f64 / labels.len().max(1) as f64
}

/// Standard error of a share of `count` images, `sqrt(share (1 - share) / count)`; 0 of none.
///
/// The binomial's: of images alone, not of seeds; under leave-one-out, whose judgements share neighbours, an estimate.
pub fn standard_error(share: f64, count: usize) -> f64 {
    (share * (1.0 - share) / count.max(1) as f64).sqrt()
}

/// Mean over the classes that occur in `labels` of the fraction of their images that were predicted; 0 of none.
///
/// Unlike [`accuracy`] it does not reward predicting the most frequent class.
pub fn balanced_accuracy(predicted: &[usize], labels: &[usize]) -> f64 {
    let classes = labels.iter().max().map_or(0, |label| label + 1);
    mean_of_known(&class_accuracies(predicted, labels, classes))
}

/// Of each class, the fraction of its images that were predicted; `None` where there is no image.
pub fn class_accuracies(predicted: &[usize], labels: &[usize], classes: usize) -> Vec<Option<f64>> {
    let mut counts = vec![(0usize, 0usize); classes];
    for (p, &l) in predicted.iter().zip(labels) {
        counts[l].0 += usize::from(*p == l);
        counts[l].1 += 1;
    }
    counts.iter().map(|&(right, all)| (all > 0).then(|| right as f64 / all as f64)).collect()
}

/// Fraction of images whose class is among the `k` largest of their logits `[N, classes]`; of equal logits the lower
/// class counts as larger.
///
/// # Errors
/// [`Error::Input`] if the logits are not one row of at least one class for each label.
pub fn top_k_accuracy(logits: &[f32], labels: &[usize], k: usize) -> Result<f64> {
    let classes = logits.len() / labels.len().max(1);
    if classes == 0 || classes * labels.len() != logits.len() {
        let what = format!("{} logits for {} labels", logits.len(), labels.len());
        return Err(Error::input(
            what,
            "top-k accuracy",
            "give one row of at least one class for each label",
        ));
    }
    let hit = |(row, &label): (&[f32], &usize)| {
        let own = row.get(label).copied().unwrap_or(f32::NEG_INFINITY);
        let before = row.iter().enumerate().filter(|&(c, &v)| v > own || (v == own && c < label)).count();
        label < classes && before < k
    };
    let right = logits.chunks(classes).zip(labels).filter(|&pair| hit(pair)).count();
    Ok(right as f64 / labels.len() as f64)
}

/// The first largest value's place.
pub(crate) fn arg_max(values: &[f32]) -> usize {
    let better = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (1..values.len()).fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_accuracy_of_always_the_first_class_is_one_over_the_classes() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 3];
        assert_eq!(accuracy(&[0; 8], &labels), 0.75);
        assert!((balanced_accuracy(&[0; 8], &labels) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(balanced_accuracy(&labels, &labels), 1.0);
        assert_eq!(balanced_accuracy(&[], &[]), 0.0);
        assert_eq!(class_accuracies(&[0, 1, 1], &[0, 0, 1], 3), [Some(0.5), Some(1.0), None]);
    }

    #[test]
    fn top_k_counts_the_k_largest_and_breaks_ties_towards_the_lower_class() {
        let logits = [0.1, 0.9, 0.5, 0.7, 0.7, 0.0];
        assert_eq!(top_k_accuracy(&logits, &[2, 1], 1).expect("valid"), 0.0);
        assert_eq!(top_k_accuracy(&logits, &[1, 0], 1).expect("valid"), 1.0);
        assert_eq!(top_k_accuracy(&logits, &[2, 1], 2).expect("valid"), 1.0);
        assert!(top_k_accuracy(&logits, &[], 1).is_err());
    }
}
