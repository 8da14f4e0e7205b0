//! The transforms of Winograd's algorithms, on a few neighbouring channels at a time.

// Iterators over two arrays at once would hide which of their elements stay in registers.
#![allow(clippy::needless_range_loop)]

use crate::engine::device::real::Real;
use std::ops::{Add, Mul, Sub};

/// Channels that a transform works on at a time; channels must divide by it.
pub(super) const LANES: usize = 8;

/// Neighbouring channels of one pixel. Loops over indices: what is not inlined into [`vectorised`] loses its vectors.
#[derive(Clone, Copy)]
pub(super) struct Lanes<T>(pub(super) [T; LANES]);

impl<T: Real> Lanes<T> {
    #[inline(always)]
    pub(super) fn zero() -> Self {
        Lanes([T::zero(); LANES])
    }

    #[inline(always)]
    pub(super) fn load(x: &[T]) -> Self {
        Lanes(*x.first_chunk().expect("channels that divide by the lanes"))
    }

    /// Unlike `copy_from_slice` never a call.
    #[inline(always)]
    pub(super) fn store(self, y: &mut [T]) {
        *y.first_chunk_mut().expect("channels that divide by the lanes") = self.0;
    }
}

impl<T: Real> Add for Lanes<T> {
    type Output = Self;
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for i in 0..LANES {
            self.0[i] += other.0[i];
        }
        self
    }
}

impl<T: Real> Sub for Lanes<T> {
    type Output = Self;
    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for i in 0..LANES {
            self.0[i] -= other.0[i];
        }
        self
    }
}

impl<T: Real> Mul<f64> for Lanes<T> {
    type Output = Self;
    #[inline(always)]
    fn mul(mut self, factor: f64) -> Self {
        let factor = T::of(factor);
        for i in 0..LANES {
            self.0[i] *= factor;
        }
        self
    }
}

/// The transforms of one axis, from and to the first elements of arrays of six.
pub(super) trait Algorithm {
    /// M
    const OUT: usize;
    /// M + 2
    const IN: usize;
    /// `B' x`: of IN pixels.
    fn input<T: Real>(x: [Lanes<T>; 6]) -> [Lanes<T>; 6];
    /// `A' m`: to OUT pixels.
    fn output<T: Real>(m: [Lanes<T>; 6]) -> [Lanes<T>; 6];
    /// `A dy`: of OUT pixels, the transpose of `output`.
    fn output_back<T: Real>(dy: [Lanes<T>; 6]) -> [Lanes<T>; 6];
    /// `G w`: of three taps.
    fn weight<T: Real>(w: [Lanes<T>; 6]) -> [Lanes<T>; 6];
    /// `G' u`: to three taps, the transpose of `weight`.
    fn weight_back<T: Real>(u: [Lanes<T>; 6]) -> [Lanes<T>; 6];
}

/// F(2,3), with the points 0, 1, -1 and infinity.
pub(super) struct F2;

impl Algorithm for F2 {
    const OUT: usize = 2;
    const IN: usize = 4;

    #[inline(always)]
    fn input<T: Real>([a, b, c, d, z, _]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        [a - c, b + c, c - b, b - d, z, z]
    }

    #[inline(always)]
    fn output<T: Real>([a, b, c, d, z, _]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        [a + b + c, b - c - d, z, z, z, z]
    }

    #[inline(always)]
    fn output_back<T: Real>([a, b, ..]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        let z = Lanes::zero();
        [a, a + b, a - b, z - b, z, z]
    }

    #[inline(always)]
    fn weight<T: Real>([a, b, c, z, ..]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        let ends = a + c;
        [a, (ends + b) * 0.5, (ends - b) * 0.5, c, z, z]
    }

    #[inline(always)]
    fn weight_back<T: Real>([a, b, c, d, z, _]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        let (sum, difference) = ((b + c) * 0.5, (b - c) * 0.5);
        [a + sum, difference, sum + d, z, z, z]
    }
}

/// F(4,3), with the points 0, 1, -1, 2, -2 and infinity.
pub(super) struct F4;

