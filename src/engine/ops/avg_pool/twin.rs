//! Global average pooling on the CPU: images `[n, pixels, c]`.

use crate::engine::device::real::Real;
use crate::engine::device::vector::vectorised;
use rayon::prelude::*;

/// `y[n,c] = mean over pixels of x[n,pixel,c]`
pub fn forward<T: Real>(pixels: usize, c: usize, x: &[T], y: &mut [T]) {
    let share = T::of(1.0 / pixels as f64);
    if y.is_empty() {
        return;
    }
    y.par_chunks_mut(c).zip(x.par_chunks(pixels * c)).for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || {
                y.fill(T::zero());
                for x in x.chunks_exact(c) {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
                }
                y.iter_mut().for_each(|y| *y *= share);
            },
        );
    });
}

/// `dx[n,pixel,c] = dy[n,c] / pixels`
pub fn backward<T: Real>(pixels: usize, c: usize, dy: &[T], dx: &mut [T]) {
    let share = T::of(1.0 / pixels as f64);
    if dx.is_empty() {
        return;
    }
    dx.par_chunks_mut(pixels * c).zip(dy.par_chunks(c)).for_each(|(dx, dy)| {
        vectorised(
            #[inline(always)]
            || {
                for dx in dx.chunks_exact_mut(c) {
                    dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = dy * share);
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_its_gradient() {
        let (mut y, mut dx) = ([0.0; 4], [0.0; 12]);
        forward(3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 9.0, -1.0, -2.0, -3.0, -4.0, -5.0, 0.0], &mut y);
        assert_eq!(y, [3.0, 5.0, -3.0, -2.0]);
        backward(3, 2, &[3.0, 6.0, -9.0, 0.0], &mut dx);
        assert_eq!(dx, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, -3.0, 0.0, -3.0, 0.0, -3.0, 0.0]);
    }
}
