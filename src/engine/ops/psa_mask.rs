//! What PSANet predicts for offsets, as weights between pairs of positions.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{PsaMask, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?; // two positions; of each what is left of it, itself, right
//! let y = |collect| run(&PsaMask { mask: [1, 3], collect }, &[&x])?[0].to_vec();
//! assert_eq!(y(true)?, [2.0, 3.0, 4.0, 5.0]); // of each position its weights for both
//! assert_eq!(y(false)?, [2.0, 4.0, 3.0, 5.0]); // for each position those of both
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Kernel};
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Point-wise spatial attention's mask: of positions p = (r, s) and q = (i, j) of a map
///
/// ```text
/// m(p, q) = (i - r + (mask[0] - 1) / 2) mask[1] + j - s + (mask[1] - 1) / 2        the channel of their offset
/// collect      y[p, q] = x[p, m(p, q)]       what p collects from each q
/// distribute   y[q, p] = x[p, m(p, q)]       what each p distributes to q
/// ```
///
/// 0 where the offset is outside of the mask. A row of y is a position that gets something, its columns where that comes from: a softmax of
/// rows and a product with the map `[N, H W, C]` ([`super::Matmul`]) follow.
///
/// | value | shape |
/// |---|---|
/// | `x` | `[N, H, W, mask[0] mask[1]]` |
/// | returns | `[N, H W, H W]` |
///
/// Every pair has one channel and every channel of a position at most one pair: the gradient is a copy the other way, 0 for an offset that
/// leads out of the map.
///
/// # Errors
/// [`Error::Shape`] if `x` is not `[N, H, W, mask[0] mask[1]]` with a pixel.
/// # Source
/// PSANet (Zhao et al. 2018), Sec. 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PsaMask {
    /// Rows and columns of offsets; `2 H - 1` and `2 W - 1` reach from everywhere to everywhere.
    pub mask: [usize; 2],
    /// Whether rows are the positions that predict; else columns are.
    pub collect: bool,
}

impl PsaMask {
    /// Of the positions in row i of a map those that p = (r, s) has an offset to: their columns, and the channel of the first.
    fn run(&self, [r, s]: [usize; 2], i: usize, width: usize) -> (Range<usize>, usize) {
        let [down, across] = self.mask.map(|side| (side - 1) / 2);
        match (i + down).checked_sub(r).filter(|&row| row < self.mask[0]) {
            Some(row) => {
                let first = s.saturating_sub(across);
                let end = (s + self.mask[1] - across).min(width);
                (first..end, row * self.mask[1] + first + across - s)
            }
            None => (0..0, 0),
        }
    }

    /// One thread for each element of the second tensor, over the batch.
    fn dispatch(&self, gpu: &Gpu, entry: &'static str, x: &Shape, tensors: [&Tensor; 2]) -> Result<()> {
        let [read, written] = tensors.map(|t| (t, t.shape().row()));
        gpu.run_rows(x[0], &[read, written], |images| {
            let count = images.len() * written.1;
            let params = [
                ("size", [x[1], x[2]].into()),
                ("mask", self.mask.into()),
                ("collect", u32::from(self.collect).into()),
                ("count", count.into()),
            ];
            Dispatch::new(Self::NAME, entry, params, &[], count.div_ceil(256))
        })
    }
}

impl Kernel for PsaMask {
    const NAME: &'static str = "psa_mask";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x] if x.len() == 4
                && x.row() > 0
                && self.mask[0].checked_mul(self.mask[1]).is_some_and(|channels| channels == x[3]) =>
            {
                Ok(vec![Shape::from([x[0], x[1] * x[2], x[1] * x[2]])])
            }
            _ => {
                let detail = format!(
                    "takes [N,H,W,C], C the product of its mask's sides, got {inputs:?} and {self:?}"
                );
                Err(Error::shape(Self::NAME, detail))
            }
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let &[_, height, width, channels] = &x[0].shape[..] else { unreachable!("four dimensions") };
        let positions = height * width;
        // A task writes the lines of one row of the map.
        y[0].data.par_chunks_mut(width * positions).enumerate().for_each(|(line, y)| {
            y.fill(T::zero());
            let image = &x[0].data[line / height * positions * channels..];
            let row = line % height;
            if self.collect {
                for (s, y) in y.chunks_exact_mut(positions).enumerate() {
                    let from = &image[(row * width + s) * channels..];
                    for (i, y) in y.chunks_exact_mut(width).enumerate() {
                        let (columns, m) = self.run([row, s], i, width);
                        y[columns.clone()].copy_from_slice(&from[m..][..columns.len()]);
                    }
                }
                return;
            }
            for (p, from) in image.chunks_exact(channels).take(positions).enumerate() {
                let (columns, m) = self.run([p / width, p % width], row, width);
                for (column, &x) in columns.zip(&from[m..]) {
                    y[column * positions + p] = x;
                }
            }
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.dispatch(gpu, "forward", x[0].shape(), [x[0], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, [n, height, width]: [usize; 3], mask: [usize; 2], collect| {
            let x = Input::normal([n, height, width, mask[0] * mask[1]]);
            Case::new(name, PsaMask { mask, collect }, vec![x])
        };
        vec![
            case("collect, everywhere", [2, 3, 4], [5, 7], true),
            case("collect, near", [3, 5, 6], [3, 5], true),
            case("distribute, everywhere", [2, 3, 4], [5, 7], false),
            case("distribute, near", [1, 6, 5], [5, 3], false),
            case("larger than needed, even", [2, 4, 3], [12, 8], true),
            case("one position", [3, 1, 1], [3, 3], false),
        ]
    }
}

impl Differentiable for PsaMask {
    fn twin_backward<T: Real>(&self, _saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let &[_, height, width, channels] = &dx.shape[..] else { unreachable!("four dimensions") };
        let positions = height * width;
        dx.data.par_chunks_mut(width * channels).enumerate().for_each(|(line, dx)| {
            dx.fill(T::zero());
            let image = &dy.data[line / height * positions * positions..];
            let row = line % height;
            for (s, dx) in dx.chunks_exact_mut(channels).enumerate() {
                let p = row * width + s;
                for i in 0..height {
                    let (columns, m) = self.run([row, s], i, width);
                    let dx = &mut dx[m..][..columns.len()];
                    let q = i * width + columns.start;
                    if self.collect {
                        dx.copy_from_slice(&image[p * positions + q..][..dx.len()]);
                    } else {
                        dx.iter_mut().enumerate().for_each(|(k, dx)| *dx = image[(q + k) * positions + p]);
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
