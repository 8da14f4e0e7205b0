//! Softmax of each row, or its logarithm.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Softmax, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 2], &[1.0, 1.0 + 3f32.ln()])?;
//! let y = run(&Softmax { log: false }, &[&x])?[0].to_vec()?;
//! assert!((y[0] - 0.25).abs() < 1e-6 && (y[1] - 0.75).abs() < 1e-6);
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Keep, Kernel};
use super::rows::{most_of, sum_of};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::vector::vectorised;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// `y_c = exp(s_c) / sum_j exp(s_j)`, or with `log` `y_c = s_c - log sum_j exp(s_j)`, over the last dimension
///
/// `s = x - max x`: the shift changes no result and keeps every exponential below 1.
///
/// | value | shape | range |
/// |---|---|---|
/// | `x` | `[.., C]` | any; a row with NaN or infinity, or of negative infinities alone, is NaN |
/// | returns `y` | `[.., C]` | rows sum to 1; with `log` nats, at most 0, -ln C where all of a row are equal |
///
/// `dx = y (dy - sum_j y_j dy_j)`, with `log` `dx = dy - exp(y) sum_j dy_j`: y alone is kept.
///
/// # Errors
/// [`Error::Shape`] of a scalar or where rows are empty.
/// # Source
/// Log-sum-exp shifted by the maximum: Blanchard, Higham and Higham 2021, Eq. 1.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// Whether y is the logarithm.
    pub log: bool,
}

/// Elements of the fewest rows that are a task of the twin.
const TASK: usize = 1 << 12;

/// A task's rows of so many columns.
fn rows_of_task(columns: usize) -> usize {
    TASK / columns + 1
}

/// `exp x` as an f32 that leaves f32's normal numbers is: 0.
#[inline(always)]
fn exp<T: Real>(x: T, least: T) -> T {
    if x < least { T::zero() } else { x.fast_exp() }
}

/// The logarithm of the smallest normal number.
fn least<T: Real>() -> T {
    T::min_positive_value().ln()
}

impl Softmax {
    /// Writes the rows of the last tensor, one workgroup each.
    fn record(self, gpu: &Gpu, entry: &'static str, tensors: &[&Tensor]) -> Result<()> {
        let columns = tensors[0].shape()[tensors[0].shape().len() - 1];
        let tensors: Vec<_> = tensors.iter().map(|&tensor| (tensor, columns)).collect();
        gpu.run_rows(tensors[0].0.elements() / columns, &tensors, |rows| {
            let params = [
                ("rows", rows.len().into()),
                ("columns", columns.into()),
                ("logarithm", u32::from(self.log).into()),
            ];
            Dispatch::new(Self::NAME, entry, params, &[], rows.len())
        })
    }
}

impl Kernel for Softmax {
    const NAME: &'static str = "softmax";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x] if x.last().is_some_and(|&columns| columns > 0) => Ok(vec![(*x).clone()]),
            _ => Err(Error::shape(Self::NAME, format!("needs one x [.., C] with C > 0, got {inputs:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (columns, least) = (x[0].shape[x[0].shape.len() - 1], least::<T>());
        let rows = y[0].data.par_chunks_mut(columns).zip(x[0].data.par_chunks(columns));
        rows.with_min_len(rows_of_task(columns)).for_each(|(y, x)| {
            let most = most_of(x);
            if self.log {
                let log_sum = sum_of(x, |x| exp(x - most, least)).ln();
                return y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - most) - log_sum);
            }
            vectorised(
                #[inline(always)]
                || y.iter_mut().zip(x).for_each(|(y, &x)| *y = exp(x - most, least)),
            );
            let sum = sum_of(y, |y| y);
            y.iter_mut().for_each(|y| *y /= sum);
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.record(gpu, "forward", &[x[0], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let scaled = |scale, offset| Draw::Normal { scale, offset };
        let shapes = [
            ["odd", "log, odd"],
            ["wide", "log, wide"],
            ["pairs of positions", "log, pairs of positions"],
            ["one column", "log, one column"],
            ["far from 0", "log, far from 0"],
        ];
        let inputs = [
            Input::of([9, 33], scaled(2.0, 0.0)),
            Input::normal([3, 1030]),
            Input::normal([2, 15, 15]),
            Input::normal([4, 1]),
            Input::of([5, 7], scaled(3.0, 1000.0)),
        ];
        let both = |(names, input): ([&'static str; 2], Input)| {
            [false, true].map(|log| Case::new(names[usize::from(log)], Softmax { log }, vec![input.clone()]))
        };
        shapes.into_iter().zip(inputs).flat_map(both).collect()
    }
}

impl Differentiable for Softmax {
    fn save(&self, _: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        y.iter().map(Keep::from).collect()
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let [Some(dx)] = dx else { return };
        let (columns, least) = (dy.shape[dy.shape.len() - 1], least::<T>());
        let given = saved[0].data.par_chunks(columns).zip(dy.data.par_chunks(columns));
        let rows = dx.data.par_chunks_mut(columns).zip(given).with_min_len(rows_of_task(columns));
        rows.for_each(|(dx, (y, dy))| {
            if self.log {
                let sum = sum_of(dy, |dy| dy);
                return vectorised(
                    #[inline(always)]
                    || {
                        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                            *dx = dy - exp(y, least) * sum;
                        }
                    },
                );
            }
            dx.iter_mut().zip(y).zip(dy).for_each(|((dx, &y), &dy)| *dx = y * dy);
            let sum = sum_of(dx, |term| term);
            dx.iter_mut().zip(y).zip(dy).for_each(|((dx, &y), &dy)| *dx = y * (dy - sum));
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [Some(dx)] = dx else { return Ok(()) };
        self.record(gpu, "backward", &[saved[0], dy, dx])
    }
}
