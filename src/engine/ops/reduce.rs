//! Sums and means: over everything, over each row, over each channel, over the pixels of each image.
//!
//! | op | value | gradient |
//! |---|---|---|
//! | `All` | `[..] -> []` | `dy` everywhere |
//! | `Row` | `[.., C] -> [..]`, the sum over the last dimension | `dy` of the row |
//! | `Channel` | `[.., C] -> [C]`, the sum over all others | `dy` of the channel |
//! | `Pixels` | `[n, .., C] -> [n, C]`, the sum over all between | `dy` of the image and channel |
//!
//! Means divide value and gradient by the number of terms.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Over, Reduce, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
//! assert_eq!(run(&Reduce { over: Over::Row, mean: false }, &[&x])?[0].to_vec()?, [6.0, 15.0]);
//! assert_eq!(run(&Reduce { over: Over::Channel, mean: true }, &[&x])?[0].to_vec()?, [2.5, 3.5, 4.5]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Kernel};
use super::rows::sum_of;
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// What one value of a reduction is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// All elements.
    All,
    /// The last dimension.
    Row,
    /// All dimensions but the last.
    Channel,
    /// All dimensions but the first and the last: with the mean it is global average pooling.
    Pixels,
}

/// A sum or mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// What one value is taken over.
    pub over: Over,
    /// Whether the sum is divided by the number of terms.
    pub mean: bool,
}

/// Terms that one workgroup adds up in a row: 64 per lane.
const ROW_PART: usize = 1 << 14;
/// Terms that one workgroup adds up in each of 32 columns: 64 per lane.
const COLUMN_PART: usize = 512;
/// Elements per parallel task of the twin.
const CHUNK: usize = 1 << 14;

/// `y[o, i] = factor * (sum over t of x[o, t, i] - less)` for x of `[outer, terms, inner]`.
///
/// # Errors
/// [`Error::Limit`] if a tensor is over what the adapter can bind.
pub(super) fn sum_axis(
    gpu: &Gpu,
    x: &Tensor,
    [outer, terms, inner]: [usize; 3],
    factor: f32,
    less: f32,
    y: &Tensor,
) -> Result<()> {
    // What a workgroup adds up: a part of a row, or of 32 columns.
    let (entry, part, width) = if inner == 1 { ("rows", ROW_PART, 1) } else { ("columns", COLUMN_PART, 32) };
    let parts = terms.div_ceil(part).max(1);
    let pass = |factor: f32, less: f32, y: &Tensor| {
        // One alone may be longer than a binding: its parts are what is bound.
        let one = outer == 1;
        let (rows, size) = if one { (parts, part) } else { (outer, terms) };
        gpu.run_rows(rows, &[(x, size * inner), (y, 0)], |block| {
            let (outer, terms, parts, y_at) = match one {
                true => (1, terms.min(block.end * part) - block.start * part, block.len(), block.start),
                false => (block.len(), terms, parts, block.start * parts),
            };
            let params = [
                ("outer", outer.into()),
                ("terms", terms.into()),
                ("inner", inner.into()),
                ("part", part.into()),
                ("parts", parts.into()),
                ("y_at", (y_at * inner).into()),
                ("factor", factor.into()),
                ("less", less.into()),
            ];
            Dispatch::new(Reduce::NAME, entry, params, &[], outer * parts * inner.div_ceil(width))
        })
    };
    if parts == 1 {
        return pass(factor, less, y);
    }
    let sums = Tensor::uninit(x.device(), Shape::from([outer, parts, inner]))?;
    pass(1.0, 0.0, &sums)?;
    sum_axis(gpu, &sums, [outer, parts, inner], factor, less, y)
}

/// The twin of [`sum_axis`], without a factor.
pub(super) fn sum_axis_twin<T: Real>(x: &[T], [outer, terms, inner]: [usize; 3]) -> Vec<T> {
    if x.is_empty() {
        return vec![T::zero(); outer * inner];
    }
    if [outer, inner] == [1, 1] {
        let sums: Vec<T> = x.par_chunks(CHUNK).map(|chunk| sum_of(chunk, |v| v)).collect();
        return vec![sum_of(&sums, |v| v)];
    }
    if inner == 1 {
        return x.par_chunks(terms).map(|row| sum_of(row, |v| v)).collect();
    }
    let matrix = |x: &[T]| {
        let parts = x.par_chunks(COLUMN_PART * inner);
        let sums: Vec<Vec<T>> = parts.map(|part| column_sums(part, inner)).collect();
        column_sums(&sums.concat(), inner)
    };
    x.par_chunks(terms * inner).flat_map_iter(matrix).collect()
}

impl Reduce {
    /// The input as `[outer, terms, inner]`: the sum runs over `terms`.
    fn axis(self, shape: &Shape) -> [usize; 3] {
        let last = shape.last().copied().unwrap_or(1);
        match self.over {
            Over::All => [1, shape.elements(), 1],
            Over::Row => [shape.elements() / last, last, 1],
            Over::Channel => [1, shape.elements() / last, last],
            Over::Pixels => [shape[0], shape.row() / last, last],
        }
    }

