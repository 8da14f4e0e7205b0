//! Images as a few large cells, each the mean of the pixels under it: PSPNet's pyramid.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{AdaptiveAvgPool, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 1, 3, 1], &[1.0, 2.0, 6.0])?; // one row of three pixels
//! assert_eq!(run(&AdaptiveAvgPool { bins: [1, 2] }, &[&x])?[0].to_vec()?, [1.5, 4.0]); // the one in the middle is under both
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Kernel};
use super::{Case, Input, Over, Reduce};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// `y[n,i,j,c] = mean of x[n,a,b,c] over the rows a under bin i and the columns b under bin j`
///
/// ```text
/// under bin i of b, along an axis of h pixels: floor(i h / b) .. ceil((i + 1) h / b)
/// over pixel a                               : floor(a b / h) .. ceil((a + 1) b / h)      the same with the roles exchanged
/// ```
///
/// Bins overlap by a pixel where their number does not divide the side, and more bins than pixels repeat these. One bin is global average
/// pooling, and the same kernel: [`Reduce`] over [`Over::Pixels`].
///
/// | value | shape |
/// |---|---|
/// | `x` | `[N, H, W, C]` |
/// | returns | `[N, bins[0], bins[1], C]` |
///
/// Gradient: `dx` at a pixel is the sum over its bins, in ascending order, of `dy` divided by the bin's pixels.
///
/// # Errors
/// [`Error::Shape`] if `x` is not `[N, H, W, C]`, or a side of either is 0 or above 32,768.
/// # Source
/// `torch.nn.AdaptiveAvgPool2d`; PSPNet (Zhao et al. 2017), Sec. 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool {
    /// Rows and columns of the result.
    pub bins: [usize; 2],
}

/// The longest side: the product of two must fit in 32 bits.
const MAX_SIDE: usize = 32_768;

/// What lies under element i of `of` along an axis that is cut into `size` elements otherwise.
fn under(i: usize, of: usize, size: usize) -> Range<usize> {
    i * size / of..((i + 1) * size).div_ceil(of)
}

/// `y += x`
fn add<T: Real>(y: &mut [T], x: &[T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
}

impl AdaptiveAvgPool {
    /// The reduction that it is.
    fn global(&self) -> Option<Reduce> {
        (self.bins == [1, 1]).then_some(Reduce { over: Over::Pixels, mean: true })
    }

    /// Runs an entry point over the batch, in so many workgroups an image; the second tensor is written.
    fn dispatch(
        &self,
        gpu: &Gpu,
        entry: &'static str,
        x: &Shape,
        [read, written]: [&Tensor; 2],
        groups: impl Fn(usize) -> usize,
    ) -> Result<()> {
        let tensors = [read, written].map(|t| (t, t.shape().row()));
        gpu.run_rows(x[0], &tensors, |images| {
            let params = [
                ("size", [x[1], x[2]].into()),
                ("bins", self.bins.into()),
                ("channels", x[3].into()),
                ("images", images.len().into()),
            ];
            Dispatch::new(Self::NAME, entry, params, &[], groups(images.len()))
        })
    }
}

impl Kernel for AdaptiveAvgPool {
    const NAME: &'static str = "adaptive_avg_pool";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let [rows, columns] = self.bins;
        let fits = |side: usize| (1..=MAX_SIDE).contains(&side);
        match inputs {
            [x] if x.len() == 4 && [x[1], x[2], rows, columns].into_iter().all(fits) => {
                Ok(vec![Shape::from([x[0], rows, columns, x[3]])])
            }
            _ => {
                let detail = format!(
                    "takes [N,H,W,C] of sides from 1 to {MAX_SIDE}, got {inputs:?} to {:?}",
                    self.bins
                );
                Err(Error::shape(Self::NAME, detail))
            }
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let &[n, height, width, channels] = &x[0].shape[..] else { unreachable!("four dimensions") };
        if n * channels == 0 {
            return;
        }
        if let Some(reduce) = self.global() {
            return reduce.twin(x, y);
        }
        let [rows, columns] = self.bins;
        y[0].data.par_chunks_mut(columns * channels).enumerate().for_each(|(line, y)| {
            let image = &x[0].data[line / rows * height * width * channels..];
            let down = under(line % rows, rows, height);
            y.fill(T::zero());
            let mut sums = vec![T::zero(); y.len()];
            for row in down.clone() {
                sums.fill(T::zero());
                for (j, sum) in sums.chunks_exact_mut(channels).enumerate() {
                    for column in under(j, columns, width) {
                        add(sum, &image[(row * width + column) * channels..]);
                    }
                }
                add(y, &sums);
            }
            for (j, y) in y.chunks_exact_mut(channels).enumerate() {
                let count = T::of((down.len() * under(j, columns, width).len()) as f64);
                y.iter_mut().for_each(|y| *y /= count);
            }
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        if let Some(reduce) = self.global() {
            return reduce.gpu(gpu, x, y);
        }
        let shape = x[0].shape();
        let each = self.bins[0] * self.bins[1] * shape[3].div_ceil(32);
        self.dispatch(gpu, "forward", shape, [x[0], &y[0]], |images| images * each)
    }

    fn cases() -> Vec<Case<Self>> {
        let case =
            |name, x: [usize; 4], bins| Case::new(name, AdaptiveAvgPool { bins }, vec![Input::normal(x)]);
        vec![
            case("one bin", [3, 7, 5, 33], [1, 1]),
            case("two", [2, 8, 6, 4], [2, 2]),
            case("three, overlapping", [2, 10, 8, 65], [3, 3]),
            case("six", [1, 13, 10, 40], [6, 6]),
            case("more bins than pixels", [2, 5, 4, 3], [6, 9]),
            case("as it is", [2, 3, 4, 5], [3, 4]),
        ]
    }
}

impl Differentiable for AdaptiveAvgPool {
    fn twin_backward<T: Real>(&self, _saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let &[n, height, width, channels] = &dx.shape[..] else { unreachable!("four dimensions") };
        if n * channels == 0 {
            return;
        }
        let [rows, columns] = self.bins;
        dx.data.par_chunks_mut(width * channels).enumerate().for_each(|(line, dx)| {
            dx.fill(T::zero());
            for i in under(line % height, height, rows) {
                let dy = &dy.data[(line / height * rows + i) * columns * channels..];
                let down = under(i, rows, height).len();
                for (column, dx) in dx.chunks_exact_mut(channels).enumerate() {
                    for j in under(column, width, columns) {
                        let share = T::one() / T::of((down * under(j, columns, width).len()) as f64);
                        dx.iter_mut().zip(&dy[j * channels..]).for_each(|(dx, &dy)| *dx += dy * share);
                    }
                }
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, _saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        let each = dx.shape().row();
        self.dispatch(gpu, "backward", dx.shape(), [dy, dx], |images| (images * each).div_ceil(256))
    }
}
