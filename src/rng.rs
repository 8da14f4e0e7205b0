//! A counter-based random generator: every stream is named by what it is for, never by who draws from it.
//!
//! Output `n` of a stream is a pure function of the stream's key and `n`, so worker threads, resumed runs and
//! other platforms all draw the same numbers. Nothing here depends on the sampling code of another crate, whose
//! values may change between versions.
//!
//! ```
//! # use vista::rng::KeyedRng;
//! let draw = |image| KeyedRng::new("crop", 0, [0, image, 0]).unit(); // seed 0, epoch 0
//! assert_eq!(draw(7), draw(7)); // whoever asks, and whenever
//! assert_ne!(draw(7), draw(8));
//! ```

use std::convert::Infallible;

/// The generator of one named stream; implements [`rand::Rng`].
///
/// `out(n) = mix(mix(k0 + n * GAMMA) ^ k1)`, where `mix` is SplitMix64's finaliser and `k0`, `k1` are hashes of
/// purpose, seed and key. It is meant for experiments, not for secrets.
///
/// # Source
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014 (finaliser and GAMMA).
#[derive(Debug, Clone)]
pub struct KeyedRng {
    k0: u64,
    k1: u64,
    counter: u64,
}

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl KeyedRng {
    /// The stream for one purpose: `KeyedRng::new("view", seed, [epoch, image, view])`.
    ///
    /// `purpose` keeps streams apart that happen to share numbers; unused words of `key` are 0.
    pub fn new(purpose: &str, seed: u64, key: [u64; 3]) -> KeyedRng {
        let (mut k0, mut k1) = (GAMMA, !GAMMA);
        let mut absorb = |word: u64| {
            k0 = mix(k0.wrapping_add(GAMMA) ^ word);
            k1 = mix(k1.wrapping_add(k0) ^ word.rotate_left(32));
        };
        purpose.bytes().for_each(|b| absorb(u64::from(b)));
        absorb(u64::MAX); // ends the name: "a" followed by a seed is not "ab"
        absorb(seed);
        key.into_iter().for_each(absorb);
        KeyedRng { k0, k1, counter: 0 }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let n = self.counter;
        self.counter = n.wrapping_add(1);
        self.nth(n)
    }

    /// `out(n)`, whatever has been drawn before: for kernels, whose lanes draw in no order.
    pub fn nth(&self, n: u64) -> u64 {
        mix(mix(self.from(n)) ^ self.k1)
    }

    /// The keys of the stream that begins with `out(n)` of this one, for a shader.
    pub(crate) fn keys(&self, n: u64) -> [u64; 2] {
        [self.from(n), self.k1]
    }

    /// The stream that begins with `out(n)` of this one.
    pub fn behind(&self, n: u64) -> KeyedRng {
        KeyedRng { k0: self.from(n), k1: self.k1, counter: 0 }
    }

    fn from(&self, n: u64) -> u64 {
        self.k0.wrapping_add(n.wrapping_mul(GAMMA))
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`; `low` itself if the two are equal.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`; never for `p <= 0`, always for `p >= 1`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Uniform in `0..n`; 0 for `n = 0`.
    ///
    /// The multiply-shift without rejection: the bias is below n / 2^64.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Standard normal, by Box and Muller's transform.
    ///
    /// PRECISION: `ln` and `cos` come from the platform's mathematics library, so the last bit may differ elsewhere.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Puts `items` in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// A random permutation of `0..n`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

impl rand::TryRng for KeyedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "../tests/unit/rng.rs"]
mod tests;
