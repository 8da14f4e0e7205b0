//! The backward pass: two sums over each group, then dx from them.

use super::{Stats, block_size, part};
use crate::engine::device::real::Real;
use crate::engine::device::scratch::with_scratch;
use crate::engine::device::vector::vectorised;
use rayon::prelude::*;
use std::ops::Range;

/// What the backward pass of a norm has to know of it.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a, T> {
    /// `[C]`
    pub gamma: &'a [T],
    /// Consecutive blocks of rows with statistics of their own. Divides the number of rows.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether negative results become 0.
    pub relu: bool,
    /// Whether the statistics are the batch's.
    pub batch_stats: bool,
}

/// Backward pass of [`statistics`](super::statistics), [`factors`](super::factors) and [`apply`](super::apply) (`batch_stats`), or of the last two with constant statistics.
///
/// With `dz` 0 where relu gives `y <= 0` and dy elsewhere, `xhat = (x - mean) rstd` and `m` rows in a group:
/// `dresidual = dz`, `dbeta = sum dz`, `dgamma = sum dz xhat`, and for batch statistics
/// `dx = gamma rstd (dz - mean(dz) - xhat mean(dz xhat))`, for constant ones `dx = gamma rstd dz`.
///
/// `y` is read with relu only. The gradients that are wanted, dx `[M, C]`, dgamma `[C]`, dbeta `[C]` and dresidual `[M, C]`, are
/// overwritten.
pub fn backward<T: Real>(
    norm: &Norm<T>,
    stats: Stats<T>,
    [x, y, dy]: [&[T]; 3],
    [mut dx, mut dgamma, mut dbeta, mut dresidual]: [Option<&mut [T]>; 4],
) {
    let (c, size) = (norm.gamma.len(), x.len() / norm.groups);
    let block = block_size(c);
    for sum in [&mut dgamma, &mut dbeta].into_iter().flatten() {
        sum.fill(T::zero());
    }
    if x.is_empty() {
        return;
    }
    // Without relu `y` is not there: `dy` stands in for it and is not read as such.
    let y = if norm.relu { y } else { dy };
    let blocks = size.div_ceil(block);
    with_scratch((blocks * 2 + 3) * c, |scratch: &mut [T]| {
        let (partials, coefficients) = scratch.split_at_mut(blocks * 2 * c);
        let (rstd, coefficients) = coefficients.split_at_mut(c);
        let (mean_dz, slope) = coefficients.split_at_mut(c);
        for group in 0..norm.groups {
            let whole = part(group * size, size);
            let (x, y, dy, mean) =
                (&x[whole.clone()], &y[whole.clone()], &dy[whole.clone()], stats.mean(group, c));
            stats.rstd(group, norm.eps, rstd);
            partials.par_chunks_mut(2 * c).enumerate().for_each(|(index, partial)| {
                let at = part(index * block, block.min(size - index * block));
                let (x, y, dy) = (&x[at.clone()], &y[at.clone()], &dy[at]);
                vectorised(
                    #[inline(always)]
                    || match norm.relu {
                        false => block_grads::<T, false>(x, y, dy, mean, partial),
                        true => block_grads::<T, true>(x, y, dy, mean, partial),
                    },
                );
            });
            for i in 0..c {
                let total =
                    |which: usize| partials.chunks_exact(2 * c).map(|p| p[which * c + i].f64()).sum::<f64>();
                let (sum, product, r) = (total(0), total(1), rstd[i].f64());
                if let Some(dbeta) = &mut dbeta {
                    dbeta[i] += T::of(sum);
                }
                if let Some(dgamma) = &mut dgamma {
                    dgamma[i] += T::of(product * r);
                }
                let share = c as f64 / size as f64;
                mean_dz[i] = T::of(sum * share);
                slope[i] = T::of(product * share * r * r);
            }
            // rstd becomes the scale gamma rstd.
            rstd.iter_mut().zip(norm.gamma).for_each(|(r, &g)| *r *= g);
            let coefficients = [mean, &*rstd, &*mean_dz, &*slope];
            let rows = |at: Range<usize>| [&x[at.clone()], &y[at.clone()], &dy[at]];
            let dx = dx.as_deref_mut().map(|d| &mut d[whole.clone()]);
            let dresidual = dresidual.as_deref_mut().map(|d| &mut d[whole.clone()]);
            match (dx, dresidual) {
                (Some(dx), Some(dresidual)) => {
                    let both = dx.par_chunks_mut(block).zip(dresidual.par_chunks_mut(block));
                    both.enumerate().for_each(|(index, (dx, dresidual))| {
                        let rows = rows(part(index * block, dx.len()));
                        block_input_grads::<T, true>(
                            [norm.relu, norm.batch_stats],
                            rows,
                            coefficients,
                            dx,
                            dresidual,
                        );
                    });
                }
                (Some(dx), None) => dx.par_chunks_mut(block).enumerate().for_each(|(index, dx)| {
                    let rows = rows(part(index * block, dx.len()));
                    block_input_grads::<T, false>(
                        [norm.relu, norm.batch_stats],
                        rows,
                        coefficients,
                        dx,
                        &mut [],
                    );
                }),
                (None, Some(dresidual)) => {
                    dresidual.par_chunks_mut(block).enumerate().for_each(|(index, dresidual)| {
                        let [_, y, dy] = rows(part(index * block, dresidual.len()));
                        vectorised(
                            #[inline(always)]
                            || {
                                for ((d, &y), &dy) in dresidual.iter_mut().zip(y).zip(dy) {
                                    *d = if norm.relu && y <= T::zero() { T::zero() } else { dy };
                                }
                            },
                        );
                    });
                }
                (None, None) => {}
            }
        }
    });
}

