//! The two number types of the CPU twins.
//!
//! ```
//! # use vista::engine::device::real::Real;
//! fn mean<T: Real>(x: &[T]) -> T {
//!     x.iter().copied().sum::<T>() / T::of(x.len() as f64)
//! }
//! assert_eq!((mean(&[1.0f32, 2.0]), mean(&[1.0f64, 2.0])), (1.5, 1.5)); // a twin is written once for both
//! ```

/// f32 (the CPU device) or f64 (the definition that gradient checks differentiate).
pub trait Real:
    num_traits::Float
    + num_traits::NumAssign
    + std::iter::Sum
    + bytemuck::Pod
    + std::fmt::Debug
    + Default
    + Send
    + Sync
    + 'static
{
    /// Rounds an f64 to this type.
    fn of(x: f64) -> Self;
    /// Widens to f64.
    fn f64(self) -> f64;
    /// `exp(x)` for loops over millions of elements: in f32 a polynomial without branches, so that the loop
    /// vectorises; relative error below 2e-7, results kept within [1.2e-38, 1.7e38]. In f64 the plain `exp`.
    fn fast_exp(self) -> Self;
    /// An element that holds 32 bits, whatever value they stand for.
    fn from_word(word: u32) -> Self;
    /// The bits that [`Real::from_word`] has put in.
    fn to_word(self) -> u32;
}

impl Real for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
    fn f64(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn fast_exp(self) -> f32 {
        /// Adding it rounds to a whole number, which the low bits of the sum then hold.
        const ROUND: f32 = 1.5 * (1 << 23) as f32;
        /// ln 2 in two parts: the first has few digits, so that its multiples are exact.
        const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
        let x = self.clamp(-87.3, 88.0);
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = x - n * LN_2[0] - n * LN_2[1];
        let tail = [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
        let p = tail.iter().fold(1.987_569_1e-4, |p, c| p * r + c);
        let power_of_two = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
        (p * r * r + r + 1.0) * power_of_two
    }
    #[inline(always)]
    fn from_word(word: u32) -> f32 {
        f32::from_bits(word)
    }
    #[inline(always)]
    fn to_word(self) -> u32 {
        self.to_bits()
    }
}

impl Real for f64 {
    fn of(x: f64) -> f64 {
        x
    }
    fn f64(self) -> f64 {
        self
    }
    fn fast_exp(self) -> f64 {
        self.exp()
    }
    fn from_word(word: u32) -> f64 {
        f64::from(word)
    }
    fn to_word(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_exp_is_within_two_in_ten_million_and_exact_at_zero() {
        assert_eq!(0f32.fast_exp(), 1.0);
        assert!(f32::NAN.fast_exp().is_nan());
        assert!((-1e30f32).fast_exp() < 2e-38 && 1e30f32.fast_exp() > 1e38);
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(x.fast_exp()) - expected).abs() / expected;
            assert!(error < 2e-7, "exp({x}): relative error {error:.1e}");
        }
    }
}
