//! Parts of feature maps under boxes, each resampled to the same size.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{RoiAlign, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::from_fn(device, [1, 4, 4, 1], |at| at[2] as f32)?; // each pixel is its column
//! let rois = Tensor::new(device, [1, 5], &[0.0, 1.0, 1.0, 3.0, 3.0])?; // image 0, columns 1 and 2
//! let y = run(&RoiAlign { bins: [1, 2], scale: 1.0, samples: 0 }, &[&x, &rois])?;
//! assert_eq!(y[0].to_vec()?, [1.0, 2.0]); // of pixels 1 and 2 the centres
//! # Ok::<(), vista::Error>(())
//! ```

use super::gather_rows::row_of;
use super::kernel::{Differentiable, Keep, Kernel};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// RoIAlign: for each region of interest a grid of bins, each the mean of bilinear samples of the map.
///
/// ```text
/// along y (x alike): start = y0 scale - 1/2, size = (y1 - y0) scale, bin = size / bins
/// s        = samples, or ceil(bin) where that is 0, at most 1,024
/// y_pk     = start + (p + (k + 1/2) / s) bin,   k = 0 .. s - 1
/// out[p,q] = 1 / (s_y s_x) sum over k, l of x at (y_pk, x_ql), bilinear
/// ```
///
/// A sample with y < -1 or y > H is 0 and counts in the mean; others are moved onto the map, 0 to H - 1. Pixels are areas: half a pixel is
/// taken off ("aligned"), and no region is made larger.
///
/// | value | shape | range |
/// |---|---|---|
/// | `x` | `[N, H, W, C]` | any |
/// | `rois` | `[R, 5]` | image (0 to N - 1), x0, y0, x1, y1 in the photo's pixels; not differentiated |
/// | returns | `[R, bins[0], bins[1], C]` | |
///
/// Gradient: `dx` at a pixel is the sum over regions in ascending order, then bins, of `dy` times the pixel's weights, gathered: the same
/// bits every time. A region of no area gives 0; one that names no image, or is not finite, NaN and no gradient.
///
/// # Errors
/// [`Error::Shape`] if `x` is not `[N, H, W, C]` with a pixel, `rois` not `[R, 5]`, or a side is over 32,768.
/// # Source
/// Mask R-CNN (He et al. 2017), Sec. 3; detectron2's `ROIAlign(aligned=True)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoiAlign {
    /// Rows and columns of bins.
    pub bins: [usize; 2],
    /// Cells of the map to a pixel of the photo: 1/16 at a stride of 16.
    pub scale: f32,
    /// Samples along each axis of a bin; 0 for as many as it is cells long.
    pub samples: usize,
}

/// The longest side of a map.
const MAX_SIDE: usize = 32_768;
/// The most samples along an axis of a bin.
const MAX_SAMPLES: usize = 1024;
/// Numbers of a region.
const NUMBERS: usize = 5;

/// A region along one axis: the weight of each cell of the map in each of its bins.
struct Axis<T> {
    /// By bin, the cells that count, each with its weight.
    cells: Vec<Vec<(usize, T)>>,
}

impl<T: Real> Axis<T> {
    fn new(op: &RoiAlign, [low, high]: [T; 2], bins: usize, length: usize) -> Axis<T> {
        let (half, scale) = (T::of(0.5), T::of(f64::from(op.scale)));
        let (start, bin) = (low * scale - half, (high - low) * scale / T::of(bins as f64));
        let samples = match op.samples {
            0 => bin.f64().ceil().clamp(0.0, MAX_SAMPLES as f64) as usize,
            samples => samples,
        };
        let share = T::one() / T::of(samples.max(1) as f64);
        let cells = |p: usize| {
            let mut cells: Vec<(usize, T)> = Vec::new();
            for k in 0..samples {
                let place = start + (T::of(p as f64) + (T::of(k as f64) + half) * share) * bin;
                for (cell, weight) in corners(place, length) {
                    match cells.iter_mut().find(|(known, _)| *known == cell) {
                        Some((_, sum)) => *sum += weight * share,
                        None => cells.push((cell, weight * share)),
                    }
                }
            }
            cells
        };
        Axis { cells: (0..bins).map(cells).collect() }
    }
}

