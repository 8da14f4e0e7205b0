//! Images at other sizes by bilinear interpolation: dense feature maps on another grid of cells.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{BilinearResize, Coordinates, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 1, 2, 1], &[0.0, 3.0])?;
//! let four = |coordinates| run(&BilinearResize { size: [1, 4], coordinates }, &[&x])?[0].to_vec();
//! assert_eq!(four(Coordinates::HalfPixel)?, [0.0, 0.75, 2.25, 3.0]);
//! assert_eq!(four(Coordinates::AlignCorners)?, [0.0, 1.0, 2.0, 3.0]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Kernel};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Bilinear interpolation without antialiasing.
///
/// ```text
/// s      = place of output o in the input, along each axis, by [`Coordinates`]
/// y[o]   = (1 - f) x[l] + f x[min(l + 1, in - 1)]      with l = floor(s), f = s - l, first columns, then rows
/// ```
///
/// | value | shape |
/// |---|---|
/// | `x` | `[N, H, W, C]` |
/// | returns | `[N, size[0], size[1], C]` |
///
/// Gradient: `dx[i]` is the sum of `dy[o]` times its weight over all outputs o that read i, in ascending order.
/// A resize to the same size changes no bit. Places are counted in whole numbers of their denominator.
///
/// # Errors
/// [`Error::Shape`] if `x` is not `[N, H, W, C]`, or a side of either is 0 or above 32,768.
/// # Source
/// `torch.nn.functional.interpolate(mode="bilinear")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BilinearResize {
    /// Height and width of the result.
    pub size: [usize; 2],
    /// Where its pixels lie in the input.
    pub coordinates: Coordinates,
}

/// How the place s of an output pixel o is counted in an input of `in` pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// `s = max((o + 1/2) in / out - 1/2, 0)`: pixels are areas, and both images cover the same. Detectors and DenseCL.
    HalfPixel,
    /// `s = o (in - 1) / (out - 1)`, 0 where out is 1: pixels are points, and the corners' lie on each other. PSPNet and PSANet.
    AlignCorners,
}

/// The longest side: twice the product of two sides must fit in 32 bits.
const MAX_SIDE: usize = 32_768;

/// One axis: sizes before and after, and the place of output o as `max(o step + first - back, 0) / unit`.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    out: usize,
    step: usize,
    first: usize,
    back: usize,
    unit: usize,
}

impl Axis {
    fn new(size: usize, out: usize, coordinates: Coordinates) -> Axis {
        match coordinates {
            Coordinates::HalfPixel => {
                Axis { size, out, step: 2 * size, first: size, back: out, unit: 2 * out }
            }
            Coordinates::AlignCorners => {
                Axis { size, out, step: size - 1, first: 0, back: 0, unit: (out - 1).max(1) }
            }
        }
    }

    /// Both pixels that output `o` reads with their weights.
    fn pair<T: Real>(self, o: usize) -> [(usize, T); 2] {
        let place = (o * self.step + self.first).saturating_sub(self.back); // times unit
        let low = place / self.unit;
        let weight = T::of((place % self.unit) as f64) / T::of(self.unit as f64);
        [(low, T::one() - weight), ((low + 1).min(self.size - 1), weight)]
    }

    /// Those of the two that count: of weight 0 a pixel is not read, so that its infinity or NaN does not spread.
    fn read<T: Real>(self, o: usize) -> impl Iterator<Item = (usize, T)> {
        self.pair(o).into_iter().filter(|pair| pair.1 != T::zero())
    }

    /// The outputs that read input `i`: those whose place is from i - 1 to below i + 1.
    ///
    /// `(o step + first - back) / unit >= i - 1` from the o on that is `((i - 1) unit + back - first) / step`, rounded up. All later
    /// ones read `i` or what follows.
    fn readers(self, i: usize) -> Range<usize> {
        let first = |i: usize| match i {
            0 => 0,
            _ if self.step == 0 => self.out,
            _ => {
                ((i - 1) * self.unit + self.back).saturating_sub(self.first).div_ceil(self.step).min(self.out)
            }
        };
        first(i)..first(i + 2)
    }

    /// The outputs that read input `i`, each with its weight.
    fn weights<T: Real>(self, i: usize) -> Vec<(usize, T)> {
        let weight = |o: usize| {
            let parts = self.pair(o).into_iter().filter(|pair| pair.0 == i);
            (o, parts.fold(T::zero(), |sum, pair| sum + pair.1))
        };
        self.readers(i).map(weight).filter(|pair| pair.1 != T::zero()).collect()
    }
}

impl BilinearResize {
    fn axes(&self, x: &Shape) -> [Axis; 2] {
        [0, 1].map(|i| Axis::new(x[1 + i], self.size[i], self.coordinates))
    }

    /// Runs an entry point over the batch; the second tensor is written.
    fn dispatch(
        &self,
        gpu: &Gpu,
        entries: [&'static str; 2],
        x: &Shape,
        [read, written]: [&Tensor; 2],
    ) -> Result<()> {
        let [read, written] = [read, written].map(|t| (t, t.shape().row()));
        let by_four = x[3].is_multiple_of(4);
        let (entry, width) = if by_four { (entries[0], 4) } else { (entries[1], 1) };
        let axes = self.axes(x);
        let each = |f: &dyn Fn(Axis) -> usize| axes.map(f).into();
        gpu.run_rows(x[0], &[read, written], |images| {
            let count = images.len() * written.1 / width;
            let params = [
                ("x_size", each(&|axis| axis.size)),
                ("y_size", each(&|axis| axis.out)),
                ("step", each(&|axis| axis.step)),
                ("first", each(&|axis| axis.first)),
                ("back", each(&|axis| axis.back)),
                ("unit", each(&|axis| axis.unit)),
                ("channels", (x[3] / width).into()),
                ("count", count.into()),
            ];
            Dispatch::new(Self::NAME, entry, params, &[], count.div_ceil(256))
        })
    }
}

/// `y += w x`
fn add_scaled<T: Real>(y: &mut [T], x: &[T], w: T) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += w * x;
    }
}

