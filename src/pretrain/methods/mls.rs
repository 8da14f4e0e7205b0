//! MLS: a photo is a bag of objects. Its nearest neighbours in the queue become labels of a multi-label problem.
//!
//! **The trap.** Features g are non-negative, so their cosines begin near 1 and differ in the last digits: products and top-k are
//! f32 even with half storage. About 204 negatives meet each positive, so the BCE alone drives z against the mean key; both
//! losses and both gradient norms are in the log.
//!
//! ```
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use vista::{Device, Tensor, pretrain::{methods::mls::pseudo_labels, queue::Queue}};
//! let device = Device::cpu();
//! let queue = Queue::random(&device, &mut StdRng::seed_from_u64(0), 64, [("g", 8)], false)?;
//! let g = Tensor::full(&device, [2, 8], 1.0)?;
//! let [labels, slots] = pseudo_labels(&g, queue.ring("g")?, 5)?; // Eq. 7
//! assert_eq!(labels.to_vec()?.iter().sum::<f32>(), 10.0); // k ones in each row
//! assert_eq!(slots.shape()[..], [2, 5]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::entry::{Entry, preset};
use super::moco::{self, slots, small_queue};
use crate::engine::autograd::Var;
use crate::engine::ops::TopK;
use crate::engine::ops::top_k::{MAX_COLUMNS, MAX_K};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::pretrain::check::{check_momentum, check_queue, check_tau, check_weight, refuse};
use crate::pretrain::config::Config;
use crate::pretrain::method::{Build, Embedded, HalfConfig, Heads, KeyViews, Loss, Method, Now, Term};
use crate::pretrain::named::Named;
use crate::pretrain::queue::{Queue, Ring};
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

/// How training is kept stable (Sec. 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stabilization {
    /// `L_nce + lambda L_ml` throughout, Eq. 10: the method.
    Combined,
    /// `L_nce` alone for `warmup_epochs`, then `L_ml` alone.
    Warmup,
    /// `L_ml` alone: known to be unstable.
    None,
}

/// InfoNCE plus a multi-label term against the queue: `L = L_nce + lambda L_ml`.
///
/// # Source
/// MLS, Eq. 1 and 7-10; defaults of Sec. 4.1: D 4096, k 20 (Table 8), tau 0.2, lambda 0.5, m 0.995, z 256 wide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "mls", default, deny_unknown_fields)]
pub struct Mls {
    /// Temperature of both terms.
    pub tau: f32,
    /// Pseudo-positives of each query.
    pub k: usize,
    /// Weight of `L_ml`.
    pub lambda: f32,
    /// Which dictionary does what: `both`, `g_only` or `z_only` (Table 7).
    pub dictionaries: Dictionaries,
    /// What `L_ml` is: `bce`, `bce_pos`, `knn_softmax` or `none` (Table 6).
    pub term: LossTerm,
    /// What Eq. 9 is divided by, `d`, `k` or `one`; Eq. 2 has its own divisor, k.
    pub normalizer: Normalizer,
    /// `combined`, `warmup` or `none` (Sec. 3.3).
    pub stabilization: Stabilization,
    /// Epochs of InfoNCE alone, for `stabilization = "warmup"`.
    pub warmup_epochs: u64,
    /// Slots of the queue, D.
    pub queue: usize,
    /// Share of the key encoder that stays at each step.
    pub m: f64,
    /// Width of the projections z.
    pub projection: usize,
    /// Hidden width of the projector; 0 for the width of the features.
    pub hidden: usize,
}

