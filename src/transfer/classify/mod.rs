//! Step 8 of the pipeline: judging frozen features, and fine-tuning. Host values in, figures out.
//!
//! | file | protocol |
//! |---|---|
//! | [`knn`] | weighted nearest neighbours of frozen features |
//! | [`probe`] | a linear classifier on standardised features, Adam |
//! | [`sgd_probe`] | a linear classifier on features of random crops, SGD |
//! | [`voc`] | one linear machine a class ([`svm`]), mean average precision ([`ap`]) |
//! | [`finetune`] | the whole network on labelled photos |
//! | [`FeatureTable`] | features of a person's own photos in a file, nearest photos |
//! | [`colour`], [`handmade`] | the floors: what needs no learning |
//!
//! **Why so.** The loss does not say whether features are of use; labels that training never saw do.
//!
//! **The trap.** Features are those of the backbone in evaluation mode, not the projections; and the best figure on a test set
//! is not a result: the last epoch's is, with the best beside it and so named.
//!
//! **The other trap.** Untrained weights are a floor only with batch norm's statistics of photos ([`precise_statistics`]): those
//! that it starts with, 0 and 1, make another network of the same weights, whose figures may be a third higher.
//!
//! **The test.** `tests/judging.rs`; floors of colours and of hand-made features beside every figure.

pub mod ap;
pub mod colour;
mod features;
pub mod finetune;
pub mod handmade;
mod judge;
pub mod knn;
mod neighbours;
pub mod probe;
pub mod sgd_probe;
mod supervised;
pub mod svm;
mod table;
pub mod voc;

pub use ap::{ApKind, MeanAp, average_precision, mean_average_precision};
pub use features::{
    Embedded, Features, colour_features, embed, features, labelled_features, precise_statistics,
};
pub use finetune::{Finetune, FinetuneResult};
pub use handmade::handmade_features;
pub use judge::KnnJudge;
pub use knn::{Knn, KnnProtocol, Votes};
pub use neighbours::{
    Neighbour, Points, PurityCurves, chance, mean_similarity, nearest, purity, scores, share_a_label, worst,
};
pub use probe::{Probe, ProbeResult};
pub use sgd_probe::SgdProbe;
pub use supervised::LabelledAlbums;
pub use svm::{Svm, SvmLoss};
pub use table::FeatureTable;
pub(crate) use table::unit;
pub use voc::{ClassAp, MultiLabelled, Voc, VocResult};

use crate::error::{Error, Result};

/// Features of labelled images.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// `[N, C]`, row-major.
    pub features: &'a [f32],
    /// The class of each image, `[N]`.
    pub labels: &'a [usize],
}

impl<'a> Labelled<'a> {
    /// Features per image, C.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no image, or the features do not divide evenly among the labels.
    pub fn width(&self) -> Result<usize> {
        let (values, images) = (self.features.len(), self.labels.len());
        if images > 0 && values > 0 && values.is_multiple_of(images) {
            return Ok(values / images);
        }
        Err(Error::input(
            format!("{values} feature values for {images} labels"),
            "labelled images",
            "give at least one image, and as many labels as images",
        ))
    }

    /// One more than the largest label.
    pub fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |label| label + 1)
    }
}

/// The one feature width of both sets.
fn common_width(train: &Labelled, test: &Labelled) -> Result<usize> {
    let (a, b) = (train.width()?, test.width()?);
    if a == b {
        return Ok(a);
    }
    Err(Error::input(
        format!("{a} features per training image, {b} per test image"),
        "labelled images",
        "take both from one encoder",
    ))
}

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
    ap::mean_of_known(&class_accuracies(predicted, labels, classes))
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
    let classes = Labelled { features: logits, labels }.width()?;
    let hit = |(row, &label): (&[f32], &usize)| {
        let own = row.get(label).copied().unwrap_or(f32::NEG_INFINITY);
        let before = row.iter().enumerate().filter(|&(c, &v)| v > own || (v == own && c < label)).count();
        label < classes && before < k
    };
    let right = logits.chunks(classes).zip(labels).filter(|&pair| hit(pair)).count();
    Ok(right as f64 / labels.len() as f64)
}

/// The first largest value's place.
fn arg_max(values: &[f32]) -> usize {
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
