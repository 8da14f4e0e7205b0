//! Batch norm, with the relu and the residual sum that follow it in a ResNet fused in: one form, an activation that waits for it.

use super::{Mode, Module, Param};
use crate::engine::autograd::{Observation, RunningStatistics, Tape, Var};
use crate::engine::device::Device;
use crate::engine::ops::{self, Coefficients, Normalize, Norms, Ranks, over_ranks, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// Constant inside the square root, and weight of a batch in the running statistics: torch's defaults.
const EPS: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

/// `y = gamma (x - mean) / sqrt(var + eps) + beta` per channel, the last dimension.
#[derive(Debug)]
pub struct BatchNorm {
    /// gamma, `[C]`.
    pub weight: Param,
    /// beta, `[C]`.
    pub bias: Param,
    /// For evaluation.
    pub running: RunningStatistics,
    /// Whether gamma and beta are trained, saved and exported; else they stay 1 and 0.
    affine: bool,
}

/// An activation that waits for its norm, whose coefficients are there. What reads it next normalises it: a convolution on its way
/// in, or a pass of its own.
pub(super) struct Waiting<'l, 't> {
    pub x: Var<'t>,
    pub coefficients: Tensor,
    norm: &'l BatchNorm,
    mode: Mode,
}

impl BatchNorm {
    /// gamma = `weight` everywhere (1, or 0 for a zero-initialised residual branch), beta = 0.
    ///
    /// # Errors
    /// The device's.
    pub fn new(device: &Device, name: &str, channels: usize, weight: f32) -> Result<BatchNorm> {
        let full = |value| Tensor::full(device, [channels], value);
        Ok(BatchNorm {
            weight: Param::new(format!("{name}.weight"), full(weight)?),
            bias: Param::new(format!("{name}.bias"), full(0.0)?),
            running: RunningStatistics {
                mean: Param::statistic(format!("{name}.running_mean"), full(0.0)?),
                var: Param::statistic(format!("{name}.running_var"), full(1.0)?),
            },
            affine: true,
        })
    }

    /// Without gamma and beta: `(x - mean) / sqrt(var + eps)`, as behind SimSiam's projector.
    ///
    /// # Errors
    /// The device's.
    pub fn plain(device: &Device, name: &str, channels: usize) -> Result<BatchNorm> {
        Ok(BatchNorm { affine: false, ..BatchNorm::new(device, name, channels, 1.0)? })
    }

    /// The normalised batch.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if channels differ or the groups do not divide the batch.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        self.apply(x, mode, false, None)
    }

    /// `relu(norm(x))`, in one pass.
    ///
    /// # Errors
    /// As [`BatchNorm::forward`].
    pub fn forward_relu<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        self.apply(x, mode, true, None)
    }

    /// `relu(norm(x) + residual)`, in one pass: the end of a residual block.
    ///
    /// # Errors
    /// As [`BatchNorm::forward`].
    pub fn forward_add_relu<'t>(&self, x: &Var<'t>, residual: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        self.apply(x, mode, true, Some(residual))
    }

    /// What it normalises by.
    pub(super) fn by(mode: Mode) -> Coefficients {
        match mode {
            Mode::Train { groups } => Coefficients::Batch { groups, eps: EPS },
            Mode::Eval => Coefficients::Given { eps: EPS },
        }
    }

    /// gamma and beta, then the running statistics if it normalises by them, as inputs of an op.
    pub(super) fn vectors<'t>(&self, tape: &'t Tape, mode: Mode) -> Vec<Var<'t>> {
        let of = |param: &Param| match self.affine {
            true => tape.param(param),
            false => tape.constant(param.get()),
        };
        let mut vectors = vec![of(&self.weight), of(&self.bias)];
        if mode == Mode::Eval {
            let RunningStatistics { mean, var } = &self.running;
            vectors.extend([mean, var].map(|param| tape.constant(param.get())));
        }
        vectors
    }

    /// Lets x wait for this norm, of which these are the coefficients by this rank's x alone.
    pub(super) fn wait<'t>(&self, x: Var<'t>, coefficients: Tensor, mode: Mode) -> Result<Waiting<'_, 't>> {
        if mode == Mode::Eval {
            return Ok(Waiting { x, coefficients, norm: self, mode });
        }
        let (tape, mut coefficients, mut ranks) = (x.tape(), coefficients, 1);
        if let Some(exchange) = tape.exchange() {
            coefficients = over_ranks(&**exchange, &coefficients, &self.weight.get(), EPS.into())?;
            ranks = exchange.ranks();
        }
        let statistics = coefficients.head(2);
        let count = ranks * (2 * x.value().elements() / statistics.elements().max(1));
        let running = self.running.clone();
        tape.observe(Observation { running, statistics, count, momentum: MOMENTUM });
        Ok(Waiting { x, coefficients, norm: self, mode })
    }

    fn apply<'t>(&self, x: &Var<'t>, mode: Mode, relu: bool, residual: Option<&Var<'t>>) -> Result<Var<'t>> {
        let by = BatchNorm::by(mode);
        let vectors = self.vectors(x.tape(), mode);
        let values: Vec<&Tensor> = [x].into_iter().chain(&vectors).map(Var::value).collect();
        let coefficients = run(&by, by.of(&values))?.swap_remove(0);
        self.wait(x.clone(), coefficients, mode)?.normalize(relu, residual)
    }
}

impl<'t> Waiting<'_, 't> {
    /// The end of the wait by another op that normalises: its output, with what it needs beside x and `others`.
    pub fn record(
        self,
        norm: impl Norms,
        others: &[&Var<'t>],
        y: Tensor,
        residual: Option<&Var<'t>>,
    ) -> Result<Var<'t>> {
        let tape = self.x.tape();
        let vectors = self.norm.vectors(tape, self.mode);
        let inputs: Vec<&Var> =
            [&self.x].into_iter().chain(others.iter().copied()).chain(&vectors).chain(residual).collect();
        let outputs = vec![y, self.coefficients];
        let (y, _) = match tape.exchange().filter(|_| self.mode != Mode::Eval) {
            Some(exchange) => tape.record(Ranks { norm, exchange: exchange.clone() }, &inputs, outputs)?,
            None => tape.record(norm, &inputs, outputs)?,
        };
        Ok(y)
    }

    /// The end of the wait: `act(norm(x) + residual)`.
    pub fn normalize(self, relu: bool, residual: Option<&Var<'t>>) -> Result<Var<'t>> {
        let values: Vec<&Tensor> =
            [self.x.value(), &self.coefficients].into_iter().chain(residual.map(Var::value)).collect();
        let y = run(&Normalize { relu }, &values)?.swap_remove(0);
        let norm = ops::BatchNorm { by: BatchNorm::by(self.mode), relu };
        self.record(norm, &[], y, residual)
    }
}

impl Module for BatchNorm {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        if self.affine {
            f(&self.weight);
            f(&self.bias);
        }
        f(&self.running.mean);
        f(&self.running.var);
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/engine/nn/norm.rs"]
mod tests;
