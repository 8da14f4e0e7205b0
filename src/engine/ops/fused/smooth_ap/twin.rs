//! One query's ranking on the CPU: 31 million sigmoids per pass at 64 images of 20 views, so the loops over
//! the negatives are plain slices that vectorise.

use crate::engine::device::real::Real;
use crate::engine::device::vector::vectorised;
use crate::engine::ops::rows::{join, sum_of};
use std::ops::Range;

/// A query and its similarities.
pub(super) struct Query<'a, T> {
    q: usize,
    /// Candidates of the query's image; all others are negatives.
    image: Range<usize>,
    per_tau: T,
    row: &'a [T],
}

/// 1 / (1 + exp(-x)); the exponential may be as large as it gets.
#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).fast_exp())
}

/// PRECISION: `e / (1 + e)^2` with `e = exp(-|x|)` is no difference of close numbers, as `s (1 - s)` is.
#[inline(always)]
fn sigmoid_slope<T: Real>(x: T) -> T {
    let e = (-x.abs()).fast_exp();
    e / ((T::one() + e) * (T::one() + e))
}

impl<'a, T: Real> Query<'a, T> {
    pub fn new(q: usize, views: usize, tau: f32, row: &'a [T]) -> Query<'a, T> {
        let first = q - q % views;
        Query { q, image: first..first + views, per_tau: T::one() / T::of(f64::from(tau)), row }
    }

    /// The other views of the query's image.
    fn positives(&self) -> impl Iterator<Item = usize> {
        let q = self.q;
        self.image.clone().filter(move |&i| i != q)
    }

    /// AP; writes `R(i,P)` and `R(i, P u N) - R(i,P)` of each positive i.
    pub fn rank(&self, ranks: &mut [T]) -> T {
        let (before, after) = (&self.row[..self.image.start], &self.row[self.image.end..]);
        let mut precision = T::zero();
        for (i, ranks) in self.positives().zip(ranks.chunks_mut(2)) {
            let above = |s: T| sigmoid((s - self.row[i]) * self.per_tau);
            let others = self.positives().filter(|&j| j != i);
            let rank = others.fold(T::one(), |rank, j| rank + above(self.row[j]));
            let over = sum_of(before, above) + sum_of(after, above);
            ranks.copy_from_slice(&[rank, over]);
            precision += rank / (rank + over);
        }
        precision / T::of((self.image.len() - 1) as f64)
    }

    /// `ds_q = scale * tau (K-1) * dAP_q/ds_q`
    pub fn gradient(&self, ranks: &[T], scale: T, ds: &mut [T]) {
        ds.fill(T::zero());
        for (i, ranks) in self.positives().zip(ranks.chunks(2)) {
            let (rank, over) = (ranks[0], ranks[1]);
            let all = rank + over;
            let (at, per_tau) = (self.row[i], self.per_tau);
            let mut pushed = T::zero();
            let weight = scale * over / (all * all);
            for j in self.positives().filter(|&j| j != i) {
                let push = weight * sigmoid_slope((self.row[j] - at) * per_tau);
                ds[j] += push;
                pushed += push;
            }
            let weight = -scale * rank / (all * all);
            for side in [0..self.image.start, self.image.end..self.row.len()] {
                let (s, ds) = (&self.row[side.clone()], &mut ds[side]);
                pushed += vectorised(
                    #[inline(always)]
                    || push_all(s, ds, at, per_tau, weight),
                );
            }
            ds[i] -= pushed;
        }
    }
}

/// Adds `weight * sigmoid'((s - at) / tau)` to `ds`; returns the sum of what was added.
#[inline(always)]
fn push_all<T: Real>(s: &[T], ds: &mut [T], at: T, per_tau: T, weight: T) -> T {
    let mut lanes = [T::zero(); 16];
    for (s, ds) in s.chunks(16).zip(ds.chunks_mut(16)) {
        for ((s, ds), lane) in s.iter().zip(ds).zip(&mut lanes) {
            let push = weight * sigmoid_slope((*s - at) * per_tau);
            *ds += push;
            *lane += push;
        }
    }
    join(lanes)
}
