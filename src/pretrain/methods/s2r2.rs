//! S2R2: many views of each image are ranked against each other by a smooth average precision.
//!
//! **The trap.** The query is in neither set: kept among the ranked, equal embeddings give (K + 1)/(B K + 1), another
//! quantity. And ranks are sums over pairs: a tensor of triples is never made.
//!
//! ```
//! # use vista::{Device, Tensor, engine::autograd::Tape, pretrain::methods::s2r2};
//! # let device = Device::cpu();
//! # let tape = Tape::inert(&device);
//! let z = tape.constant(Tensor::full(&device, [6, 8], 1.0)?); // three views of two images, all equal
//! let loss = s2r2::loss(&z, 2, 3, 0.05)?.terms[0].value.value().item()?;
//! assert!((loss - 0.5).abs() < 1e-6); // 1 - 1/B
//! # Ok::<(), vista::Error>(())
//! ```

use super::entry::{Entry, preset};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{Architecture, Stem};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::views::ViewConfig;
use crate::pretrain::check::{check_tau, check_views};
use crate::pretrain::config::{Config, OptimizerName, ScheduleName};
use crate::pretrain::method::{Build, Embedded, HalfConfig, Heads, Loss, Method, Term};
use serde::{Deserialize, Serialize};

/// Every view is the query once; the other views of its image are to be ranked above those of all others.
///
/// `loss = 1 - mean_q AP_q`, `AP_q = 1/|P| sum_{i in P} R(i, P) / R(i, P u N)`,
/// `R(i, X) = 1 + sum_{j in X, j != i} sigmoid((s_qj - s_qi) / tau)`, s = cosine similarity. The query is in neither set.
/// No queue, no momentum encoder; gradients flow through both sides. Equal embeddings give `1 - 1/B`.
///
/// # Source
/// S2R2, Eq. 1-3. The paper gives no tau; Smooth-AP's is 0.01, ours 0.05.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "s2r2", default, deny_unknown_fields)]
pub struct S2r2 {
    /// Temperature of the sigmoid that stands for the indicator.
    pub tau: f32,
    /// Views of each image, K.
    pub views: usize,
    /// Width of the projections z.
    pub projection: usize,
    /// Hidden width of the projector; 0 for the width of the features.
    pub hidden: usize,
}

