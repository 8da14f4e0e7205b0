//! The transforms of Winograd's algorithms, of one number or of a vector of neighbouring channels.

// Iterators over two arrays at once would hide which of their elements stay in registers.
#![allow(clippy::needless_range_loop)]

use pulp::Simd;
use std::ops::{Add, Mul, Sub};

/// What is transformed.
pub(super) trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<f64, Output = Self>
{
    /// `self factor + other`
    fn times(self, factor: f64, other: Self) -> Self;
}

impl Number for f64 {
    fn times(self, factor: f64, other: f64) -> f64 {
        self * factor + other
    }
}

/// A vector of neighbouring channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes<S: Simd>(S, S::f32s);

impl<S: Simd> Lanes<S> {
    #[inline(always)]
    pub(super) fn zero(simd: S) -> Self {
        Lanes(simd, simd.splat_f32s(0.0))
    }

    /// Those from element `at` on.
    #[inline(always)]
    pub(super) fn load(simd: S, x: &[f32], at: usize) -> Self {
        assert!(at + S::F32_LANES <= x.len(), "a vector outside of what is read");
        // SAFETY: bounded above.
        Lanes(simd, unsafe { x.as_ptr().add(at).cast::<S::f32s>().read_unaligned() })
    }

    #[inline(always)]
    pub(super) fn store(self, y: &mut [f32], at: usize) {
        assert!(at + S::F32_LANES <= y.len(), "a vector outside of what is written");
        // SAFETY: bounded above.
        unsafe { y.as_mut_ptr().add(at).cast::<S::f32s>().write_unaligned(self.1) }
    }
}

impl<S: Simd> Add for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Lanes(self.0, self.0.add_f32s(self.1, other.1))
    }
}

impl<S: Simd> Sub for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Lanes(self.0, self.0.sub_f32s(self.1, other.1))
    }
}

impl<S: Simd> Mul<f64> for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, factor: f64) -> Self {
        Lanes(self.0, self.0.mul_f32s(self.1, self.0.splat_f32s(factor as f32)))
    }
}

impl<S: Simd> Number for Lanes<S> {
    #[inline(always)]
    fn times(self, factor: f64, other: Self) -> Self {
        Lanes(self.0, self.0.mul_add_f32s(self.1, self.0.splat_f32s(factor as f32), other.1))
    }
}

/// A transform of one axis, as a type: a function that is passed on is not inlined any more, and loses its vectors.
pub(super) trait Transform<const FROM: usize, const TO: usize> {
    /// The transform.
    fn apply<N: Number>(x: [N; FROM]) -> [N; TO];
}

/// `B' x` of the algorithm F(M,3): of M + 2 pixels.
pub(super) struct Input<const M: usize>;
/// `A' m`: to M pixels.
pub(super) struct Output<const M: usize>;
/// `A dy`: of M pixels, the transpose of [`Output`].
pub(super) struct OutputBack<const M: usize>;
/// `G w`: of three taps.
pub(super) struct Weight<const M: usize>;
/// `G' u`: to three taps, the transpose of [`Weight`].
pub(super) struct WeightBack<const M: usize>;

// F(2,3), with the points 0, 1, -1 and infinity.

impl Transform<4, 4> for Input<2> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d]: [N; 4]) -> [N; 4] {
        [a - c, b + c, c - b, b - d]
    }
}

impl Transform<4, 2> for Output<2> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d]: [N; 4]) -> [N; 2] {
        [a + b + c, b - c - d]
    }
}

impl Transform<2, 4> for OutputBack<2> {
    #[inline(always)]
    fn apply<N: Number>([a, b]: [N; 2]) -> [N; 4] {
        [a, a + b, a - b, b * -1.0]
    }
}

impl Transform<3, 4> for Weight<2> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c]: [N; 3]) -> [N; 4] {
        let ends = a + c;
        [a, (ends + b) * 0.5, (ends - b) * 0.5, c]
    }
}

impl Transform<4, 3> for WeightBack<2> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d]: [N; 4]) -> [N; 3] {
        let (sum, difference) = ((b + c) * 0.5, (b - c) * 0.5);
        [a + sum, difference, sum + d]
    }
}

// F(3,3), with the points 0, 1, -1, 2 and infinity.

impl Transform<5, 5> for Input<3> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d, e]: [N; 5]) -> [N; 5] {
        let (ends, middle) = (d - b, c * 2.0);
        [
            a.times(2.0, ends) - middle,
            b.times(-2.0, d) - c,
            b.times(2.0, c.times(-3.0, d)),
            ends,
            b.times(2.0, e) - c - d * 2.0,
        ]
    }
}

