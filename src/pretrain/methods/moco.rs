//! MoCo-v2: each query view must pick its own key among a queue of others.
//!
//! ```
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use vista::{Device, Tensor, engine::autograd::Tape, pretrain::{methods::moco::info_nce, queue::Queue}};
//! let device = Device::cpu();
//! let queue = Queue::random(&device, &mut StdRng::seed_from_u64(0), 16, [("z", 8)], false)?;
//! let tape = Tape::inert(&device);
//! let z = Tensor::from_fn(&device, [2, 8], |at| if at[0] == at[1] { 1.0 } else { 0.0 })?;
//! let (loss, _) = info_nce(&tape.constant(z.clone()), &z, queue.ring("z")?, 0.2)?; // each query is its own key
//! assert!(loss.value().item()? < 17f32.ln()); // below that of equal embeddings, ln(D + 1)
//! # Ok::<(), vista::Error>(())
//! ```

use super::entry::{Entry, preset};
use crate::engine::autograd::Var;
use crate::engine::ops::{L2Normalize, Over, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::pretrain::check::{check_momentum, check_queue, check_tau};
use crate::pretrain::config::Config;
use crate::pretrain::method::{
    Build, Embedded, HalfConfig, Heads, KeyViews, Loss, Method, MethodConfig, Now, Term,
};
use crate::pretrain::named::Named;
use crate::pretrain::queue::Ring;
use serde::{Deserialize, Serialize};

/// InfoNCE alone.
///
/// # Source
/// MoCo-v2: K 65,536, m 0.999, 128 wide, tau 0.2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "moco", default, deny_unknown_fields)]
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
    recipe: |_| recipe(),
    small: |config, photos| {
        let queue = slots(config, photos);
        small_queue(config, Moco { tau: 0.1, queue, m: 0.996, ..Moco::default() });
    },
    presets: &[preset(
        "moco-v2-coco-r50",
        "MLS, Table 5's baseline: MoCo-v2 with its own numbers, ResNet-50, 400 epochs of COCO",
        recipe,
    )],
    ..Entry::of::<Moco>("moco", include_str!("moco.rs"))
};

/// MoCo-v2 on COCO with its own numbers.
///
/// # Source
/// MoCo-v2: lr 0.03; length as MLS, Sec. 4.1.
fn recipe() -> Config {
    let mut config = Config::base(Moco::default());
    config.optimizer.lr = 0.03;
    config
}

/// The slots of a queue for so many photos, a power of two where it can be: at most half of them, so that it holds no image's own
/// older key, but a whole batch.
pub(super) fn slots(config: &Config, photos: usize) -> usize {
    power_of_two(photos / 2).min(4096).max(config.train.batch)
}

/// The largest power of two that is no more than `n`; 1 for 0.
pub(in crate::pretrain) fn power_of_two(n: usize) -> usize {
    1 << n.max(1).ilog2()
}

/// What the methods with a queue have in common in short runs:
/// tau, m, lr and groups of batch norm are those of the one of 13 short runs on 9,469 photos that rose soonest (results in
/// the documentation), not the papers'. The warm-up is long so that the first steps do not magnify rounding; what it does to
/// learning here has not been measured.
pub(super) fn small_queue(config: &mut Config, method: impl Into<MethodConfig>) {
    config.method = method.into();
    config.train.groups = 1;
    config.optimizer.lr = 0.03;
    config.optimizer.warmup_steps = 1000;
}

impl Method for Moco {
    fn check(&self, batch: usize, half: &HalfConfig) -> Result<()> {
        check_tau(self.tau, 0.2)?;
        check_momentum(self.m)?;
        check_queue(half, self.queue, batch, self.projection)
    }

    fn key_views(&self) -> KeyViews {
        KeyViews::Second
    }

    /// `z = projector(g)`, g the pooled features.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        Ok([("z", build.mlp("projector", [build.features, self.hidden, self.projection], false)?)].into())
    }

    fn queue(&self, _features: usize) -> (usize, Named<usize>) {
        (self.queue, [("z", self.projection)].into())
    }

    fn m(&self, _now: &Now) -> f64 {
        self.m
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        let queue = e.queue()?.ring("z")?;
        Ok(term("loss_nce", e.query("z")?, e.key("z")?, queue, self.tau)?.into())
    }
}

/// [`info_nce`] as a term: `ln(D + 1)` at equal logits.
pub(super) fn term<'t>(
    name: &'static str,
    q: &Var<'t>,
    k: &Tensor,
    queue: &Ring,
    tau: f32,
) -> Result<Term<'t>> {
    Ok(Term::new(name, info_nce(q, k, queue, tau)?.0, (queue.shape()[0] as f32 + 1.0).ln()))
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
