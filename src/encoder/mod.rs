//! Stage 3: embeddings. A backbone and a projector, and the momentum copy of both.

use crate::autograd::Var;
use crate::device::Device;
use crate::error::Result;
use crate::nn::{Mode, Module, Param, Projector, ResNet, ResNetConfig};
use rand::Rng;

/// What an encoder makes of a batch of images.
#[derive(Clone, Debug)]
pub struct Embedding<'t> {
    /// Pooled backbone features, `[N, d_g]`, not normalised.
    pub g: Var<'t>,
    /// Projections, `[N, d_z]`, not normalised.
    pub z: Var<'t>,
}

/// Anything that turns images into features g and projections z.
pub trait Encoder: Module {
    /// Embeds images `[N, H, W, 3]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images do not fit; the device's errors.
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>>;
}

/// A ResNet with a projector: what all methods here pretrain.
#[derive(Debug)]
pub struct ResNetEncoder {
    /// The part that is kept after pretraining.
    pub backbone: ResNet,
    /// The part that only the objective sees.
    pub projector: Projector,
}

impl ResNetEncoder {
    /// A freshly initialised encoder with projections `out` wide.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        config: &ResNetConfig,
        out: usize,
    ) -> Result<ResNetEncoder> {
        Ok(ResNetEncoder {
            backbone: ResNet::new(device, rng, config)?,
            projector: Projector::new(device, rng, [config.features(), out])?,
        })
    }
}

impl Encoder for ResNetEncoder {
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        let g = self.backbone.forward(images, mode)?;
        let z = self.projector.forward(&g)?;
        Ok(Embedding { g, z })
    }
}

impl Module for ResNetEncoder {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.backbone.visit(f);
        self.projector.visit(f);
    }
}

/// Copies every parameter and statistic of `from` into `into`, so that a key encoder starts as its query encoder.
///
/// # Errors
/// [`crate::Error::Shape`] if the two are not built alike.
pub fn copy_state(into: &dyn Module, from: &dyn Module) -> Result<()> {
    into.state().iter().zip(from.state()).try_for_each(|(to, from)| to.set(from.get()))
}
