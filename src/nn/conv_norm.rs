//! A convolution and the batch norm behind it: what a ResNet is made of.

use super::{BatchNorm, Conv2d, Mode, Module, Param};
use crate::autograd::Var;
use crate::device::Device;
use crate::error::Result;
use crate::ops::{self, run};
use rand::Rng;

/// `y = norm(conv(x))`, with the residual sum and the relu that may follow.
#[derive(Debug)]
pub struct ConvNorm {
    /// The convolution.
    pub conv: Conv2d,
    /// The batch norm.
    pub norm: BatchNorm,
}

impl ConvNorm {
    /// Parameters under two names, of the convolution and of the norm; see [`Conv2d::new`] and [`BatchNorm::new`].
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        [conv, norm]: [&str; 2],
        channels: [usize; 2],
        [kernel, stride]: [usize; 2],
        gamma: f32,
    ) -> Result<ConvNorm> {
        let conv = Conv2d::new(device, rng, conv, channels, kernel, stride)?;
        Ok(ConvNorm { conv, norm: BatchNorm::new(device, norm, channels[1], gamma)? })
    }

    /// `norm(conv(x))`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if channels differ or the groups do not divide the batch.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        self.apply(x, mode, false, None)
    }

    /// `relu(norm(conv(x)))`.
    ///
    /// # Errors
    /// As [`ConvNorm::forward`].
    pub fn forward_relu<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        self.apply(x, mode, true, None)
    }

    /// `relu(norm(conv(x)) + residual)`: the end of a residual block.
    ///
    /// # Errors
    /// As [`ConvNorm::forward`].
    pub fn forward_add_relu<'t>(&self, x: &Var<'t>, residual: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        self.apply(x, mode, true, Some(residual))
    }

    /// In training one kernel makes what the tape then notes as two ops, each with its own backward.
    fn apply<'t>(&self, x: &Var<'t>, mode: Mode, relu: bool, residual: Option<&Var<'t>>) -> Result<Var<'t>> {
        let Mode::Train { splits } = mode else {
            return self.norm.apply(&self.conv.forward(x)?, mode, relu, residual);
        };
        let tape = x.tape();
        let (w, gamma, beta) =
            (tape.param(&self.conv.weight), tape.param(&self.norm.weight), tape.param(&self.norm.bias));
        let op = ops::ConvBatchNorm { conv: self.conv.op(), norm: BatchNorm::op(splits, relu) };
        let inputs = [x, &w, &gamma, &beta].into_iter().chain(residual).map(Var::value);
        let [y, z, statistics] = run(&op, &inputs.collect::<Vec<_>>())?.try_into().expect("three outputs");
        let (z, _) = tape.record(op.conv, &[x, &w], vec![z])?;
        self.norm.observe(tape, z.shape(), statistics.clone());
        let inputs: Vec<&Var> = [&z, &gamma, &beta].into_iter().chain(residual).collect();
        Ok(tape.record(op.norm, &inputs, vec![y, statistics])?.0)
    }
}

impl Module for ConvNorm {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.conv.visit(f);
        self.norm.visit(f);
    }
}
