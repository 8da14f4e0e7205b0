//! Gaussian blur.

use crate::engine::device::vector::vectorised;
use crate::photos::decode::Rgb;

/// Blurs an image with an exact separable Gaussian; floats in 0..255, `[height, width, 3]`, unrounded.
///
/// `w_i = exp(-i^2 / (2 sigma^2))` for `|i| <= radius`, divided by their sum; edge pixels are repeated outwards.
/// The radius `ceil(3 sigma)` leaves out less than 0.3 % of the weight. A standard deviation of 0 changes nothing.
pub fn gaussian_blur(image: &Rgb, sigma: f64) -> Vec<f32> {
    let mut out = vec![0.0; image.data.len()];
    let size = [image.height, image.width];
    Blur::default().apply(&image.data, size, sigma, (3.0 * sigma).ceil() as usize, &mut out);
    out
}

/// Buffers of [`gaussian_blur`].
#[derive(Clone, Debug, Default)]
pub(super) struct Blur {
    weights: Vec<f32>,
    padded_row: Vec<f32>,
    rows: Vec<f32>,
}

impl Blur {
    /// Writes the blurred image to `out`; both are `[height, width, 3]`.
    pub(super) fn apply<T: Copy + Into<f32>>(
        &mut self,
        image: &[T],
        [height, width]: [usize; 2],
        sigma: f64,
        radius: usize,
        out: &mut [f32],
    ) {
        self.set_weights(sigma, radius);
        let stride = width * 3;
        self.rows.resize(image.len(), 0.0);
        for (row, blurred) in image.chunks_exact(stride).zip(self.rows.chunks_exact_mut(stride)) {
            self.padded_row.clear();
            self.padded_row.extend((0..radius * 3).map(|i| row[i % 3].into()));
            self.padded_row.extend(row.iter().map(|&v| v.into()));
            self.padded_row.extend((0..radius * 3).map(|i| row[stride - 3 + i % 3].into()));
            let taps = |i: usize| &self.padded_row[i * 3..];
            weighted_sum(blurred, &self.weights, taps);
        }
        for (y, blurred) in out.chunks_exact_mut(stride).enumerate() {
            let taps = |i: usize| {
                let from = (y + i).saturating_sub(radius).min(height - 1);
                &self.rows[from * stride..]
            };
            weighted_sum(blurred, &self.weights, taps);
        }
    }

    fn set_weights(&mut self, sigma: f64, radius: usize) {
        let weight = |i: usize| {
            let x = i as f64 - radius as f64;
            if x == 0.0 { 1.0 } else { (-x * x / (2.0 * sigma * sigma)).exp() }
        };
        let sum: f64 = (0..=2 * radius).map(weight).sum();
        self.weights.clear();
        self.weights.extend((0..=2 * radius).map(|i| (weight(i) / sum) as f32));
    }
}

/// `y = sum of w_i x_i`, over the length of `y`, in ascending order.
fn weighted_sum<'a>(y: &mut [f32], weights: &[f32], x: impl Fn(usize) -> &'a [f32]) {
    /// Elements that stay in registers.
    const PART: usize = 64;
    vectorised(
        #[inline(always)]
        || {
            for (part, y) in y.chunks_mut(PART).enumerate() {
                let mut sums = [0.0; PART];
                for (i, &w) in weights.iter().enumerate() {
                    let x = &x(i)[part * PART..][..y.len()];
                    for (sum, &x) in sums.iter_mut().zip(x) {
                        *sum += w * x;
                    }
                }
                y.copy_from_slice(&sums[..y.len()]);
            }
        },
    );
}
