//! Rows of unit length: what turns dot products into cosine similarities.
//!
//! `y = x / max(|x|, 1e-12)` over the last dimension; `dx = (dy - y (y . dy)) / max(|x|, 1e-12)`, without the
//! projection for rows shorter than 1e-12.
//!
//! | value | shape |
//! |---|---|
//! | `x`, `y`, `dx` | `[.., C]` |
//! | by-product: length of each row | `[..]` |
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{L2Normalize, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 2], &[3.0, 4.0])?;
//! assert_eq!(run(&L2Normalize, &[&x])?[0].to_vec()?, [0.6, 0.8]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Keep, Kernel};
use super::rows::sum_of;
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of unit length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct L2Normalize;

/// Rows shorter than this are divided by it instead.
const EPS: f64 = 1e-12;

/// Rows and columns of `[.., C]`.
fn matrix(shape: &Shape) -> (usize, usize) {
    let columns = shape[shape.len() - 1];
    (shape[..shape.len() - 1].iter().product(), columns)
}

/// PRECISION: squares of values near 1e-20 or 1e20 leave the range of f32, so such rows are scaled first.
///
/// The scale, and the length over it.
fn length<T: Real>(row: &[T]) -> [T; 2] {
    let most = row.iter().fold(T::zero(), |most, v| most.max(v.abs()));
    let usual = most > T::of(1e-12) && most < T::of(1e12);
    let scale = if usual { T::one() } else { most.max(T::of(1e-30)).min(T::of(1e30)) };
    [scale, sum_of(row, |v| (v / scale) * (v / scale)).sqrt()]
}

fn dispatch<'a>(entry: &'static str, rows: &Range<usize>, columns: usize) -> Dispatch<'a> {
    let params = [("rows", rows.len().into()), ("columns", columns.into())];
    Dispatch::new(L2Normalize::NAME, entry, params, &[], rows.len())
}

impl Kernel for L2Normalize {
    const NAME: &'static str = "l2_normalize";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x] if !x.is_empty() => Ok(vec![(*x).clone(), Shape::from(&x[..x.len() - 1])]),
            _ => Err(Error::shape(Self::NAME, format!("needs one input [.., C], got {inputs:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let columns = matrix(x[0].shape).1.max(1);
        let [y, norm] = y else { unreachable!("two outputs") };
        let rows = y.data.par_chunks_mut(columns).zip(x[0].data.par_chunks(columns));
        rows.zip(norm.data.par_iter_mut()).for_each(|((y, x), norm)| {
            let [scale, scaled] = length(x);
            *norm = scale * scaled;
            // Divided by the scale first: the length itself may be over the largest f32.
            let (scale, divisor) = if *norm < T::of(EPS) { (T::one(), T::of(EPS)) } else { (scale, scaled) };
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x / scale / divisor;
            }
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let (rows, columns) = matrix(x[0].shape());
        let tensors = [(x[0], columns), (&y[0], columns), (&y[1], 1)];
        gpu.run_rows(rows, &tensors, |block| dispatch("forward", block, columns))
    }

    fn cases() -> Vec<Case<Self>> {
        let scaled = |scale| Draw::Normal { scale, offset: 0.0 };
        vec![
            Case::new("odd", L2Normalize, vec![Input::normal([9, 33])]),
            Case::new("wide", L2Normalize, vec![Input::normal([3, 2049])]),
            Case::new("pixels", L2Normalize, vec![Input::normal([2, 3, 5, 17])]),
            Case::new("one row", L2Normalize, vec![Input::normal([5])]),
            Case::new(
                "offset",
                L2Normalize,
                vec![Input::of([4, 65], Draw::Normal { scale: 1.0, offset: 30.0 })],
            ),
            Case::new("large", L2Normalize, vec![Input::of([3, 40], scaled(1e25))]),
        ]
    }
}

impl Differentiable for L2Normalize {
    fn save(&self, _: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        y.iter().map(Keep::from).collect()
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let [Some(dx)] = dx else { return };
        let columns = matrix(dy.shape).1.max(1);
        let (y, norm) = (saved[0].data, saved[1].data);
        let rows =
            dx.data.par_chunks_mut(columns).zip(y.par_chunks(columns)).zip(dy.data.par_chunks(columns));
        rows.zip(norm).for_each(|(((dx, y), dy), &norm)| {
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = y * dy;
            }
            let along = if norm < T::of(EPS) { T::zero() } else { sum_of(dx, |v| v) };
            let divisor = if norm < T::of(EPS) { T::of(EPS) } else { norm };
            for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
                *dx = (dy - y * along) / divisor;
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [Some(dx)] = dx else { return Ok(()) };
        let (rows, columns) = matrix(dy.shape());
        let tensors = [(saved[0], columns), (saved[1], 1), (dy, columns), (dx, columns)];
        gpu.run_rows(rows, &tensors, |block| dispatch("backward", block, columns))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Device, Tensor, engine::autograd::Tape};

    #[test]
    fn rows_of_any_size_get_unit_length_and_zero_stays_zero() {
        let device = Device::cpu();
        for scale in [1e-30f32, 1e-11, 1.0, 1e30] {
            let x = Tensor::new(&device, [2, 3], &[3.0 * scale, 0.0, -4.0 * scale, 0.0, 0.0, 0.0]).unwrap();
            let y = Tape::inert(&device).constant(x).l2_normalize().unwrap().value().to_vec().unwrap();
            let expected = if scale < 1e-12 { [3e-18, 0.0, -4e-18] } else { [0.6, 0.0, -0.8] };
            for (y, expected) in y.iter().zip(expected) {
                assert!((y - expected).abs() <= 1e-6 * expected.abs(), "{y} at {scale}");
            }
            assert_eq!(y[3..], [0.0; 3]);
        }
    }
}
