//! Pillow's resize, byte for byte: what judging and exports see.

use super::geometry::CropBox;
use crate::engine::device::vector::vectorised;
use crate::photos::decode::Rgb;

/// Cuts a box out, then resizes it to `width` x `height` with an antialiased triangle filter, to the same bytes as Pillow.
///
/// With `scale = in / out` and `support = max(scale, 1)`, output `i` is the mean of the inputs `j` weighted by
/// `max(0, 1 - |j + 0.5 - (i + 0.5) scale| / support)`, along x and then y. Weights have 22 fractional bits; values are
/// rounded to bytes after each axis, halves upwards. Pixels outside the box are not read. The box must lie inside the image.
///
/// # Source
/// Pillow, `image.crop(box).resize(size, BILINEAR)`.
pub fn resized_crop(image: &Rgb, crop: CropBox, width: usize, height: usize) -> Rgb {
    let mut out = Rgb::new(width, height);
    Resize::default().crop(image, crop, &mut out);
    out
}

/// Buffers of [`resized_crop`].
#[derive(Clone, Debug, Default)]
pub(super) struct Resize {
    x: Axis,
    y: Axis,
    /// [`ROWS`] rows of the box, pixel after pixel: of each the row's red, green, blue and a byte of no meaning.
    pixels: Vec<[u8; PART]>,
    /// The box resized along x, each row with one byte more.
    rows: Vec<u8>,
}

/// Fractional bits of a weight.
const BITS: u32 = 22;
/// Bytes that are summed together.
const PART: usize = 64;
/// Rows that are resized along x together, four bytes a pixel.
const ROWS: usize = PART / 4;

impl Resize {
    /// [`resized_crop`] to the size of `out`.
    pub(super) fn crop(&mut self, image: &Rgb, crop: CropBox, out: &mut Rgb) {
        let (width, height) = (crop.width(), crop.height());
        self.x.set(width, out.width);
        self.y.set(height, out.height);
        let stride = out.width * 3 + 1;
        self.pixels.resize(width, [0; PART]);
        self.rows.resize(height.next_multiple_of(ROWS) * stride, 0);
        for (block, rows) in self.rows.chunks_exact_mut(ROWS * stride).enumerate() {
            for (row, y) in (block * ROWS..height.min((block + 1) * ROWS)).enumerate() {
                let from = &image.data[((crop.y0 + y) * image.width + crop.x0) * 3..][..width * 3];
                for (to, pixel) in self.pixels.iter_mut().zip(from.as_chunks::<3>().0) {
                    to[row * 4..][..3].copy_from_slice(pixel);
                }
            }
            along_x(&self.pixels, &self.x, rows);
        }
        for (y, out) in out.data.chunks_exact_mut(out.width * 3).enumerate() {
            let (first, weights) = self.y.of(y);
            along_y(&self.rows[first * stride..], stride, weights, out);
        }
    }
}

/// Which inputs make each output along one axis, and their weights.
#[derive(Clone, Debug, Default)]
struct Axis {
    /// The first input and how many there are, `[out]`.
    inputs: Vec<(usize, usize)>,
    /// Room for the weights of an output.
    most: usize,
    /// Fixed-point numbers, `[out, most]`.
    weights: Vec<i32>,
}

impl Axis {
    /// That from a number of inputs to one of outputs. The order of operations is Pillow's: it decides last bits.
    fn set(&mut self, inputs: usize, outputs: usize) {
        let scale = inputs as f64 / outputs as f64;
        let support = scale.max(1.0);
        let per_support = 1.0 / support;
        self.most = support.ceil() as usize * 2 + 1;
        self.inputs.clear();
        self.weights.clear();
        self.weights.resize(self.most * outputs, 0);
        for (i, fixed) in self.weights.chunks_exact_mut(self.most).enumerate() {
            let center = (i as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(inputs);
            let weight = |j: usize| (1.0 - ((j as f64 - center + 0.5) * per_support).abs()).max(0.0);
            let sum: f64 = (first..end).map(weight).sum();
            for (fixed, j) in fixed.iter_mut().zip(first..end) {
                *fixed = (0.5 + weight(j) / sum * f64::from(1 << BITS)) as i32;
            }
            self.inputs.push((first, end - first));
        }
    }

    /// The first input of an output, and the weights from there on.
    #[inline(always)]
    fn of(&self, i: usize) -> (usize, &[i32]) {
        let (first, count) = self.inputs[i];
        (first, &self.weights[i * self.most..][..count])
    }
}

/// Resizes [`ROWS`] rows along x.
fn along_x(pixels: &[[u8; PART]], axis: &Axis, rows: &mut [u8]) {
    let stride = rows.len() / ROWS;
    vectorised(
        #[inline(always)]
        || {
            for i in 0..axis.inputs.len() {
                let (first, weights) = axis.of(i);
                let sums: [u8; PART] = weighted_sum(pixels[first..].as_flattened(), PART, weights);
                // The fourth byte is overwritten by the next pixel; that of the last is a row's one byte more.
                for (row, pixel) in sums.as_chunks::<4>().0.iter().enumerate() {
                    rows[row * stride + i * 3..][..4].copy_from_slice(pixel);
                }
            }
        },
    );
}

/// Makes one row of the result from rows that begin `stride` bytes apart.
fn along_y(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    vectorised(
        #[inline(always)]
        || {
            let mut at = 0;
            while at + PART <= out.len() {
                out[at..at + PART].copy_from_slice(&weighted_sum::<PART>(&rows[at..], stride, weights));
                at += PART;
            }
            while at < out.len() {
                out[at] = weighted_sum::<1>(&rows[at..], stride, weights)[0];
                at += 1;
            }
        },
    );
}

/// `sum of w_j x_j` rounded to bytes; each `x_j` is `N` bytes long, and they begin `stride` bytes apart.
#[allow(clippy::needless_range_loop)] // with iterators it takes twice as long
#[inline(always)]
fn weighted_sum<const N: usize>(x: &[u8], stride: usize, weights: &[i32]) -> [u8; N] {
    let mut sums = [1 << (BITS - 1); N];
    for (j, &w) in weights.iter().enumerate() {
        let x = &x[j * stride..][..N];
        for i in 0..N {
            sums[i] += w * i32::from(x[i]);
        }
    }
    let mut bytes = [0; N];
    for i in 0..N {
        bytes[i] = (sums[i] >> BITS).min(255) as u8;
    }
    bytes
}

#[cfg(test)]
#[path = "../../../tests/unit/photos/views/resize.rs"]
mod tests;
