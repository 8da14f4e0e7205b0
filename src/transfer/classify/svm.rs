//! A linear support vector machine, and one machine by dual coordinate descent.
//!
//! ```
//! # use vista::transfer::classify::{Svm, svm::Rows};
//! let rows = Rows::normalized(&[1.0, 0.1, 1.0, -0.1, -1.0, 0.2, -1.0, 0.0], 2)?;
//! let fit = Svm::default().fit(&rows, &[0, 1, 2, 3], &[true, true, false, false], 1.0, None);
//! let scores = fit.scores(&rows, &[0, 2]);
//! assert!(scores[0] > 0.0 && scores[1] < 0.0, "{scores:?}");
//! # Ok::<(), vista::Error>(())
//! ```

use super::features::finite;
use crate::engine::device::vector::vectorised;
use crate::engine::ops::matmul::twin::matmul;
use crate::error::{Error, Result};
use crate::rng::KeyedRng;
use serde::{Deserialize, Serialize};

/// What a violated margin costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SvmLoss {
    /// `max(0, 1 - y s)`.
    Hinge,
    /// `max(0, 1 - y s)^2`.
    SquaredHinge,
}

/// A linear support vector machine, L2-regularised, its bias an extra feature of 1 that is regularised too.
///
/// `min over w of |w|^2 / 2 + sum_i cost_i loss(y_i w . x_i)`, where `cost_i` is the cost C, times `positive_weight`
/// for positives.
///
/// The default loss is that of the VOC 2007 protocol. [`Svm::fit`] trains one machine, whatever its loss, by coordinate
/// descent; [`Svm::fit_paths`] many, those of the squared hinge by Newton's method. Both find the one optimum that there is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Svm {
    /// What a violated margin costs.
    pub loss: SvmLoss,
    /// Positives count this many times as much as negatives.
    pub positive_weight: f64,
    /// Coordinate descent ends when the projected gradient of the dual varies by less over the images (LIBLINEAR's rule);
    /// Newton's method when the weights are sure to differ from the optimum's by less, relative to their norm.
    pub tolerance: f64,
    /// Training also ends after so many passes over the images.
    pub max_passes: usize,
    /// Seed of the order of images in each pass of coordinate descent.
    pub seed: u64,
}

impl Default for Svm {
    fn default() -> Svm {
        Svm { loss: SvmLoss::SquaredHinge, positive_weight: 2.0, tolerance: 1e-4, max_passes: 1000, seed: 0 }
    }
}

/// Features of images as a machine takes them: each divided by its 2-norm, a 1 appended.
#[derive(Clone, Debug)]
pub struct Rows {
    pub(super) values: Vec<f64>,
    pub(super) width: usize,
}

impl Rows {
    /// From features `[N, width]`.
    ///
    /// # Errors
    /// [`Error::Input`] if they do not divide into rows; [`Error::Run`] if one is not finite.
    pub fn normalized(features: &[f32], width: usize) -> Result<Rows> {
        if width == 0 || !features.len().is_multiple_of(width) {
            let what = format!("{} feature values in rows of {width}", features.len());
            return Err(Error::input(what, "svm", "give as many values for each image"));
        }
        finite("svm", features, width)?;
        let mut values = Vec::with_capacity(features.len() / width * (width + 1));
        for row in features.chunks(width) {
            let square: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            let norm = square.sqrt().max(1e-12);
            values.extend(row.iter().map(|&v| f64::from(v) / norm));
            values.push(1.0);
        }
        Ok(Rows { values, width: width + 1 })
    }

    /// `w . x` of every image for each of some machines, `[machines, N]`, from their weights `[machines, width]`.
    pub fn scores(&self, w: &[f64]) -> Vec<f64> {
        let (machines, images) = (w.len() / self.width, self.values.len() / self.width);
        let mut scores = vec![0.0; machines * images];
        matmul(false, true, machines, images, self.width, w, &self.values, None, &mut scores);
        scores
    }

    fn row(&self, image: usize) -> &[f64] {
        &self.values[image * self.width..][..self.width]
    }
}

/// A trained machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Weight of each feature, the bias last.
    pub w: Vec<f64>,
    /// Dual variables, one for each image trained on: where the machine for a larger cost can start.
    pub alpha: Vec<f64>,
}

impl Fit {
    /// `w . x` for some images: above 0 for what looks like a positive.
    pub fn scores(&self, rows: &Rows, images: &[usize]) -> Vec<f64> {
        vectorised(
            #[inline(always)]
            || images.iter().map(|&i| dot(&self.w, rows.row(i))).collect(),
        )
    }
}

/// Machines to train on the same images, one for each cost; see [`Svm::fit_paths`].
#[derive(Clone, Debug)]
pub struct CostPath {
    /// 1 for positives, -1 for negatives, 0 for images that no machine of the path is trained on, `[N]`.
    pub signs: Vec<i8>,
    /// The costs, ascending: a machine starts where the one before it has ended.
    pub costs: Vec<f64>,
}

