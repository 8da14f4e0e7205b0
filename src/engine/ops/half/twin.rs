//! Values to f16 and back on the CPU, a block at a time.

use crate::engine::device::real::Real;
use crate::engine::device::vector::vectorised;
use crate::engine::tensor::View;
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

/// The value that f16 can hold instead of a finite one outside of its range.
#[inline(always)]
fn confined(x: f32) -> f32 {
    const SMALLEST: f32 = 1.0 / (1 << 24) as f32;
    const LARGEST: f32 = 65_504.0;
    let magnitude = x.abs();
    let stays = magnitude == 0.0 || magnitude.is_nan() || magnitude == f32::INFINITY;
    if stays { x } else { magnitude.clamp(SMALLEST, LARGEST).copysign(x) }
}

/// Elements that are converted at a time.
const BLOCK: usize = 512;
/// Blocks of a parallel task.
const BLOCKS: usize = 32;

/// `f16` of up to [`BLOCK`] values.
#[inline(always)]
fn narrow<T: Real>(x: &[T], halves: &mut [f16]) {
    let mut values = [0.0; BLOCK];
    let values = &mut values[..x.len()];
    vectorised(|| {
        for (value, &x) in values.iter_mut().zip(x) {
            *value = confined(x.f64() as f32);
        }
    });
    halves[..x.len()].convert_from_f32_slice(values);
}

/// The values of up to [`BLOCK`] `f16`.
#[inline(always)]
fn widen<T: Real>(halves: &[f16], y: &mut [T]) {
    let mut values = [0.0; BLOCK];
    let values = &mut values[..y.len()];
    halves[..y.len()].convert_to_f32_slice(values);
    vectorised(|| {
        for (y, &value) in y.iter_mut().zip(values.iter()) {
            *y = T::of(f64::from(value));
        }
    });
}

/// Where `scale (x - mean) + shift` of an element becomes positive, by coefficients `[4, groups, C]` of elements
/// `[groups, .., C]`.
pub struct Sides<'a, T> {
    lists: [&'a [T]; 3],
    channels: usize,
    /// Elements of a group.
    group: usize,
}

impl<'a, T: Real> Sides<'a, T> {
    /// Those of so many elements.
    pub fn new(coefficients: View<'a, T>, elements: usize) -> Sides<'a, T> {
        let (groups, channels) = (coefficients.shape[1], coefficients.shape[2]);
        let lists = [0, 2, 3].map(|list| &coefficients.data[list * groups * channels..][..groups * channels]);
        Sides { lists, channels, group: elements / groups }
    }

    /// Moves each f16 of up to [`BLOCK`] elements, from `first` on, to its element's side.
    fn keep(&self, first: usize, x: &[T], halves: &mut [f16]) {
        let mut kept = [T::zero(); BLOCK];
        widen(&halves[..x.len()], &mut kept[..x.len()]);
        let mut at = 0;
        // Neighbouring channels of one pixel at a time.
        while at < x.len() {
            let i = first + at;
            let length = (self.channels - i % self.channels).min(x.len() - at);
            let channel = i / self.group * self.channels + i % self.channels;
            let [mean, scale, shift] = self.lists.map(|list| &list[channel..][..length]);
            let (x, kept) = (&x[at..][..length], &kept[at..][..length]);
            let differs = |j: usize| {
                let positive = |v: T| (v - mean[j]) * scale[j] + shift[j] > T::zero();
                positive(x[j]) != positive(kept[j])
            };
            let any = vectorised(
                #[inline(always)]
                || (0..length).fold(false, |any, j| any | differs(j)),
            );
            for j in (0..length).filter(|&j| any && differs(j)) {
                halves[at + j] = neighbour(halves[at + j], x[j] > kept[j]);
            }
            at += length;
        }
    }
}

/// The next f16 above or below, if it is finite.
fn neighbour(half: f16, above: bool) -> f16 {
    let bits = half.to_bits();
    let next = match (bits & 0x7fff == 0, above == half.is_sign_positive()) {
        // Of f64s that are too small for f32.
        (true, _) if above => 0x0001,
        (true, _) => 0x8001,
        (false, true) => bits + 1,
        (false, false) => bits - 1,
    };
    Some(f16::from_bits(next)).filter(|next| next.is_finite()).unwrap_or(half)
}

/// Values to words, two f16 each, the first in the low half.
pub fn pack<T: Real>(x: &[T], sides: Option<&Sides<T>>, words: &mut [T]) {
    let tasks = words.par_chunks_mut(BLOCKS * BLOCK / 2).zip(x.par_chunks(BLOCKS * BLOCK));
    tasks.enumerate().for_each(|(task, (words, x))| {
        for (block, (words, x)) in words.chunks_mut(BLOCK / 2).zip(x.chunks(BLOCK)).enumerate() {
            let mut halves = [f16::ZERO; BLOCK];
            narrow(x, &mut halves);
            if let Some(sides) = sides {
                sides.keep((task * BLOCKS + block) * BLOCK, x, &mut halves);
            }
            for (word, pair) in words.iter_mut().zip(halves.chunks_exact(2)) {
                *word = T::from_word(u32::from(pair[0].to_bits()) | u32::from(pair[1].to_bits()) << 16);
            }
        }
    });
}

/// Words to values.
pub fn unpack<T: Real>(words: &[T], y: &mut [T]) {
    y.par_chunks_mut(BLOCKS * BLOCK).zip(words.par_chunks(BLOCKS * BLOCK / 2)).for_each(|(y, words)| {
        for (y, words) in y.chunks_mut(BLOCK).zip(words.chunks(BLOCK / 2)) {
            let mut halves = [f16::ZERO; BLOCK];
            for (pair, word) in halves.chunks_exact_mut(2).zip(words) {
                let word = word.to_word();
                pair.copy_from_slice(&[f16::from_bits(word as u16), f16::from_bits((word >> 16) as u16)]);
            }
            widen(&halves, y);
        }
    });
}

/// What each value is kept as.
pub fn round<T: Real>(x: &[T], sides: Option<&Sides<T>>, y: &mut [T]) {
    y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).enumerate().for_each(|(block, (y, x))| {
        let mut halves = [f16::ZERO; BLOCK];
        narrow(x, &mut halves);
        if let Some(sides) = sides {
            sides.keep(block * BLOCK, x, &mut halves);
        }
        widen(&halves, y);
    });
}
