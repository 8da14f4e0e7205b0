//! SwAV: the prototypes that one view is assigned to must be predicted from the others.
//!
//! ```
//! # use vista::{Device, Tensor, pretrain::methods::swav::sinkhorn};
//! let scores = Tensor::new(&Device::cpu(), [2, 2], &[0.9, 0.8, 0.9, 0.1])?; // both like the first prototype
//! let codes = sinkhorn(&scores, 0.05, 10)?.to_vec()?;
//! assert!(codes[1] > 0.8 && codes[2] > 0.99, "{codes:?}"); // balanced: one each
//! # Ok::<(), vista::Error>(())
//! ```

use super::entry::{Entry, preset};
use super::s2r2;
use crate::engine::autograd::{Tape, Var};
use crate::engine::nn::{Linear, Mode, Param};
use crate::engine::ops::{Map, MaxPool, Over, run};
use crate::engine::optim::Rate;
use crate::engine::tensor::{Tensor, init};
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::pretrain::check::{check_queue, check_tau, check_views, refuse};
use crate::pretrain::config::{Config, OptimizerName, ScheduleName};
use crate::pretrain::encoder::Embedding;
use crate::pretrain::method::{Build, Embedded, HalfConfig, Heads, Loss, Method, Now, Term};
use crate::pretrain::named::Named;
use crate::pretrain::queue::Queue;
use serde::{Deserialize, Serialize};

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
/// SwAV, Eq. 1-3 and Sec. 3.2 (multi-crop): tau 0.1, Sinkhorn with epsilon 0.05 and 3 iterations, crop scales 0.14-1 and
/// 0.05-0.14, prototypes fixed for 313 steps. 512 prototypes, small crops of half the side and no queue are ours. The
/// baseline of S2R2's Table 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "swav", default, deny_unknown_fields)]
pub struct Swav {
    /// Temperature of the softmax.
    pub tau: f32,
    /// Views of each image, small ones included.
    pub views: usize,
    /// How many of them are small.
    pub small_views: usize,
    /// Side of a small view as a share of a full one's.
    pub small_side: f64,
    /// Share of the photo's area that a small view covers, from and to.
    pub small_crop_scale: [f64; 2],
    /// Trained directions that projections are compared with.
    pub prototypes: usize,
    /// First steps in which they stay as they are; a number beyond the run's for all of it.
    pub frozen_steps: u64,
    /// Entropy of the codes, epsilon.
    pub sinkhorn_eps: f32,
    /// Iterations of Sinkhorn and Knopp's algorithm.
    pub sinkhorn_iterations: usize,
    /// Projections of earlier steps that are kept and take part in the assignment; 0 for none.
    pub queue: usize,
    /// Width of the projections z.
    pub projection: usize,
    /// Hidden width of the projector; 0 for the width of the features.
    pub hidden: usize,
    /// Batch norm in its hidden layer.
    pub projector_norm: bool,
}

