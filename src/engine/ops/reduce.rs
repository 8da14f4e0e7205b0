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
            ("rows", rows.into()),
            ("columns", columns.into()),
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

fn sum_columns(gpu: &Gpu, x: &Tensor, [rows, columns]: [usize; 2], factor: f32, y: &Tensor) -> Result<()> {
    let pass = |factor: f32, y: &Tensor| {
        for block in row_blocks(gpu, rows.div_ceil(COLUMN_PART), COLUMN_PART * columns) {
            let bound = block.start * COLUMN_PART..(block.end * COLUMN_PART).min(rows);
            let params = [
                ("rows", bound.len().into()),
                ("columns", columns.into()),
                ("part", COLUMN_PART.into()),
                ("parts", block.len().into()),
                ("y_at", (block.start * columns).into()),
                ("factor", factor.into()),
                ("less", 0f32.into()),
            ];
            let groups = block.len() * columns.div_ceil(32);
            gpu.run(Dispatch {
                tensors: vec![(x, elements(&bound, columns)), (y, None)],
                ..Dispatch::new(Reduce::NAME, "columns", &params, &[], groups)
            })?;
        }
        Ok(())
    };
    let parts = rows.div_ceil(COLUMN_PART);
    if parts == 1 {
        return pass(factor, y);
    }
    let sums = Tensor::uninit(x.device(), Shape::from([parts, columns]))?;
    pass(1.0, &sums)?;
    sum_columns(gpu, &sums, [parts, columns], factor, y)
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
    /// The input as rows whose last dimension is `columns`; `All` is one row.
    fn matrix(self, shape: &Shape) -> [usize; 2] {
        match self.over {
            Over::All => [1, shape.elements()],
            _ => [shape[..shape.len() - 1].iter().product(), shape[shape.len() - 1]],
        }
    }

    fn factor(self, shape: &Shape) -> f64 {
        let [rows, columns] = self.matrix(shape);
        let terms = if self.over == Over::Channel { rows } else { columns };
        if self.mean { 1.0 / terms as f64 } else { 1.0 }
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
        let (x, y) = (x[0], &mut *y[0].data);
        let columns = self.matrix(x.shape)[1];
        match self.over {
            Over::All => {
                let sums: Vec<T> = x.data.par_chunks(CHUNK).map(|chunk| sum_of(chunk, |v| v)).collect();
                y[0] = sum_of(&sums, |v| v);
            }
            Over::Row => {
                let rows = y.par_iter_mut().zip(x.data.par_chunks(columns));
                rows.for_each(|(y, row)| *y = sum_of(row, |v| v));
            }
            Over::Channel => {
                let sums: Vec<Vec<T>> =
                    x.data.par_chunks(COLUMN_PART * columns).map(|part| column_sums(part, columns)).collect();
                y.copy_from_slice(&column_sums(&sums.concat(), columns));
            }
        }
        let factor = T::of(self.factor(x.shape));
        y.iter_mut().for_each(|y| *y *= factor);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let (x, y) = (x[0], &y[0]);
        let matrix = self.matrix(x.shape());
        let factor = self.factor(x.shape()) as f32;
        match self.over {
            Over::Channel => sum_columns(gpu, x, matrix, factor, y),
            _ => sum_rows(gpu, x, matrix, factor, 0.0, y),
        }
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
        let columns = self.matrix(dx.shape)[1];
        if self.over == Over::All {
            dx.data.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(factor * dy.data[0]));
            return;
        }
        dx.data.par_chunks_mut(columns).enumerate().for_each(|(r, row)| match self.over {
            Over::Row => row.fill(factor * dy.data[r]),
            _ => row.iter_mut().zip(dy.data).for_each(|(dx, &dy)| *dx = factor * dy),
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, _: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [Some(dx)] = dx else { return Ok(()) };
        let [rows, columns] = self.matrix(dx.shape());
        let (divisor, modulus) = match self.over {
            Over::All => (1, 1),
            Over::Row => (columns, rows),
            Over::Channel => (1, columns),
        };
        broadcast(gpu, dy, [divisor, modulus], self.factor(dx.shape()) as f32, dx)
    }
}

#[cfg(test)]
mod tests;
