//! Sums and means: over everything, over each row, over each channel.
//!
//! | op | value | gradient |
//! |---|---|---|
//! | `All` | `[..] -> []` | `dy` everywhere |
//! | `Row` | `[.., C] -> [..]`, the sum over the last dimension | `dy` of the row |
//! | `Channel` | `[.., C] -> [C]`, the sum over all others | `dy` of the channel |
//!
//! Means divide value and gradient by the number of terms.

use super::kernel::{Differentiable, Kernel};
use super::rows::{elements, row_blocks, sum_of};
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

/// `factor * (sum - less)` of everything: the last pass of a loss.
///
/// # Errors
/// [`Error::Limit`] if a tensor is over what the adapter can bind.
pub(super) fn sum_all(gpu: &Gpu, x: &Tensor, factor: f32, less: f32, y: &Tensor) -> Result<()> {
    sum_rows(gpu, x, [1, x.elements()], factor, less, y)
}

/// `y[o, i] = factor * sum over t of x[o, t, i]` for x of `[outer, terms, inner]`.
///
/// # Errors
/// [`Error::Limit`] if a tensor is over what the adapter can bind.
pub(super) fn sum_axis(
    gpu: &Gpu,
    x: &Tensor,
    [outer, terms, inner]: [usize; 3],
    factor: f32,
    y: &Tensor,
) -> Result<()> {
    match inner {
        1 => sum_rows(gpu, x, [outer, terms], factor, 0.0, y),
        _ => sum_columns(gpu, x, [outer, terms, inner], factor, y),
    }
}

fn sum_rows(
    gpu: &Gpu,
    x: &Tensor,
    [rows, columns]: [usize; 2],
    factor: f32,
    less: f32,
    y: &Tensor,
) -> Result<()> {
    let parts = columns.div_ceil(ROW_PART);
    if parts == 1 {
        return rows_pass(gpu, x, [rows, columns], factor, less, y);
    }
    let sums = Tensor::uninit(x.device(), Shape::from([rows, parts]))?;
    rows_pass(gpu, x, [rows, columns], 1.0, 0.0, &sums)?;
    sum_rows(gpu, &sums, [rows, parts], factor, less, y)
}

fn rows_pass(
    gpu: &Gpu,
    x: &Tensor,
    [rows, columns]: [usize; 2],
    factor: f32,
    less: f32,
    y: &Tensor,
) -> Result<()> {
    let run = |rows: usize, columns: usize, y_at: usize, bound| {
        let parts = columns.div_ceil(ROW_PART);
        let params = [
            ("outer", rows.into()),
            ("terms", columns.into()),
            ("inner", 1u32.into()),
            ("part", ROW_PART.into()),
            ("parts", parts.into()),
            ("y_at", y_at.into()),
            ("factor", factor.into()),
            ("less", less.into()),
        ];
        gpu.run(Dispatch {
            tensors: vec![(x, bound), (y, None)],
            ..Dispatch::new(Reduce::NAME, "rows", &params, &[], rows * parts)
        })
    };
    if rows == 1 {
        // A single row may be longer than one binding: blocks of whole parts.
        for block in row_blocks(gpu, columns.div_ceil(ROW_PART), ROW_PART) {
            let bound = block.start * ROW_PART..(block.end * ROW_PART).min(columns);
            run(1, bound.len(), block.start, Some(bound))?;
        }
        return Ok(());
    }
    for block in row_blocks(gpu, rows, columns) {
        let y_at = block.start * columns.div_ceil(ROW_PART);
        run(block.len(), columns, y_at, elements(&block, columns))?;
    }
    Ok(())
}

