//! A convolution and the batch norm behind it: what a ResNet is made of.

use super::norm::Waiting;
use super::{BatchNorm, Conv2d, Mode, Module, Param};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::ops::{self, run};
use crate::error::Result;
use rand::Rng;
use std::borrow::Borrow;

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

    /// The same with a dilated convolution; see [`Conv2d::dilated`].
    pub fn dilated(self, dilation: usize) -> ConvNorm {
        ConvNorm { conv: self.conv.dilated(dilation), ..self }
    }

    /// `norm(conv(x))`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if channels differ or the groups do not divide the batch.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        ConvNorm::chain(std::slice::from_ref(self), x, mode, false, None)
    }

    /// `relu(norm(conv(x)))`.
    ///
    /// # Errors
    /// As [`ConvNorm::forward`].
    pub fn forward_relu<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        ConvNorm::chain(std::slice::from_ref(self), x, mode, true, None)
    }

    /// Layers one behind the other, `x_k+1 = relu(norm_k(conv_k(x_k)))`; behind the last of them the relu is left out without
    /// `relu`, and a residual of its output's shape is added before it. No layers give x.
    ///
    /// What a layer hands to the next is not normalised: the next does that as it reads it.
    ///
    /// # Errors
    /// As [`ConvNorm::forward`], and [`crate::Error::Shape`] if the residual has another shape.
    pub fn chain<'t>(
        layers: &[impl Borrow<ConvNorm>],
        x: &Var<'t>,
        mode: Mode,
        relu: bool,
        residual: Option<&Var<'t>>,
    ) -> Result<Var<'t>> {
        let Some((last, rest)) = layers.split_last() else { return Ok(x.clone()) };
        let mut waiting = None;
        for layer in rest {
            waiting = Some(layer.borrow().convolve(x, waiting, mode)?);
        }
        last.borrow().convolve(x, waiting, mode)?.normalize(relu, residual)
    }

    /// The convolution of x, or of what waits for its norm and relu.
    fn convolve<'t>(
        &self,
        x: &Var<'t>,
        before: Option<Waiting<'_, 't>>,
        mode: Mode,
    ) -> Result<Waiting<'_, 't>> {
        let tape = x.tape();
        let w = tape.param(&self.conv.weight);
        let (conv, by) = (self.conv.op(), BatchNorm::by(mode));
        let vectors = self.norm.vectors(tape, mode);
        let mut inputs = vec![before.as_ref().map_or(x, |b| &b.x).value(), w.value()];
        inputs.extend(vectors.iter().map(Var::value));
        inputs.extend(before.as_ref().map(|b| &b.coefficients));
        let made = run(&ops::ConvStatistics { conv, by }, &inputs)?;
        let [y, coefficients] = made.try_into().expect("two outputs");
        // The tape notes two ops, each with its own backward, whose outputs one kernel has made.
        let y = match before {
            None => tape.record(conv, &[x, &w], vec![y])?.0,
            Some(before) => before.record(ops::NormConv2d { by, conv }, &[&w], y, None)?,
        };
        self.norm.wait(y, coefficients, mode)
    }
}

impl Module for ConvNorm {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.conv.visit(f);
        self.norm.visit(f);
    }
}