impl Default for Mls {
    fn default() -> Mls {
        Mls {
            tau: 0.2,
            k: 20,
            lambda: 0.5,
            dictionaries: Dictionaries::Both,
            term: LossTerm::Bce,
            normalizer: Normalizer::D,
            stabilization: Stabilization::Combined,
            warmup_epochs: 10,
            queue: 4096,
            m: 0.995,
            projection: 256,
            hidden: 0,
        }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    variants: &[("knn-moco", "term = \"knn_softmax\"")],
    recipe: |config| epochs(config.train.epochs),
    small: |config, photos| {
        let queue = slots(config, photos);
        // 5 of 256 and 10 of 1,024 learned; the paper's 20 of 4,096 lies on the same line.
        let k = ((5.0 * (queue as f64 / 256.0).sqrt()) as usize).max(1);
        let method = Mls { tau: 0.1, k, lambda: 0.1, queue, m: 0.996, ..Mls::default() };
        small_queue(config, method);
    },
    presets: &[
        preset(
            "mls-coco-r50-400ep",
            "MLS, Tables 1-3 and 5: ResNet-50, 400 epochs of COCO train2017, 224 px",
            || epochs(400),
        ),
        preset("mls-coco-r50-800ep", "MLS, Tables 1 and 4: the same for 800 epochs", || epochs(800)),
        preset(
            "mls-coco-r50-baseline",
            "MLS, Table 6's baseline: MLS's recipe without the multi-label term",
            || Config::base(Mls { term: LossTerm::None, ..Mls::default() }),
        ),
        preset(
            "mls-coco-r50-knn",
            "MLS, Table 6, +kNN: kNN softmax for the multi-label term (kNN-MoCo)",
            || Config::base(Mls { term: LossTerm::KnnSoftmax, ..Mls::default() }),
        ),
        preset(
            "mls-coco-r50-bce-pos",
            "MLS, Table 6, +BCE-pos: the multi-label term without negatives",
            || Config::base(Mls { term: LossTerm::BcePos, ..Mls::default() }),
        ),
        preset("mls-coco-r50-g-only", "MLS, Table 7: backbone features for labels and logits", || {
            Config::base(Mls { dictionaries: Dictionaries::GOnly, ..Mls::default() })
        }),
        preset("mls-coco-r50-z-only", "MLS, Table 7: projections for labels and logits", || {
            Config::base(Mls { dictionaries: Dictionaries::ZOnly, ..Mls::default() })
        }),
    ],
    ..Entry::of::<Mls>("mls", include_str!("mls.rs"))
};

/// MLS on COCO with a ResNet-50.
///
/// # Source
/// MLS, Sec. 4.1: lr 0.3, weight decay 1e-4; the rest of the recipe is MoCo-v2's on COCO.
fn epochs(epochs: u64) -> Config {
    let mut config = Config::base(Mls::default());
    config.train.epochs = epochs;
    config
}

impl Method for Mls {
    fn check(&self, batch: usize, half: &HalfConfig) -> Result<()> {
        check_tau(self.tau, 0.2)?;
        check_weight("method.lambda", self.lambda, f32::INFINITY)?;
        check_momentum(self.m)?;
        check_queue(half, self.queue, batch, self.projection)?;
        if self.term != LossTerm::None && (self.k == 0 || self.k > self.queue.min(MAX_K)) {
            let what = format!("k = {} pseudo-positives of a queue of {}", self.k, self.queue);
            return refuse("method.k", &what, "choose k from 1 to the smaller of 64 and the queue");
        }
        if self.term != LossTerm::None && self.queue > MAX_COLUMNS {
            let what = format!("a queue of {} slots", self.queue);
            return refuse("method.queue", &what, &format!("choose at most {MAX_COLUMNS}"));
        }
        Ok(())
    }

    fn key_views(&self) -> KeyViews {
        KeyViews::Second
    }

    /// `z = projector(g)`, g the pooled features.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        Ok([("z", build.mlp("projector", [build.features, self.hidden, self.projection], false)?)].into())
    }

    /// Q_g, if it is read, and Q_z.
    fn queue(&self, features: usize) -> (usize, Named<usize>) {
        let q_g = self.term != LossTerm::None && self.dictionaries != Dictionaries::ZOnly;
        let rings = q_g.then_some(("g", features)).into_iter().chain([("z", self.projection)]);
        (self.queue, rings.collect())
    }

    fn m(&self, _now: &Now) -> f64 {
        self.m
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        let weights = self.weights(e.epoch);
        self.loss_of([e.query("g")?, e.query("z")?], e.key("z")?, e.queue()?, weights)
    }
}

impl Mls {
    /// Weights of `L_nce` and `L_ml` in an epoch (Sec. 3.3).
    pub fn weights(&self, epoch: u64) -> [f32; 2] {
        match self.stabilization {
            Stabilization::Combined => [1.0, self.lambda],
            Stabilization::Warmup if epoch < self.warmup_epochs => [1.0, 0.0],
            Stabilization::Warmup | Stabilization::None => [0.0, self.lambda],
        }
    }

    /// The loss of queries g and z, `[B, d_g]` and `[B, d_z]`, of their keys and of the old queue; `weights` of the two terms.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the widths differ.
    pub fn loss_of<'t>(
        &self,
        [g, z]: [&Var<'t>; 2],
        key: &Tensor,
        queue: &Queue,
        [nce_weight, ml_weight]: [f32; 2],
    ) -> Result<Loss<'t>> {
        let queue_z = queue.ring("z")?;
        let nce = moco::term("loss_nce", z, key, queue_z, self.tau)?;
        let mut loss = Loss::from(nce.weighted(nce_weight));
        if self.term == LossTerm::None {
            return Ok(loss);
        }
        let [(from, labels_queue), (x, logits_queue)] = match self.dictionaries {
            Dictionaries::Both => [(g, queue.ring("g")?), (z, queue_z)],
            Dictionaries::GOnly => [(g, queue.ring("g")?); 2],
            Dictionaries::ZOnly => [(z, queue_z); 2],
        };
        let [labels, positives] = pseudo_labels(from.value(), labels_queue, self.k)?; // [B, D], [B, k]
        let logits = logits_queue.products(&x.l2_normalize()?)?.scale(1.0 / self.tau)?; // [B, D], Eq. 8
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
        loss.terms.push(Term::new("loss_ml", value, collapsed).weighted(ml_weight));
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
    let mut found = queue.nearest(x, TopK { k, labels: true })?;
    Ok([found.swap_remove(2), found.swap_remove(1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stabilisation_decides_which_terms_an_epoch_has() {
        let weights =
            |stabilization, epoch| Mls { stabilization, warmup_epochs: 3, ..Mls::default() }.weights(epoch);
        assert_eq!([0, 9].map(|epoch| weights(Stabilization::Combined, epoch)), [[1.0, 0.5]; 2]);
        assert_eq!([2, 3].map(|epoch| weights(Stabilization::Warmup, epoch)), [[1.0, 0.0], [0.0, 0.5]]);
        assert_eq!([0, 9].map(|epoch| weights(Stabilization::None, epoch)), [[0.0, 0.5]; 2]);
    }
}