fn sum_columns(
    gpu: &Gpu,
    x: &Tensor,
    [outer, rows, columns]: [usize; 3],
    factor: f32,
    y: &Tensor,
) -> Result<()> {
    let pass = |factor: f32, y: &Tensor| {
        let run = |[outer, rows, parts]: [usize; 3], y_at: usize, bound| {
            let params = [
                ("outer", outer.into()),
                ("terms", rows.into()),
                ("inner", columns.into()),
                ("part", COLUMN_PART.into()),
                ("parts", parts.into()),
                ("y_at", y_at.into()),
                ("factor", factor.into()),
                ("less", 0f32.into()),
            ];
            gpu.run(Dispatch {
                tensors: vec![(x, bound), (y, None)],
                ..Dispatch::new(Reduce::NAME, "columns", &params, &[], outer * parts * columns.div_ceil(32))
            })
        };
        let parts = rows.div_ceil(COLUMN_PART);
        if outer == 1 {
            // A single matrix may be larger than one binding: blocks of whole parts.
            for block in gpu.batches(parts, &[COLUMN_PART * columns]) {
                let bound = block.start * COLUMN_PART..(block.end * COLUMN_PART).min(rows);
                let sizes = [1, bound.len(), block.len()];
                run(sizes, block.start * columns, elements(&bound, columns))?;
            }
            return Ok(());
        }
        for block in gpu.batches(outer, &[rows * columns]) {
            let sizes = [block.len(), rows, parts];
            run(sizes, block.start * parts * columns, elements(&block, rows * columns))?;
        }
        Ok(())
    };
    let parts = rows.div_ceil(COLUMN_PART);
    if parts == 1 {
        return pass(factor, y);
    }
    let sums = Tensor::uninit(x.device(), Shape::from([outer, parts, columns]))?;
    pass(1.0, &sums)?;
    sum_columns(gpu, &sums, [outer, parts, columns], factor, y)
}

/// The twin of [`sum_axis`], without a factor.
pub(super) fn sum_axis_twin<T: Real>(x: &[T], [outer, terms, inner]: [usize; 3]) -> Vec<T> {
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

/// Zero everywhere: the gradient of what is not differentiated.
///
/// # Errors
/// [`Error::Limit`] if a tensor is over what the adapter can bind.
pub(super) fn zero(gpu: &Gpu, dy: &Tensor, dx: &Tensor) -> Result<()> {
    broadcast(gpu, dy, [1, 1], 0.0, dx)
}

/// `dx[i] = factor * dy[(i / divisor) % modulus]`
fn broadcast(gpu: &Gpu, dy: &Tensor, [divisor, modulus]: [usize; 2], factor: f32, dx: &Tensor) -> Result<()> {
    for block in row_blocks(gpu, dx.elements(), 1) {
        let params = [
            ("count", block.len().into()),
            ("start", block.start.into()),
            ("divisor", divisor.into()),
            ("modulus", modulus.into()),
            ("factor", factor.into()),
        ];
        let groups = block.len().div_ceil(256);
        gpu.run(Dispatch {
            tensors: vec![(dy, None), (dx, Some(block))],
            ..Dispatch::new(Reduce::NAME, "backward", &params, &[], groups)
        })?;
    }
    Ok(())
}

impl Reduce {
    /// The input as `[outer, terms, inner]`: the sum runs over `terms`.
    fn axis(self, shape: &Shape) -> [usize; 3] {
        let last = shape.last().copied().unwrap_or(1);
        match self.over {
            Over::All => [1, shape.elements(), 1],
            Over::Row => [shape.elements() / last, last, 1],
            Over::Channel => [1, shape.elements() / last, last],
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
        if x.elements() == 0 || (x.is_empty() && self.over != Over::All) {
            return Err(Error::shape(Self::NAME, format!("{self:?} of {x}: there is nothing to add up")));
        }
        Ok(vec![match self.over {
            Over::All => Shape::from([]),
            Over::Row => Shape::from(&x[..x.len() - 1]),
            Over::Channel => Shape::from(&x[x.len() - 1..]),
        }])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (x, factor) = (x[0], T::of(self.factor(x[0].shape)));
        let sums = sum_axis_twin(x.data, self.axis(x.shape));
        y[0].data.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum * factor);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        sum_axis(gpu, x[0], self.axis(x[0].shape()), self.factor(x[0].shape()) as f32, &y[0])
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
    fn save(&self, _: &[&Tensor], _: &[Tensor]) -> Vec<Tensor> {
        Vec::new()
    }

    fn twin_backward<T: Real>(&self, _: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let [Some(dx)] = dx else { return };
        let factor = T::of(self.factor(dx.shape));
        if self.over == Over::All {
            dx.data.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(factor * dy.data[0]));
            return;
        }
        let columns = dx.shape[dx.shape.len() - 1];
        dx.data.par_chunks_mut(columns).enumerate().for_each(|(r, row)| match self.over {
            Over::Row => row.fill(factor * dy.data[r]),
            _ => row.iter_mut().zip(dy.data).for_each(|(dx, &dy)| *dx = factor * dy),
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, _: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [Some(dx)] = dx else { return Ok(()) };
        let [outer, terms, inner] = self.axis(dx.shape());
        let (divisor, modulus) = if inner == 1 { (terms, outer) } else { (1, inner) };
        broadcast(gpu, dy, [divisor, modulus], self.factor(dx.shape()) as f32, dx)
    }
}

#[cfg(test)]
mod tests;
