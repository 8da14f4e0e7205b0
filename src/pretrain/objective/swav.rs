//! SwAV: the prototypes that one view is assigned to must be predicted from the others.

use super::{Embeddings, KeyViews, Loss, Needs, Objective};
use crate::engine::ops::Over;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::pretrain::queue::Rings;

/// `loss = 1/2 sum over full crops i of 1/(V-1) sum over all other crops v of mean_b -sum_k q_i log softmax(scores_v / tau)`.
/// The codes q of a full crop come from its scores (and those of the queue) by [`sinkhorn`] and are constants. Equal
/// scores give `ln(prototypes)`.
///
/// The first two crops are full.
///
/// **The trap.** Near equal scores a direction of them is scaled by `1/eps` in the codes and by `1/tau` in the softmax: it grows
/// only if views correlate along it by more than `eps/tau`, which is a half at the paper's 0.05 and 0.1 and a tenth at an eps of 0.01.
///
/// # Source
/// SwAV, Eq. 1-3 and Sec. 3.2 (multi-crop); the baseline of S2R2's Table 1.
#[derive(Clone, Copy, Debug)]
pub struct SwAv {
    /// Temperature of the softmax.
    pub tau: f32,
    /// Entropy of the codes, epsilon.
    pub eps: f32,
    /// Iterations of Sinkhorn and Knopp's algorithm.
    pub iterations: usize,
    /// Whether projections of earlier steps are kept and take part in the assignment.
    pub queue: bool,
}

/// Crops whose codes are predicted.
const FULL: usize = 2;

impl SwAv {
    /// Codes of the full crops, `[2 B, prototypes]`: each crop's assignment of its own B rows and the queue's.
    ///
    /// PRECISION: in f64 on the host. `exp(score / 0.05)` spans 17 decades, and the matrix is small.
    fn codes(&self, scores: &[f64], images: usize, prototypes: usize, queue: &[f64]) -> Vec<f64> {
        let crop = |rows: &[f64]| {
            let all = [queue, rows].concat();
            let codes = sinkhorn(&all, prototypes, self.eps.into(), self.iterations);
            codes[queue.len()..].to_vec()
        };
        scores[..FULL * images * prototypes].chunks(images * prototypes).flat_map(crop).collect()
    }
}

impl Objective for SwAv {
    fn needs(&self) -> Needs {
        let rings = Rings { z: self.queue.then_some(()), ..Rings::default() };
        Needs { keys: KeyViews::None, rings }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let Some(scores) = &e.query.scores else {
            return Err(Error::shape("swav", "the encoder has no prototypes"));
        };
        let (rows, prototypes) = (scores.shape()[0], scores.shape()[1]);
        if e.views < FULL || !rows.is_multiple_of(e.views) {
            let detail =
                format!("{rows} rows are not {} crops of each image, of which {FULL} are full", e.views);
            return Err(Error::shape("swav", detail));
        }
        let images = rows / e.views;
        // A queue that still holds its random start says nothing about the photos.
        let full = e.queue.is_some_and(|queue| queue.is_full());
        let queue = match e.queue_scores {
            Some(scores) if full => scores.to_f64()?,
            _ => Vec::new(),
        };
        let codes = self.codes(&scores.value().to_f64()?, images, prototypes, &queue);
        // What each crop has to predict: the codes of the full crops other than itself.
        let block = images * prototypes;
        let weight = 1.0 / (FULL * (e.views - 1) * images) as f64;
        let mut targets = vec![0.0; rows * prototypes];
        for (v, targets) in targets.chunks_mut(block).enumerate() {
            for (_, codes) in codes.chunks(block).enumerate().filter(|(i, _)| *i != v) {
                targets.iter_mut().zip(codes).for_each(|(t, code)| *t += weight * code);
            }
        }
        let tape = scores.tape();
        let targets = tape.constant(Tensor::from_f64(tape.device(), [rows, prototypes], &targets)?);
        let log_p = scores.scale(1.0 / self.tau)?.log_softmax()?; // [V B, prototypes]
        let value = log_p.mul(&targets)?.sum(Over::All)?.scale(-1.0)?;
        let mut loss = Loss::of("loss_swav", value, (prototypes as f32).ln());
        loss.terms[0].helps = "lower objective.sinkhorn_eps, to 0.01 for short runs and small sets";
        Ok(loss)
    }
}

