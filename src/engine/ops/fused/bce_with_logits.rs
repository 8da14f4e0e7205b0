//! Binary cross-entropy of logits: the multi-label term.
//!
//! `loss = mean_ij [ softplus(x_ij) - y_ij x_ij ]`, `dx_ij = dloss / (B D) (sigmoid(x_ij) - y_ij)`;
//! with the positive term alone `loss = mean_ij [ y_ij softplus(-x_ij) ]`, still divided by `B D`.
//!
//! | value | shape | range |
//! |---|---|---|
//! | `logits` x | `[B, D]` | any finite |
//! | `targets` y | `[B, D]` | 0 to 1, not differentiated |
//! | returns | `[]` | nats per pair; ln 2 at x = 0 |
//! | by-product: mean of each row | `[B]` | |
//!
//! Source: MLS, Eq. 9; the positive term alone: Table 6.
//!
//! Fused because the composition, `mean(softplus(x) - y x)`, writes three more `[B, D]` forward and four backward: 64 MiB each
//! at B 256 and D 65,536.

use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::device::vector::vectorised;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::ops::kernel::{Differentiable, Keep, Kernel};
use crate::engine::ops::reduce::sum_axis;
use crate::engine::ops::rows::sum_of;
use crate::engine::ops::{Case, Draw, Input};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// Binary cross-entropy of logits, mean over all pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BceWithLogits {
    /// Whether the term of the negatives is left out.
    pub positives_only: bool,
}

impl BceWithLogits {
    fn negatives(self) -> f32 {
        if self.positives_only { 0.0 } else { 1.0 }
    }

    fn params(self, rows: usize, columns: usize, terms: usize) -> [Param; 4] {
        [
            ("rows", rows.into()),
            ("columns", columns.into()),
            ("negatives", self.negatives().into()),
            ("factor", (1.0 / terms as f32).into()),
        ]
    }
}

impl Kernel for BceWithLogits {
    const NAME: &'static str = "bce_with_logits";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x, targets] if x.len() == 2 && x.elements() > 0 && x == targets => {
                Ok(vec![Shape::from([]), Shape::from([x[0]])])
            }
            _ => {
                Err(Error::shape(Self::NAME, format!("needs logits [B,D] and targets [B,D], got {inputs:?}")))
            }
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (logits, targets) = (x[0].data, x[1].data);
        let columns = x[0].shape[1];
        let negatives = T::of(f64::from(self.negatives()));
        let [loss, row_loss] = y else { unreachable!("two outputs") };
        let rows = logits.par_chunks(columns).zip(targets.par_chunks(columns));
        rows.zip(row_loss.data.par_iter_mut()).for_each(|((x, y), loss)| {
            let term = |(&x, &positive): (&T, &T)| {
                let negative = negatives * (T::one() - positive);
                let softplus = (-x.abs()).exp().ln_1p();
                // Not 0 times infinity, where there are no negatives.
                let above = if self.positives_only { T::zero() } else { negative * x.max(T::zero()) };
                positive * (-x).max(T::zero()) + above + (positive + negative) * softplus
            };
            let terms: Vec<T> = x.iter().zip(y).map(term).collect();
            *loss = sum_of(&terms, |v| v) / T::of(columns as f64);
        });
        loss.data[0] = sum_of(row_loss.data, |v| v) / T::of(row_loss.data.len() as f64);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let shape = x[0].shape();
        let tensors = [(x[0], shape[1]), (x[1], shape[1]), (&y[1], 1)];
        gpu.run_rows(shape[0], &tensors, |block| {
            let params = self.params(block.len(), shape[1], shape[1]);
            Dispatch::new(Self::NAME, "forward", params, &[], block.len())
        })?;
        sum_axis(gpu, &y[1], [1, shape[0], 1], 1.0 / shape[0] as f32, 0.0, &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, positives_only, shape: [usize; 2], scale, targets| {
            let logits = Input::of(shape, Draw::Normal { scale, offset: 0.0 });
            Case::new(name, BceWithLogits { positives_only }, vec![logits, Input::of(shape, targets)])
        };
        vec![
            case("labels", false, [6, 65], 2.0, Draw::Binary),
            case("soft labels", false, [3, 129], 2.0, Draw::Constant),
            case("large logits", false, [4, 31], 100.0, Draw::Binary),
            case("positives only", true, [5, 300], 3.0, Draw::Binary),
            case("one pair", false, [1, 1], 1.0, Draw::Binary),
        ]
    }
}

impl Differentiable for BceWithLogits {
    const VARIABLES: usize = 1;

    fn save(&self, x: &[&Tensor], _: &[Tensor]) -> Vec<Keep> {
        vec![x[0].into(), x[1].into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let columns = dx.shape[1];
        let scale = dy.data[0] / T::of(dx.shape.elements() as f64);
        let negatives = T::of(f64::from(self.negatives()));
        let rows = saved[0].data.par_chunks(columns).zip(saved[1].data.par_chunks(columns));
        dx.data.par_chunks_mut(columns).zip(rows).for_each(|(dx, (x, y))| {
            vectorised(
                #[inline(always)]
                || {
                    for ((dx, &x), &positive) in dx.iter_mut().zip(x).zip(y) {
                        let negative = negatives * (T::one() - positive);
                        // PRECISION: both sigmoids from the exponential that is at most 1.
                        let e = (-x.abs()).fast_exp();
                        let (above, below) = if x >= T::zero() { (T::one(), e) } else { (e, T::one()) };
                        *dx = scale * (negative * above - positive * below) / (T::one() + e);
                    }
                },
            );
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        let shape = dx.shape();
        let tensors = [(saved[0], shape[1]), (saved[1], shape[1]), (dy, 0), (dx, shape[1])];
        gpu.run_rows(shape[0], &tensors, |block| {
            let params = self.params(block.len(), shape[1], shape.elements());
            Dispatch::new(Self::NAME, "backward", params, &[], (block.len() * shape[1]).div_ceil(256))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Device, Tensor, engine::autograd::Tape, engine::device::GpuOptions};

    fn loss(device: &Device, logit: f32, targets: &[f32], shape: [usize; 2]) -> f32 {
        let logits = Tensor::full(device, shape, logit).unwrap();
        let targets = Tensor::new(device, shape, targets).unwrap();
        Tape::inert(device).constant(logits).bce_with_logits(&targets).unwrap().value().item().unwrap()
    }

    #[test]
    fn loss_is_ln_2_at_zero_logits_and_the_closed_form_at_the_lowest_cosine() {
        let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
        let labels: Vec<f32> = (0..2 * 4096).map(|i| f32::from(i % 4096 < 20)).collect();
        for device in [Device::reference(), Device::cpu(), gpu] {
            let at_zero = loss(&device, 0.0, &labels, [2, 4096]);
            assert!((at_zero - std::f32::consts::LN_2).abs() < 1e-6, "{at_zero}");
            let at_lowest = loss(&device, -1.0 / 0.2, &labels, [2, 4096]);
            assert!((at_lowest - 0.031129).abs() < 5e-7, "{at_lowest}");
            assert_eq!(loss(&device, 1e30, &[1.0, 1.0], [1, 2]), 0.0);
            assert_eq!(loss(&device, 1e30, &[1.0, 0.0], [1, 2]), 5e29);
        }
    }
}
