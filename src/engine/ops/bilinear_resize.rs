//! Images at other sizes by bilinear interpolation: dense feature maps on a grid of S x S cells.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{BilinearResize, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 1, 2, 1], &[0.0, 4.0])?;
//! assert_eq!(run(&BilinearResize { size: [1, 4] }, &[&x])?[0].to_vec()?, [0.0, 1.0, 3.0, 4.0]);
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

/// Bilinear interpolation, pixels taken as areas (`align_corners` false), without antialiasing.
///
/// ```text
/// s      = max((o + 1/2) in / out - 1/2, 0)     place of output o in the input, along each axis
/// y[o]   = (1 - f) x[l] + f x[min(l + 1, in - 1)]      with l = floor(s), f = s - l, first columns, then rows
/// ```
///
/// | value | shape |
/// |---|---|
/// | `x` | `[N, H, W, C]` |
/// | returns | `[N, size[0], size[1], C]` |
///
/// Gradient: `dx[i]` is the sum of `dy[o]` times its weight over all outputs o that read i, in ascending order.
/// A resize to the same size changes no bit. Places are counted in whole numbers of `1 / (2 out)`.
///
/// # Errors
/// [`Error::Shape`] if `x` is not `[N, H, W, C]`, or a side of either is 0 or above 32,768.
/// # Source
/// `torch.nn.functional.interpolate(mode="bilinear")`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BilinearResize {
    /// Height and width of the result.
    pub size: [usize; 2],
}

/// The longest side: twice the product of two sides must fit in 32 bits.
const MAX_SIDE: usize = 32_768;

/// One axis: sizes before and after.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    out: usize,
}

impl Axis {
    /// Both pixels that output `o` reads with their weights.
    fn pair<T: Real>(self, o: usize) -> [(usize, T); 2] {
        let place = ((2 * o + 1) * self.size).saturating_sub(self.out); // times 2 out
        let low = place / (2 * self.out);
        let weight = T::of((place % (2 * self.out)) as f64) / T::of((2 * self.out) as f64);
        [(low, T::one() - weight), ((low + 1).min(self.size - 1), weight)]
    }

    /// Those of the two that count: of weight 0 a pixel is not read, so that its infinity or NaN does not spread.
    fn read<T: Real>(self, o: usize) -> impl Iterator<Item = (usize, T)> {
        self.pair(o).into_iter().filter(|pair| pair.1 != T::zero())
    }

    /// The outputs that read input `i`: those whose place is from i - 1 to below i + 1.
    ///
    /// `(o + 1/2) size / out - 1/2 >= i - 1` is `2 o + 1 >= out (2 i - 1) / size`, so the first such o is half the
    /// right side rounded up. All later ones read `i` or what follows.
    fn readers(self, i: usize) -> Range<usize> {
        let first = |i: usize| match i {
            0 => 0,
            _ => ((self.out * (2 * i - 1)).div_ceil(self.size) / 2).min(self.out),
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

fn axes(x: &Shape, size: [usize; 2]) -> [Axis; 2] {
    [0, 1].map(|i| Axis { size: x[1 + i], out: size[i] })
}

/// Runs an entry point over the batch; the second tensor is written.
fn dispatch(
    gpu: &Gpu,
    entries: [&'static str; 2],
    x: &Shape,
    size: [usize; 2],
    tensors: [&Tensor; 2],
) -> Result<()> {
    let [read, written] = tensors.map(|t| (t, t.shape().row()));
    let by_four = x[3].is_multiple_of(4);
    let (entry, width) = if by_four { (entries[0], 4) } else { (entries[1], 1) };
    gpu.run_rows(x[0], &[read, written], |images| {
        let count = images.len() * written.1 / width;
        let params = [
            ("height", x[1].into()),
            ("width", x[2].into()),
            ("out_height", size[0].into()),
            ("out_width", size[1].into()),
            ("channels", (x[3] / width).into()),
            ("count", count.into()),
        ];
        Dispatch::new(BilinearResize::NAME, entry, params, &[], count.div_ceil(256))
    })
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
        let [rows, columns] = axes(shape, self.size);
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
        dispatch(gpu, ["forward", "forward_odd"], x[0].shape(), self.size, [x[0], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, shape: [usize; 4], size| {
            Case::new(name, BilinearResize { size }, vec![Input::normal(shape)])
        };
        let far = Input::of([1, 3, 4, 2], Draw::Normal { scale: 1.0, offset: 1e4 });
        vec![
            case("larger", [2, 5, 4, 8], [11, 9]),
            case("smaller", [2, 13, 9, 3], [4, 5]),
            case("down and across", [3, 4, 17, 5], [9, 3]),
            case("to one pixel", [2, 6, 7, 4], [1, 1]),
            case("from one pixel", [2, 1, 1, 65], [3, 4]),
            case("one row", [1, 1, 9, 1], [1, 31]),
            case("the same size", [2, 7, 5, 12], [7, 5]),
            Case::new("offset", BilinearResize { size: [7, 3] }, vec![far]),
        ]
    }
}

impl Differentiable for BilinearResize {
    fn twin_backward<T: Real>(&self, _saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let channels = dx.shape[3].max(1);
        let [rows, columns] = axes(dx.shape, self.size);
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
        dispatch(gpu, ["backward", "backward_odd"], dx.shape(), self.size, [dy, dx])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_exactly_the_outputs_that_read_an_input() {
        for (size, out) in (1..20).flat_map(|size| (1..20).map(move |out| (size, out))) {
            let axis = Axis { size, out };
            for i in 0..size {
                for o in 0..out {
                    let weight: f64 = axis.pair::<f64>(o).iter().filter(|p| p.0 == i).map(|p| p.1).sum();
                    assert!(weight == 0.0 || axis.readers(i).contains(&o), "{size} to {out}: {o} reads {i}");
                    let expected = ((o as f64 + 0.5) * size as f64 / out as f64 - 0.5).max(0.0);
                    let place: f64 = axis.pair::<f64>(o).iter().map(|p| p.0 as f64 * p.1).sum();
                    assert!(
                        (place - expected.min((size - 1) as f64)).abs() < 1e-12,
                        "{size} to {out} at {o}"
                    );
                }
                assert!(axis.readers(i).len() <= 2 * out.div_ceil(size) + 1, "{size} to {out}: {i}");
            }
        }
    }
}