impl Default for Swav {
    fn default() -> Swav {
        Swav {
            tau: 0.1,
            views: 8,
            small_views: 6,
            small_side: 0.5,
            small_crop_scale: [0.05, 0.14],
            prototypes: 512,
            frozen_steps: 313,
            sinkhorn_eps: 0.05,
            sinkhorn_iterations: 3,
            queue: 0,
            projection: 128,
            hidden: 0,
            projector_norm: true,
        }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    recipe: |config| recipe(config.train.batch, 8),
    small,
    presets: &[
        preset(
            "swav-stl10-r18",
            "S2R2, Table 1's baseline SwAV, STL10: ResNet-18, 256 images x 8 views, 96 and 48 px",
            || recipe(256, 8),
        ),
        preset("swav-coco-train-r18", "S2R2, Table 1's SwAV, COCO-Train: 128 images x 6 views", || {
            recipe(128, 6)
        }),
        preset("swav-coco-val-r18", "S2R2, Table 1's SwAV, COCO-Val: 32 images x 40 views", || {
            recipe(32, 40)
        }),
    ],
    ..Entry::of::<Swav>("swav", include_str!("swav.rs"))
};

/// SwAV as S2R2's baseline: two full crops, the rest small.
///
/// # Source
/// S2R2, Sec. 3 and Table 1: LARS, lr 1, cosine; views per image. SwAV: weight decay 1e-6; LARS on every parameter, vectors
/// too, as in its code.
fn recipe(images: usize, views: usize) -> Config {
    let mut config = s2r2::recipe(images, views);
    config.method = Swav { views, small_views: views - FULL, ..Swav::default() }.into();
    config.train.groups = 1;
    config.optimizer.name = OptimizerName::Lars;
    config.optimizer.lr = 1.0;
    config.optimizer.exclude_1d = false;
    config.optimizer.schedule = ScheduleName::Cosine;
    config.views.crop_scale = [0.14, 1.0];
    config
}

/// More steps than any run has.
const ALWAYS: u64 = 1_000_000_000;

/// Adam, codes of less entropy and prototypes that stay as they are: with the paper's SwAV does not leave `ln(prototypes)`
/// in minutes.
fn small(config: &mut Config, _photos: usize) {
    let method = Swav {
        views: 6,
        small_views: 4,
        prototypes: 64,
        frozen_steps: ALWAYS,
        sinkhorn_eps: 0.01,
        ..Swav::default()
    };
    config.method = method.into();
    config.optimizer.name = OptimizerName::Adam;
    config.optimizer.lr = 1e-3;
    config.optimizer.schedule = ScheduleName::Constant;
    config.optimizer.warmup_steps = 50;
}

impl Method for Swav {
    fn check(&self, batch: usize, half: &HalfConfig) -> Result<()> {
        check_tau(self.tau, 0.1)?;
        check_views(self.views, FULL)?;
        if self.views < self.small_views.saturating_add(FULL) {
            let what = format!("{} views of each image, {} of them small", self.views, self.small_views);
            return refuse("method.views", &what, "SwAV needs two full ones beside the small ones");
        }
        if self.prototypes < 2 {
            return refuse("method.prototypes", "SwAV needs at least 2 prototypes", "set it to 512");
        }
        if self.sinkhorn_eps.is_nan() || self.sinkhorn_eps <= 0.0 || self.sinkhorn_iterations == 0 {
            let what = "Sinkhorn's algorithm needs an entropy above 0 and an iteration";
            return refuse("method.sinkhorn_eps", what, "set sinkhorn_eps = 0.05, sinkhorn_iterations = 3");
        }
        if self.queue == 0 {
            return Ok(());
        }
        check_queue(half, self.queue, FULL * batch, self.projection)
    }

    fn views(&self, views: &ViewConfig) -> Vec<ViewConfig> {
        let size = (self.small_side * views.size as f64).round() as usize;
        let small = ViewConfig { size, crop_scale: self.small_crop_scale, ..views.clone() };
        let full = vec![views.clone(); self.views.saturating_sub(self.small_views)];
        [full, vec![small; self.small_views]].concat()
    }

    /// The projector, and prototypes: trained directions that projections are compared with.
    ///
    /// # Source
    /// SwAV, Sec. 3.1: a linear layer without bias whose rows have unit length before each forward pass.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        let widths = [build.features, self.hidden, self.projection];
        let projector = build.mlp("projector", widths, self.projector_norm)?;
        let shape = [self.prototypes, self.projection];
        let weight = init::drawn(build.device, shape, |count| init::normal(build.rng, count, 1.0))?;
        let prototypes = Linear { weight: Param::new(PROTOTYPES, weight), bias: None };
        Ok([("z", projector), ("scores", prototypes.into())].into())
    }

    fn unit_rows(&self) -> Option<&'static str> {
        Some(PROTOTYPES)
    }

    fn queue(&self, _features: usize) -> (usize, Named<usize>) {
        (self.queue, [("z", self.projection)].into())
    }

    /// Besides g and z the cosine of each projection with each prototype, `[N, prototypes]`.
    fn embed<'t>(&self, heads: &Heads, map: Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        let g = map.global_avg_pool()?;
        let z = heads.get("z")?.forward(&g, mode)?;
        let scores = scores(heads, &z)?;
        Ok([("g", g), ("z", z), ("scores", scores)].into())
    }

    fn across(&self) -> &'static [&'static str] {
        &["z", "scores"]
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        // A queue that still holds its random start says nothing about the photos.
        let queue = e.queue.filter(|queue| queue.is_full()).map(|queue| {
            let z = queue.ring("z")?.values()?;
            Ok(scores(e.heads, &Tape::inert(z.device()).constant(z))?.value().clone())
        });
        self.loss_of(e.query("scores")?, e.images, queue.transpose()?.as_ref())
    }

    /// The full crops.
    fn enqueue(&self, queue: &mut Queue, new: &Named<Tensor>, ids: &[u64]) -> Result<()> {
        queue.enqueue(new, &ids.repeat(FULL))
    }

    fn rates(&self, now: &Now) -> Vec<Rate> {
        if now.step < self.frozen_steps { vec![Rate::frozen(PROTOTYPES)] } else { Vec::new() }
    }
}

/// The parameter whose rows are the prototypes, `[prototypes, d_z]`.
const PROTOTYPES: &str = "prototypes.weight";

