//! Photos on a plane, cells of maps as colours: principal components.

use crate::engine::device::{Device, real::Real};
use crate::engine::ops::matmul::twin::matmul;
use crate::engine::ops::{Matmul, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::rng::KeyedRng;
use rand::RngExt;

/// Rounds of subspace iteration: the first components of features converge long before.
const ROUNDS: usize = 30;
/// The most rounds of [`components`]: directions whose variances are 3 % apart are then told apart to 1e-6.
const EXACT_ROUNDS: usize = 500;
/// Directions that move by less in a round have settled.
const SETTLED: f64 = 1e-10;
/// PRECISION: of the mean square of values of f32, the share that their rounding may leave where they do not differ.
const ROUNDING: f64 = 1e-12;

/// Scores of the first `count` principal components of rows `[N, width]`, `[N, count]`, largest first, and the share of the
/// variance that each holds. Signs and order do not depend on chance: the start is keyed and every component's largest
/// score is positive. Products are made on `device`.
///
/// # Errors
/// The device's.
/// # Source
/// Orthogonal iteration on the centred rows X: `Q <- orth(X^T X Q)`, scores `X Q`.
pub fn principal(
    device: &Device,
    values: &[f32],
    width: usize,
    count: usize,
) -> Result<(Vec<f32>, Vec<f64>)> {
    let n = values.len() / width.max(1);
    let count = count.min(n).min(width);
    if count == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut x: Vec<f32> = centred(values, width).iter().map(|&v| v as f32).collect();
    let total = energy(&x);
    let total = if total > ROUNDING * energy(values) { total } else { 0.0 };
    if total == 0.0 {
        x.fill(0.0);
    }
    let mut rng = KeyedRng::new("map", 0, [0; 3]);
    // Directions as rows: [count, width].
    let mut q: Vec<f32> = (0..count * width).map(|_| rng.random::<f32>() - 0.5).collect();
    orthonormalize(&mut q, width, 1e-6);
    let x = Tensor::new(device, [n, width], &x)?;
    let scores_of = |q: &[f32]| -> Result<Tensor> {
        let q = Tensor::new(device, [count, width], q)?;
        Ok(run(&Matmul::NT, &[&x, &q])?.swap_remove(0)) // [N, count]
    };
    for _ in 0..ROUNDS {
        q = run(&Matmul::TN, &[&scores_of(&q)?, &x])?.swap_remove(0).to_vec()?; // [count, width]
        orthonormalize(&mut q, width, 1e-6);
    }
    Ok(ranked(&scores_of(&q)?.to_vec()?, count, total))
}

/// The same in f64 and until the directions have settled, on the host: for a few components of which each is shown alone, where a
/// part of the next one would be seen. `count` of them whatever the rows: without variance, or with no more than the rounding of f32
/// leaves, the scores of one are 0.
///
/// # Source
/// As [`principal`], by the covariance: `Q <- orth(Q C)`, `C = X^T X`.
pub fn components(values: &[f32], width: usize, count: usize) -> (Vec<f64>, Vec<f64>) {
    let n = values.len() / width.max(1);
    if n * count == 0 {
        return (Vec::new(), vec![0.0; count]);
    }
    let x = centred(values, width); // [N, width]
    let mut covariance = vec![0.0; width * width];
    matmul(true, false, width, width, n, &x, &x, None, &mut covariance);
    let mut rng = KeyedRng::new("map", 0, [0; 3]);
    let mut q: Vec<f64> = (0..count * width).map(|_| rng.random::<f64>() - 0.5).collect();
    orthonormalize(&mut q, width, 1e-13);
    let mut next = vec![0.0; count * width];
    for _ in 0..EXACT_ROUNDS {
        matmul(false, false, count, width, width, &q, &covariance, None, &mut next);
        orthonormalize(&mut next, width, 1e-13);
        let moved = q.iter().zip(&next).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
        std::mem::swap(&mut q, &mut next);
        if moved < SETTLED {
            break;
        }
    }
    let least = ROUNDING * energy(values);
    let mut scores = vec![0.0; n * count];
    matmul(false, true, n, count, width, &x, &q, None, &mut scores);
    for c in 0..count {
        let own = || (c..n * count).step_by(count);
        if own().map(|i| scores[i] * scores[i]).sum::<f64>() <= least {
            own().for_each(|i| scores[i] = 0.0);
        }
    }
    ranked(&scores, count, energy(&x))
}

/// The rows less their mean.
fn centred(values: &[f32], width: usize) -> Vec<f64> {
    let n = values.len() / width;
    let mut mean = vec![0.0; width];
    for row in values.chunks(width) {
        mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v) / n as f64);
    }
    values.chunks(width).flat_map(|row| row.iter().zip(&mean).map(|(&v, m)| f64::from(v) - m)).collect()
}

/// The sum of squares.
fn energy<T: Real>(values: &[T]) -> f64 {
    values.iter().map(|v| v.f64().powi(2)).sum()
}

/// Scores `[N, count]` with the largest component first and every one's largest score positive, and the share of `total` that
/// each holds.
fn ranked<T: Real>(scores: &[T], count: usize, total: f64) -> (Vec<T>, Vec<f64>) {
    let column = |c: usize| scores.iter().skip(c).step_by(count).map(|v| v.f64());
    let energy: Vec<f64> = (0..count).map(|c| column(c).map(|v| v.powi(2)).sum()).collect();
    let sign = |c: usize| {
        let largest = column(c).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
        if largest < 0.0 { -T::one() } else { T::one() }
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| energy[b].total_cmp(&energy[a]));
    let signed: Vec<(usize, T)> = order.iter().map(|&c| (c, sign(c))).collect();
    let sorted = scores.chunks(count).flat_map(|row| signed.iter().map(|&(c, sign)| sign * row[c])).collect();
    (sorted, order.iter().map(|&c| if total > 0.0 { energy[c] / total } else { 0.0 }).collect())
}

/// Gram and Schmidt, twice, on rows; a row that vanishes, to a share of `least` of itself, stays zero.
fn orthonormalize<T: Real>(rows: &mut [T], width: usize, least: f64) {
    let dot = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.f64() * b.f64()).sum::<f64>();
    for i in 0..rows.len() / width {
        let (before, rest) = rows.split_at_mut(i * width);
        let row = &mut rest[..width];
        let start = dot(row, row).sqrt();
        for _ in 0..2 {
            for other in before.chunks(width) {
                let along = T::of(dot(row, other));
                row.iter_mut().zip(other).for_each(|(r, &o)| *r -= along * o);
            }
        }
        let norm = dot(row, row).sqrt();
        let scale = T::of(if norm > least * start { 1.0 / norm.max(1e-30) } else { 0.0 });
        row.iter_mut().for_each(|r| *r *= scale);
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/map.rs"]
mod tests;