impl Kernel for BilinearResize {
    const NAME: &'static str = "bilinear_resize";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let [height, width] = self.size;
        let fits = |side: usize| (1..=MAX_SIDE).contains(&side);
        match inputs {
            [x] if x.len() == 4 && [x[1], x[2], height, width].into_iter().all(fits) => {
                Ok(vec![Shape::from([x[0], height, width, x[3]])])
            }
            _ => {
                let detail = format!(
                    "takes [N,H,W,C] of sides from 1 to {MAX_SIDE}, got {inputs:?} to {:?}",
                    self.size
                );
                Err(Error::shape(Self::NAME, detail))
            }
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (shape, channels) = (x[0].shape, x[0].shape[3].max(1));
        let [rows, columns] = self.axes(shape);
        let line = columns.size * channels;
        y[0].data.par_chunks_mut(columns.out * channels).enumerate().for_each(|(i, y)| {
            // To which any value can be added without change, -0 too.
            y.fill(-T::zero());
            let image = &x[0].data[i / rows.out * rows.size * line..];
            for (row, down) in rows.read::<T>(i % rows.out) {
                for (o, y) in y.chunks_exact_mut(channels).enumerate() {
                    for (column, across) in columns.read::<T>(o) {
                        add_scaled(y, &image[row * line + column * channels..], down * across);
                    }
                }
            }
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.dispatch(gpu, ["forward", "forward_odd"], x[0].shape(), [x[0], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let of = |name, shape: [usize; 4], size, coordinates| {
            Case::new(name, BilinearResize { size, coordinates }, vec![Input::normal(shape)])
        };
        let case = |name, shape, size| of(name, shape, size, Coordinates::HalfPixel);
        let aligned = |name, shape, size| of(name, shape, size, Coordinates::AlignCorners);
        let mut far = case("offset", [1, 3, 4, 2], [7, 3]);
        far.inputs[0].draw = Draw::Normal { scale: 1.0, offset: 1e4 };
        vec![
            case("larger", [2, 5, 4, 8], [11, 9]),
            case("smaller", [2, 13, 9, 3], [4, 5]),
            case("down and across", [3, 4, 17, 5], [9, 3]),
            case("to one pixel", [2, 6, 7, 4], [1, 1]),
            case("from one pixel", [2, 1, 1, 65], [3, 4]),
            case("one row", [1, 1, 9, 1], [1, 31]),
            case("the same size", [2, 7, 5, 12], [7, 5]),
            far,
            aligned("corners, larger", [2, 4, 5, 8], [25, 9]),
            aligned("corners, smaller", [2, 13, 9, 3], [4, 5]),
            aligned("corners, to one pixel", [2, 6, 7, 4], [1, 1]),
            aligned("corners, from one pixel", [2, 1, 1, 5], [3, 4]),
            aligned("corners, the same size", [2, 7, 5, 12], [7, 5]),
        ]
    }
}

impl Differentiable for BilinearResize {
    fn twin_backward<T: Real>(&self, _saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let channels = dx.shape[3].max(1);
        let [rows, columns] = self.axes(dx.shape);
        let line = columns.out * channels;
        let across: Vec<Vec<(usize, T)>> = (0..columns.size).map(|i| columns.weights(i)).collect();
        dx.data.par_chunks_mut(columns.size * channels).enumerate().for_each(|(i, dx)| {
            dx.fill(T::zero());
            let image = &dy.data[i / rows.size * rows.out * line..];
            for (row, down) in rows.weights::<T>(i % rows.size) {
                for (dx, across) in dx.chunks_exact_mut(channels).zip(&across) {
                    for &(column, across) in across {
                        add_scaled(dx, &image[row * line + column * channels..], down * across);
                    }
                }
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, _saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        self.dispatch(gpu, ["backward", "backward_odd"], dx.shape(), [dy, dx])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_exactly_the_outputs_that_read_an_input() {
        let sizes = (1..20).flat_map(|size| (1..20).map(move |out| (size, out)));
        for (size, out) in sizes {
            let half = |o: usize| ((o as f64 + 0.5) * size as f64 / out as f64 - 0.5).max(0.0);
            let aligned = |o: usize| (o * (size - 1)) as f64 / (out - 1).max(1) as f64;
            places(Axis::new(size, out, Coordinates::HalfPixel), &half);
            places(Axis::new(size, out, Coordinates::AlignCorners), &aligned);
        }
    }

    fn places(axis: Axis, expected: &dyn Fn(usize) -> f64) {
        let Axis { size, out, .. } = axis;
        for i in 0..size {
            for o in 0..out {
                let weight: f64 = axis.pair::<f64>(o).iter().filter(|p| p.0 == i).map(|p| p.1).sum();
                assert!(weight == 0.0 || axis.readers(i).contains(&o), "{size} to {out}: {o} reads {i}");
                let place: f64 = axis.pair::<f64>(o).iter().map(|p| p.0 as f64 * p.1).sum();
                let expected = expected(o).min((size - 1) as f64);
                assert!((place - expected).abs() < 1e-12, "{size} to {out} at {o}");
            }
            let most = if axis.step > 0 { 2 * axis.unit.div_ceil(axis.step) + 1 } else { out };
            assert!(axis.readers(i).len() <= most, "{size} to {out}: {i}");
        }
    }
}
