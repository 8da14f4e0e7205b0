//! Hand-made features: what a description of colours and edges alone achieves, a floor for every learned encoder.
//!
//! ```
//! # use vista::{photos::Rgb, transfer::classify::handmade::{WIDTH, handmade}};
//! let red = Rgb { width: 8, height: 8, data: [255, 0, 0].repeat(64).into() };
//! assert_eq!(handmade(&red).len(), WIDTH);
//! ```

use super::colour;
use super::features::{Embedded, described};
use crate::photos::views::{CropBox, resized_crop};
use crate::photos::{Album, Rgb};
use std::f32::consts::PI;

/// Side that photos are scaled to before gradients are taken.
const SIDE: usize = 64;
/// Side of a cell in pixels.
const CELL: usize = 16;
/// Cells along a side.
const CELLS: usize = SIDE / CELL;
/// Directions of half a turn.
const BINS: usize = 9;
/// Blocks of 2 x 2 cells along a side, one cell apart.
const BLOCKS: usize = CELLS - 1;

/// Length of [`gradient_orientations`].
pub const GRADIENT_WIDTH: usize = BLOCKS * BLOCKS * 4 * BINS;

/// Length of [`handmade`].
pub const WIDTH: usize = colour::WIDTH + GRADIENT_WIDTH;

/// Histograms of oriented gradients of a photo, `[3 x 3 blocks, 2 x 2 cells, 9 directions]`, length 1 (0 for a photo
/// of one colour).
///
/// The photo is scaled to 64 x 64 grey values whatever its shape. Each pixel gives the magnitude of its gradient
/// (central differences) to the two nearest of 9 directions of half a turn, in its cell of 16 x 16 pixels. Blocks of
/// 2 x 2 cells are brought to length 1, cut at 0.2 and brought to length 1 again.
///
/// Coarser than the original: larger cells, and no interpolation between cells.
///
/// # Source
/// Dalal and Triggs, "Histograms of oriented gradients for human detection", 2005.
pub fn gradient_orientations(photo: &Rgb) -> Vec<f32> {
    let small = resized_crop(photo, CropBox::whole(photo), SIDE, SIDE);
    let (pixels, _) = small.data.as_chunks::<3>();
    let grey: Vec<f32> = pixels
        .iter()
        .map(|&[r, g, b]| 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b))
        .collect();
    let at = |x: usize, y: usize| grey[y * SIDE + x];
    let mut cells = [[0.0f32; BINS]; CELLS * CELLS];
    for y in 0..SIDE {
        for x in 0..SIDE {
            let dx = at((x + 1).min(SIDE - 1), y) - at(x.saturating_sub(1), y);
            let dy = at(x, (y + 1).min(SIDE - 1)) - at(x, y.saturating_sub(1));
            let magnitude = dx.hypot(dy);
            let place = dy.atan2(dx).rem_euclid(PI) / PI * BINS as f32;
            let share = place.fract();
            let bin = place as usize % BINS;
            let cell = &mut cells[y / CELL * CELLS + x / CELL];
            cell[bin] += magnitude * (1.0 - share);
            cell[(bin + 1) % BINS] += magnitude * share;
        }
    }
    let mut all = Vec::with_capacity(GRADIENT_WIDTH);
    for row in 0..BLOCKS {
        for column in 0..BLOCKS {
            let corners = [(0, 0), (0, 1), (1, 0), (1, 1)];
            let mut block: Vec<f32> =
                corners.iter().flat_map(|(r, c)| cells[(row + r) * CELLS + column + c]).collect();
            normalize(&mut block);
            block.iter_mut().for_each(|v| *v = v.min(0.2));
            normalize(&mut block);
            all.extend(block);
        }
    }
    normalize(&mut all);
    all
}

/// Colours and edges of a photo: the roots of its colour histogram (so that the part has length 1 and differences of
/// rare colours count), then its gradient orientations.
pub fn handmade(photo: &Rgb) -> Vec<f32> {
    let colours = colour::histogram(&photo.data).into_iter().map(f32::sqrt);
    colours.chain(gradient_orientations(photo)).collect()
}

/// [`handmade`] of some photos of an album, `[kept.len(), WIDTH]`; those that can't be decoded are left out. `watch`
/// hears how many photos are done.
pub fn handmade_features(album: &Album, ids: &[usize], watch: &mut dyn FnMut(usize)) -> Embedded {
    described(album, ids, &handmade, watch)
}

fn normalize(values: &mut [f32]) {
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    if norm > 1e-6 {
        values.iter_mut().for_each(|v| *v /= norm);
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/handmade.rs"]
mod tests;
