//! Weighted nearest-neighbour classification of frozen features.

use super::{Labelled, accuracy, arg_max, balanced_accuracy, common_width};
use crate::error::{Error, Result};
use crate::ops::matmul::twin::matmul;
use crate::ops::top_k::largest;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Constants of the classifier; the defaults are k = 20, tau = 0.07.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knn {
    /// Neighbours that vote.
    pub k: usize,
    /// Temperature of their weights.
    pub tau: f64,
}

impl Default for Knn {
    fn default() -> Knn {
        Knn { k: 20, tau: 0.07 }
    }
}

/// What the neighbours said.
#[derive(Clone, Debug, PartialEq)]
pub struct Votes {
    /// Share of each class, `[N, classes]`; rows sum to 1.
    pub votes: Vec<f32>,
    /// Class with the most votes, `[N]`; of equals the lowest.
    pub predicted: Vec<usize>,
    /// Fraction predicted right.
    pub top1: f64,
    /// Mean over classes of the fraction predicted right.
    pub balanced: f64,
}

/// Similarities computed at a time.
const AT_ONCE: usize = 1 << 22;

impl Knn {
    /// Classifies each test image by its `k` most similar training images.
    ///
    /// `votes[c] = sum over the neighbours i of class c of exp(cos_i / tau)`, divided by the sum over all classes.
    /// Features are normalised here; of equally similar images the first is nearer.
    ///
    /// # Errors
    /// [`Error::Input`] if the sets do not fit together, or k is 0 or above the number of training images;
    /// [`Error::Run`] if a feature is not finite.
    /// # Source
    /// Wu et al. 2018, Section 3.4.
    pub fn classify(&self, train: &Labelled, test: &Labelled) -> Result<Votes> {
        let width = common_width(train, test)?;
        let (count, classes) = (train.labels.len(), train.classes().max(test.classes()));
        self.check(count)?;
        let keys = normalized(train.features, width)?;
        let queries = normalized(test.features, width)?;
        let mut votes = vec![0.0; test.labels.len() * classes];
        let rows = (AT_ONCE / count).max(1);
        let mut cosines = vec![0.0; rows * count];
        for (queries, votes) in queries.chunks(rows * width).zip(votes.chunks_mut(rows * classes)) {
            let rows = queries.len() / width;
            let cosines = &mut cosines[..rows * count];
            matmul(false, true, rows, count, width, queries, &keys, None, cosines);
            let pairs = cosines.par_chunks(count).zip(votes.par_chunks_mut(classes));
            pairs.for_each(|(cosines, votes)| self.vote(cosines, train.labels, votes));
        }
        let predicted: Vec<usize> = votes.chunks(classes).map(arg_max).collect();
        let top1 = accuracy(&predicted, test.labels);
        let balanced = balanced_accuracy(&predicted, test.labels);
        Ok(Votes { votes, predicted, top1, balanced })
    }

    /// Refuses constants that cannot classify among `count` training images.
    ///
    /// # Errors
    /// [`Error::Input`] if k is 0 or above `count`, or tau is not above 0.
    pub fn check(&self, count: usize) -> Result<()> {
        if self.k == 0 || self.k > count {
            return Err(Error::input(
                format!("{} neighbours of {count} training images", self.k),
                "knn k",
                format!("choose k from 1 to {count}"),
            ));
        }
        if self.tau.is_nan() || self.tau <= 0.0 {
            let what = format!("temperature {}", self.tau);
            return Err(Error::input(what, "knn tau", "choose a number above 0, such as 0.07"));
        }
        Ok(())
    }

    fn vote(&self, cosines: &[f32], labels: &[usize], votes: &mut [f32]) {
        let nearest = largest(cosines, self.k);
        // Relative to the nearest, so that no weight overflows; the division below cancels it.
        let weights = nearest.iter().map(|(cos, _)| (f64::from(cos - nearest[0].0) / self.tau).exp());
        let mut sums = vec![0.0; votes.len()];
        for ((_, i), weight) in nearest.iter().zip(weights) {
            sums[labels[*i]] += weight;
        }
        let total: f64 = sums.iter().sum();
        for (vote, sum) in votes.iter_mut().zip(sums) {
            *vote = (sum / total) as f32;
        }
    }
}

/// Rows divided by their length.
fn normalized(features: &[f32], width: usize) -> Result<Vec<f32>> {
    let mut rows = features.to_vec();
    rows.par_chunks_mut(width).enumerate().try_for_each(|(i, row)| {
        let square: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        if !square.is_finite() {
            let what = format!("knn: features of image {i} are not finite: training diverged, lower lr");
            return Err(Error::Run(what));
        }
        let norm = square.sqrt().max(1e-12);
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
        Ok(())
    })?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled<'a>(features: &'a [f32], labels: &'a [usize]) -> Labelled<'a> {
        Labelled { features, labels }
    }

    #[test]
    fn one_neighbour_is_the_most_similar_whatever_its_length() {
        let train = labelled(&[100.0, 0.0, 0.0, 0.01, 3.0, 3.0], &[0, 1, 2]);
        let test = labelled(&[0.1, 7.0, 2.0, 1.9, 5.0, -1.0], &[1, 2, 2]);
        let votes = Knn { k: 1, tau: 0.07 }.classify(&train, &test).expect("votes");
        assert_eq!(votes.predicted, [1, 2, 0]);
        assert!((votes.top1 - 2.0 / 3.0).abs() < 1e-12 && (votes.balanced - 0.75).abs() < 1e-12);
    }

    #[test]
    fn a_small_temperature_never_overflows_and_votes_sum_to_one() {
        let train = labelled(&[1.0, 0.0, 0.9, 0.1, 0.0, 1.0], &[0, 1, 1]);
        let test = labelled(&[1.0, 0.0], &[0]);
        let votes = Knn { k: 3, tau: 1e-4 }.classify(&train, &test).expect("votes");
        assert_eq!(votes.predicted, [0]);
        assert!((votes.votes.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_says_what_does() {
        let train = labelled(&[1.0, 0.0, 0.0, 1.0], &[0, 1]);
        let test = labelled(&[1.0, 0.0], &[0]);
        let message = |knn: Knn, train, test| knn.classify(&train, &test).expect_err("error").to_string();
        assert!(message(Knn { k: 3, tau: 0.07 }, train, test).contains("from 1 to 2"));
        assert!(message(Knn { k: 1, tau: 0.0 }, train, test).contains("above 0"));
        assert!(message(Knn::default(), train, labelled(&[1.0; 3], &[0])).contains("3 per test image"));
        assert!(message(Knn::default(), labelled(&[], &[]), test).contains("at least one image"));
        let broken = labelled(&[1.0, f32::NAN, 0.0, 1.0], &[0, 1]);
        assert!(message(Knn { k: 1, tau: 0.07 }, broken, test).contains("image 0"));
    }
}
