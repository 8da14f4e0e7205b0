//! Weighted nearest-neighbour classification of frozen features.
//!
//! ```
//! # use vista::{Device, transfer::classify::{Features, Knn}};
//! let all = Features { values: vec![1.0, 0.1, 1.0, 0.2, 0.1, 1.0, 0.2, 1.0], labels: vec![0, 0, 1, 1] };
//! let votes = Knn { k: 1, tau: 0.07 }.leave_one_out(&Device::cpu(), &all)?; // each among the others
//! assert_eq!(votes.predicted, [0, 0, 1, 1]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::features::{Features, common_width, finite};
use super::neighbours::{Neighbour, largest_products};
use super::table::unit;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::transfer::metrics::accuracy::arg_max;
use crate::transfer::metrics::{accuracy, balanced_accuracy, standard_error};
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

/// Which labelled photos are judged, and among which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnnProtocol {
    /// Test photos among train photos.
    Test,
    /// Every labelled photo, train and test, among all others.
    LeaveOneOut,
}

impl KnnProtocol {
    /// Leave-one-out for the bundled photos: 66 test photos are too few to say much.
    pub fn of(bundled: bool) -> KnnProtocol {
        if bundled { KnnProtocol::LeaveOneOut } else { KnnProtocol::Test }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            KnnProtocol::Test => "test",
            KnnProtocol::LeaveOneOut => "leave_one_out",
        }
    }

    /// Photos that may vote on one, of so many train and test photos.
    pub fn voters(self, train: usize, test: usize) -> usize {
        match self {
            KnnProtocol::Test => train,
            KnnProtocol::LeaveOneOut => (train + test).saturating_sub(1),
        }
    }

    /// Votes on the photos that are judged.
    ///
    /// # Errors
    /// As [`Knn::classify`].
    pub fn votes(self, knn: &Knn, device: &Device, train: &Features, test: &Features) -> Result<Votes> {
        match self {
            KnnProtocol::Test => knn.classify(device, train, test),
            KnnProtocol::LeaveOneOut => knn.leave_one_out(device, &train.and(test)),
        }
    }

    /// In words, with the number of photos judged.
    pub fn told(self, photos: usize) -> String {
        match self {
            KnnProtocol::Test => format!("each of {photos} test photos among the train photos"),
            KnnProtocol::LeaveOneOut => format!("{photos} photos, each among all others (leave-one-out)"),
        }
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
    /// [`standard_error`] of `top1`.
    pub error: f64,
}

impl Knn {
    /// Classifies each test image by its `k` most similar training images, which are found on `device`.
    ///
    /// `votes[c] = sum over the neighbours i of class c of exp(cos_i / tau)`, divided by the sum over all classes.
    /// Features are normalised here; of equally similar images the first is nearer.
    ///
    /// # Errors
    /// [`Error::Input`] if the sets do not fit together, or k is 0 or above the number of training images;
    /// [`Error::Run`] if a feature is not finite; the device's.
    /// # Source
    /// Wu et al. 2018, Section 3.4.
    pub fn classify(&self, device: &Device, train: &Features, test: &Features) -> Result<Votes> {
        let width = common_width(train, test)?;
        self.check(train.labels.len())?;
        let [keys, queries] = [normalized(&train.values, width)?, normalized(&test.values, width)?];
        self.among(device, [&keys, &queries], &train.labels, &test.labels, false)
    }

    /// Classifies each image by its `k` most similar *other* images: leave-one-out, for sets too small to be split.
    ///
    /// # Errors
    /// As [`Knn::classify`]; k is at most the number of other images.
    pub fn leave_one_out(&self, device: &Device, all: &Features) -> Result<Votes> {
        let width = all.width()?;
        self.check(all.labels.len() - 1)?;
        let rows = normalized(&all.values, width)?;
        self.among(device, [&rows; 2], &all.labels, &all.labels, true)
    }

    /// Votes of unit rows `keys` on unit rows `queries`. Where both are the `same` images, none votes on itself.
    fn among(
        &self,
        device: &Device,
        [keys, queries]: [&[f32]; 2],
        known: &[usize],
        labels: &[usize],
        same: bool,
    ) -> Result<Votes> {
        let classes = known.iter().chain(labels).max().map_or(0, |label| label + 1);
        let mut votes = vec![0.0; labels.len() * classes];
        let width = keys.len() / known.len();
        let mut near = largest_products(device, queries, keys, width, self.k + usize::from(same))?;
        for (row, (near, votes)) in near.iter_mut().zip(votes.chunks_mut(classes)).enumerate() {
            near.retain(|n| !same || n.key != row);
            near.truncate(self.k);
            self.vote(near, known, votes);
        }
        let predicted: Vec<usize> = votes.chunks(classes).map(arg_max).collect();
        let top1 = accuracy(&predicted, labels);
        let (balanced, error) = (balanced_accuracy(&predicted, labels), standard_error(top1, labels.len()));
        Ok(Votes { votes, predicted, top1, balanced, error })
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

    fn vote(&self, near: &[Neighbour], labels: &[usize], votes: &mut [f32]) {
        // Relative to the nearest, so that no weight overflows; the division below cancels it.
        let weight = |n: &Neighbour| (f64::from(n.similarity - near[0].similarity) / self.tau).exp();
        let mut sums = vec![0.0; votes.len()];
        near.iter().for_each(|n| sums[labels[n.key]] += weight(n));
        let total: f64 = sums.iter().sum();
        for (vote, sum) in votes.iter_mut().zip(sums) {
            *vote = (sum / total) as f32;
        }
    }
}

/// Rows of length 1, of finite features.
fn normalized(features: &[f32], width: usize) -> Result<Vec<f32>> {
    finite("knn", features, width)?;
    Ok(unit(features, width))
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/knn.rs"]
mod tests;
