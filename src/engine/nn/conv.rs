//! Convolution; a ResNet's have no bias.

use super::{Module, Param};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::ops;
use crate::engine::tensor::{Tensor, init};
use crate::error::Result;
use rand::Rng;

/// `[N, H, W, C] -> [N, OH, OW, O]`, square kernel and stride, padded to keep the size at stride 1.
#[derive(Debug)]
pub struct Conv2d {
    /// `[O, K, K, C]`.
    pub weight: Param,
    /// `[O]`, if the layer has one.
    pub bias: Option<Param>,
    stride: usize,
    padding: usize,
    dilation: usize,
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
        Ok(Conv2d { weight, bias: None, stride, padding: kernel / 2, dilation: 1 })
    }

    /// The same with a bias of 0.
    ///
    /// # Errors
    /// The device's.
    pub fn with_bias(self) -> Result<Conv2d> {
        let name = self.weight.name().trim_end_matches("weight");
        let zeros = Tensor::full(self.weight.get().device(), [self.weight.shape()[0]], 0.0)?;
        let bias = Some(Param::new(format!("{name}bias"), zeros));
        Ok(Conv2d { bias, ..self })
    }

    /// The same with weights drawn anew, normal with this standard deviation.
    ///
    /// # Errors
    /// The device's.
    pub fn drawn(self, rng: &mut impl Rng, std: f64) -> Result<Conv2d> {
        let weight = self.weight.get();
        self.weight.set(init::drawn(weight.device(), weight.shape().clone(), |count| {
            init::normal(rng, count, std)
        })?)?;
        Ok(self)
    }

    /// The same with so many pixels from one tap of the kernel to the next.
    pub fn dilated(self, dilation: usize) -> Conv2d {
        Conv2d { dilation, padding: dilation * (self.padding / self.dilation), ..self }
    }

    /// The convolution of `x`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(&self, x: &Var<'t>) -> Result<Var<'t>> {
        let tape = x.tape();
        let parameters: Vec<Var> =
            [&self.weight].into_iter().chain(&self.bias).map(|p| tape.param(p)).collect();
        Ok(tape.apply(self.op(), &[x].into_iter().chain(&parameters).collect::<Vec<_>>())?.0)
    }

    /// The op.
    pub(super) fn op(&self) -> ops::Conv2d {
        ops::Conv2d { dilation: [self.dilation; 2], ..ops::Conv2d::new(self.stride, self.padding) }
    }
}

impl Module for Conv2d {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        f(&self.weight);
        self.bias.iter().for_each(f);
    }
}