/// The cells between which a place lies, with their weights, as far as they count.
fn corners<T: Real>(place: T, length: usize) -> impl Iterator<Item = (usize, T)> {
    let last = T::of((length - 1) as f64);
    let is_outside = place < -T::one() || place > T::of(length as f64);
    let place = if place > T::zero() { if place < last { place } else { last } } else { T::zero() };
    let low = place.f64() as usize;
    let weight = place - T::of(low as f64);
    [(low, T::one() - weight), ((low + 1).min(length - 1), weight)]
        .into_iter()
        .filter(move |pair| !is_outside && pair.1 != T::zero())
}

impl RoiAlign {
    /// The image of a region and its weights down and across; `None` if it names no image or is not finite.
    fn region<T: Real>(&self, roi: &[T], map: &Shape) -> Option<(usize, [Axis<T>; 2])> {
        let image = row_of(roi[0], map[0])?;
        roi.iter().all(|v| v.f64().is_finite()).then(|| {
            let down = Axis::new(self, [roi[2], roi[4]], self.bins[0], map[1]);
            (image, [down, Axis::new(self, [roi[1], roi[3]], self.bins[1], map[2])])
        })
    }

    /// One dispatch for each pair of image and region ranges that bindings hold, sums in ascending order of regions.
    fn dispatch(
        &self,
        gpu: &Gpu,
        forward: bool,
        map: &Shape,
        [read, rois, written]: [&Tensor; 3],
    ) -> Result<()> {
        let (bins, by_four) = (self.bins[0] * self.bins[1] * map[3], map[3].is_multiple_of(4));
        let width = if by_four { 4 } else { 1 };
        let entry = match (forward, by_four) {
            (true, true) => "forward",
            (true, false) => "forward_odd",
            (false, true) => "backward",
            (false, false) => "backward_odd",
        };
        for regions in gpu.row_chunks(rois.shape()[0], bins.max(NUMBERS)) {
            for images in gpu.row_chunks(map[0], map.row()) {
                let outputs = regions.start * bins..regions.end * bins;
                let cells = images.start * map.row()..images.end * map.row();
                let numbers = regions.start * NUMBERS..regions.end * NUMBERS;
                let first = if forward { images.start == 0 } else { regions.start == 0 };
                let count = if forward { outputs.len() } else { cells.len() } / width;
                let params = [
                    ("height", map[1].into()),
                    ("width", map[2].into()),
                    ("channels", (map[3] / width).into()),
                    ("rows", self.bins[0].into()),
                    ("columns", self.bins[1].into()),
                    ("samples", self.samples.into()),
                    ("scale_bits", self.scale.to_bits().into()),
                    ("images", map[0].into()),
                    ("start", images.start.into()),
                    ("end", images.end.into()),
                    ("regions", regions.len().into()),
                    ("first", u32::from(first).into()),
                    ("count", count.into()),
                    ("nan_bits", f32::NAN.to_bits().into()),
                ];
                let (from, to) = if forward { (cells, outputs) } else { (outputs, cells) };
                gpu.run(Dispatch {
                    tensors: vec![(read, Some(from)), (rois, Some(numbers)), (written, Some(to))],
                    ..Dispatch::new(Self::NAME, entry, params, &[], count.div_ceil(256))
                })?;
            }
        }
        Ok(())
    }
}

/// `y += w x`
fn add_scaled<T: Real>(y: &mut [T], x: &[T], w: T) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += w * x;
    }
}

