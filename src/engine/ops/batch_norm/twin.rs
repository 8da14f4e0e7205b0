//! Batch normalisation on the CPU: rows `[M, C]`, all pixels of all images one after another.

mod backward;

pub use backward::{Norm, backward};

use crate::engine::device::real::Real;
use crate::engine::device::scratch::with_scratch;
use crate::engine::device::vector::vectorised;
use rayon::prelude::*;
use std::ops::Range;

/// Elements of a block of rows: 64 KiB of f32. Blocks are what tasks work on and what partial sums run over.
const BLOCK: usize = 1 << 14;

/// Mean and variance of every group and channel, each `[groups, C]`.
#[derive(Clone, Copy, Debug)]
pub struct Stats<'a, T> {
    /// Means.
    pub mean: &'a [T],
    /// Biased variances.
    pub var: &'a [T],
}

impl<'a, T: Real> Stats<'a, T> {
    /// Reads `[2, groups, C]`: all means, then all variances.
    pub fn new(stats: &'a [T]) -> Self {
        let (mean, var) = stats.split_at(stats.len() / 2);
        Stats { mean, var }
    }

    fn mean(&self, group: usize, c: usize) -> &'a [T] {
        &self.mean[group * c..][..c]
    }

    /// Writes `1 / sqrt(var + eps)`.
    fn rstd(&self, group: usize, eps: f64, rstd: &mut [T]) {
        let var = &self.var[group * rstd.len()..];
        rstd.iter_mut().zip(var).for_each(|(r, v)| *r = T::of(1.0 / (v.f64() + eps).sqrt()));
    }
}

/// Writes the mean and the biased variance of each group of rows of `x` to `stats` `[2, groups, C]`.
///
/// PRECISION: each block of rows is summed around the mean of its first rows, so a mean of many standard deviations
/// costs no digits; blocks are combined in f64, in order (Chan, Golub and LeVeque 1979). Infinity or NaN among the values is
/// found in the mean as in a plain sum, and makes the variance NaN; squares over the range of `T` make it infinite.
pub fn statistics<T: Real>(x: &[T], c: usize, groups: usize, stats: &mut [T]) {
    let size = x.len() / groups;
    let block = block_size(c);
    let (means, vars) = stats.split_at_mut(groups * c);
    with_scratch(size.div_ceil(block) * 3 * c, |partials: &mut [T]| {
        for (group, x) in x.chunks_exact(size).enumerate() {
            partials.par_chunks_mut(3 * c).zip(x.par_chunks(block)).for_each(|(partial, x)| {
                vectorised(
                    #[inline(always)]
                    || block_sums(x, c, partial),
                );
            });
            let (mean, var) = (&mut means[group * c..][..c], &mut vars[group * c..][..c]);
            let count = (size / c) as f64;
            for i in 0..c {
                // Rows, mean and squared deviations of each block.
                let blocks = || {
                    partials.chunks_exact(3 * c).zip(x.chunks(block)).map(|(partial, x)| {
                        let n = (x.len() / c) as f64;
                        let [shift, sum, square] = [0, 1, 2].map(|list| partial[list * c + i].f64());
                        (n, shift + sum / n, square - sum * sum / n)
                    })
                };
                let average = blocks().map(|(n, mean, _)| n * mean).sum::<f64>() / count;
                let deviations = blocks().map(|(n, mean, square)| square + n * (mean - average).powi(2));
                let variance = deviations.sum::<f64>() / count;
                mean[i] = T::of(average);
                // Not max(), which would turn NaN into 0.
                var[i] = if variance < 0.0 { T::zero() } else { T::of(variance) };
            }
        }
    });
}

/// Shift, sum of deviations from it and sum of their squares, `[3, C]`.
#[inline(always)]
fn block_sums<T: Real>(x: &[T], c: usize, partial: &mut [T]) {
    let (shift, sums) = partial.split_at_mut(c);
    let (sum, square) = sums.split_at_mut(c);
    shift.fill(T::zero());
    sum.fill(T::zero());
    square.fill(T::zero());
    let first = (x.len() / c).min(16);
    let share = T::one() / T::of(first as f64);
    for x in x.chunks_exact(c).take(first) {
        for i in 0..c {
            shift[i] += x[i] * share;
        }
    }
    // Deviations from an infinite shift would be NaN, and with them the mean, which is infinite.
    shift.iter_mut().filter(|shift| !shift.is_finite()).for_each(|shift| *shift = T::zero());
    for x in x.chunks_exact(c) {
        let (shift, sum, square) = (&shift[..c], &mut sum[..c], &mut square[..c]);
        for i in 0..c {
            let d = x[i] - shift[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
}

/// Writes `scale = gamma / sqrt(var + eps)` and `shift = beta` of each group, `[2, groups, C]`, from its statistics.
pub fn factors<T: Real>(gamma: &[T], beta: &[T], eps: f64, stats: &[T], factors: &mut [T]) {
    let (scales, shifts) = factors.split_at_mut(factors.len() / 2);
    let (c, stats) = (gamma.len(), Stats::new(stats));
    for (group, (scale, shift)) in scales.chunks_exact_mut(c).zip(shifts.chunks_exact_mut(c)).enumerate() {
        stats.rstd(group, eps, scale);
        scale.iter_mut().zip(gamma).for_each(|(s, &g)| *s *= g);
        shift.copy_from_slice(beta);
    }
}

/// `y = act(scale (x - mean) + shift + residual)` by the coefficients `[4, groups, C]`.
pub fn apply<T: Real>(
    [groups, c]: [usize; 2],
    relu: bool,
    coefficients: &[T],
    x: &[T],
    residual: Option<&[T]>,
    y: &mut [T],
) {
    let size = x.len() / groups;
    for group in 0..groups {
        let [mean, scale, shift] = [0, 2, 3].map(|list| &coefficients[(list * groups + group) * c..][..c]);
        let (start, block) = (group * size, block_size(c));
        y[part(start, size)].par_chunks_mut(block).enumerate().for_each(|(index, y)| {
            let at = part(start + index * block, y.len());
            let (x, residual) = (&x[at.clone()], residual.map(|residual| &residual[at]));
            vectorised(
                #[inline(always)]
                || match (residual, relu) {
                    (None, false) => rows::<T, false, false>(x, x, mean, scale, shift, y),
                    (None, true) => rows::<T, false, true>(x, x, mean, scale, shift, y),
                    (Some(residual), false) => rows::<T, true, false>(x, residual, mean, scale, shift, y),
                    (Some(residual), true) => rows::<T, true, true>(x, residual, mean, scale, shift, y),
                },
            );
        });
    }
}

#[inline(always)]
fn rows<T: Real, const RESIDUAL: bool, const RELU: bool>(
    x: &[T],
    residual: &[T],
    mean: &[T],
    scale: &[T],
    beta: &[T],
    y: &mut [T],
) {
    let c = mean.len();
    let (scale, beta) = (&scale[..c], &beta[..c]);
    for ((x, residual), y) in x.chunks_exact(c).zip(residual.chunks_exact(c)).zip(y.chunks_exact_mut(c)) {
        for i in 0..c {
            let mut value = (x[i] - mean[i]) * scale[i] + beta[i];
            if RESIDUAL {
                value += residual[i];
            }
            // NaN stays NaN.
            y[i] = if RELU && value < T::zero() { T::zero() } else { value };
        }
    }
}

fn block_size(c: usize) -> usize {
    (BLOCK / c).max(1) * c
}

fn part(start: usize, length: usize) -> Range<usize> {
    start..start + length
}

#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/batch_norm/twin.rs"]
mod tests;
