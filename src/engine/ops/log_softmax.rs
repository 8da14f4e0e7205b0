//! The logarithm of the softmax of each row: cross-entropies against codes that are not one-hot.
//!
//! `y_c = x_c - log sum_j exp(x_j)` over the last dimension; `dx_c = dy_c - exp(y_c) sum_j dy_j`.
//!
//! | value | shape | range |
//! |---|---|---|
//! | `x` | `[.., C]` | any finite; rows are shifted by their maximum |
//! | returns y | `[.., C]` | nats, at most 0; -ln C where all of a row are equal |

use super::kernel::{Differentiable, Kernel};
use super::rows::{elements, row_blocks, sum_of};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::vector::vectorised;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// `x - log sum exp(x)` of each row.
///
/// # Errors
/// [`Error::Shape`] of a scalar or where rows are empty.
/// # Source
/// Log-sum-exp shifted by the maximum: Blanchard, Higham and Higham 2021, Eq. 1.4. SwAV, Eq. 2 uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSoftmax;

/// Runs an entry point over blocks of rows; all tensors are of shape `x`.
fn dispatch(gpu: &Gpu, entry: &'static str, x: &Shape, tensors: &[&Tensor]) -> Result<()> {
    let columns = x[x.len() - 1];
    for block in row_blocks(gpu, x.elements() / columns, columns) {
        let params = [("rows", block.len().into()), ("columns", columns.into())];
        gpu.run(Dispatch {
            tensors: tensors.iter().map(|t| (*t, elements(&block, columns))).collect(),
            ..Dispatch::new(LogSoftmax::NAME, entry, &params, &[], block.len())
        })?;
    }
    Ok(())
}

impl Kernel for LogSoftmax {
    const NAME: &'static str = "log_softmax";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x] if x.last().is_some_and(|&columns| columns > 0) => Ok(vec![(*x).clone()]),
            _ => Err(Error::shape(Self::NAME, format!("needs one input [.., C] with C > 0, got {inputs:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let columns = x[0].shape[x[0].shape.len() - 1];
        let rows = y[0].data.par_chunks_mut(columns).zip(x[0].data.par_chunks(columns));
        rows.for_each(|(y, x)| {
            let most = x.iter().fold(T::neg_infinity(), |most, &v| most.max(v));
            let log_sum = sum_of(x, |v| (v - most).fast_exp()).ln();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - most) - log_sum;
            }
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        dispatch(gpu, "forward", x[0].shape(), &[x[0], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let scaled = |scale, offset| Draw::Normal { scale, offset };
        vec![
            Case::new("odd", LogSoftmax, vec![Input::of([9, 33], scaled(2.0, 0.0))]),
            Case::new("wide", LogSoftmax, vec![Input::normal([3, 3001])]),
            Case::new("pixels", LogSoftmax, vec![Input::normal([2, 3, 5, 17])]),
            Case::new("one row", LogSoftmax, vec![Input::normal([7])]),
            Case::new("one column", LogSoftmax, vec![Input::normal([5, 1])]),
            Case::new("large", LogSoftmax, vec![Input::of([6, 300], scaled(3.0, 1000.0))]),
            Case::new("far apart", LogSoftmax, vec![Input::of([4, 65], scaled(200.0, 0.0))]),
        ]
    }
}

impl Differentiable for LogSoftmax {
    fn save(&self, _x: &[&Tensor], y: &[Tensor]) -> Vec<Tensor> {
        y.to_vec()
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let [Some(dx)] = dx else { return };
        let columns = dy.shape[dy.shape.len() - 1];
        let rows = saved[0].data.par_chunks(columns).zip(dy.data.par_chunks(columns));
        dx.data.par_chunks_mut(columns).zip(rows).for_each(|(dx, (y, dy))| {
            let sum = sum_of(dy, |v| v);
            vectorised(
                #[inline(always)]
                || {
                    for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                        *dx = dy - y.fast_exp() * sum;
                    }
                },
            );
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [Some(dx)] = dx else { return Ok(()) };
        dispatch(gpu, "backward", dy.shape(), &[saved[0], dy, dx])
    }
}

#[cfg(test)]
mod tests {
    use crate::{Device, Tensor, engine::autograd::Tape, engine::device::GpuOptions};

    #[test]
    fn equal_values_give_minus_ln_n_and_shifts_change_nothing() {
        let gpu = Device::gpu_named(None, GpuOptions::default()).unwrap();
        for device in [Device::reference(), Device::cpu(), gpu] {
            for (n, value) in [(2usize, 0.0f32), (4097, -5.0), (3000, 1e4), (1, -1e30)] {
                let x = Tensor::full(&device, [2, n], value).unwrap();
                let y = Tape::inert(&device).constant(x).log_softmax().unwrap().value().to_vec().unwrap();
                let expected = -(n as f32).ln();
                assert!(y.iter().all(|y| (y - expected).abs() < 2e-6), "{} for {n} times {value}", y[0]);
            }
            let x = Tensor::new(&device, [2], &[-1e30, 1e30]).unwrap();
            let y = Tape::inert(&device).constant(x).log_softmax().unwrap().value().to_vec().unwrap();
            assert_eq!(y, [-2e30, 0.0]);
        }
    }
}
