//! Masks of objects: from a photo into the grid of a region, and back.

use super::boxes::Rect;
use crate::engine::device::Device;
use crate::engine::ops::{RoiAlign, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// Which pixels of a photo are an object's: 1 or 0, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Rows and columns.
    pub size: [usize; 2],
    /// `rows * columns` values.
    pub pixels: Vec<u8>,
}

/// What a mask head should say of some regions of one object: `[regions, side, side]`, 1 where at least half of a bin is the object's,
/// by RoIAlign of its mask at the photo's own size.
///
/// # Errors
/// The device's.
/// # Source
/// Mask R-CNN, Sec. 3; detectron2, `BitMasks.crop_and_resize`.
pub fn targets(object: &Bitmap, regions: &[Rect], side: usize) -> Result<Vec<f32>> {
    let device = Device::cpu();
    let pixels: Vec<f32> = object.pixels.iter().map(|&p| f32::from(p)).collect();
    let mask = Tensor::new(&device, [1, object.size[0], object.size[1], 1], &pixels)?;
    let rois: Vec<f32> = regions.iter().flat_map(|r| [0.0, r[0], r[1], r[2], r[3]]).collect();
    let rois = Tensor::new(&device, [regions.len(), 5], &rois)?;
    let op = RoiAlign { bins: [side; 2], scale: 1.0, samples: 0 };
    let shares = run(&op, &[&mask, &rois])?.swap_remove(0).to_vec()?;
    Ok(shares.into_iter().map(|share| f32::from(u8::from(share >= 0.5))).collect())
}

/// Where in a photo of a height and a width a predicted mask `[side, side]` over a box says that its object is: at the centre of each pixel the
/// probability, bilinear, 0 beyond the box, is at least the threshold.
///
/// # Source
/// detectron2, `paste_masks_in_image`.
pub fn paste(probabilities: &[f32], side: usize, over: &Rect, size: [usize; 2], threshold: f32) -> Bitmap {
    let [height, width] = size;
    let mut pixels = vec![0; height * width];
    let [x0, y0, x1, y1] = over.map(f64::from);
    // Places on the mask's grid, in cells from the centre of the first.
    let place =
        |pixel: usize, low: f64, high: f64| (pixel as f64 + 0.5 - low) / (high - low) * side as f64 - 0.5;
    let value = |row: i64, column: i64| {
        let inside = (0..side as i64).contains(&row) && (0..side as i64).contains(&column);
        if inside { f64::from(probabilities[row as usize * side + column as usize]) } else { 0.0 }
    };
    // Beyond a cell around the box all is 0.
    let margin = |low: f64, high: f64| (high - low) / side as f64;
    let range = |low: f64, high: f64, length: usize| {
        let first = (low - margin(low, high) - 1.0).clamp(0.0, length as f64);
        let end = (high + margin(low, high) + 1.0).clamp(0.0, length as f64);
        first as usize..end.ceil() as usize
    };
    for row in range(y0, y1, height) {
        let y = place(row, y0, y1);
        for column in range(x0, x1, width) {
            let x = place(column, x0, x1);
            let (top, left) = (y.floor(), x.floor());
            let (down, across) = (y - top, x - left);
            let line =
                |row: i64| value(row, left as i64) * (1.0 - across) + value(row, left as i64 + 1) * across;
            let here = line(top as i64) * (1.0 - down) + line(top as i64 + 1) * down;
            pixels[row * width + column] = u8::from(here >= f64::from(threshold));
        }
    }
    Bitmap { size, pixels }
}