    fn factor(self, shape: &Shape) -> f64 {
        if self.mean { 1.0 / self.axis(shape)[1] as f64 } else { 1.0 }
    }
}

impl Kernel for Reduce {
    const NAME: &'static str = "reduce";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let [x] = inputs else {
            return Err(Error::shape(Self::NAME, format!("needs one input, got {inputs:?}")));
        };
        let dimensions = match self.over {
            Over::All => 0,
            Over::Row | Over::Channel => 1,
            Over::Pixels => 3,
        };
        if x.elements() == 0 || x.len() < dimensions {
            return Err(Error::shape(Self::NAME, format!("{self:?} of {x}: there is nothing to add up")));
        }
        Ok(vec![match self.over {
            Over::All => Shape::from([]),
            Over::Row => Shape::from(&x[..x.len() - 1]),
            Over::Channel => Shape::from(&x[x.len() - 1..]),
            Over::Pixels => Shape::from([x[0], x[x.len() - 1]]),
        }])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (x, factor) = (x[0], T::of(self.factor(x[0].shape)));
        let sums = sum_axis_twin(x.data, self.axis(x.shape));
        y[0].data.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum * factor);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        sum_axis(gpu, x[0], self.axis(x[0].shape()), self.factor(x[0].shape()) as f32, 0.0, &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let sum = |over| Reduce { over, mean: false };
        let mean = |over| Reduce { over, mean: true };
        vec![
            Case::new("sum", sum(Over::All), vec![Input::normal([3, 5, 7])]),
            Case::new("scalar", mean(Over::All), vec![Input::normal([])]),
            Case::new("mean in three blocks", mean(Over::All), vec![Input::normal([40_001])]),
            Case::new("row sums", sum(Over::Row), vec![Input::normal([7, 1001])]),
            Case::new("row means", mean(Over::Row), vec![Input::normal([2, 3, 5])]),
            Case::new("long rows", sum(Over::Row), vec![Input::normal([2, 20_011])]),
            Case::new("channel sums", sum(Over::Channel), vec![Input::normal([2, 3, 5, 33])]),
            Case::new("channel means of many pixels", mean(Over::Channel), vec![Input::normal([1100, 5])]),
            Case::new("channel sums of one row", sum(Over::Channel), vec![Input::normal([65])]),
            Case::new("pixel means", mean(Over::Pixels), vec![Input::normal([3, 7, 7, 65])]),
            Case::new("pixel means, uneven", mean(Over::Pixels), vec![Input::normal([2, 3, 11, 9])]),
            Case::new("pixel means of one pixel", mean(Over::Pixels), vec![Input::normal([4, 1, 1, 5])]),
            Case::new("pixel sums of long images", sum(Over::Pixels), vec![Input::normal([3, 1030, 5])]),
        ]
    }
}

/// Sums over the rows of `[R, C]`: at most `COLUMN_PART` rows in sequence.
fn column_sums<T: Real>(x: &[T], columns: usize) -> Vec<T> {
    let mut sums = vec![T::zero(); columns];
    for part in x.chunks(COLUMN_PART * columns) {
        let mut part_sums = vec![T::zero(); columns];
        for row in part.chunks(columns) {
            part_sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += v);
        }
        sums.iter_mut().zip(part_sums).for_each(|(sum, v)| *sum += v);
    }
    sums
}

impl Differentiable for Reduce {
    fn twin_backward<T: Real>(&self, _: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let [Some(dx)] = dx else { return };
        let factor = T::of(self.factor(dx.shape));
        if self.over == Over::All {
            dx.data.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(factor * dy.data[0]));
            return;
        }
        let columns = dx.shape[dx.shape.len() - 1];
        let [_, terms, inner] = self.axis(dx.shape);
        dx.data.par_chunks_mut(columns).enumerate().for_each(|(r, row)| match self.over {
            Over::Row => row.fill(factor * dy.data[r]),
            _ => {
                let dy = &dy.data[r / terms * inner..];
                row.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = factor * dy);
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, _: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [Some(dx)] = dx else { return Ok(()) };
        let ([_, terms, inner], factor) = (self.axis(dx.shape()), self.factor(dx.shape()) as f32);
        gpu.run_rows(dx.elements(), &[(dy, 0), (dx, 1)], |block| {
            let params = [
                ("count", block.len().into()),
                ("start", block.start.into()),
                ("matrix", (terms * inner).into()),
                ("inner", inner.into()),
                ("factor", factor.into()),
            ];
            Dispatch::new(Reduce::NAME, "backward", params, &[], block.len().div_ceil(256))
        })
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/engine/ops/reduce.rs"]
mod tests;
