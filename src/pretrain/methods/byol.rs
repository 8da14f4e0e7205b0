//! BYOL: the prediction from one view must meet the key encoder's projection of the other.

use super::entry::{Entry, parse, preset};
use crate::engine::autograd::Var;
use crate::engine::nn::{Backbone, Mlp, Mode, Module, Param};
use crate::engine::ops::{L2Normalize, Over, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::pretrain::check::check_momentum;
use crate::pretrain::config::{Config, OptimizerConfig, OptimizerName, TrainConfig};
use crate::pretrain::encoder::Embedding;
use crate::pretrain::method::{Build, Embedded, HalfConfig, KeyViews, Loss, Method, Now, Recipe, Term};
use crate::pretrain::momentum::{Momentum, Target};
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
#[serde(default, deny_unknown_fields)]
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
    name: "byol",
    variants: &[],
    parse: parse::<Byol>,
    recipe: |config| recipe(config.train.epochs),
    small: |config| Config {
        method: Byol { hidden: 512, ..Byol::default() }.into(),
        train: TrainConfig { batch: 64, ..config.train },
        // The rate is the paper's for a batch of 256.
        optimizer: OptimizerConfig { lr: config.optimizer.lr / 4.0, warmup_steps: 50, ..config.optimizer },
        ..config
    },
    presets: &[
        preset(
            "byol-coco-r50-400ep",
            "MLS, Tables 2 and 3's baseline: BYOL, ResNet-50, 400 epochs of COCO, 224 px",
            || recipe(400),
        ),
        preset("byol-coco-r50-800ep", "MLS, Tables 1 and 4's BYOL: the same for 800 epochs", || recipe(800)),
    ],
};

/// BYOL on COCO.
///
/// # Source
/// BYOL, Sec. 3.3 and App. B: LARS at 0.2 for a batch of 256, weight decay 1.5e-6, ten epochs of warm-up. Batch norm
/// normalises each view on its own.
fn recipe(epochs: u64) -> Config {
    const COCO_STEPS_PER_EPOCH: u64 = 118_287 / 256;
    let config = Config::base(Byol::default());
    Config {
        train: TrainConfig { epochs, groups: 2, ..config.train },
        optimizer: OptimizerConfig {
            name: OptimizerName::Lars,
            lr: 0.2,
            warmup_steps: 10 * COCO_STEPS_PER_EPOCH,
            weight_decay: 1.5e-6,
            ..config.optimizer
        },
        views: ViewConfig::byol(224, 0),
        ..config
    }
}

impl Recipe for Byol {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn check(&self, _batch: usize, _half: &HalfConfig) -> Result<()> {
        check_momentum(self.m)
    }

    fn views(&self, views: &ViewConfig) -> Vec<ViewConfig> {
        self.second_view.pair(views)
    }

    fn key_views(&self) -> KeyViews {
        KeyViews::Both
    }

    fn build(&self, build: &mut Build) -> Result<Box<dyn Method>> {
        let widths = [build.net.features(), self.hidden, self.projection];
        let heads = |build: &mut Build| build.mlp("projector", widths, self.projector_norm);
        let projector = heads(build)?;
        let back = [self.projection, self.hidden, self.projection];
        let predictor = build.mlp("predictor", back, self.projector_norm)?;
        // What predicts the keys is not part of the encoder that makes them.
        let key = build.momentum(&projector, heads, super::moco::embed)?;
        Ok(Box::new(Training { byol: self.clone(), projector, predictor, key }))
    }
}

/// BYOL in training.
#[derive(Debug)]
struct Training {
    byol: Byol,
    projector: Mlp,
    predictor: Mlp,
    key: Momentum<Mlp>,
}

impl Module for Training {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.projector.visit(f);
        self.predictor.visit(f);
    }
}

impl Method for Training {
    fn embed<'t>(&self, net: &dyn Backbone, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        let g = net.map(images, mode)?.global_avg_pool()?;
        let z = self.projector.forward(&g, mode)?;
        let p = self.predictor.forward(&z, mode)?;
        Ok([("g", g), ("z", z), ("p", p)].into())
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        e.views("byol", 2)?;
        loss(e.query("p")?, e.key("z")?)
    }

    fn before(&mut self, net: &dyn Backbone, now: &Now) -> Result<()> {
        let m = self.byol.m;
        let m = if self.byol.m_cosine { rising(m, now.progress) } else { m };
        self.key.follow([net, &self.projector], m)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(&self.key)
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
    let other = Tensor::stack_rows(&[&z.rows(n / 2..n)?, &z.rows(0..n / 2)?])?; // z2 above z1
    let value = distances(p, &other)?.scale(2.0)?; // two means over B, not one over 2 B
    Ok(Term::new("loss_byol", value, 0.0).into())
}

/// `mean_i(2 - 2 cos(p_i, z_i))`
fn distances<'t>(p: &Var<'t>, z: &Tensor) -> Result<Var<'t>> {
    let tape = p.tape();
    let z = run(&L2Normalize, &[z])?.swap_remove(0);
    let cosines = p.l2_normalize()?.mul(&tape.constant(z))?.sum(Over::Row)?; // [N]
    let two = tape.constant(Tensor::full(tape.device(), [], 2.0)?);
    two.sub(&cosines.mean(Over::All)?.scale(2.0)?)
}
