//! Images several times as large, each pixel repeated.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Nearest, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 1, 2, 1], &[1.0, 2.0])?;
//! assert_eq!(run(&Nearest { factor: 2 }, &[&x])?[0].to_vec()?, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Kernel};
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// `y[n, f i + a, f j + b, c] = x[n,i,j,c]`, 0 <= a, b < f
///
/// | value | shape |
/// |---|---|
/// | `x` | `[N, H, W, C]` |
/// | returns | `[N, f H, f W, C]` |
///
/// Gradient: `dx` is the sum over the f x f repetitions, row by row.
///
/// # Errors
/// [`Error::Shape`] if `x` is not `[N, H, W, C]`, or f is 0.
/// # Source
/// FPN (Lin et al. 2017), Sec. 3: "we upsample the spatial resolution by a factor of 2 (using nearest neighbor upsampling)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// How many times each pixel is repeated along each axis, f.
    pub factor: usize,
}

impl Nearest {
    /// One thread for each element of `x` or `dx`, over the batch; the second tensor is written.
    fn dispatch(&self, gpu: &Gpu, entry: &'static str, small: &Shape, tensors: [&Tensor; 2]) -> Result<()> {
        let [read, written] = tensors.map(|t| (t, t.shape().row()));
        gpu.run_rows(small[0], &[read, written], |images| {
            let count = images.len() * small.row();
            let params = [
                ("width", small[2].into()),
                ("channels", small[3].into()),
                ("factor", self.factor.into()),
                ("count", count.into()),
            ];
            Dispatch::new(Self::NAME, entry, params, &[], count.div_ceil(256))
        })
    }
}

impl Kernel for Nearest {
    const NAME: &'static str = "nearest";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x] if x.len() == 4 && self.factor > 0 => {
                Ok(vec![Shape::from([x[0], self.factor * x[1], self.factor * x[2], x[3]])])
            }
            _ => Err(Error::shape(Self::NAME, format!("takes [N,H,W,C], got {inputs:?} and {self:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let channels = x[0].shape[3];
        let line = x[0].shape[2] * channels;
        if line == 0 {
            return;
        }
        let lines =
            y[0].data.par_chunks_mut(self.factor * self.factor * line).zip(x[0].data.par_chunks(line));
        lines.for_each(|(y, x)| {
            for y in y.chunks_exact_mut(self.factor * line) {
                for (y, x) in y.chunks_exact_mut(self.factor * channels).zip(x.chunks_exact(channels)) {
                    y.chunks_exact_mut(channels).for_each(|y| y.copy_from_slice(x));
                }
            }
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.dispatch(gpu, "forward", x[0].shape(), [x[0], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, x: [usize; 4], factor| Case::new(name, Nearest { factor }, vec![Input::normal(x)]);
        vec![
            case("twice", [2, 5, 7, 8], 2),
            case("twice, odd channels", [3, 4, 3, 5], 2),
            case("three times", [1, 3, 9, 65], 3),
            case("as it is", [2, 3, 4, 4], 1),
            case("one pixel", [4, 1, 1, 3], 2),
        ]
    }
}

impl Differentiable for Nearest {
    fn twin_backward<T: Real>(&self, _saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let channels = dx.shape[3];
        let line = dx.shape[2] * channels;
        if line == 0 {
            return;
        }
        let lines = dx.data.par_chunks_mut(line).zip(dy.data.par_chunks(self.factor * self.factor * line));
        lines.for_each(|(dx, dy)| {
            dx.fill(T::zero());
            for dy in dy.chunks_exact(self.factor * line) {
                for (dx, dy) in dx.chunks_exact_mut(channels).zip(dy.chunks_exact(self.factor * channels)) {
                    for dy in dy.chunks_exact(channels) {
                        dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy);
                    }
                }
            }
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, _saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        self.dispatch(gpu, "backward", dx.shape(), [dy, dx])
    }
}
