//! A linear support vector machine by dual coordinate descent.

use super::features::finite;
use crate::engine::device::vector::vectorised;
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
/// The defaults are LIBLINEAR's stopping rule and loss as the VOC 2007 protocol sets them.
///
/// # Source
/// Hsieh, Chang, Lin, Keerthi and Sundararajan, "A dual coordinate descent method for large-scale linear SVM", 2008,
/// Algorithm 3 (with shrinking).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Svm {
    /// What a violated margin costs.
    pub loss: SvmLoss,
    /// Positives count this many times as much as negatives.
    pub positive_weight: f64,
    /// Training ends when the projected gradient of the dual varies by less over the images.
    pub tolerance: f64,
    /// It also ends after so many passes over the images.
    pub max_passes: usize,
    /// Seed of the order of images in each pass.
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
    values: Vec<f64>,
    width: usize,
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

impl Svm {
    /// Trains on some of the images.
    ///
    /// `images` are rows of `rows`, `positive` says which are of the class, in the same order; `start` may give the
    /// dual variables of a fit to the same images at a cost that is not larger. Deterministic by the seed.
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
fn dot(a: &[f64], b: &[f64]) -> f64 {
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
fn add_scaled(w: &mut [f64], factor: f64, x: &[f64]) {
    for (w, x) in w.iter_mut().zip(x) {
        *w += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two Gaussian clouds of directions in five dimensions, `apart` from each other; a third is positive.
    fn clouds(count: usize, apart: f64) -> (Rows, Vec<usize>, Vec<bool>) {
        let mut rng = KeyedRng::new("clouds", 3, [0; 3]);
        let positive: Vec<bool> = (0..count).map(|i| i % 3 == 0).collect();
        let features: Vec<f32> = (0..count * 5)
            .map(|i| {
                let centre = if i % 5 == 0 && positive[i / 5] { apart } else { 0.0 };
                (centre + if i % 5 == 1 { 3.0 } else { 0.0 } + rng.normal()) as f32
            })
            .collect();
        (Rows::normalized(&features, 5).expect("rows"), (0..count).collect(), positive)
    }

    /// The objective at `w`, from its formula.
    fn objective(svm: &Svm, rows: &Rows, positive: &[bool], cost: f64, w: &[f64]) -> f64 {
        let terms = positive.iter().enumerate().map(|(i, &positive)| {
            let s: f64 = w.iter().zip(rows.row(i)).map(|(w, x)| w * x).sum();
            let slack = (1.0 - if positive { s } else { -s }).max(0.0);
            let price = if svm.loss == SvmLoss::Hinge { slack } else { slack * slack };
            price * cost * if positive { svm.positive_weight } else { 1.0 }
        });
        w.iter().map(|w| w * w).sum::<f64>() / 2.0 + terms.sum::<f64>()
    }

    /// The dual at a fit's variables, which no objective can get below.
    fn dual(svm: &Svm, positive: &[bool], cost: f64, fit: &Fit) -> f64 {
        let terms = positive.iter().zip(&fit.alpha).map(|(&positive, alpha)| {
            let weight = cost * if positive { svm.positive_weight } else { 1.0 };
            let ridge = if svm.loss == SvmLoss::Hinge { 0.0 } else { 0.5 / weight };
            alpha - ridge / 2.0 * alpha * alpha
        });
        terms.sum::<f64>() - fit.w.iter().map(|w| w * w).sum::<f64>() / 2.0
    }

    #[test]
    fn the_optimum_equals_that_of_plain_gradient_descent() {
        let (rows, images, positive) = clouds(40, 1.0);
        let svm = Svm { tolerance: 1e-9, ..Default::default() };
        for cost in [0.01, 1.0, 10.0] {
            let fit = svm.fit(&rows, &images, &positive, cost, None);
            // Naive: descent along differences of the formula, the step halved whenever it does not go down.
            let (mut w, mut step) = (vec![0.0; rows.width], 0.1);
            let mut value = objective(&svm, &rows, &positive, cost, &w);
            for _ in 0..4000 {
                let slope: Vec<f64> = (0..w.len())
                    .map(|j| {
                        let mut moved = w.clone();
                        moved[j] += 1e-6;
                        let up = objective(&svm, &rows, &positive, cost, &moved);
                        moved[j] -= 2e-6;
                        (up - objective(&svm, &rows, &positive, cost, &moved)) / 2e-6
                    })
                    .collect();
                let next: Vec<f64> = w.iter().zip(&slope).map(|(w, s)| w - step * s).collect();
                let reached = objective(&svm, &rows, &positive, cost, &next);
                if reached < value { (w, value, step) = (next, reached, step * 1.1) } else { step /= 2.0 }
            }
            let primal = objective(&svm, &rows, &positive, cost, &fit.w);
            assert!((primal - value).abs() < 1e-4 * value, "cost {cost}: {primal} and {value}");
            for (a, b) in fit.w.iter().zip(&w) {
                assert!((a - b).abs() < 0.02 * (1.0 + b.abs()), "cost {cost}: {:?} and {w:?}", fit.w);
            }
        }
    }

    #[test]
    fn primal_and_dual_meet_for_both_losses() {
        let (rows, images, positive) = clouds(120, 0.7);
        for loss in [SvmLoss::Hinge, SvmLoss::SquaredHinge] {
            let svm = Svm { loss, tolerance: 1e-7, max_passes: 20_000, ..Default::default() };
            for cost in [1e-6, 1e-2, 1.0, 100.0] {
                let fit = svm.fit(&rows, &images, &positive, cost, None);
                let primal = objective(&svm, &rows, &positive, cost, &fit.w);
                let gap = primal - dual(&svm, &positive, cost, &fit);
                assert!(gap > -1e-9 && gap < 1e-4 * primal, "{loss:?} at {cost}: gap {gap} of {primal}");
            }
        }
    }

    #[test]
    fn separable_classes_are_told_apart_and_overlapping_ones_mostly() {
        for (apart, all) in [(60.0, true), (1.5, false)] {
            let (rows, images, positive) = clouds(90, apart);
            let fit = Svm::default().fit(&rows, &images, &positive, 100.0, None);
            let right =
                fit.scores(&rows, &images).iter().zip(&positive).filter(|(s, p)| (**s > 0.0) == **p).count();
            assert!(if all { right == 90 } else { (60..90).contains(&right) }, "{right} of 90 at {apart}");
        }
    }

    #[test]
    fn a_warm_start_and_another_order_reach_the_same_optimum_and_one_seed_the_same_bits() {
        let (rows, images, positive) = clouds(80, 1.0);
        let svm = Svm { tolerance: 1e-8, max_passes: 20_000, ..Default::default() };
        let cold = svm.fit(&rows, &images, &positive, 2.0, None);
        assert_eq!(cold, svm.fit(&rows, &images, &positive, 2.0, None));
        let first = svm.fit(&rows, &images, &positive, 0.5, None);
        let warm = svm.fit(&rows, &images, &positive, 2.0, Some(&first.alpha));
        let other = Svm { seed: 1, ..svm }.fit(&rows, &images, &positive, 2.0, None);
        let primal = |fit: &Fit| objective(&svm, &rows, &positive, 2.0, &fit.w);
        for fit in [&warm, &other] {
            let (a, b) = (primal(fit), primal(&cold));
            assert!((a - b).abs() < 1e-5 * b, "{a} {b}");
        }
    }

    #[test]
    fn rows_have_length_one_and_a_bias_and_refuse_what_is_not_finite() {
        let rows = Rows::normalized(&[3.0, 4.0, 0.0, 0.0], 2).expect("rows");
        assert!(
            (rows.row(0)[0] - 0.6).abs() < 1e-12 && rows.row(0)[2] == 1.0 && rows.row(1) == [0.0, 0.0, 1.0]
        );
        assert!(Rows::normalized(&[1.0, f32::NAN], 1).expect_err("NaN").to_string().contains("image 1"));
        assert!(Rows::normalized(&[1.0; 3], 2).is_err());
    }
}