/// A machine of [`Svm::fit_paths`].
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a> {
    /// Number of its path.
    pub path: usize,
    /// Number of its cost in the path.
    pub cost: usize,
    /// Weight of each feature, the bias last.
    pub w: &'a [f64],
    /// `w . x` for every image, also those that it was not trained on, `[N]`.
    pub scores: &'a [f64],
}

impl Svm {
    /// Trains on some of the images by dual coordinate descent.
    ///
    /// `images` are rows of `rows`, `positive` says which are of the class, in the same order; `start` may give the
    /// dual variables of a fit to the same images at a cost that is not larger. Deterministic by the seed.
    ///
    /// # Source
    /// Hsieh, Chang, Lin, Keerthi and Sundararajan, "A dual coordinate descent method for large-scale linear SVM", 2008,
    /// Algorithm 3 (with shrinking).
    pub fn fit(
        &self,
        rows: &Rows,
        images: &[usize],
        positive: &[bool],
        cost: f64,
        start: Option<&[f64]>,
    ) -> Fit {
        assert_eq!(images.len(), positive.len(), "one label for each image");
        vectorised(
            #[inline(always)]
            || {
                let count = images.len();
                let weight = |i: usize| if positive[i] { cost * self.positive_weight } else { cost };
                let sign = |i: usize| if positive[i] { 1.0 } else { -1.0 };
                // The dual: min |w|^2 / 2 + sum_i (ridge_i / 2 alpha_i^2 - alpha_i), w = sum_i alpha_i y_i x_i, alpha <= upper.
                let squared = self.loss == SvmLoss::SquaredHinge;
                let ridge = |i: usize| if squared { 0.5 / weight(i) } else { 0.0 };
                let upper = |i: usize| if squared { f64::INFINITY } else { weight(i) };
                let curvature: Vec<f64> =
                    (0..count).map(|i| dot(rows.row(images[i]), rows.row(images[i])) + ridge(i)).collect();
                let mut alpha = start.map_or_else(|| vec![0.0; count], <[f64]>::to_vec);
                let mut w = vec![0.0; rows.width];
                for i in (0..count).filter(|&i| alpha[i] != 0.0) {
                    add_scaled(&mut w, alpha[i] * sign(i), rows.row(images[i]));
                }
                let mut rng = KeyedRng::new("svm", self.seed, [0; 3]);
                let mut active: Vec<usize> = (0..count).collect();
                // Shrinking: an image at a bound whose gradient holds it there is left out of further passes.
                let (mut above, mut below) = (f64::INFINITY, f64::NEG_INFINITY);
                for _ in 0..self.max_passes {
                    rng.shuffle(&mut active);
                    let (mut highest, mut lowest) = (f64::NEG_INFINITY, f64::INFINITY);
                    let mut at = 0;
                    while at < active.len() {
                        let i = active[at];
                        let x = rows.row(images[i]);
                        let gradient = sign(i) * dot(&w, x) - 1.0 + ridge(i) * alpha[i];
                        let shrink = (alpha[i] == 0.0 && gradient > above)
                            || (alpha[i] == upper(i) && gradient < below);
                        if shrink {
                            active.swap_remove(at);
                            continue;
                        }
                        let projected = if alpha[i] == 0.0 {
                            gradient.min(0.0)
                        } else if alpha[i] == upper(i) {
                            gradient.max(0.0)
                        } else {
                            gradient
                        };
                        highest = highest.max(projected);
                        lowest = lowest.min(projected);
                        if projected.abs() > 1e-12 {
                            let moved = (alpha[i] - gradient / curvature[i]).clamp(0.0, upper(i));
                            add_scaled(&mut w, (moved - alpha[i]) * sign(i), x);
                            alpha[i] = moved;
                        }
                        at += 1;
                    }
                    if highest - lowest <= self.tolerance || active.is_empty() {
                        if active.len() == count {
                            break;
                        }
                        // ORDER: a fit ends on a pass over all images, never on the shrunken set.
                        active = (0..count).collect();
                        (above, below) = (f64::INFINITY, f64::NEG_INFINITY);
                        continue;
                    }
                    above = if highest > 0.0 { highest } else { f64::INFINITY };
                    below = if lowest < 0.0 { lowest } else { f64::NEG_INFINITY };
                }
                Fit { w, alpha }
            },
        )
    }
}

/// `a . b`, in eight sums side by side.
#[inline(always)]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest
}

/// `w += factor x`.
#[inline(always)]
pub(super) fn add_scaled(w: &mut [f64], factor: f64, x: &[f64]) {
    for (w, x) in w.iter_mut().zip(x) {
        *w += factor * x;
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/svm.rs"]
mod tests;