impl Kernel for RoiAlign {
    const NAME: &'static str = "roi_align";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let fits = |side: &usize| (1..=MAX_SIDE).contains(side);
        match inputs {
            [x, rois]
                if x.len() == 4 && x[1..3].iter().all(fits) && rois.len() == 2 && rois[1] == NUMBERS =>
            {
                Ok(vec![Shape::from([rois[0], self.bins[0], self.bins[1], x[3]])])
            }
            _ => {
                let detail = format!(
                    "takes a map [N,H,W,C] of sides from 1 to {MAX_SIDE} and rois [R,5], got {inputs:?}"
                );
                Err(Error::shape(Self::NAME, detail))
            }
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (map, channels) = (x[0].shape, x[0].shape[3].max(1));
        let size = (self.bins[0] * self.bins[1] * channels).max(1);
        let pairs = y[0].data.par_chunks_mut(size).zip(x[1].data.par_chunks(NUMBERS));
        pairs.for_each(|(y, roi)| {
            let Some((image, [down, across])) = self.region(roi, map) else { return y.fill(T::nan()) };
            y.fill(T::zero());
            let image = &x[0].data[image * map.row()..(image + 1) * map.row()];
            let bins =
                down.cells.iter().flat_map(|rows| across.cells.iter().map(move |columns| (rows, columns)));
            for (y, (rows, columns)) in y.chunks_exact_mut(channels).zip(bins) {
                for &(row, down) in rows {
                    for &(column, across) in columns {
                        add_scaled(y, &image[(row * map[2] + column) * channels..], down * across);
                    }
                }
            }
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.dispatch(gpu, true, x[0].shape(), [x[0], x[1], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, map: [usize; 4], regions: usize, bins, stride: usize, samples| {
            let rois = Draw::Regions { images: map[0], height: map[1] * stride, width: map[2] * stride };
            let inputs = vec![Input::normal(map), Input::of([regions, NUMBERS], rois)];
            Case::new(name, RoiAlign { bins, scale: 1.0 / stride as f32, samples }, inputs)
        };
        vec![
            case("adaptive", [2, 13, 9, 4], 6, [7, 7], 16, 0),
            case("two samples", [3, 10, 12, 5], 7, [7, 7], 4, 2),
            case("many channels", [1, 6, 7, 68], 3, [2, 3], 8, 0),
            case("one cell", [2, 1, 1, 3], 4, [3, 5], 16, 0),
            case("no region", [1, 4, 4, 4], 0, [7, 7], 16, 0),
            case("fourteen bins", [2, 20, 17, 8], 9, [14, 14], 16, 0),
        ]
    }
}

impl Differentiable for RoiAlign {
    const VARIABLES: usize = 1;

    fn save(&self, x: &[&Tensor], _y: &[Tensor]) -> Vec<Keep> {
        vec![x[1].into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let (map, channels) = (dx.shape, dx.shape[3].max(1));
        let bins = self.bins[0] * self.bins[1] * channels;
        let regions: Vec<_> = saved[0].data.par_chunks(NUMBERS).map(|roi| self.region(roi, map)).collect();
        // Each row of each image gathers from the regions that reach it.
        dx.data.par_chunks_mut(map[2] * channels).enumerate().for_each(|(line, dx)| {
            dx.fill(T::zero());
            let (image, row) = (line / map[1], line % map[1]);
            for (region, dy) in regions.iter().zip(dy.data.chunks(bins.max(1))) {
                let Some((_, [down, across])) = region.as_ref().filter(|region| region.0 == image) else {
                    continue;
                };
                for (rows, dy) in down.cells.iter().zip(dy.chunks(self.bins[1] * channels)) {
                    let Some(&(_, down)) = rows.iter().find(|(cell, _)| *cell == row) else { continue };
                    for (columns, dy) in across.cells.iter().zip(dy.chunks(channels)) {
                        for &(column, across) in columns {
                            add_scaled(&mut dx[column * channels..][..channels], dy, down * across);
                        }
                    }
                }
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        if saved[0].elements() == 0 {
            gpu.clear(dx, 0..dx.elements()); // no dispatch writes it
        }
        self.dispatch(gpu, false, dx.shape(), [dy, saved[0], dx])
    }
}