impl Transform<5, 3> for Output<3> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d, e]: [N; 5]) -> [N; 3] {
        let sum = b + c;
        [a + sum + d, d.times(2.0, b - c), d.times(4.0, sum) + e]
    }
}

impl Transform<3, 5> for OutputBack<3> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c]: [N; 3]) -> [N; 5] {
        let ends = a + c;
        [a, ends + b, ends - b, c.times(4.0, b.times(2.0, a)), c]
    }
}

impl Transform<3, 5> for Weight<3> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c]: [N; 3]) -> [N; 5] {
        let ends = a + c;
        [a * 0.5, (ends + b) * -0.5, (b - ends) * (1.0 / 6.0), c.times(4.0, b.times(2.0, a)) * (1.0 / 6.0), c]
    }
}

impl Transform<5, 3> for WeightBack<3> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d, e]: [N; 5]) -> [N; 3] {
        let (b, c, d) = (b * -0.5, c * (1.0 / 6.0), d * (1.0 / 6.0));
        let ends = b - c;
        [a.times(0.5, ends + d), b + c + d * 2.0, d.times(4.0, ends) + e]
    }
}

// F(4,3), with the points 0, 1, -1, 2, -2 and infinity.

impl Transform<6, 6> for Input<4> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d, e, f]: [N; 6]) -> [N; 6] {
        let (even, odd) = (c.times(-4.0, e), b.times(-4.0, d));
        let (even_2, odd_2) = (e - c, (d - b) * 2.0);
        let (first, last) = (a.times(4.0, c.times(-5.0, e)), b.times(4.0, d.times(-5.0, f)));
        [first, even + odd, even - odd, even_2 + odd_2, even_2 - odd_2, last]
    }
}

impl Transform<6, 4> for Output<4> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d, e, f]: [N; 6]) -> [N; 4] {
        let (sum, difference) = (b + c, b - c);
        let (sum_2, difference_2) = (d + e, d - e);
        [
            a + sum + sum_2,
            difference_2.times(2.0, difference),
            sum_2.times(4.0, sum),
            difference_2.times(8.0, difference) + f,
        ]
    }
}

impl Transform<4, 6> for OutputBack<4> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d]: [N; 4]) -> [N; 6] {
        let (even, odd) = (a + c, b + d);
        let (even_2, odd_2) = (c.times(4.0, a), d.times(4.0, b) * 2.0);
        [a, even + odd, even - odd, even_2 + odd_2, even_2 - odd_2, d]
    }
}

impl Transform<3, 6> for Weight<4> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c]: [N; 3]) -> [N; 6] {
        let (ends, middle) = ((a + c) * (-1.0 / 6.0), b * (1.0 / 6.0));
        let (ends_2, middle_2) = (a.times(0.25, c) * (1.0 / 6.0), b * (1.0 / 12.0));
        [a * 0.25, ends - middle, ends + middle, ends_2 + middle_2, ends_2 - middle_2, c]
    }
}

impl Transform<6, 3> for WeightBack<4> {
    #[inline(always)]
    fn apply<N: Number>([a, b, c, d, e, f]: [N; 6]) -> [N; 3] {
        let (sum, difference) = ((b + c) * (-1.0 / 6.0), (c - b) * (1.0 / 6.0));
        let (sum_2, difference_2) = (d + e, d - e);
        [
            a.times(0.25, sum_2.times(1.0 / 24.0, sum)),
            difference_2.times(1.0 / 12.0, difference),
            sum_2.times(1.0 / 6.0, sum) + f,
        ]
    }
}

/// A transform of every column and then of every row.
#[inline(always)]
pub(super) fn both_axes<N: Number, F: Transform<FROM, TO>, const FROM: usize, const TO: usize>(
    zero: N,
    load: impl Fn(usize, usize) -> N,
    mut store: impl FnMut(usize, usize, N),
) {
    let mut half = [[zero; FROM]; TO];
    for j in 0..FROM {
        let mut column = [zero; FROM];
        for i in 0..FROM {
            column[i] = load(i, j);
        }
        let column = F::apply(column);
        for i in 0..TO {
            half[i][j] = column[i];
        }
    }
    for i in 0..TO {
        let row = F::apply(half[i]);
        for j in 0..TO {
            store(i, j, row[j]);
        }
    }
}

#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/conv2d/transforms.rs"]
mod tests;
