//! Photos on a plane: principal components.

use crate::engine::device::Device;
use crate::engine::ops::{Matmul, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::rng::KeyedRng;
use rand::RngExt;

/// Rounds of subspace iteration: the first components of features converge long before.
const ROUNDS: usize = 30;

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
    let mut mean = vec![0.0f64; width];
    for row in values.chunks(width) {
        mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v) / n as f64);
    }
    let mut x: Vec<f32> = values
        .chunks(width)
        .flat_map(|row| row.iter().zip(&mean).map(|(&v, m)| (f64::from(v) - m) as f32))
        .collect();
    let energy_of = |values: &[f32]| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
    let total = energy_of(&x);
    // PRECISION: rows that are equal to the last digits of f32 do not differ.
    let total = if total > 1e-12 * energy_of(values) { total } else { 0.0 };
    if total == 0.0 {
        x.fill(0.0);
    }
    let mut rng = KeyedRng::new("map", 0, [0; 3]);
    // Directions as rows: [count, width].
    let mut q: Vec<f32> = (0..count * width).map(|_| rng.random::<f32>() - 0.5).collect();
    orthonormalize(&mut q, width);
    let x = Tensor::new(device, [n, width], &x)?;
    let scores_of = |q: &[f32]| -> Result<Tensor> {
        let q = Tensor::new(device, [count, width], q)?;
        Ok(run(&Matmul::NT, &[&x, &q])?.swap_remove(0)) // [N, count]
    };
    for _ in 0..ROUNDS {
        q = run(&Matmul::TN, &[&scores_of(&q)?, &x])?.swap_remove(0).to_vec()?; // [count, width]
        orthonormalize(&mut q, width);
    }
    let scores = scores_of(&q)?.to_vec()?;
    let column = |c: usize| scores.iter().skip(c).step_by(count).copied();
    let energy: Vec<f64> = (0..count).map(|c| column(c).map(|v| f64::from(v).powi(2)).sum()).collect();
    let sign = |c: usize| {
        let largest = column(c).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
        if largest < 0.0 { -1.0 } else { 1.0 }
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| energy[b].total_cmp(&energy[a]));
    let signed: Vec<(usize, f32)> = order.iter().map(|&c| (c, sign(c))).collect();
    let sorted = scores.chunks(count).flat_map(|row| signed.iter().map(|&(c, sign)| sign * row[c])).collect();
    Ok((sorted, order.iter().map(|&c| if total > 0.0 { energy[c] / total } else { 0.0 }).collect()))
}

/// Gram and Schmidt, twice, on rows; a row that vanishes stays zero.
fn orthonormalize(rows: &mut [f32], width: usize) {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    for i in 0..rows.len() / width {
        let (before, rest) = rows.split_at_mut(i * width);
        let row = &mut rest[..width];
        let start = dot(row, row).sqrt();
        for _ in 0..2 {
            for other in before.chunks(width) {
                let along = dot(row, other) as f32;
                row.iter_mut().zip(other).for_each(|(r, o)| *r -= along * o);
            }
        }
        let norm = dot(row, row).sqrt();
        let scale = if norm > 1e-6 * start { (1.0 / norm.max(1e-30)) as f32 } else { 0.0 };
        row.iter_mut().for_each(|r| *r *= scale);
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/map.rs"]
mod tests;
