//! Convolution without a bias, as all of a ResNet's are.

use super::{Module, Param};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::ops;
use crate::engine::tensor::init;
use crate::error::Result;
use rand::Rng;

/// `[N, H, W, C] -> [N, OH, OW, O]`, square kernel and stride, padded to keep the size at stride 1.
#[derive(Debug)]
pub struct Conv2d {
    /// `[O, K, K, C]`.
    pub weight: Param,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// Weights normal with variance `2 / (O K K)` (He, fan-out), as torchvision initialises ResNets.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        name: &str,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Result<Conv2d> {
        let std = (2.0 / (outputs * kernel * kernel) as f64).sqrt();
        let shape = [outputs, kernel, kernel, inputs];
        let weight = init::drawn(device, shape, |count| init::normal(rng, count, std))?;
        let weight = Param::new(format!("{name}.weight"), weight);
        Ok(Conv2d { weight, stride, padding: kernel / 2 })
    }

    /// The convolution of `x`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(&self, x: &Var<'t>) -> Result<Var<'t>> {
        Ok(x.tape().apply(self.op(), &[x, &x.tape().param(&self.weight)])?.0)
    }

    /// The op.
    pub(super) fn op(&self) -> ops::Conv2d {
        ops::Conv2d::new(self.stride, self.padding)
    }
}

impl Module for Conv2d {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        f(&self.weight);
    }
}
