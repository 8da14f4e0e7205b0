//! From a photo to the class of each of its pixels: windows that slide over it at one or several scales, mirrored too.

use super::config::SegmentConfig;
use super::model::Segmenter;
use crate::engine::autograd::Tape;
use crate::engine::nn::Mode;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::views::{CropBox, normalize, resized_crop};
use crate::photos::{LabelMap, Rgb};
use rayon::prelude::*;

/// LIMIT: images in a forward pass.
const PASS: usize = 8;

/// A value for each class of each pixel.
struct Field {
    size: [usize; 2],
    /// `[height, width, classes]`
    values: Vec<f32>,
}

/// The likeliest class of each pixel of a photo.
///
/// At each scale s the photo, resized to `round(s h) x round(s w)` and padded by the mean colour to the crop's size where it is smaller, is
/// covered by windows of that size, `ceil(stride size)` apart, the last ones flush with its ends. The softmax of the logits, averaged
/// with the mirrored window's and over windows, is resized to the photo; scales are averaged.
///
/// # Errors
/// The device's.
/// # Source
/// PSPNet's code (semseg), `tool/test.py`.
pub fn segment(net: &Segmenter, config: &SegmentConfig, photo: &Rgb) -> Result<LabelMap> {
    let size @ [height, width] = [photo.height, photo.width];
    let classes = net.config.classes;
    let mut sum: Option<Vec<f32>> = None;
    for &scale in &config.eval.scales {
        let [h, w] = size.map(|side| ((side as f64 * scale).round() as usize).max(1));
        let scaled = match [h, w] == size {
            true => None,
            false => Some(resized_crop(photo, CropBox::whole(photo), w, h)),
        };
        let field = at_scale(net, config, scaled.as_ref().unwrap_or(photo))?;
        let values = if field.size == size { field.values } else { field.resized(size, classes) };
        sum = Some(match sum {
            None => values,
            Some(mut sum) => {
                sum.par_iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
                sum
            }
        });
    }
    let sum = sum.unwrap_or_else(|| vec![0.0; height * width * classes]);
    let likeliest = |values: &[f32]| {
        let mut best = 0;
        for (class, value) in values.iter().enumerate() {
            if *value > values[best] {
                best = class;
            }
        }
        best as u8
    };
    Ok(LabelMap { size, classes: sum.par_chunks(classes).map(likeliest).collect() })
}

/// Where windows begin along a side of a length.
fn starts(length: usize, size: usize, stride: usize) -> Vec<usize> {
    let count = length.saturating_sub(size).div_ceil(stride) + 1;
    (0..count).map(|i| (i * stride).min(length.saturating_sub(size))).collect()
}

/// The probabilities of a photo's pixels at its own size.
fn at_scale(net: &Segmenter, config: &SegmentConfig, photo: &Rgb) -> Result<Field> {
    let side = config.crops.size;
    let classes = net.config.classes;
    let size = [photo.height, photo.width];
    let padded @ [height, width] = size.map(|length| length.max(side));
    // Equal margins of the mean colour, which is 0.
    let margin = [0, 1].map(|axis| (padded[axis] - size[axis]) / 2);
    let mut pixels = vec![0.0; 3 * size[0] * size[1]];
    normalize(photo, config.crops.mean, config.crops.std, &mut pixels);
    let mut canvas = vec![0.0; height * width * 3];
    for (y, row) in pixels.chunks(3 * size[1]).enumerate() {
        canvas[((y + margin[0]) * width + margin[1]) * 3..][..row.len()].copy_from_slice(row);
    }
    let stride = ((side as f64 * config.eval.stride).ceil() as usize).max(1);
    let columns = starts(width, side, stride);
    let windows: Vec<[usize; 2]> =
        starts(height, side, stride).iter().flat_map(|&y| columns.iter().map(move |&x| [y, x])).collect();
    let (mut sums, mut counts) = (vec![0.0_f32; height * width * classes], vec![0.0_f32; height * width]);
    let mirrors: &[bool] = if config.eval.flip { &[false, true] } else { &[false] };
    for windows in windows.chunks(PASS / mirrors.len()) {
        let all: Vec<([usize; 2], bool)> =
            windows.iter().flat_map(|&at| mirrors.iter().map(move |&mirrored| (at, mirrored))).collect();
        let values = probabilities(net, &canvas, width, side, &all)?;
        for (&([top, left], mirrored), values) in all.iter().zip(values.chunks(side * side * classes)) {
            let rows =
                sums.par_chunks_mut(width * classes).zip(counts.par_chunks_mut(width)).skip(top).take(side);
            rows.zip(values.par_chunks(side * classes)).for_each(|((sums, counts), values)| {
                for x in 0..side {
                    let from = if mirrored { side - 1 - x } else { x };
                    let sums = &mut sums[(left + x) * classes..][..classes];
                    sums.iter_mut().zip(&values[from * classes..]).for_each(|(sum, value)| *sum += value);
                    counts[left + x] += 1.0;
                }
            });
        }
    }
    let mut values = Vec::with_capacity(size[0] * size[1] * classes);
    for y in 0..size[0] {
        let first = (y + margin[0]) * width + margin[1];
        for at in first..first + size[1] {
            values.extend(sums[at * classes..][..classes].iter().map(|sum| sum / counts[at]));
        }
    }
    Ok(Field { size, values })
}

/// The softmax of the logits of some windows of a canvas, each mirrored or not: `[windows, side, side, classes]`.
fn probabilities(
    net: &Segmenter,
    canvas: &[f32],
    width: usize,
    side: usize,
    windows: &[([usize; 2], bool)],
) -> Result<Vec<f32>> {
    let device = net.device();
    let mut images = vec![0.0; windows.len() * side * side * 3];
    for (image, &([top, left], mirrored)) in images.chunks_mut(side * side * 3).zip(windows) {
        for (y, row) in image.chunks_mut(3 * side).enumerate() {
            row.copy_from_slice(&canvas[((top + y) * width + left) * 3..][..3 * side]);
            if mirrored {
                row.as_chunks_mut::<3>().0.reverse();
            }
        }
    }
    let tape = Tape::inert(&device);
    let images = tape.constant(Tensor::new(&device, [windows.len(), side, side, 3], &images)?);
    net.pixels(&images, Mode::Eval)?.softmax()?.value().to_vec()
}

impl Field {
    /// The same at another size, interpolated between the centres of pixels.
    fn resized(&self, [height, width]: [usize; 2], classes: usize) -> Vec<f32> {
        let place = |i: usize, n: usize, of: usize| {
            let at = ((i as f64 + 0.5) * of as f64 / n as f64 - 0.5).clamp(0.0, (of - 1) as f64);
            let low = at as usize;
            (low, (low + 1).min(of - 1), (at - low as f64) as f32)
        };
        let [rows, columns] = self.size;
        let mut out = vec![0.0; height * width * classes];
        out.par_chunks_mut(width * classes).enumerate().for_each(|(y, row)| {
            let (y0, y1, fy) = place(y, height, rows);
            for (x, values) in row.chunks_mut(classes).enumerate() {
                let (x0, x1, fx) = place(x, width, columns);
                let [a, b, c, d] = [(y0, x0), (y0, x1), (y1, x0), (y1, x1)]
                    .map(|(y, x)| &self.values[(y * columns + x) * classes..][..classes]);
                for (i, value) in values.iter_mut().enumerate() {
                    let upper = a[i] + fx * (b[i] - a[i]);
                    *value = upper + fy * (c[i] + fx * (d[i] - c[i]) - upper);
                }
            }
        });
        out
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/segment/predict.rs"]
mod tests;
