//! Max pooling on the CPU: images NHWC.

use crate::engine::device::real::Real;
use crate::engine::device::vector::vectorised;
use rayon::prelude::*;
use std::ops::Range;

/// Sizes of a pooling. Pairs are [vertical, horizontal].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Output height.
    pub oh: usize,
    /// Output width.
    pub ow: usize,
    /// Pixels of a window.
    pub kernel: [usize; 2],
    /// Input pixels from one window to the next.
    pub stride: [usize; 2],
    /// Pixels of minus infinity around the image; less than the kernel.
    pub padding: [usize; 2],
}

impl Window {
    /// The taps of output position `i` that lie within `size` pixels.
    #[inline(always)]
    fn taps(&self, axis: usize, i: usize, size: usize) -> Range<usize> {
        let start = i * self.stride[axis];
        let padding = self.padding[axis];
        padding.saturating_sub(start)..self.kernel[axis].min((size + padding).saturating_sub(start))
    }

    /// The output positions of `count` whose window holds input position `a`.
    #[inline(always)]
    fn windows(&self, axis: usize, a: usize, count: usize) -> Range<usize> {
        let a = a + self.padding[axis];
        let first = (a + 1).saturating_sub(self.kernel[axis]).div_ceil(self.stride[axis]);
        first..count.min(a / self.stride[axis] + 1)
    }
}

/// `y[n,i,j,c] = max over the window of x`; `index` is the number `ky kw + kx` of the tap that holds the maximum.
///
/// The first of equal maxima wins; a NaN wins over everything. `x` is `[n, h, w, c]`, `y` and `index` `[n, oh, ow, c]`.
pub fn forward<T: Real>(p: &Window, x: &[T], y: &mut [T], index: &mut [T]) {
    let line = p.ow * p.c;
    if y.is_empty() {
        return;
    }
    y.par_chunks_mut(line).zip(index.par_chunks_mut(line)).enumerate().for_each(|(row, (y, index))| {
        let x = &x[row / p.oh * p.h * p.w * p.c..][..p.h * p.w * p.c];
        vectorised(
            #[inline(always)]
            || pool_line(p, x, row % p.oh, y, index),
        );
    });
}

#[inline(always)]
fn pool_line<T: Real>(p: &Window, x: &[T], i: usize, y: &mut [T], index: &mut [T]) {
    let c = p.c;
    for (j, (y, index)) in y.chunks_exact_mut(c).zip(index.chunks_exact_mut(c)).enumerate() {
        let mut started = false;
        for ky in p.taps(0, i, p.h) {
            for kx in p.taps(1, j, p.w) {
                let (a, b) = (i * p.stride[0] + ky - p.padding[0], j * p.stride[1] + kx - p.padding[1]);
                let x = &x[(a * p.w + b) * c..][..c];
                let tap = T::of((ky * p.kernel[1] + kx) as f64);
                if !started {
                    y.copy_from_slice(x);
                    index.fill(tap);
                    started = true;
                    continue;
                }
                for ch in 0..c {
                    // All loaded before the choices, which would otherwise keep the loop from being vectorised.
                    let (new, old, old_tap) = (x[ch], y[ch], index[ch]);
                    let wins = (new > old) | (new.is_nan() & !old.is_nan());
                    y[ch] = if wins { new } else { old };
                    index[ch] = if wins { tap } else { old_tap };
                }
            }
        }
    }
}

/// `dx[n,a,b,c] = sum of dy over the windows whose maximum is x[n,a,b,c]`, gathered for each input pixel.
pub fn backward<T: Real>(p: &Window, index: &[T], dy: &[T], dx: &mut [T]) {
    let image = p.oh * p.ow * p.c;
    if dx.is_empty() {
        return;
    }
    dx.par_chunks_mut(p.w * p.c).enumerate().for_each(|(row, dx)| {
        let at = row / p.h * image..(row / p.h + 1) * image;
        let (index, dy) = (&index[at.clone()], &dy[at]);
        vectorised(
            #[inline(always)]
            || unpool_line(p, index, dy, row % p.h, dx),
        );
    });
}

#[inline(always)]
fn unpool_line<T: Real>(p: &Window, index: &[T], dy: &[T], a: usize, dx: &mut [T]) {
    let c = p.c;
    for (b, dx) in dx.chunks_exact_mut(c).enumerate() {
        dx.fill(T::zero());
        for i in p.windows(0, a, p.oh) {
            for j in p.windows(1, b, p.ow) {
                let (ky, kx) = (a + p.padding[0] - i * p.stride[0], b + p.padding[1] - j * p.stride[1]);
                let tap = T::of((ky * p.kernel[1] + kx) as f64);
                let at = (i * p.ow + j) * c;
                let (index, dy) = (&index[at..][..c], &dy[at..][..c]);
                for ch in 0..c {
                    let (index, dy) = (index[ch], dy[ch]);
                    dx[ch] += if index == tap { dy } else { T::zero() };
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/max_pool/twin.rs"]
mod tests;
