//! Masks of objects: from a photo into the grid of a region, and back.

use super::boxes::Rect;
use crate::engine::device::Device;
use crate::engine::ops::{RoiAlign, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::Bitmap;

/// What a mask head should say of some regions of one object: `[regions, side, side]`, 1 where at least half of a bin is the object's,
/// by RoIAlign of its mask at the photo's own size.
///
/// # Errors
/// The device's.
/// # Source
/// Mask R-CNN, Sec. 3; detectron2, `BitMasks.crop_and_resize`.
pub fn mask_targets(object: &Bitmap, regions: &[Rect], side: usize) -> Result<Vec<f32>> {
    let device = Device::cpu();
    let op = RoiAlign { bins: [side; 2], scale: 1.0, samples: 0 };
    let mut targets = Vec::with_capacity(regions.len() * side * side);
    for region in regions {
        // The part of the mask that the region reads: no sample needs more than a pixel beyond it.
        let part = |low: f32, high: f32, length: usize| {
            let first = ((low - MARGIN).max(0.0) as usize).min(length.saturating_sub(1));
            first..((high + MARGIN).max(0.0).ceil() as usize).clamp(first + 1, length.max(first + 1))
        };
        let [rows, columns] =
            [part(region[1], region[3], object.size[0]), part(region[0], region[2], object.size[1])];
        let line = |row: usize| &object.pixels[row * object.size[1]..][columns.clone()];
        let pixels: Vec<f32> = rows.clone().flat_map(line).map(|&p| f32::from(p)).collect();
        let mask = Tensor::new(&device, [1, rows.len(), columns.len(), 1], &pixels)?;
        let [x, y] = [columns.start as f32, rows.start as f32];
        let roi = [0.0, region[0] - x, region[1] - y, region[2] - x, region[3] - y];
        let shares = run(&op, &[&mask, &Tensor::new(&device, [1, 5], &roi)?])?.swap_remove(0).to_vec()?;
        targets.extend(shares.into_iter().map(|share| f32::from(u8::from(share >= 0.5))));
    }
    Ok(targets)
}

/// Pixels around a region that its samples may read: they lie inside of it, and are read bilinearly.
const MARGIN: f32 = 2.0;

/// Where in a photo of a height and a width a predicted mask `[side, side]` over a box says that its object is: at the centre of each pixel the
/// probability, bilinear, 0 beyond the box, is at least the threshold.
///
/// # Source
/// detectron2, `paste_masks_in_image`.
pub fn paste_mask(
    probabilities: &[f32],
    side: usize,
    over: &Rect,
    size: [usize; 2],
    threshold: f32,
) -> Bitmap {
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
