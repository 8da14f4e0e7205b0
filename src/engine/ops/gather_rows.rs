//! Rows of a tensor by their numbers.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{GatherRows, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [3, 2], &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0])?;
//! let index = Tensor::new(device, [2], &[2.0, 0.0])?;
//! assert_eq!(run(&GatherRows, &[&x, &index])?[0].to_vec()?, [20.0, 21.0, 0.0, 1.0]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Keep, Kernel};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// `y[i] = x[index[i]]` over the first dimension.
///
/// | value | shape | range |
/// |---|---|---|
/// | `x` | `[R, ..]` | any |
/// | `index` | `[N]` | whole numbers from 0 to R - 1, not differentiated |
/// | returns | `[N, ..]` | rows of `x` |
///
/// Gradient: `dx[r]` is the sum of `dy[i]` over all i with `index[i] = r`, in ascending order of i.
/// An index that names no row gives a row of NaN and no gradient.
///
/// # Errors
/// [`Error::Shape`] if `x` is a scalar or `index` is not a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatherRows;

/// Workgroup size of the kernels.
const WG: usize = 256;

/// The row that an index names, if there is one: not that of an index which is no whole number.
pub(super) fn row_of<T: Real>(index: T, rows: usize) -> Option<usize> {
    let index = index.f64();
    (index >= 0.0 && index < rows as f64 && index.fract() == 0.0).then_some(index as usize)
}

/// One dispatch for each pair of row ranges of `x` and `y` that bindings hold; those that share rows of `y`'s
/// side or of `x`'s side run in ascending order.
fn dispatch(gpu: &Gpu, entry: &'static str, x_shape: &Shape, tensors: [&Tensor; 3]) -> Result<()> {
    let (rows, columns) = (x_shape[0], x_shape.row());
    let part = |range: &Range<usize>| Some(range.start * columns..range.end * columns);
    for ys in gpu.row_chunks(tensors[1].elements(), columns) {
        for xs in gpu.row_chunks(rows, columns) {
            let forward = entry == "forward";
            let params = [
                ("count", ys.len().into()),
                ("columns", columns.into()),
                ("start", xs.start.into()),
                ("end", xs.end.into()),
                ("rows", rows.into()),
                ("first", u32::from(if forward { xs.start == 0 } else { ys.start == 0 }).into()),
                ("nan_bits", f32::NAN.to_bits().into()),
            ];
            let (read, written, groups) = match forward {
                true => (&xs, &ys, (ys.len() * columns).div_ceil(WG)),
                false => (&ys, &xs, xs.len() * columns.div_ceil(WG)),
            };
            gpu.run(Dispatch {
                tensors: vec![
                    (tensors[0], part(read)),
                    (tensors[1], Some(ys.clone())),
                    (tensors[2], part(written)),
                ],
                ..Dispatch::new(GatherRows::NAME, entry, params, &[], groups)
            })?;
        }
    }
    Ok(())
}

impl Kernel for GatherRows {
    const NAME: &'static str = "gather_rows";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x, index] if !x.is_empty() && index.len() == 1 => Ok(vec![x.with_rows(index[0])]),
            _ => Err(Error::shape(Self::NAME, format!("takes x [R,..] and index [N], got {inputs:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (rows, columns) = (x[0].shape[0], x[0].shape.row());
        if columns == 0 {
            return;
        }
        let pairs = y[0].data.par_chunks_mut(columns).zip(x[1].data);
        pairs.for_each(|(y, &index)| match row_of(index, rows) {
            Some(row) => y.copy_from_slice(&x[0].data[row * columns..(row + 1) * columns]),
            None => y.fill(T::nan()),
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        dispatch(gpu, "forward", x[0].shape(), [x[0], x[1], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, x: &[usize], count, draw| {
            Case::new(name, GatherRows, vec![Input::normal(x), Input::of([count], draw)])
        };
        vec![
            case("repeated rows", &[7, 3, 5], 11, Draw::Index(7)),
            case("permutation", &[65, 33], 65, Draw::Permutation),
            case("wide rows", &[3, 517], 2, Draw::Index(3)),
            case("from a vector", &[300], 70, Draw::Index(300)),
            case("no row", &[3, 5], 0, Draw::Index(3)),
        ]
    }
}

impl Differentiable for GatherRows {
    const VARIABLES: usize = 1;

    fn save(&self, x: &[&Tensor], _y: &[Tensor]) -> Vec<Keep> {
        vec![x[1].into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let Some(dx) = &mut dx[0] else { return };
        let (rows, columns) = (dx.shape[0], dx.shape.row());
        dx.data.fill(T::zero());
        if columns == 0 {
            return;
        }
        for (dy, &index) in dy.data.chunks(columns).zip(saved[0].data) {
            let Some(row) = row_of(index, rows) else { continue };
            for (dx, &dy) in dx.data[row * columns..].iter_mut().zip(dy) {
                *dx += dy;
            }
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        if saved[0].elements() == 0 {
            gpu.clear(dx, 0..dx.elements()); // no dispatch writes it
        }
        dispatch(gpu, "backward", dx.shape(), [dy, saved[0], dx])
    }
}
