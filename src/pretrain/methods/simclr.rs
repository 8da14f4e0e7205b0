//! SimCLR: each view must pick the other view of its image among all views of the batch.
//!
//! ```
//! # use vista::{Device, Tensor, engine::autograd::Tape, pretrain::methods::simclr};
//! # let device = Device::cpu();
//! # let tape = Tape::inert(&device);
//! let z = tape.constant(Tensor::full(&device, [4, 8], 1.0)?); // two views of two images, all equal
//! let loss = simclr::loss(&z, 0.5)?.terms[0].value.value().item()?;
//! assert!((loss - 3f32.ln()).abs() < 1e-6); // ln(2 B - 1)
//! # Ok::<(), vista::Error>(())
//! ```

use super::entry::{Entry, preset};
use super::s2r2;
use crate::engine::autograd::Var;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::pretrain::check::check_tau;
use crate::pretrain::config::{Config, ScheduleName};
use crate::pretrain::method::{Build, Embedded, HalfConfig, Heads, Loss, Method, Term};
use serde::{Deserialize, Serialize};

/// NT-Xent: `loss = mean_i -log( exp(s_ij/tau) / sum_{k != i} exp(s_ik/tau) )`, j the other view of i's image,
/// s = cosine similarity; only i itself is left out. Equal embeddings give `ln(2 B - 1)`.
///
/// # Source
/// SimCLR, Eq. 1 and App. B.9: tau 0.5 for small photos; projector with batch norm. The baseline of S2R2's Tables 1 and 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "simclr", default, deny_unknown_fields)]
pub struct SimClr {
    /// Temperature.
    pub tau: f32,
    /// Width of the projections z.
    pub projection: usize,
    /// Hidden width of the projector; 0 for the width of the features.
    pub hidden: usize,
    /// Batch norm in its hidden layer.
    pub projector_norm: bool,
}

impl Default for SimClr {
    fn default() -> SimClr {
        SimClr { tau: 0.5, projection: 128, hidden: 0, projector_norm: true }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    recipe: |config| recipe(config.train.batch),
    small: |config, _| config.optimizer.warmup_steps = 50,
    presets: &[
        preset(
            "simclr-stl10-r18",
            "S2R2, Table 1's baseline SimCLR, STL10: ResNet-18, 256 images x 2 views, 96 px",
            || recipe(256),
        ),
        preset("simclr-coco-train-r18", "S2R2, Table 1's SimCLR, COCO-Train: the same", || recipe(256)),
        preset(
            "simclr-coco-val-r18",
            "S2R2, Table 1's SimCLR, COCO-Val: ResNet-18, 64 images x 2 views, 96 px",
            || recipe(64),
        ),
        preset(
            "simclr-stl10-r50",
            "S2R2, Table 2's SimCLR, STL10: ResNet-50, 256 images x 2 views, 96 px",
            || s2r2::resnet50(recipe(256)),
        ),
        preset("simclr-coco-train-r50", "S2R2, Table 2's SimCLR, COCO-Train: the same", || {
            s2r2::resnet50(recipe(256))
        }),
        preset("simclr-coco-val-r50", "S2R2, Table 2's SimCLR, COCO-Val: the same", || {
            s2r2::resnet50(recipe(256))
        }),
    ],
    ..Entry::of::<SimClr>("simclr", include_str!("simclr.rs"))
};

/// SimCLR as S2R2's baseline.
///
/// # Source
/// S2R2, Sec. 3: Adam, lr 3e-4, cosine.
fn recipe(images: usize) -> Config {
    let mut config = s2r2::recipe(images, 2);
    config.method = SimClr::default().into();
    config.train.groups = 1;
    config.optimizer.lr = 3e-4;
    config.optimizer.schedule = ScheduleName::Cosine;
    config
}

impl Method for SimClr {
    fn check(&self, _batch: usize, _half: &HalfConfig) -> Result<()> {
        check_tau(self.tau, 0.5)
    }

    /// `z = projector(g)`, g the pooled features.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        let widths = [build.features, self.hidden, self.projection];
        Ok([("z", build.mlp("projector", widths, self.projector_norm)?)].into())
    }

    fn across(&self) -> &'static [&'static str] {
        &["z"]
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        e.views("simclr", 2)?;
        loss(e.query("z")?, self.tau)
    }
}

/// Added to the diagonal: its exponential is 0 whatever the logits are.
const MASKED: f32 = -1e30;

/// The loss of projections z, `[2 B, d]`, all first views above all second ones, not normalised.
///
/// # Errors
/// The device's.
pub fn loss<'t>(z: &Var<'t>, tau: f32) -> Result<Loss<'t>> {
    let z = z.l2_normalize()?; // [2 B, d]
    let (n, device) = (z.shape()[0], z.tape().device());
    let own = Tensor::from_fn(device, [n, n], |at| if at[0] == at[1] { MASKED } else { 0.0 })?;
    let mask = z.tape().constant(own);
    let logits = z.matmul_nt(&z)?.scale(1.0 / tau)?.add(&mask)?; // [2 B, 2 B]
    let partner = Tensor::from_fn(device, [n], |i| ((i[0] + n / 2) % n) as f32)?;
    let value = logits.cross_entropy(&partner)?;
    Ok(Term::new("loss_nt_xent", value, (n as f32 - 1.0).ln()).into())
}
