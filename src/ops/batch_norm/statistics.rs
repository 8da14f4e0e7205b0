//! Mean and variance of each channel on the CPU, of rows that are there or of those that are just being written.
//!
//! PRECISION: all sums are in f64, so that statistics do not depend on how rows are cut into blocks but for the last bit;
//! each block's are around its first row, so that a mean of many standard deviations costs no digits. Blocks are
//! combined in order (Chan, Golub and LeVeque 1979).

use super::twin::block_size;
use crate::device::real::Real;
use crate::device::scratch::with_scratch;
use crate::device::vector::vectorised;
use rayon::prelude::*;
use std::sync::Mutex;

/// Writes the mean and the biased variance of each group of rows of `x` `[M, C]` to `stats` `[2, groups, C]`.
pub fn statistics<T: Real>(x: &[T], c: usize, groups: usize, stats: &mut [T]) {
    let size = x.len() / groups;
    let block = block_size(c);
    with_scratch(size.div_ceil(block) * 3 * c, |partials: &mut [f64]| {
        for (group, x) in x.chunks_exact(size).enumerate() {
            partials.par_chunks_mut(3 * c).zip(x.par_chunks(block)).for_each(|(partial, x)| {
                block_sums(x, c, partial);
            });
            let blocks = x.chunks(block).map(|x| x.len() / c).zip(partials.chunks_exact(3 * c));
            combine(blocks, group, c, stats);
        }
    });
}

/// The statistics of rows `[M, C]` that tasks write piece by piece, each summed while it is still in its core's cache.
#[derive(Debug)]
pub struct Gathered {
    c: usize,
    /// Elements of a group.
    size: usize,
    /// First element, rows and sums of every block.
    blocks: Mutex<Vec<(usize, usize, Vec<f64>)>>,
}

impl Gathered {
    /// Of `elements` elements in `c` channels, split into groups of consecutive rows.
    pub fn new(elements: usize, c: usize, groups: usize) -> Gathered {
        Gathered { c, size: elements / groups, blocks: Mutex::default() }
    }

    /// Takes in rows whose first element is the `start`-th of all.
    pub fn add<T: Real>(&self, mut start: usize, mut rows: &[T]) {
        let block = block_size(self.c);
        while !rows.is_empty() {
            let (x, rest) = rows.split_at(block.min(self.size - start % self.size).min(rows.len()));
            let mut sums = vec![0.0; 3 * self.c];
            block_sums(x, self.c, &mut sums);
            self.blocks.lock().expect("blocks lock").push((start, x.len() / self.c, sums));
            start += x.len();
            rows = rest;
        }
    }

    /// Writes `stats` `[2, groups, C]`, all rows having been taken in.
    pub fn finish<T: Real>(self, stats: &mut [T]) {
        let mut blocks = self.blocks.into_inner().expect("blocks lock");
        blocks.sort_unstable_by_key(|&(start, ..)| start);
        for of_group in blocks.chunk_by(|a, b| a.0 / self.size == b.0 / self.size) {
            let sums = of_group.iter().map(|(_, rows, sums)| (*rows, &sums[..]));
            combine(sums, of_group[0].0 / self.size, self.c, stats);
        }
    }
}

/// The first row, and the sums of deviations from it and of their squares, `[3, C]`.
fn block_sums<T: Real>(x: &[T], c: usize, partial: &mut [f64]) {
    vectorised(
        #[inline(always)]
        || {
            let (shift, sums) = partial.split_at_mut(c);
            let (sum, square) = sums.split_at_mut(c);
            shift.iter_mut().zip(x).for_each(|(shift, x)| *shift = x.f64());
            sum.fill(0.0);
            square.fill(0.0);
            for x in x.chunks_exact(c) {
                let (shift, sum, square) = (&shift[..c], &mut sum[..c], &mut square[..c]);
                for i in 0..c {
                    let d = x[i].f64() - shift[i];
                    sum[i] += d;
                    square[i] += d * d;
                }
            }
        },
    );
}

/// Writes a group's mean and variance from the rows and sums of its blocks, in order.
fn combine<'a, T: Real>(
    blocks: impl Iterator<Item = (usize, &'a [f64])> + Clone,
    group: usize,
    c: usize,
    stats: &mut [T],
) {
    let (means, vars) = stats.split_at_mut(stats.len() / 2);
    let (mean, var) = (&mut means[group * c..][..c], &mut vars[group * c..][..c]);
    for i in 0..c {
        let (mut count, mut average, mut squares) = (0.0, 0.0, 0.0);
        for (rows, partial) in blocks.clone() {
            let n = rows as f64;
            let (sum, square) = (partial[c + i], partial[2 * c + i]);
            let delta = partial[i] + sum / n - average;
            average += delta * n / (count + n);
            squares += square - sum * sum / n + delta * delta * count * n / (count + n);
            count += n;
        }
        mean[i] = T::of(average);
        var[i] = T::of((squares / count).max(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(n: usize, offset: f64) -> Vec<f32> {
        (0..n).map(|i| (offset + ((i * 7919 + 733) % 10_007) as f64 / 5003.5 - 1.0) as f32).collect()
    }

    #[test]
    fn statistics_survive_a_mean_of_a_thousand_standard_deviations() {
        let (m, c) = (20_000, 3);
        let x = sequence(m * c, 1000.0);
        let mut stats = vec![0.0f32; 2 * c];
        statistics(&x, c, 1, &mut stats);
        for i in 0..c {
            let column = || x.iter().skip(i).step_by(c).map(|&v| f64::from(v));
            let mean = column().sum::<f64>() / m as f64;
            let var = column().map(|v| (v - mean).powi(2)).sum::<f64>() / m as f64;
            assert!((f64::from(stats[i]) - mean).abs() < 1e-4, "mean {} expected {mean}", stats[i]);
            let got = f64::from(stats[c + i]);
            assert!((got / var - 1.0).abs() < 1e-4, "variance {got} expected {var}");
        }
    }

    #[test]
    fn rows_taken_in_by_pieces_in_any_order_have_the_same_statistics() {
        let (c, groups, rows) = (5, 3, 12_000);
        let x: Vec<f64> = sequence(rows * c, 3.0).into_iter().map(f64::from).collect();
        let mut whole = vec![0.0; 2 * groups * c];
        statistics(&x, c, groups, &mut whole);
        // 3,500 rows: over a block and, but for the first, over a group's end.
        let gathered = Gathered::new(x.len(), c, groups);
        let pieces: Vec<(usize, &[f64])> = x.chunks(3500 * c).enumerate().collect();
        pieces.into_iter().rev().for_each(|(i, piece)| gathered.add(i * 3500 * c, piece));
        let mut pieced = vec![f64::NAN; whole.len()];
        gathered.finish(&mut pieced);
        for (a, b) in pieced.iter().zip(&whole) {
            assert!((a - b).abs() < 1e-12 * b.abs(), "{a}, expected {b}");
        }
    }
}