impl Algorithm for F4 {
    const OUT: usize = 4;
    const IN: usize = 6;

    #[inline(always)]
    fn input<T: Real>([a, b, c, d, e, f]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        let (even, odd) = (e - c * 4.0, d - b * 4.0);
        let (even_2, odd_2) = (e - c, (d - b) * 2.0);
        [a * 4.0 - c * 5.0 + e, even + odd, even - odd, even_2 + odd_2, even_2 - odd_2, b * 4.0 - d * 5.0 + f]
    }

    #[inline(always)]
    fn output<T: Real>([a, b, c, d, e, f]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        let (sum, difference) = (b + c, b - c);
        let (sum_2, difference_2) = (d + e, d - e);
        let z = Lanes::zero();
        [
            a + sum + sum_2,
            difference + difference_2 * 2.0,
            sum + sum_2 * 4.0,
            difference + difference_2 * 8.0 + f,
            z,
            z,
        ]
    }

    #[inline(always)]
    fn output_back<T: Real>([a, b, c, d, ..]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        let (even, odd) = (a + c, b + d);
        let (even_2, odd_2) = (a + c * 4.0, b * 2.0 + d * 8.0);
        [a, even + odd, even - odd, even_2 + odd_2, even_2 - odd_2, d]
    }

    #[inline(always)]
    fn weight<T: Real>([a, b, c, ..]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        let ends = (a + c) * (-1.0 / 6.0);
        let (middle, ends_2, middle_2) =
            (b * (1.0 / 6.0), a * (1.0 / 24.0) + c * (1.0 / 6.0), b * (1.0 / 12.0));
        [a * 0.25, ends - middle, ends + middle, ends_2 + middle_2, ends_2 - middle_2, c]
    }

    #[inline(always)]
    fn weight_back<T: Real>([a, b, c, d, e, f]: [Lanes<T>; 6]) -> [Lanes<T>; 6] {
        let (sum, difference) = ((b + c) * (-1.0 / 6.0), (c - b) * (1.0 / 6.0));
        let (sum_2, difference_2) = (d + e, (d - e) * (1.0 / 12.0));
        let z = Lanes::zero();
        [
            a * 0.25 + sum + sum_2 * (1.0 / 24.0),
            difference + difference_2,
            sum + sum_2 * (1.0 / 6.0) + f,
            z,
            z,
            z,
        ]
    }
}

/// The first `count` (2, 3, 4 or 6) of six values, the rest zero.
///
/// Written out like [`spread`], for a loop would keep the values in memory instead of registers.
#[inline(always)]
fn gather<T: Real>(count: usize, get: impl Fn(usize) -> Lanes<T>) -> [Lanes<T>; 6] {
    let some = |i: usize| if i < count { get(i) } else { Lanes::zero() };
    [get(0), get(1), some(2), some(3), some(4), some(5)]
}

/// Hands on the first `count` (2, 3, 4 or 6) of six values.
#[inline(always)]
fn spread<T: Real>(count: usize, [a, b, c, d, e, f]: [Lanes<T>; 6], mut put: impl FnMut(usize, Lanes<T>)) {
    put(0, a);
    put(1, b);
    if count > 2 {
        put(2, c);
    }
    if count > 3 {
        put(3, d);
    }
    if count > 4 {
        put(4, e);
        put(5, f);
    }
}

/// A transform of both axes, of every column and then of every row: reads `from x from` values, writes `to x to`.
#[inline(always)]
pub(super) fn both_axes<T: Real>(
    [from, to]: [usize; 2],
    load: impl Fn(usize, usize) -> Lanes<T>,
    along: impl Fn([Lanes<T>; 6]) -> [Lanes<T>; 6],
    mut store: impl FnMut(usize, usize, Lanes<T>),
) {
    let mut half = [[Lanes::zero(); 6]; 6];
    for j in 0..from {
        let column = along(gather(from, |i| load(i, j)));
        spread(to, column, |i, value| half[i][j] = value);
    }
    for (i, half) in half.iter().enumerate().take(to) {
        spread(to, along(gather(from, |j| half[j])), |j, value| store(i, j, value));
    }
}
