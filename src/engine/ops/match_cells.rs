//! Matching cells of two maps of an image. No gradient.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{MatchCells, run}};
//! # let device = &Device::cpu();
//! let [f1, f2] = [[1.0, 0.0, 0.0, 1.0], [0.0, 2.0, 3.0, 0.0]].map(|cells| Tensor::new(device, [1, 2, 2], &cells));
//! assert_eq!(run(&MatchCells, &[&f1?, &f2?])?[0].to_vec()?, [1.0, 0.0]); // each has its like in the other place
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::Kernel;
use super::matmul::twin::matmul;
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// For each cell of `f1` the cell of the same image's `f2` with the largest dot product.
///
/// | value | shape | |
/// |---|---|---|
/// | `f1`, `f2` | `[N, P, C]` | P cells of C channels, of unit length for cosines |
/// | returns | `[N, P]` | `n P + argmax_j f1_ni . f2_nj`: a row of `f2` as `[N P, C]`; of equal ones the lowest, the first NaN over all |
///
/// # Errors
/// [`Error::Shape`] if the shapes differ or there are over 2^24 cells, whose numbers f32 could not hold.
/// # Source
/// DenseCL, Eq. 3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatchCells;

impl Kernel for MatchCells {
    const NAME: &'static str = "match_cells";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [f1, f2] if f1.len() == 3 && f1 == f2 && f1[0] * f1[1] <= 1 << 24 => {
                Ok(vec![Shape::from(&f1[..2])])
            }
            _ => Err(Error::shape(
                Self::NAME,
                format!("needs two maps [N,P,C] of up to 2^24 cells, got {inputs:?}"),
            )),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [_, cells, channels] = x[0].shape[..] else { unreachable!("three dimensions") };
        let size = (cells * channels).max(1);
        let images = x[0].data.par_chunks(size).zip(x[1].data.par_chunks(size));
        let index = y[0].data.par_chunks_mut(cells.max(1)).enumerate();
        index.zip(images).for_each_init(
            || vec![T::zero(); cells * cells],
            |similarities, ((image, index), (f1, f2))| {
                matmul(false, true, cells, cells, channels, f1, f2, None, similarities);
                for (index, row) in index.iter_mut().zip(similarities.chunks(cells)) {
                    let better = |best: usize, j: usize| {
                        let above = row[j] > row[best] || (row[j].is_nan() && !row[best].is_nan());
                        if above { j } else { best }
                    };
                    *index = T::of((image * cells + (1..cells).fold(0, better)) as f64);
                }
            },
        );
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let [images, cells, channels] = x[0].shape()[..] else { unreachable!("three dimensions") };
        let tensors = [(x[0], cells * channels), (x[1], cells * channels), (&y[0], cells)];
        gpu.run_rows(images, &tensors, |block| {
            let params = [
                ("images", block.len().into()),
                ("cells", cells.into()),
                ("channels", channels.into()),
                ("first", block.start.into()),
            ];
            let groups = block.len() * cells;
            let work = (groups * cells * channels) as u64;
            Dispatch { work, ..Dispatch::new(Self::NAME, "forward", params, &[], groups) }
        })
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, shape: [usize; 3]| {
            Case::new(name, MatchCells, vec![Input::normal(shape), Input::normal(shape)])
        };
        vec![
            case("odd", [3, 9, 33]),
            case("one cell", [4, 1, 5]),
            case("more channels than lanes", [2, 7, 300]),
            case("more cells than lanes", [1, 260, 4]),
        ]
    }
}