/// Codes of a batch: `Q = exp(scores / eps)`, scaled in turn so that every prototype gets the same total mass and every
/// sample sums to 1.
///
/// | value | shape |
/// |---|---|
/// | `scores` | `[N, prototypes]`, cosines |
/// | returns | `[N, prototypes]`, rows sum to 1, columns nearly to N / prototypes |
///
/// A column that no row is near (its sum underflows) keeps its zeros.
///
/// # Source
/// SwAV, Eq. 3-5 and its listing: per iteration first the prototypes, then the samples.
pub fn sinkhorn(scores: &[f64], prototypes: usize, eps: f64, iterations: usize) -> Vec<f64> {
    let rows = scores.len() / prototypes.max(1);
    // The shift cancels in the first scaling.
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut q: Vec<f64> = scores.iter().map(|s| ((s - most) / eps).exp()).collect();
    let total: f64 = q.iter().sum();
    q.iter_mut().for_each(|v| *v /= total);
    for _ in 0..iterations {
        let mut columns = vec![0.0; prototypes];
        for row in q.chunks(prototypes) {
            columns.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
        }
        for row in q.chunks_mut(prototypes) {
            for (v, sum) in row.iter_mut().zip(&columns) {
                *v /= f64::max(*sum, f64::MIN_POSITIVE) * prototypes as f64;
            }
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|v| *v /= sum.max(f64::MIN_POSITIVE) * rows as f64);
        }
    }
    q.iter_mut().for_each(|v| *v *= rows as f64);
    q
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::autograd::Tape;
    use crate::engine::device::Device;
    use crate::pretrain::encoder::Outputs;

    /// How the loss changes along scores of `SIZE` that are +1 or -1 for two prototypes, and of two views that correlate by
    /// `correlation`.
    fn slope(eps: f32, correlation: f64) -> f64 {
        const SIZE: f64 = 1e-4;
        let device = Device::reference();
        let images = 80;
        // Of 40 images of each sign so many keep it in their second view that the mean product is the correlation.
        let agree = ((1.0 + correlation) / 2.0 * 40.0).round() as usize;
        let first = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let second = |i: usize| if i / 2 < agree { first(i) } else { -first(i) };
        let signs: Vec<f64> = (0..images).map(first).chain((0..images).map(second)).collect();
        let directions: Vec<f64> = signs.iter().flat_map(|s| [*s, -s]).collect();
        let scores: Vec<f64> = directions.iter().map(|d| SIZE * d).collect();
        let tape = Tape::new(&device);
        let leaf = tape.leaf(Tensor::from_f64(&device, [2 * images, 2], &scores).expect("scores"));
        let query = Outputs {
            g: leaf.clone(),
            z: leaf.clone(),
            p: None,
            scores: Some(leaf.clone()),
            map: None,
            dense: None,
        };
        let embeddings = Embeddings { query, views: 2, keys: None, queue: None, queue_scores: None };
        let objective = SwAv { tau: 0.1, eps, iterations: 3, queue: false };
        let loss = objective.loss(&embeddings).expect("loss");
        assert!((f64::from(loss.terms[0].collapsed) - 2f64.ln()).abs() < 1e-6);
        assert!(loss.terms[0].helps.contains("lower objective.sinkhorn_eps"));
        let one = Tensor::full(&device, [], 1.0).expect("one");
        let grads = tape.gradients(&[(&loss.terms[0].value, one)]).expect("gradients");
        let d = grads.of(&leaf).expect("of the scores").to_f64().expect("values");
        d.iter().zip(&directions).map(|(d, direction)| d * direction).sum()
    }

    #[test]
    fn a_direction_of_nearly_equal_scores_grows_only_if_views_correlate_by_more_than_eps_over_tau() {
        for (eps, least) in [(0.05, 0.5), (0.03, 0.3), (0.01, 0.1)] {
            assert!(slope(eps, least + 0.05) < 0.0, "eps {eps}");
            assert!(slope(eps, least - 0.05) > 0.0, "eps {eps}");
        }
    }
}
