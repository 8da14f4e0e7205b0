//! Two tensors side by side.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Concat, run}};
//! # let device = &Device::cpu();
//! let [a, b] = [[1.0, 2.0], [3.0, 4.0]].map(|row| Tensor::new(device, [1, 2], &row));
//! assert_eq!(run(&Concat, &[&a?, &b?])?[0].to_vec()?, [1.0, 2.0, 3.0, 4.0]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Kernel};
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// `y = [a, b]` along the last dimension.
///
/// | value | shape |
/// |---|---|
/// | `a` | `[.., C1]` |
/// | `b` | `[.., C2]`, the other dimensions as in `a` |
/// | returns | `[.., C1 + C2]` |
///
/// Gradients: `da` and `db` are their columns of `dy`.
///
/// # Errors
/// [`Error::Shape`] if either is a scalar or the other dimensions differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concat;

fn columns(shape: &Shape) -> usize {
    shape.last().copied().unwrap_or(1)
}

/// Runs an entry point over the rows; the last tensor is written. `other` and `start` are the shader's.
fn dispatch(gpu: &Gpu, entry: &'static str, tensors: &[&Tensor], [other, start]: [usize; 2]) -> Result<()> {
    let tensors: Vec<_> = tensors.iter().map(|t| (*t, columns(t.shape()))).collect();
    let (written, width) = tensors[tensors.len() - 1];
    gpu.run_rows(written.elements() / width.max(1), &tensors, |rows| {
        let count = rows.len() * width;
        let params = [
            ("count", count.into()),
            ("columns", width.into()),
            ("other", other.into()),
            ("start", start.into()),
        ];
        Dispatch::new(Concat::NAME, entry, params, &[], count.div_ceil(256))
    })
}

impl Kernel for Concat {
    const NAME: &'static str = "concat";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        if let [a, b] = inputs
            && let (Some((c1, rest)), Some((c2, other_rest))) = (a.split_last(), b.split_last())
            && rest == other_rest
        {
            let mut dims = rest.to_vec();
            dims.push(c1 + c2);
            return Ok(vec![dims.into()]);
        }
        let detail = format!("takes two tensors that differ in the last dimension only, got {inputs:?}");
        Err(Error::shape(Self::NAME, detail))
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (c1, c2) = (columns(x[0].shape), columns(x[1].shape));
        if c1 + c2 == 0 {
            return;
        }
        y[0].data.par_chunks_mut(c1 + c2).enumerate().for_each(|(row, y)| {
            y[..c1].copy_from_slice(&x[0].data[row * c1..(row + 1) * c1]);
            y[c1..].copy_from_slice(&x[1].data[row * c2..(row + 1) * c2]);
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let [c1, c2] = [x[0], x[1]].map(|x| columns(x.shape()));
        dispatch(gpu, "forward", &[x[0], x[1], &y[0]], [c2, c1])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, a: &[usize], b: &[usize]| {
            Case::new(name, Concat, vec![Input::normal(a), Input::normal(b)])
        };
        vec![
            case("columns", &[7, 1], &[7, 65]),
            case("channels", &[3, 5, 5, 6], &[3, 5, 5, 3]),
            case("vectors", &[300], &[17]),
        ]
    }
}

impl Differentiable for Concat {
    fn twin_backward<T: Real>(&self, _saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let all = columns(dy.shape);
        for (input, dx) in dx.iter_mut().enumerate() {
            let Some(dx) = dx else { continue };
            let own = columns(dx.shape);
            if own == 0 {
                continue;
            }
            let start = if input == 0 { 0 } else { all - own };
            let rows = dx.data.par_chunks_mut(own).zip(dy.data.par_chunks(all));
            rows.for_each(|(dx, dy)| dx.copy_from_slice(&dy[start..start + own]));
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, _saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let all = columns(dy.shape());
        for (input, dx) in dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            let start = if input == 0 { 0 } else { all - columns(dx.shape()) };
            dispatch(gpu, "backward", &[dy, dx], [all, start])?;
        }
        Ok(())
    }
}
