//! BYOL: the prediction from one view must meet the key encoder's projection of the other.
//!
//! ```
//! # use vista::{Device, Tensor, engine::autograd::Tape, pretrain::methods::byol};
//! # let device = Device::cpu();
//! # let tape = Tape::inert(&device);
//! let p = Tensor::new(&device, [2, 2], &[1.0, 0.0, 0.0, 1.0])?; // the two views of one image
//! let loss = |z: &Tensor| byol::loss(&tape.constant(p.clone()), z)?.terms[0].value.value().item();
//! let crossed = Tensor::new(&device, [2, 2], &[0.0, 5.0, 5.0, 0.0])?;
//! assert_eq!((loss(&crossed)?, loss(&p)?), (0.0, 4.0)); // each predicts the other view's projection
//! # Ok::<(), vista::Error>(())
//! ```

use super::entry::{Entry, preset};
use crate::engine::autograd::Var;
use crate::engine::ops::Over;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::pretrain::check::check_momentum;
use crate::pretrain::config::{Config, OptimizerName};
use crate::pretrain::method::{Build, Embedded, HalfConfig, Heads, KeyViews, Loss, Method, Now, Term};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// `loss = mean_b(2 - 2 cos(p1, z2)) + mean_b(2 - 2 cos(p2, z1))`, p the predictions of the query encoder, z the
/// projections of the key encoder, which get no gradient. Equal embeddings give 0: nothing in the loss itself keeps
/// training from them, so the spread of the embeddings is what to watch.
///
/// # Source
/// BYOL, Eq. 2, symmetrised as in its Sec. 3.1; Sec. 3.3 and App. B: hidden 4096 with batch norm, 256 wide, m from 0.99 to 1
/// by cosine, view 1 always blurred, view 2 blurred with p 0.1 and solarised with p 0.2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "byol", default, deny_unknown_fields)]
pub struct Byol {
    /// Share of the key encoder that stays at each step, at the start.
    pub m: f64,
    /// Whether it rises to 1 along half a cosine over the run.
    pub m_cosine: bool,
    /// Width of the projections z and the predictions p.
    pub projection: usize,
    /// Hidden width of projector and predictor; 0 for the width of the features.
    pub hidden: usize,
    /// Batch norm in their hidden layers.
    pub projector_norm: bool,
    /// What is different in how the second view is drawn.
    pub second_view: SecondView,
}

/// How the second view differs from the first, which is drawn as `[views]` says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecondView {
    /// Probability that it is blurred.
    pub blur_p: f64,
    /// Probability that it is solarised.
    pub solarize_p: f64,
}

impl Default for SecondView {
    fn default() -> SecondView {
        SecondView { blur_p: 0.1, solarize_p: 0.2 }
    }
}

impl SecondView {
    /// Both views.
    pub fn pair(self, first: &ViewConfig) -> Vec<ViewConfig> {
        let SecondView { blur_p, solarize_p } = self;
        vec![first.clone(), ViewConfig { blur_p, solarize_p, ..first.clone() }]
    }
}

impl Default for Byol {
    fn default() -> Byol {
        Byol {
            m: 0.99,
            m_cosine: true,
            projection: 256,
            hidden: 4096,
            projector_norm: true,
            second_view: SecondView::default(),
        }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    recipe: |config| recipe(config.train.epochs),
    small: |config, _| {
        config.method = Byol { hidden: 512, ..Byol::default() }.into();
        config.optimizer.lr /= 4.0; // the paper's is for a batch of 256
        config.optimizer.warmup_steps = 50;
    },
    presets: &[
        preset(
            "byol-coco-r50-400ep",
            "MLS, Tables 2 and 3's baseline: BYOL, ResNet-50, 400 epochs of COCO, 224 px",
            || recipe(400),
        ),
        preset("byol-coco-r50-800ep", "MLS, Tables 1 and 4's BYOL: the same for 800 epochs", || recipe(800)),
    ],
    ..Entry::of::<Byol>("byol", include_str!("byol.rs"))
};

/// BYOL on COCO.
///
/// # Source
/// BYOL, Sec. 3.3 and App. B: LARS at 0.2 for a batch of 256, weight decay 1.5e-6, ten epochs of warm-up. Batch norm
/// normalises each view on its own.
fn recipe(epochs: u64) -> Config {
    let mut config = Config::base(Byol::default());
    config.train.epochs = epochs;
    config.train.groups = 2;
    config.optimizer.name = OptimizerName::Lars;
    config.optimizer.lr = 0.2;
    config.optimizer.warmup_steps = 10 * COCO_STEPS_PER_EPOCH;
    config.optimizer.weight_decay = 1.5e-6;
    config.views = ViewConfig::byol(224, 0);
    config
}

/// At a batch of 256.
pub(super) const COCO_STEPS_PER_EPOCH: u64 = 118_287 / 256;

impl Method for Byol {
    fn check(&self, _batch: usize, _half: &HalfConfig) -> Result<()> {
        check_momentum(self.m)
    }

    fn views(&self, views: &ViewConfig) -> Vec<ViewConfig> {
        self.second_view.pair(views)
    }

    fn key_views(&self) -> KeyViews {
        KeyViews::Both
    }

    /// `z = projector(g)`, `p = predictor(z)`, g the pooled features. The momentum copy has no p, which predicts what it makes.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        let &Byol { projection, hidden, projector_norm: norm, .. } = self;
        let projector = build.mlp("projector", [build.features, hidden, projection], norm)?;
        let predictor = build.mlp("predictor", [projection, hidden, projection], norm)?;
        Ok([("z", projector), ("p", predictor)].into())
    }

    fn m(&self, now: &Now) -> f64 {
        if self.m_cosine { rising(self.m, now.progress) } else { self.m }
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        e.views("byol", 2)?;
        loss(e.query("p")?, e.key("z")?)
    }
}

/// `1 - (1 - m)(cos(pi progress) + 1)/2`: from m to 1 along half a cosine.
pub fn rising(m: f64, progress: f64) -> f64 {
    1.0 - (1.0 - m) * 0.5 * (1.0 + (PI * progress).cos())
}

/// The loss of predictions p and keys z, both `[2 B, d]`, all first views above all second ones, not normalised.
///
/// # Errors
/// [`Error::Shape`] if the rows differ.
pub fn loss<'t>(p: &Var<'t>, z: &Tensor) -> Result<Loss<'t>> {
    let n = p.shape()[0]; // 2 B
    if !n.is_multiple_of(2) || z.shape()[0] != n {
        let detail = format!("needs 2 views in both encoders, got {n} and {} rows", z.shape()[0]);
        return Err(Error::shape("byol", detail));
    }
    let two = p.tape().constant(Tensor::full(p.tape().device(), [], 2.0)?);
    let distance = two.sub(&crossed_cosines(p, z)?.mean(Over::All)?.scale(2.0)?)?;
    Ok(Term::new("loss_byol", distance.scale(2.0)?, 0.0).into()) // two means over B, not one over 2 B
}

/// `cos(p1, z2)` of each image, then `cos(p2, z1)`, of predictions p and constants z, both `[2 B, d]`: `[2 B]`.
///
/// # Errors
/// [`Error::Shape`] if they differ in shape.
pub(super) fn crossed_cosines<'t>(p: &Var<'t>, z: &Tensor) -> Result<Var<'t>> {
    let n = z.shape()[0]; // 2 B
    let other = Tensor::stack_rows(&[&z.rows(n / 2..n)?, &z.rows(0..n / 2)?])?; // z2 above z1
    p.cosine(&p.tape().constant(other))
}