/// Sums of `dz` and of `dz (x - mean)`, `[2, C]`.
#[inline(always)]
fn block_grads<T: Real, const RELU: bool>(x: &[T], y: &[T], dy: &[T], mean: &[T], partial: &mut [T]) {
    let c = mean.len();
    partial.fill(T::zero());
    let (sum, product) = partial.split_at_mut(c);
    for ((x, y), dy) in x.chunks_exact(c).zip(y.chunks_exact(c)).zip(dy.chunks_exact(c)) {
        let (sum, product) = (&mut sum[..c], &mut product[..c]);
        for i in 0..c {
            // Loaded before the choice, which would otherwise keep the loop from being vectorised.
            let (y, dy) = (y[i], dy[i]);
            let dz = if RELU && y <= T::zero() { T::zero() } else { dy };
            sum[i] += dz;
            product[i] += dz * (x[i] - mean[i]);
        }
    }
}

/// [`input_grads`] compiled for what a norm is: whether a relu follows, whether its statistics are the batch's.
fn block_input_grads<T: Real, const RESIDUAL: bool>(
    [relu, batch]: [bool; 2],
    rows: [&[T]; 3],
    coefficients: [&[T]; 4],
    dx: &mut [T],
    dresidual: &mut [T],
) {
    vectorised(
        #[inline(always)]
        || match (relu, batch) {
            (false, false) => input_grads::<T, false, false, RESIDUAL>(rows, coefficients, dx, dresidual),
            (false, true) => input_grads::<T, false, true, RESIDUAL>(rows, coefficients, dx, dresidual),
            (true, false) => input_grads::<T, true, false, RESIDUAL>(rows, coefficients, dx, dresidual),
            (true, true) => input_grads::<T, true, true, RESIDUAL>(rows, coefficients, dx, dresidual),
        },
    );
}

/// `dx = scale (dz - mean_dz - (x - mean) slope)`, or with constant statistics `scale dz`: by a mean and a slope of 0 an
/// infinite x would make it NaN. With `RESIDUAL` `dresidual = dz`.
#[inline(always)]
fn input_grads<T: Real, const RELU: bool, const BATCH: bool, const RESIDUAL: bool>(
    [x, y, dy]: [&[T]; 3],
    coefficients: [&[T]; 4],
    dx: &mut [T],
    dresidual: &mut [T],
) {
    let c = coefficients[0].len();
    let [mean, scale, mean_dz, slope] = coefficients.map(|coefficient| &coefficient[..c]);
    for row in 0..dx.len() / c {
        let at = part(row * c, c);
        let (x, y, dy, dx) = (&x[at.clone()], &y[at.clone()], &dy[at.clone()], &mut dx[at.clone()]);
        let dresidual = if RESIDUAL { &mut dresidual[at] } else { &mut dresidual[..0] };
        for i in 0..c {
            // Loaded before the choice, which would otherwise keep the loop from being vectorised.
            let (y, dy) = (y[i], dy[i]);
            let dz = if RELU && y <= T::zero() { T::zero() } else { dy };
            let centred = if BATCH { dz - mean_dz[i] - (x[i] - mean[i]) * slope[i] } else { dz };
            dx[i] = scale[i] * centred;
            if RESIDUAL {
                dresidual[i] = dz;
            }
        }
    }
}
