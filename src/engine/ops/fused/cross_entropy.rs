//! Softmax cross-entropy: InfoNCE, NT-Xent and classifiers.
//!
//! `loss = mean_b [ log sum_j exp(x_bj) - x_b,label(b) ]`, `dx_bj = dloss / B (softmax(x_b)_j - [j = label(b)])`
//!
//! | value | shape | range |
//! |---|---|---|
//! | `logits` x | `[B, D]` | any finite; rows are shifted by their maximum |
//! | `labels` | `[B]` | whole numbers in 0..D, not differentiated; any other gives NaN, as loss and as gradient of its row |
//! | returns | `[]` | nats per row; ln D at equal logits |
//! | by-product: loss of each row | `[B]` | |
//! | by-product: maximum and log-sum-exp above it | `[B, 2]` | both NaN if one is |
//!
//! Fused because the composition, `log_softmax` at the labels, keeps two more `[B, D]`, 64 MiB each at B 256 and D 65,536, and
//! writes as many again on its way.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{CrossEntropy, run}};
//! # let device = &Device::cpu();
//! let (logits, labels) = (Tensor::new(device, [2, 3], &[5.0; 6])?, Tensor::new(device, [2], &[0.0, 2.0])?);
//! let loss = run(&CrossEntropy, &[&logits, &labels])?[0].item()?;
//! assert!((loss - 3f32.ln()).abs() < 1e-6); // equal logits
//! # Ok::<(), vista::Error>(())
//! ```

use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::device::vector::vectorised;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::ops::gather_rows::row_of;
use crate::engine::ops::kernel::{Differentiable, Keep, Kernel};
use crate::engine::ops::reduce::sum_axis;
use crate::engine::ops::rows::sum_of;
use crate::engine::ops::{Case, Draw, Input};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Softmax cross-entropy, mean over rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy;

fn params(block: &Range<usize>, shape: &Shape) -> [Param; 4] {
    [
        ("rows", block.len().into()),
        ("columns", shape[1].into()),
        ("factor", (1.0 / shape[0] as f32).into()),
        ("nan_bits", f32::NAN.to_bits().into()),
    ]
}

impl Kernel for CrossEntropy {
    const NAME: &'static str = "cross_entropy";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x, labels] if x.len() == 2 && x.elements() > 0 && labels[..] == x[..1] => {
                Ok(vec![Shape::from([]), Shape::from([x[0]]), Shape::from([x[0], 2])])
            }
            _ => Err(Error::shape(Self::NAME, format!("needs logits [B,D] and labels [B], got {inputs:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (logits, labels) = (x[0], x[1].data);
        let [loss, row_loss, stats] = y else { unreachable!("three outputs") };
        let rows = logits.data.par_chunks(logits.shape[1]).zip(labels);
        let outputs = row_loss.data.par_iter_mut().zip(stats.data.par_chunks_mut(2));
        rows.zip(outputs).for_each(|((row, &label), (loss, stats))| {
            let most = row.iter().fold(T::neg_infinity(), |most, &v| most.max(v));
            let log_sum = sum_of(row, |v| (v - most).fast_exp()).ln();
            stats.copy_from_slice(&[if log_sum.is_nan() { log_sum } else { most }, log_sum]);
            *loss = row_of(label, row.len()).map_or(T::nan(), |at| (most - row[at]) + log_sum);
        });
        loss.data[0] = sum_of(row_loss.data, |v| v) / T::of(labels.len() as f64);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let shape = x[0].shape();
        let tensors = [(x[0], shape[1]), (x[1], 1), (&y[1], 1), (&y[2], 2)];
        gpu.run_rows(shape[0], &tensors, |block| {
            Dispatch::new(Self::NAME, "forward", params(block, shape), &[], block.len())
        })?;
        sum_axis(gpu, &y[1], [1, shape[0], 1], 1.0 / shape[0] as f32, 0.0, &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, rows, columns, draw| {
            let labels = Input::of([rows], Draw::Index(columns));
            Case::new(name, CrossEntropy, vec![Input::of([rows, columns], draw), labels])
        };
        let scaled = |scale| Draw::Normal { scale, offset: 0.0 };
        vec![
            case("odd", 8, 10, scaled(2.0)),
            case("wide", 5, 1001, scaled(1.0)),
            case("one row", 1, 7, scaled(1.0)),
            case("one column", 3, 1, scaled(1.0)),
            case("large logits", 6, 33, Draw::Normal { scale: 3.0, offset: 1000.0 }),
        ]
    }
}

impl Differentiable for CrossEntropy {
    const VARIABLES: usize = 1;

    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        vec![x[0].into(), x[1].into(), (&y[2]).into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let [logits, labels, stats] = saved else { unreachable!("three tensors are saved") };
        let columns = logits.shape[1];
        let scale = dy.data[0] / T::of(logits.shape[0] as f64);
        let rows = logits.data.par_chunks(columns).zip(labels.data).zip(stats.data.par_chunks(2));
        dx.data.par_chunks_mut(columns).zip(rows).for_each(|(dx, ((row, &label), stats))| {
            let (most, log_sum) = (stats[0], stats[1]);
            vectorised(
                #[inline(always)]
                || {
                    for (dx, &x) in dx.iter_mut().zip(row) {
                        *dx = scale * ((x - most) - log_sum).fast_exp();
                    }
                },
            );
            match row_of(label, dx.len()) {
                Some(at) => dx[at] -= scale,
                None => dx.fill(T::nan()),
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [logits, labels, stats] = saved else { unreachable!("three tensors are saved") };
        let Some(dx) = &dx[0] else { return Ok(()) };
        let shape = logits.shape();
        let tensors = [(*logits, shape[1]), (*labels, 1), (*stats, 2), (dy, 0), (dx, shape[1])];
        gpu.run_rows(shape[0], &tensors, |block| {
            Dispatch::new(Self::NAME, "backward", params(block, shape), &[], block.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Device, Tensor, engine::autograd::Tape, engine::device::GpuOptions};

    fn loss(device: &Device, columns: usize, logits: &[f32], labels: &[f32]) -> f32 {
        let logits = Tensor::new(device, [labels.len(), columns], logits).unwrap();
        let labels = Tensor::new(device, [labels.len()], labels).unwrap();
        Tape::inert(device).constant(logits).cross_entropy(&labels).unwrap().value().item().unwrap()
    }

    #[test]
    fn equal_logits_give_ln_n_and_shifts_change_nothing() {
        let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
        for device in [Device::reference(), Device::cpu(), gpu] {
            for n in [2, 4097] {
                for logit in [0.0, -5.0, 1e4] {
                    let got = loss(&device, n, &vec![logit; 3 * n], &[0.0, 1.0, (n - 1) as f32]);
                    assert!((got - (n as f32).ln()).abs() < 2e-6, "{got} for {n} logits {logit}");
                }
            }
            assert!((loss(&device, 2, &[-1e30, 1e30], &[0.0]) - 2e30).abs() < 1e24);
            assert!(loss(&device, 2, &[0.0, 0.0], &[2.0]).is_nan(), "a label that names no column");
        }
    }
}
