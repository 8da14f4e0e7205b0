//! NNCLR: each view's nearest neighbour in a queue must pick the prediction of its image's other view among the batch's.
//!
//! ```
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use vista::{Device, pretrain::{methods::nnclr::nearest, queue::Queue}};
//! let queue = Queue::random(&Device::cpu(), &mut StdRng::seed_from_u64(0), 16, [("z", 8)], false)?;
//! let ring = queue.ring("z")?;
//! assert_eq!(nearest(&ring.values()?.rows(3..4)?, ring)?.to_vec()?, [3.0]); // a key is nearest to itself
//! # Ok::<(), vista::Error>(())
//! ```

use super::byol::COCO_STEPS_PER_EPOCH;
use super::entry::{Entry, preset};
use super::moco::slots;
use crate::engine::autograd::Var;
use crate::engine::nn::{After, Mlp};
use crate::engine::ops::top_k::MAX_COLUMNS;
use crate::engine::ops::{GatherRows, TopK, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::views::ViewConfig;
use crate::pretrain::check::{check_queue, check_tau, refuse};
use crate::pretrain::config::{Config, OptimizerName};
use crate::pretrain::method::{Build, Embedded, HalfConfig, Heads, Loss, Method, Term};
use crate::pretrain::named::Named;
use crate::pretrain::queue::Ring;
use serde::{Deserialize, Serialize};

/// `loss = 1/2 CE(nn(z1) p2^T / tau) + 1/2 CE(nn(z2) p1^T / tau)`: rows are neighbours, columns the batch's predictions, the
/// diagonal is right. `nn(z)` is the row of the queue nearest to z by cosine; it gets no gradient, nor does z through it. The
/// queue is searched before it is written, and only the first view's z enters. Equal embeddings give `ln B`.
///
/// # Source
/// Dwibedi et al., "With a little help from my friends", 2021, Algorithm 1 (its text adds a transposed term; the algorithm is
/// taken): tau 0.1, a queue of 98,304. Of solo-learn 9187ea3: projector 2048-2048-256 with batch norm
/// behind the last layer too, predictor 256-4096-256.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "nnclr", default, deny_unknown_fields)]
pub struct NnClr {
    /// Temperature.
    pub tau: f32,
    /// Slots of the queue.
    pub queue: usize,
    /// Width of the projections z and the predictions p.
    pub projection: usize,
    /// Width of the projector's hidden layer; 0 for that of the features.
    pub hidden: usize,
    /// Hidden width of the predictor.
    pub predictor_hidden: usize,
}

impl Default for NnClr {
    fn default() -> NnClr {
        NnClr { tau: 0.1, queue: 98_304, projection: 256, hidden: 0, predictor_hidden: 4096 }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    recipe: |config| recipe(config.train.epochs),
    small: |config, photos| {
        let queue = slots(config, photos);
        let method = NnClr { queue, projection: 128, predictor_hidden: 512, ..NnClr::default() };
        config.method = method.into();
        config.optimizer.lr /= 4.0; // the paper's is for a batch of 256
        config.optimizer.warmup_steps = 50;
    },
    presets: &[preset(
        "nnclr-coco-r50-400ep",
        "NNCLR with its own numbers on COCO, for which it has no recipe: ResNet-50, 400 epochs, batch 256, 224 px",
        || recipe(400),
    )],
    ..Entry::of::<NnClr>("nnclr", include_str!("nnclr.rs"))
};

/// NNCLR at a batch of 256.
///
/// # Source
/// The paper, Sec. 4.1: LARS, lr 0.3 for a batch of 256 and scaled with it, weight decay 1e-6, ten epochs of warm-up, cosine. Views as
/// BYOL's first. Each view is a batch of batch norm of its own.
fn recipe(epochs: u64) -> Config {
    let mut config = Config::base(NnClr::default());
    config.train.epochs = epochs;
    config.train.groups = 2;
    config.optimizer.name = OptimizerName::Lars;
    config.optimizer.lr = 0.3;
    config.optimizer.warmup_steps = 10 * COCO_STEPS_PER_EPOCH;
    config.optimizer.weight_decay = 1e-6;
    config.views = ViewConfig::byol(224, 0);
    config
}

impl Method for NnClr {
    fn check(&self, batch: usize, half: &HalfConfig) -> Result<()> {
        check_tau(self.tau, 0.1)?;
        if self.queue > MAX_COLUMNS {
            let what = format!("a queue of {} slots", self.queue);
            return refuse("method.queue", &what, &format!("choose at most {MAX_COLUMNS}"));
        }
        check_queue(half, self.queue, batch, self.projection)
    }

    /// `z = projector(g)`, `p = predictor(z)`, g the pooled features.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        let &NnClr { projection, hidden, predictor_hidden, .. } = self;
        let hidden = if hidden == 0 { build.features } else { hidden };
        let layers = [(hidden, After::NormRelu), (projection, After::Norm)];
        let projector = Mlp::new(build.device, build.rng, "projector", build.features, &layers)?;
        let predictor = build.mlp("predictor", [projection, predictor_hidden, projection], true)?;
        Ok([("z", projector), ("p", predictor)].into())
    }

    fn queue(&self, _features: usize) -> (usize, Named<usize>) {
        (self.queue, [("z", self.projection)].into())
    }

    fn across(&self) -> &'static [&'static str] {
        &["z", "p"]
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        e.views("nnclr", 2)?;
        loss(e.query("p")?, e.query("z")?.value(), e.queue()?.ring("z")?, self.tau)
    }
}

/// The loss of predictions p and projections z, both `[2 B, d]`, all first views above all second ones, not normalised. The slots
/// that were taken for neighbours of the first views are its positives.
///
/// # Errors
/// [`crate::Error::Shape`] if the widths differ.
pub fn loss<'t>(p: &Var<'t>, z: &Tensor, queue: &Ring, tau: f32) -> Result<Loss<'t>> {
    let (tape, images) = (p.tape(), z.shape()[0] / 2);
    let p = p.l2_normalize()?;
    let rows = |view: usize| view * images..(view + 1) * images;
    let right = Tensor::from_fn(tape.device(), [images], |i| i[0] as f32)?;
    let mut terms = Vec::new();
    let mut positives = None;
    for (name, view) in [("loss_12", 0), ("loss_21", 1)] {
        let slots = nearest(&z.rows(rows(view))?, queue)?; // [B, 1]
        let neighbours = run(&GatherRows, &[&queue.values()?, &slots.reshape([images])?])?.swap_remove(0); // [B, d]
        let others = p.rows(rows(1 - view))?; // [B, d]
        let logits = tape.constant(neighbours).matmul_nt(&others)?.scale(1.0 / tau)?; // [B, B]
        terms.push(Term::new(name, logits.cross_entropy(&right)?, (images as f32).ln()).weighted(0.5));
        positives = positives.or(Some(slots));
    }
    Ok(Loss { terms, positives, ..Loss::default() })
}

/// The slot of the queue that is nearest to each row of `z` by cosine, ties to the lowest: `[B, d] -> [B, 1]`.
///
/// # Errors
/// [`crate::Error::Shape`] if the widths differ.
pub fn nearest(z: &Tensor, queue: &Ring) -> Result<Tensor> {
    Ok(queue.nearest(z, TopK { k: 1, labels: false })?.swap_remove(1))
}
