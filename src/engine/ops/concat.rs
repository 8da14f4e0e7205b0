//! Two tensors side by side.

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

/// The tensor as a matrix of its last dimension.
fn matrix(t: &Tensor) -> Result<Tensor> {
    t.reshape([t.elements() / columns(t.shape()).max(1), columns(t.shape())])
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
        let (a, b, y) = (matrix(x[0])?, matrix(x[1])?, matrix(&y[0])?);
        for rows in gpu.row_chunks(y.shape()[0], y.shape()[1]) {
            let count = rows.len() * y.shape()[1];
            let params = [
                ("count", count.into()),
                ("columns", y.shape()[1].into()),
                ("other", b.shape()[1].into()),
                ("start", a.shape()[1].into()),
            ];
            let groups = count.div_ceil(256);
            gpu.run(Dispatch::rows(Self::NAME, "forward", &params, &[&a, &b, &y], &rows, groups))?;
        }
        Ok(())
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
    fn save(&self, _x: &[&Tensor], _y: &[Tensor]) -> Vec<Tensor> {
        Vec::new()
    }

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
        let dy = matrix(dy)?;
        let all = dy.shape()[1];
        for (input, dx) in dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            let dx = matrix(dx)?;
            let own = dx.shape()[1];
            for rows in gpu.row_chunks(dy.shape()[0], all) {
                let count = rows.len() * own;
                let params = [
                    ("count", count.into()),
                    ("columns", own.into()),
                    ("other", all.into()),
                    ("start", (if input == 0 { 0 } else { all - own }).into()),
                ];
                let groups = count.div_ceil(256);
                gpu.run(Dispatch::rows(Self::NAME, "backward", &params, &[&dy, &dx], &rows, groups))?;
            }
        }
        Ok(())
    }
}
