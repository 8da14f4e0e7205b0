//! Stage 3: embeddings. A backbone and its heads, and the momentum copy of both.
//!
//! **Formula.** `g = pool(backbone(x))`, `z = W2 relu(W1 g + b1) + b2`; the key encoder moves by `key = m key + (1 - m) query`.
//!
//! **Why so.** What is kept after pretraining is the backbone: the projector takes the loss's damage, and g stays useful. Keys
//! must change slowly, or those of earlier steps in the queue mean something else than today's.
//!
//! **The trap.** Only parameters are averaged. Running statistics of batch norm are each encoder's own, and an average that
//! includes them is wrong without failing.
//!
//! **The test.** `an_average_that_keeps_everything_freezes_the_key_encoder` in `tests/training.rs`,
//! `ema_moves_trained_parameters_only_and_refuses_other_names` in `tests/optim.rs`.

mod heads;
mod outputs;

pub use heads::{DenseProjector, Prototypes};
pub use outputs::Outputs;

use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{Mode, Module, Param, Projector, ResNet, ResNetConfig};
use crate::error::{Error, Result};
use rand::Rng;
use std::collections::BTreeMap;

/// What an encoder makes of a batch of images, on a tape.
pub type Embedding<'t> = Outputs<Var<'t>>;

/// Anything that turns images into features g, projections z and what other heads it has.
pub trait Encoder: Module {
    /// Embeds images `[N, H, W, 3]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images do not fit; the device's errors.
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>>;

    /// Brings parameters back to the set that they are confined to (unit-length prototypes); most have none.
    ///
    /// # Errors
    /// The device's.
    fn constrain(&self) -> Result<()> {
        Ok(())
    }

    /// The parameters that [`Encoder::constrain`] may change.
    fn confined(&self) -> Vec<Param> {
        Vec::new()
    }

    /// Scores of projections z of earlier steps; `None` for an encoder without prototypes.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the width differs.
    fn scores<'t>(&self, _z: &Var<'t>) -> Result<Option<Var<'t>>> {
        Ok(None)
    }
}

/// The heads on top of a backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadsConfig {
    /// Hidden width of projector and predictor; 0 for the width of the features.
    pub hidden: usize,
    /// Width of the projections z.
    pub projection: usize,
    /// Whether the hidden layer of projector and predictor has batch norm.
    pub batch_norm: bool,
    /// Whether there is a predictor (BYOL).
    pub predictor: bool,
    /// Number of prototypes (SwAV); 0 for none.
    pub prototypes: usize,
    /// Whether there is a dense projector (DenseCL).
    pub dense: bool,
    /// Cells in a row of its grid; 0 for as many as the map has.
    pub grid: usize,
}

impl HeadsConfig {
    /// A projector without batch norm and nothing else: MoCo-v2's, and that of MLS and S2R2.
    pub fn plain(projection: usize) -> HeadsConfig {
        HeadsConfig {
            hidden: 0,
            projection,
            batch_norm: false,
            predictor: false,
            prototypes: 0,
            dense: false,
            grid: 0,
        }
    }
}

/// A ResNet with its heads: what all methods here pretrain.
#[derive(Debug)]
pub struct ResNetEncoder {
    /// The part that is kept after pretraining.
    pub backbone: ResNet,
    /// From features to projections.
    pub projector: Projector,
    /// From projections to predictions of another view's.
    pub predictor: Option<Projector>,
    /// What projections are scored against.
    pub prototypes: Option<Prototypes>,
    /// The projector of the map's cells.
    pub dense: Option<DenseProjector>,
}

impl ResNetEncoder {
    /// A freshly initialised encoder.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        config: &ResNetConfig,
        heads: &HeadsConfig,
    ) -> Result<ResNetEncoder> {
        let (features, out) = (config.features(), heads.projection);
        let hidden = if heads.hidden == 0 { features } else { heads.hidden };
        let backbone = ResNet::new(device, rng, config)?;
        let projector = Projector::new(device, rng, "projector", [features, hidden, out], heads.batch_norm)?;
        let predictor = heads
            .predictor
            .then(|| Projector::new(device, rng, "predictor", [out, hidden, out], heads.batch_norm))
            .transpose()?;
        let prototypes = (heads.prototypes > 0)
            .then(|| Prototypes::new(device, rng, heads.prototypes, out))
            .transpose()?;
        let dense =
            heads.dense.then(|| DenseProjector::new(device, rng, [features, out], heads.grid)).transpose()?;
        Ok(ResNetEncoder { backbone, projector, predictor, prototypes, dense })
    }
}

impl Encoder for ResNetEncoder {
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        let map = self.backbone.map(images, mode)?;
        let g = map.global_avg_pool()?;
        let z = self.projector.forward(&g, mode)?;
        let p = self.predictor.as_ref().map(|head| head.forward(&z, mode)).transpose()?;
        let scores = self.scores(&z)?;
        let (map, dense) = self.dense.as_ref().map(|head| head.forward(&map, mode)).transpose()?.unzip();
        Ok(Outputs { g, z, p, scores, map, dense })
    }

    fn constrain(&self) -> Result<()> {
        self.prototypes.as_ref().map_or(Ok(()), Prototypes::normalize)
    }

    fn confined(&self) -> Vec<Param> {
        self.prototypes.iter().map(|prototypes| prototypes.weight.clone()).collect()
    }

    fn scores<'t>(&self, z: &Var<'t>) -> Result<Option<Var<'t>>> {
        self.prototypes.as_ref().map(|prototypes| prototypes.scores(z)).transpose()
    }
}

impl Module for ResNetEncoder {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.backbone.visit(f);
        self.projector.visit(f);
        if let Some(predictor) = &self.predictor {
            predictor.visit(f);
        }
        if let Some(prototypes) = &self.prototypes {
            f(&prototypes.weight);
        }
        if let Some(dense) = &self.dense {
            dense.visit(f);
        }
    }
}

/// Copies the parameters and statistics of `from` into those of the same names of `into`, so that a key encoder
/// starts as its query encoder. `from` may have more of them, such as a predictor.
///
/// # Errors
/// [`Error::Shape`] naming the first that `from` does not have or has in another shape.
pub fn copy_state(into: &dyn Module, from: &dyn Module) -> Result<()> {
    let from: BTreeMap<String, Param> = from.state().into_iter().map(|p| (p.name().to_string(), p)).collect();
    into.state().iter().try_for_each(|to| match from.get(to.name()) {
        Some(from) => to.set(from.get()),
        None => Err(Error::shape("copy_state", format!("{} is in one encoder only", to.name()))),
    })
}