impl Default for S2r2 {
    fn default() -> S2r2 {
        S2r2 { tau: 0.05, views: 20, projection: 128, hidden: 0 }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    recipe: |config| recipe(config.train.batch, 8),
    small: |config, _| {
        config.train.batch = (config.train.batch / 4).max(2); // as many views as two of each image
        small(config);
    },
    presets: &[
        preset("demo", "the bundled photos, S2R2, a small ResNet-18: minutes on two CPU cores", demo),
        preset("s2r2-stl10-r18", "S2R2, Table 1, STL10: ResNet-18, 64 images x 20 views, 96 px", || {
            recipe(64, 20)
        }),
        preset("s2r2-coco-train-r18", "S2R2, Table 1, COCO-Train: the same", || recipe(64, 20)),
        preset("s2r2-coco-val-r18", "S2R2, Table 1, COCO-Val: ResNet-18, 8 images x 10 views, 96 px", || {
            recipe(8, 10)
        }),
        preset("s2r2-stl10-r50", "S2R2, Table 2, STL10: ResNet-50, 32 images x 20 views, 96 px", || {
            resnet50(recipe(32, 20))
        }),
        preset("s2r2-coco-train-r50", "S2R2, Table 2, COCO-Train: the same", || resnet50(recipe(32, 20))),
        preset(
            "s2r2-coco-val-r50",
            "S2R2, Table 2, COCO-Val: ResNet-50, 16 images x 20 views, 96 px",
            || resnet50(recipe(16, 20)),
        ),
    ],
    ..Entry::of::<S2r2>("s2r2", include_str!("s2r2.rs"))
};

/// Epochs of S2R2's Table 1 (ResNet-18) and Table 2 (ResNet-50).
const EPOCHS_R18: u64 = 1000;
const EPOCHS_R50: u64 = 200;

/// The most groups of whole views that hold 64 rows or more each.
fn groups(images: usize, views: usize) -> usize {
    (1..=views)
        .rev()
        .find(|&groups| views.is_multiple_of(groups) && images * views / groups >= 64)
        .unwrap_or(1)
}

/// S2R2 with a ResNet-18 at 96 pixels.
///
/// # Source
/// S2R2, Sec. 3 and Table 1: Adam, fixed lr 1e-4, views as SimCLR's. tau and weight decay are ours, and so are the
/// groups of batch norm: one or more views of all images, so that a batch gives the same gradient in chunks.
pub(super) fn recipe(images: usize, views: usize) -> Config {
    let mut config = Config::base(S2r2 { views, ..S2r2::default() });
    config.model.backbone = Architecture::Resnet18;
    config.train.batch = images;
    config.train.epochs = EPOCHS_R18;
    config.train.groups = groups(images, views);
    config.optimizer.name = OptimizerName::Adam;
    config.optimizer.lr = 1e-4;
    config.optimizer.schedule = ScheduleName::Constant;
    config.optimizer.weight_decay = 1e-6;
    config.views = ViewConfig::simclr(96);
    config
}

/// S2R2's Table 2: the same settings with a ResNet-50 for fewer epochs.
pub(super) fn resnet50(mut config: Config) -> Config {
    config.model.backbone = Architecture::Resnet50;
    config.train.epochs = EPOCHS_R50;
    config
}

/// A rate for minutes instead of the paper's days.
fn small(config: &mut Config) {
    config.train.groups = 1;
    config.optimizer.lr = 1e-3;
    config.optimizer.warmup_steps = 50;
}

/// The bundled photos in minutes: S2R2 at 32 pixels with a ResNet-18 of half width.
fn demo() -> Config {
    let mut config = recipe(16, 8);
    small(&mut config);
    config.model.width = 32;
    config.model.stem = Stem::Small;
    config.train.minutes = 5.0;
    config.eval.every_epochs = 0;
    config.eval.every_minutes = 1.0;
    config.views = ViewConfig { blur_p: 0.0, hue: 0.0, ..ViewConfig::simclr(32) };
    config
}

impl Method for S2r2 {
    fn check(&self, _batch: usize, _half: &HalfConfig) -> Result<()> {
        check_tau(self.tau, 0.05)?;
        check_views(self.views, 2)
    }

    fn views(&self, views: &ViewConfig) -> Vec<ViewConfig> {
        vec![views.clone(); self.views]
    }

    /// `z = projector(g)`, g the pooled features.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        Ok([("z", build.mlp("projector", [build.features, self.hidden, self.projection], false)?)].into())
    }

    fn across(&self) -> &'static [&'static str] {
        &["z"]
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        loss(e.query("z")?, e.images, e.views("s2r2", 2)?, self.tau)
    }
}

/// The loss of view-major projections z, `[K B, d]`, not normalised.
///
/// # Errors
/// [`crate::Error::Shape`] if the rows are not `views` of each image.
pub fn loss<'t>(z: &Var<'t>, images: usize, views: usize, tau: f32) -> Result<Loss<'t>> {
    let z = z.gather_rows(&by_image(z.tape().device(), images, views)?)?;
    let z = z.l2_normalize()?; // [B K, d]
    let similarities = z.matmul_nt(&z)?; // [B K, B K]
    let (value, _) = similarities.smooth_ap(views, tau)?; // []
    Ok(Term::new("loss_ap", value, 1.0 - 1.0 / images as f32).into())
}

/// The order that puts the views of an image next to each other: row `b K + k` is view-major row `k B + b`. `[B K]`
///
/// # Errors
/// The device's.
pub fn by_image(device: &Device, images: usize, views: usize) -> Result<Tensor> {
    let order: Vec<f32> =
        (0..images * views).map(|row| (row % views * images + row / views) as f32).collect();
    Tensor::new(device, [order.len()], &order)
}