/// Cosine of each projection with each prototype: `[N, d_z] -> [N, prototypes]`.
fn scores<'t>(heads: &Heads, z: &Var<'t>) -> Result<Var<'t>> {
    heads.get("scores")?.forward(&z.l2_normalize()?, Mode::Eval)
}

/// Crops whose codes are predicted.
const FULL: usize = 2;

impl Swav {
    /// The loss of view-major scores `[V B, prototypes]`; `queue` are those of the queue's projections, `[D, prototypes]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the rows are not two or more crops of each image.
    pub fn loss_of<'t>(&self, scores: &Var<'t>, images: usize, queue: Option<&Tensor>) -> Result<Loss<'t>> {
        let (rows, prototypes) = (scores.shape()[0], scores.shape()[1]);
        let views = rows / images;
        if views < FULL || rows != views * images {
            let detail = format!("{rows} rows are not {FULL} or more crops of each of {images} images");
            return Err(Error::shape("swav", detail));
        }
        let [first, second] = self.codes(scores.value(), images, queue)?;
        // What each crop has to predict: the codes of the full crops other than itself.
        let both = run(&Map::Add, &[&first, &second])?.swap_remove(0);
        let targets = [&[&second, &first][..], &vec![&both; views - FULL]].concat();
        let tape = scores.tape();
        let targets = tape.constant(Tensor::stack_rows(&targets)?); // [V B, prototypes]
        let pairs = (FULL * (views - 1) * images) as f32; // a whole number, exact
        let pairs = tape.constant(Tensor::full(tape.device(), [], pairs)?);
        let log_p = scores.scale(1.0 / self.tau)?.log_softmax()?; // [V B, prototypes]
        let value = log_p.mul(&targets)?.sum(Over::All)?.div(&pairs)?.neg()?;
        let helps = "lower method.sinkhorn_eps, to 0.01 for short runs and small sets";
        Ok(Term { helps, ..Term::new("loss_swav", value, (prototypes as f32).ln()) }.into())
    }

    /// Codes of the full crops, `[B, prototypes]` each: a crop's assignment of its own B rows and the queue's.
    fn codes(&self, scores: &Tensor, images: usize, queue: Option<&Tensor>) -> Result<[Tensor; FULL]> {
        let codes = |scores: &Tensor| sinkhorn(scores, self.sinkhorn_eps.into(), self.sinkhorn_iterations);
        let crop = |i: usize| {
            let own = scores.rows(i * images..(i + 1) * images)?;
            let Some(queue) = queue else { return codes(&own) };
            let kept = queue.shape()[0];
            codes(&Tensor::stack_rows(&[queue, &own])?)?.rows(kept..kept + images)
        };
        Ok([crop(0)?, crop(1)?])
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
/// PRECISION: the first scaling of either kind is made of logarithms, shifted by the largest, since `exp(score / eps)` may
/// leave the range of f32. Afterwards no sum is small: a prototype's is at least `1 / prototypes`, a sample's `1 / N`.
///
/// # Errors
/// [`Error::Shape`] if the scores are no matrix; the device's.
/// # Source
/// SwAV, Eq. 3-5 and its listing: per iteration, of which there is one at least, first the prototypes, then the samples. A factor
/// that all elements share cancels in the last scaling.
pub fn sinkhorn(scores: &Tensor, eps: f64, iterations: usize) -> Result<Tensor> {
    let &[rows, prototypes] = &scores.shape()[..] else {
        return Err(Error::shape("sinkhorn", format!("needs [N, prototypes], got {}", scores.shape())));
    };
    let tape = Tape::inert(scores.device());
    let eps = tape.constant(Tensor::from_f64(scores.device(), [], &[eps])?);
    let x = tape.constant(scores.clone()).div(&eps)?;
    // The largest of each column: of a window as high as the matrix.
    let column = MaxPool { kernel: [rows, 1], stride: [1, 1], padding: [0, 0] };
    let most = run(&column, &[&x.value().reshape([1, rows, 1, prototypes])?])?.swap_remove(0);
    let x = x.sub(&tape.constant(most.reshape([prototypes])?))?;
    let x = x.sub(&x.exp()?.sum(Over::Channel)?.log()?)?;
    let mut q = x.softmax()?;
    for _ in 1..iterations {
        q = q.div(&q.sum(Over::Channel)?)?;
        q = q.div(&q.sum(Over::Row)?.reshape([rows, 1])?)?;
    }
    Ok(q.value().clone())
}

#[cfg(test)]
#[path = "../../../tests/unit/pretrain/methods/swav.rs"]
mod tests;
