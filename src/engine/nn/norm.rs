//! Batch norm, with the relu and the residual sum that follow it in a ResNet fused in.

use super::{Mode, Module, Param};
use crate::engine::autograd::{Observation, Tape, Var};
use crate::engine::device::Device;
use crate::engine::ops;
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;

/// Constant inside the square root, and weight of a batch in the running statistics: torch's defaults.
const EPS: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

/// The running statistics of one batch norm.
#[derive(Clone, Debug)]
pub struct RunningStatistics {
    /// `[C]`, 0 at first.
    pub mean: Param,
    /// `[C]`, 1 at first; moves towards the *unbiased* batch variance.
    pub var: Param,
}

/// `y = gamma (x - mean) / sqrt(var + eps) + beta` per channel, the last dimension.
#[derive(Debug)]
pub struct BatchNorm {
    /// gamma, `[C]`.
    pub weight: Param,
    /// beta, `[C]`.
    pub bias: Param,
    /// For evaluation.
    pub running: RunningStatistics,
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
        })
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

    /// The op of a training pass.
    pub(super) fn op(groups: usize, relu: bool) -> ops::BatchNorm {
        ops::BatchNorm { groups, eps: EPS, relu }
    }

    /// Notes the statistics `[2, groups, C]` of a batch of this shape.
    pub(super) fn observe(&self, tape: &Tape, x: &Shape, statistics: Tensor) {
        let count = 2 * x.elements() / statistics.elements().max(1);
        tape.observe(Observation { running: self.running.clone(), statistics, count, momentum: MOMENTUM });
    }

    pub(super) fn apply<'t>(
        &self,
        x: &Var<'t>,
        mode: Mode,
        relu: bool,
        residual: Option<&Var<'t>>,
    ) -> Result<Var<'t>> {
        let tape = x.tape();
        let (gamma, beta) = (tape.param(&self.weight), tape.param(&self.bias));
        let mut inputs = vec![x, &gamma, &beta];
        let Mode::Train { splits } = mode else {
            let mean = tape.constant(self.running.mean.get());
            let var = tape.constant(self.running.var.get());
            inputs.extend([&mean, &var]);
            inputs.extend(residual);
            return Ok(tape.apply(ops::BatchNormEval { eps: EPS, relu }, &inputs)?.0);
        };
        inputs.extend(residual);
        let (y, mut extras) = tape.apply(BatchNorm::op(splits, relu), &inputs)?;
        self.observe(tape, x.shape(), extras.swap_remove(0));
        Ok(y)
    }
}

impl Module for BatchNorm {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        f(&self.weight);
        f(&self.bias);
        f(&self.running.mean);
        f(&self.running.var);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_number_of_values_is_counted_whole() {
        let device = Device::reference();
        let norm = BatchNorm::new(&device, "norm", 1, 1.0).expect("norm");
        let tape = Tape::new(&device);
        let x = tape.constant(Tensor::new(&device, [3, 1, 1, 1], &[1.0, 2.0, 6.0]).expect("values"));
        norm.forward(&x, Mode::Train { splits: 1 }).expect("forward");
        Observation::apply(&tape.take_observations()).expect("statistics");
        let value = |param: &Param| f64::from(param.get().item().expect("one value"));
        assert!((value(&norm.running.mean) - 0.1 * 3.0).abs() < 1e-6);
        // The sum of squared deviations, 4 + 1 + 9, over n - 1 = 2.
        assert!((value(&norm.running.var) - (0.9 + 0.1 * 7.0)).abs() < 1e-6);
    }
}
