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
mod tests {
    use super::*;

    fn naive(p: &Window, x: &[f64]) -> (Vec<f64>, Vec<usize>) {
        let (mut y, mut from) = (Vec::new(), Vec::new());
        for out in 0..x.len() / (p.h * p.w * p.c) * p.oh * p.ow * p.c {
            let (n, i, j, c) =
                (out / (p.oh * p.ow * p.c), out / (p.ow * p.c) % p.oh, out / p.c % p.ow, out % p.c);
            let mut best: Option<usize> = None;
            for (ky, kx) in (0..p.kernel[0] * p.kernel[1]).map(|tap| (tap / p.kernel[1], tap % p.kernel[1])) {
                let a = (i * p.stride[0] + ky).wrapping_sub(p.padding[0]);
                let b = (j * p.stride[1] + kx).wrapping_sub(p.padding[1]);
                if a < p.h && b < p.w {
                    let at = ((n * p.h + a) * p.w + b) * p.c + c;
                    if best.is_none_or(|best| x[at] > x[best]) {
                        best = Some(at);
                    }
                }
            }
            let best = best.expect("every window holds a pixel");
            y.push(x[best]);
            from.push(best);
        }
        (y, from)
    }

    #[test]
    fn pooling_and_its_gradient_agree_with_a_naive_loop() {
        for (n, h, w, c, kernel, stride, padding) in [
            (2, 13, 17, 3, [3, 3], [2, 2], [1, 1]),
            (1, 7, 6, 1, [3, 3], [2, 2], [1, 1]),
            (2, 8, 9, 3, [2, 2], [2, 2], [0, 0]),
            (1, 9, 10, 19, [3, 2], [1, 3], [1, 0]),
            (1, 5, 5, 2, [5, 4], [1, 2], [2, 2]),
        ] {
            let size = |a: usize, s: usize| (s + 2 * padding[a] - kernel[a]) / stride[a] + 1;
            let p = Window { h, w, c, oh: size(0, h), ow: size(1, w), kernel, stride, padding };
            // Coarse values, so that there are ties.
            let x: Vec<f64> = (0..n * h * w * c).map(|i| (i * 7919 % 23) as f64 - 30.0).collect();
            let (want, from) = naive(&p, &x);
            let (mut y, mut index) = (vec![f64::NAN; want.len()], vec![f64::NAN; want.len()]);
            forward(&p, &x, &mut y, &mut index);
            assert_eq!(y, want);
            let dy: Vec<f64> = (0..y.len()).map(|i| (i * 31 % 17) as f64 - 8.0).collect();
            let mut expected = vec![0.0; x.len()];
            from.iter().zip(&dy).for_each(|(&at, dy)| expected[at] += dy);
            let mut dx = vec![f64::NAN; x.len()];
            backward(&p, &index, &dy, &mut dx);
            assert_eq!(dx, expected, "{p:?}");
        }
    }

    #[test]
    fn nan_and_minus_infinity_are_kept() {
        let p = Window { h: 1, w: 3, c: 1, oh: 1, ow: 2, kernel: [1, 2], stride: [1, 1], padding: [0, 0] };
        let (mut y, mut index) = ([0.0f32; 2], [9.0; 2]);
        forward(&p, &[1.0, f32::NAN, 2.0], &mut y, &mut index);
        assert!(y[0].is_nan() && y[1].is_nan());
        assert_eq!(index, [1.0, 0.0]);
        forward(&p, &[f32::NEG_INFINITY; 3], &mut y, &mut index);
        assert_eq!((y, index), ([f32::NEG_INFINITY; 2], [0.0; 2]));
    }
}
