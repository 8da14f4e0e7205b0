//! MoCo-v2: each query view must pick its own key among a queue of others.

use super::entry::{Entry, parse, preset};
use crate::engine::autograd::Var;
use crate::engine::nn::{Backbone, Mlp, Mode, Module, Param};
use crate::engine::ops::{L2Normalize, Over, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::pretrain::check::{check_momentum, check_queue, check_tau};
use crate::pretrain::config::{Config, OptimizerConfig, TrainConfig};
use crate::pretrain::encoder::Embedding;
use crate::pretrain::method::{Build, Embedded, HalfConfig, KeyViews, Loss, Method, Now, Recipe, Term};
use crate::pretrain::momentum::{Momentum, Target};
use crate::pretrain::queue::{Queue, Ring};
use serde::{Deserialize, Serialize};

/// InfoNCE alone.
///
/// # Source
/// MoCo-v2: K 65,536, m 0.999, 128 wide, tau 0.2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Moco {
    /// Temperature.
    pub tau: f32,
    /// Slots of the queue, D.
    pub queue: usize,
    /// Share of the key encoder that stays at each step.
    pub m: f64,
    /// Width of the projections z.
    pub projection: usize,
    /// Hidden width of the projector; 0 for the width of the features.
    pub hidden: usize,
}

impl Default for Moco {
    fn default() -> Moco {
        Moco { tau: 0.2, queue: 65_536, m: 0.999, projection: 128, hidden: 0 }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    name: "moco",
    variants: &[],
    parse: parse::<Moco>,
    recipe: |_| recipe(),
    small,
    presets: &[preset(
        "moco-v2-coco-r50",
        "MLS, Table 5's baseline: MoCo-v2 with its own numbers, ResNet-50, 400 epochs of COCO",
        recipe,
    )],
};

/// MoCo-v2 on COCO with its own numbers.
///
/// # Source
/// MoCo-v2: lr 0.03; length as MLS, Sec. 4.1.
fn recipe() -> Config {
    let config = Config::base(Moco::default());
    Config { optimizer: OptimizerConfig { lr: 0.03, ..config.optimizer }, ..config }
}

fn small(config: Config) -> Config {
    let method = Moco { tau: 0.1, queue: 256, m: 0.996, ..Moco::default() };
    small_momentum(Config { method: method.into(), ..config })
}

/// What the methods with a queue have in common on the built-in photos: a queue of 256 holds no image's own older key;
/// tau, m, lr and groups of batch norm are those of the one of 13 short runs on 9,469 photos that rose soonest (results in
/// the documentation), not the papers'. The warm-up is long so that the first steps do not magnify rounding; what it does to
/// learning here has not been measured.
pub(super) fn small_momentum(config: Config) -> Config {
    Config {
        train: TrainConfig { batch: 64, groups: 1, ..config.train },
        optimizer: OptimizerConfig { lr: 0.03, warmup_steps: 1000, ..config.optimizer },
        ..config
    }
}

impl Recipe for Moco {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn check(&self, batch: usize, half: &HalfConfig) -> Result<()> {
        check_tau(self.tau, 0.2)?;
        check_momentum(self.m)?;
        check_queue(half, self.queue, batch, self.projection)
    }

    fn key_views(&self) -> KeyViews {
        KeyViews::Second
    }

    fn build(&self, build: &mut Build) -> Result<Box<dyn Method>> {
        let widths = [build.net.features(), self.hidden, self.projection];
        let heads = |build: &mut Build| build.mlp("projector", widths, false);
        let projector = heads(build)?;
        let key = build.momentum(&projector, heads, embed)?;
        let queue = build.queue(self.queue, [("z", self.projection)])?;
        Ok(Box::new(Training { moco: self.clone(), projector, key, queue }))
    }
}

/// MoCo in training.
#[derive(Debug)]
struct Training {
    moco: Moco,
    projector: Mlp,
    key: Momentum<Mlp>,
    queue: Queue,
}

/// Features g and projections z.
pub fn embed<'t>(net: &dyn Backbone, projector: &Mlp, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
    let g = net.map(images, mode)?.global_avg_pool()?;
    let z = projector.forward(&g, mode)?;
    Ok([("g", g), ("z", z)].into())
}

impl Module for Training {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.projector.visit(f);
    }
}

impl Method for Training {
    fn embed<'t>(&self, net: &dyn Backbone, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        embed(net, &self.projector, images, mode)
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        let queue = self.queue.ring("z")?;
        let (value, _) = info_nce(e.query("z")?, e.key("z")?, queue, self.moco.tau)?;
        Ok(Term::new("loss_nce", value, collapsed_nce(queue)).into())
    }

    fn before(&mut self, net: &dyn Backbone, _now: &Now) -> Result<()> {
        self.key.follow([net, &self.projector], self.moco.m)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(&self.key)
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.queue)
    }

    fn queue_mut(&mut self) -> Option<&mut Queue> {
        Some(&mut self.queue)
    }
}

/// `ln(D + 1)`: InfoNCE at equal logits.
pub(super) fn collapsed_nce(queue: &Ring) -> f32 {
    (queue.shape()[0] as f32 + 1.0).ln()
}

/// Cross-entropy of each query over its own key and the whole queue, and the logits.
///
/// `logits_b = [q_b . k_b, q_b . queue_1, .., q_b . queue_D] / tau`, `loss = mean_b -log softmax(logits_b)_0`,
/// with q and k normalised here.
///
/// | value | shape | |
/// |---|---|---|
/// | `q` | `[B, d]` | raw; the only one with a gradient |
/// | `k` | `[B, d]` | raw |
/// | `queue` | `[D, d]` | l2-normalised |
/// | returns loss, logits | `[]`, `[B, D + 1]` | nats; `ln(D + 1)` at equal logits |
///
/// # Errors
/// [`crate::Error::Shape`] if the widths differ.
/// # Source
/// MLS, Eq. 1.
pub fn info_nce<'t>(q: &Var<'t>, k: &Tensor, queue: &Ring, tau: f32) -> Result<(Var<'t>, Var<'t>)> {
    let tape = q.tape();
    let q = q.l2_normalize()?;
    let k = run(&L2Normalize, &[k])?.swap_remove(0);
    let batch = q.shape()[0];
    let own = q.mul(&tape.constant(k))?.sum(Over::Row)?; // [B]
    let own = own.reshape([batch, 1])?; // [B, 1]
    let others = queue.products(&q)?; // [B, D]
    let logits = own.concat(&others)?.scale(1.0 / tau)?; // [B, D + 1]
    let labels = Tensor::full(tape.device(), [batch], 0.0)?;
    Ok((logits.cross_entropy(&labels)?, logits))
}
