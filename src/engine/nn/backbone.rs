//! What methods ask of a network.

use super::{Mode, Module, ResNet};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::error::Result;
use rand::rngs::StdRng;
use std::fmt::Debug;

/// A network from images to a map of features.
pub trait Backbone: Module + Debug {
    /// The last feature map of a batch of images, `[N, H, W, 3] -> [N, h, w, features]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images are too small or not RGB.
    fn map<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Var<'t>>;

    /// Channels of that map.
    fn features(&self) -> usize;

    /// Another network of the same shape, freshly initialised.
    ///
    /// # Errors
    /// The device's.
    fn another(&self, device: &Device, rng: &mut StdRng) -> Result<Box<dyn Backbone>>;
}

impl Backbone for ResNet {
    fn map<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        ResNet::map(self, images, mode)
    }

    fn features(&self) -> usize {
        self.config().features()
    }

    fn another(&self, device: &Device, rng: &mut StdRng) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(ResNet::new(device, rng, self.config())?))
    }
}
