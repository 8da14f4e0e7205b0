//! SimSiam: the prediction from one view must meet the projection of the other, and nothing keeps them apart but that no
//! gradient flows to the projection.
//!
//! **The trap.** Both views are one pass but two batches of batch norm (`train.groups = 2`). And the predictor's rate must not
//! decay with the schedule: a predictor that follows the projections' movement only late lets them collapse.
//!
//! ```
//! # use vista::{Device, Tensor, engine::autograd::Tape, pretrain::methods::simsiam};
//! # let device = Device::cpu();
//! # let tape = Tape::inert(&device);
//! let p = Tensor::full(&device, [2, 4], 1.0)?;
//! let loss = simsiam::loss(&tape.constant(p.clone()), &p)?;
//! assert!((loss.terms[0].value.value().item()? + 1.0).abs() < 1e-6); // -cos
//! assert_eq!(loss.watch[0].0, "z_std"); // what tells a collapse, in the log
//! # Ok::<(), vista::Error>(())
//! ```

use super::byol::crossed_cosines;
use super::entry::{Entry, preset};
use crate::engine::autograd::{Tape, Var};
use crate::engine::nn::{After, Mlp};
use crate::engine::ops::Over;
use crate::engine::optim::Rate;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::views::ViewConfig;
use crate::pretrain::config::Config;
use crate::pretrain::method::{Build, Embedded, Heads, Loss, Method, Now, Term};
use serde::{Deserialize, Serialize};

/// `loss = -1/2 mean_b cos(p1, z2) - 1/2 mean_b cos(p2, z1)`, p the predictions, z the projections, which get no gradient as
/// targets. It lies in [-1, 1]; equal embeddings give -1, the best there is: what to watch is `z_std`, the standard deviation of
/// each channel of z/|z| over the batch, 0 of a collapsed encoder and `1/sqrt(d)` of a healthy one.
///
/// # Source
/// Chen and He, "Exploring simple Siamese representation learning", 2021, Algorithm 1 and Sec. 4; facebookresearch/simsiam at
/// a7bc177: projector 2048-2048-2048, batch norm behind the last layer too, without gamma and beta; predictor 2048-512-2048,
/// no bias in its first layer. A bias in front of a batch norm changes nothing, so there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "simsiam", default, deny_unknown_fields)]
pub struct SimSiam {
    /// Width of the projections z and the predictions p, and of the projector's hidden layers.
    pub projection: usize,
    /// Hidden width of the predictor.
    pub hidden: usize,
    /// The predictor's learning rate stays what it is at the start, whatever the schedule.
    pub constant_predictor: bool,
}

impl Default for SimSiam {
    fn default() -> SimSiam {
        SimSiam { projection: 2048, hidden: 512, constant_predictor: true }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    recipe: |config| recipe(config.train.epochs),
    small: |config, _| {
        config.method = SimSiam { projection: 512, hidden: 128, ..SimSiam::default() }.into();
        config.optimizer.lr /= 8.0; // its own is for a batch of 512
    },
    presets: &[preset(
        "simsiam-coco-r50-400ep",
        "SimSiam with its own numbers on COCO, for which it has no recipe: ResNet-50, 400 epochs, 224 px",
        || recipe(400),
    )],
    ..Entry::of::<SimSiam>("simsiam", include_str!("simsiam.rs"))
};

/// SimSiam with its own numbers.
///
/// # Source
/// Sec. 4: SGD, lr 0.05 for a batch of 256 and scaled with it (512), momentum 0.9, weight decay 1e-4 on all, cosine by epoch (by step
/// here), no warm-up; MoCo-v2's views; the last norm of each residual branch starts at 0.
fn recipe(epochs: u64) -> Config {
    let mut config = Config::base(SimSiam::default());
    config.model.zero_init = true;
    config.train.batch = 512;
    config.train.groups = 2;
    config.train.epochs = epochs;
    config.optimizer.lr = 0.1;
    config.views = ViewConfig::moco_v2(224);
    config
}

impl Method for SimSiam {
    /// `z = projector(g)`, `p = predictor(z)`, g the pooled features.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        let &SimSiam { projection, hidden, .. } = self;
        let wide = (projection, After::PlainNormRelu);
        let layers = [wide, wide, (projection, After::Standardize)];
        let projector = Mlp::new(build.device, build.rng, "projector", build.features, &layers)?;
        let layers = [(hidden, After::PlainNormRelu), (projection, After::Bias)];
        let predictor = Mlp::new(build.device, build.rng, "predictor", projection, &layers)?;
        Ok([("z", projector), ("p", predictor)].into())
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        e.views("simsiam", 2)?;
        loss(e.query("p")?, e.query("z")?.value())
    }

    fn rates(&self, now: &Now) -> Vec<Rate> {
        let rate = Rate { lr: now.base_lr, scheduled: false, ..Rate::of("predictor.") };
        if self.constant_predictor { vec![rate] } else { Vec::new() }
    }
}

/// The loss of predictions p and projections z, both `[2 B, d]`, all first views above all second ones, not normalised; z is a
/// constant. With it `z_std` of the first views.
///
/// # Errors
/// [`crate::Error::Shape`] if they differ in shape.
pub fn loss<'t>(p: &Var<'t>, z: &Tensor) -> Result<Loss<'t>> {
    let n = z.shape()[0]; // 2 B
    let value = crossed_cosines(p, z)?.mean(Over::All)?.neg()?; // half of each mean over B is one over 2 B
    let watch = vec![("z_std", z_std(&z.rows(0..n / 2)?)?)];
    Ok(Loss { watch, ..Loss::from(Term::new("loss_simsiam", value, -1.0)) })
}

/// Mean over the channels of z/|z| of their standard deviation over the batch, `sqrt(sum (x - mean)^2 / (B - 1))`; a scalar.
///
/// # Errors
/// [`crate::Error::Shape`] if z is not `[B, d]`; the device's.
pub fn z_std(z: &Tensor) -> Result<Tensor> {
    let others = z.shape()[0] as f32 - 1.0;
    let tape = Tape::inert(z.device());
    let unit = tape.constant(z.clone()).l2_normalize()?;
    let off = unit.sub(&unit.mean(Over::Channel)?)?;
    let deviations = off.square()?.sum(Over::Channel)?.scale(1.0 / others)?.sqrt()?; // [d]
    Ok(deviations.mean(Over::All)?.value().clone())
}
