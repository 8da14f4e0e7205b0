//! Fully connected layer.

use super::{Module, Param};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::tensor::init;
use crate::error::Result;
use rand::Rng;

/// `y = x W^T + b`: `[N, in] -> [N, out]`; without a bias `x W^T`.
#[derive(Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`, if the layer has one.
    pub bias: Option<Param>,
}

impl Linear {
    /// Weights and biases uniform in `+-1/sqrt(in)`, torch's default.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        name: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Result<Linear> {
        let bound = (inputs as f64).powf(-0.5);
        let weight = init::drawn(device, [outputs, inputs], |count| init::uniform(rng, count, bound))?;
        let bias = init::drawn(device, [outputs], |count| init::uniform(rng, count, bound))?;
        Ok(Linear {
            weight: Param::new(format!("{name}.weight"), weight),
            bias: Some(Param::new(format!("{name}.bias"), bias)),
        })
    }

    /// `x W^T + b`
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the widths differ.
    pub fn forward<'t>(&self, x: &Var<'t>) -> Result<Var<'t>> {
        let tape = x.tape();
        let weight = tape.param(&self.weight);
        match &self.bias {
            Some(bias) => x.linear(&weight, &tape.param(bias)),
            None => x.matmul_nt(&weight),
        }
    }
}

impl Module for Linear {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        f(&self.weight);
        self.bias.iter().for_each(f);
    }
}
