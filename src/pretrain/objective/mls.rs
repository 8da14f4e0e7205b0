//! MLS: a photo is a bag of objects. Its nearest neighbours in the queue become labels of a multi-label problem.

use super::moco::{collapsed_nce, info_nce};
use super::{Embeddings, HELPS, KeyViews, Loss, Needs, Objective, Term};
use crate::engine::autograd::{Tape, Var};
use crate::engine::ops::{L2Normalize, TopK, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::pretrain::queue::{Ring, Rings};
use serde::{Deserialize, Serialize};

/// Which of the two dictionaries gives the pseudo-labels and which the logits (Table 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dictionaries {
    /// Labels by g in Q_g, logits by z in Q_z: the method.
    Both,
    /// Both by g in Q_g.
    GOnly,
    /// Both by z in Q_z.
    ZOnly,
}

/// The term beside InfoNCE (Table 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossTerm {
    /// Binary cross-entropy, Eq. 9: the method.
    Bce,
    /// Its terms of the positives alone, `-1/D sum_i y_i log sigmoid(p_i / tau)`: "+BCE-pos".
    BcePos,
    /// Each positive against itself and all negatives, Eq. 2: "+kNN", the extra term of kNN-MoCo.
    KnnSoftmax,
    /// None: the baseline, MoCo-v2.
    None,
}

/// What Eq. 9's sum over the queue is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalizer {
    /// D, as in Eq. 9.
    D,
    /// k, the number of positives.
    K,
    /// 1.
    One,
}

/// InfoNCE plus a multi-label term against the queue: `L = nce_weight L_nce + lambda L_ml`.
///
/// # Source
/// MLS, Eq. 1 and 7-10; defaults of Sec. 4.1: D 4096, k 20, tau 0.2, lambda 0.5, weight of InfoNCE 1.
#[derive(Clone, Copy, Debug)]
pub struct Mls {
    /// Temperature of both terms.
    pub tau: f32,
    /// Pseudo-positives of each query.
    pub k: usize,
    /// Weight of `L_nce`; 0 leaves `L_ml` alone (Sec. 3.3: unstable).
    pub nce_weight: f32,
    /// Weight of `L_ml`.
    pub lambda: f32,
    /// Which dictionary does what.
    pub dictionaries: Dictionaries,
    /// What `L_ml` is.
    pub term: LossTerm,
    /// What Eq. 9 is divided by; Eq. 2 has its own divisor, k.
    pub normalizer: Normalizer,
}

impl Objective for Mls {
    fn needs(&self) -> Needs {
        let g = self.term != LossTerm::None && self.dictionaries != Dictionaries::ZOnly;
        let rings = Rings { g: g.then_some(()), z: Some(()), dense: None };
        Needs { keys: KeyViews::Second, rings }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let queue_z = e.ring(|keys| &keys.z)?;
        let (nce, _) = info_nce(&e.query.z, &e.keys()?.z, queue_z, self.tau)?;
        let mut loss = Loss::of("loss_nce", nce, collapsed_nce(queue_z));
        loss.terms[0].weight = self.nce_weight;
        if self.term == LossTerm::None {
            return Ok(loss);
        }
        let (from, x) = match self.dictionaries {
            Dictionaries::Both => (&e.query.g, &e.query.z),
            Dictionaries::GOnly => (&e.query.g, &e.query.g),
            Dictionaries::ZOnly => (&e.query.z, &e.query.z),
        };
        let labels_queue =
            if self.dictionaries == Dictionaries::ZOnly { queue_z } else { e.ring(|keys| &keys.g)? };
        let logits_queue = if self.dictionaries == Dictionaries::GOnly { labels_queue } else { queue_z };
        let [labels, positives] = pseudo_labels(from.value(), labels_queue, self.k)?; // [B, D], [B, k]
        let logits = logits_of(x, logits_queue, self.tau)?; // [B, D]
        let slots = labels.shape()[1] as f32;
        let value = match self.term {
            LossTerm::BcePos => logits.bce_positives(&labels)?,
            LossTerm::KnnSoftmax => logits.knn_softmax(&labels)?,
            _ => logits.bce_with_logits(&labels)?,
        };
        let divisor = match (self.term, self.normalizer) {
            (LossTerm::KnnSoftmax, _) | (_, Normalizer::D) => 1.0,
            (_, Normalizer::K) => self.k as f32 / slots,
            (_, Normalizer::One) => 1.0 / slots,
        };
        let value = if divisor == 1.0 { value } else { value.scale(1.0 / divisor)? };
        // At equal embeddings every logit is 1 / tau.
        let softplus = |x: f32| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let (x, share) = (1.0 / self.tau, self.k as f32 / slots);
        let collapsed = match self.term {
            LossTerm::KnnSoftmax => (slots - self.k as f32 + 1.0).ln(),
            LossTerm::BcePos => share * softplus(-x) / divisor,
            _ => (softplus(x) - share * x) / divisor,
        };
        loss.terms.push(Term { name: "loss_ml", weight: self.lambda, value, collapsed, helps: HELPS });
        loss.positives = Some(positives);
        Ok(loss)
    }
}

/// `y = IsTopk(x . queue^T)`: exactly k ones in each row, ties to the lowest slot; not differentiated.
///
/// | value | shape |
/// |---|---|
/// | `x` | `[B, d]`, raw |
/// | `queue` | `[D, d]`, l2-normalised |
/// | returns labels | `[B, D]`, 0 or 1 |
/// | returns slots | `[B, k]`, those of the ones, most similar first |
///
/// # Errors
/// [`crate::Error::Shape`] if the widths differ or k is over D or 64.
/// # Source
/// MLS, Eq. 7.
pub fn pseudo_labels(x: &Tensor, queue: &Ring, k: usize) -> Result<[Tensor; 2]> {
    // PRECISION: backbone features are non-negative, so cosines lie close to 1 and differ in late digits: f32 all through.
    let x = run(&L2Normalize, &[x])?.swap_remove(0);
    let tape = Tape::inert(x.device());
    let similarities = queue.products(&tape.constant(x))?; // [B, D]
    let mut found = run(&TopK { k, labels: true }, &[similarities.value()])?;
    Ok([found.swap_remove(2), found.swap_remove(1)])
}

/// `p / tau` with `p = x/|x| . queue^T` (Eq. 8).
fn logits_of<'t>(x: &Var<'t>, queue: &Ring, tau: f32) -> Result<Var<'t>> {
    queue.products(&x.l2_normalize()?)?.scale(1.0 / tau) // [B, D]
}
