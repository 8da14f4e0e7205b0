//! The k largest of each row, and which they are. No gradient.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{TopK, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 4], &[0.1, 0.9, 0.5, 0.9])?;
//! let found = run(&TopK { k: 2, labels: false }, &[&x])?;
//! assert_eq!((found[0].to_vec()?, found[1].to_vec()?), (vec![0.9, 0.9], vec![1.0, 3.0])); // of equals the first
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::Kernel;
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// The k largest of each row in descending order.
///
/// | value | shape | range |
/// |---|---|---|
/// | `x` | `[B, D]` | any; D at most 2^24, whose indices f32 holds |
/// | returns values | `[B, k]` | descending |
/// | returns indices | `[B, k]` | whole numbers below D |
/// | returns labels, if asked for | `[B, D]` | exactly k ones in each row, otherwise 0 |
///
/// Of equal values the one with the lowest index comes first. Some fixed order there must be, or which neighbours a row has
/// would depend on which thread saw which part of it (`torch.topk` leaves it open); the lowest is what a plain scan finds. NaN
/// ranks below everything, minus infinity
/// included: a row always has exactly k results, and NaN is among them only if fewer than k values are numbers.
///
/// # Errors
/// [`Error::Shape`] if `x` is not a matrix, k is 0, above 64 or above D, or D is above 2^24.
/// # Source
/// MLS, Eq. 7: the labels are 1 at the k most similar queue entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopK {
    /// How many of each row.
    pub k: usize,
    /// Whether to return dense labels too.
    pub labels: bool,
}

/// The most results of a row.
pub const MAX_K: usize = 64;
/// The longest row.
pub const MAX_COLUMNS: usize = 1 << 24;

/// Whether `a` ranks above `b` wherever they are.
fn beats<T: Real>(a: T, b: T) -> bool {
    a > b || (b.is_nan() && !a.is_nan())
}

/// The k largest of a row with their places, in the order of [`TopK`]; all of them if there are fewer.
pub(crate) fn largest<T: Real>(row: &[T], k: usize) -> Vec<(T, usize)> {
    let mut best: Vec<(T, usize)> = Vec::with_capacity(k);
    for (column, &value) in row.iter().enumerate() {
        if best.len() == k {
            if !beats(value, best[k - 1].0) {
                continue;
            }
            best.pop();
        }
        let at = best.partition_point(|&(other, _)| !beats(value, other));
        best.insert(at, (value, column));
    }
    best
}

impl Kernel for TopK {
    const NAME: &'static str = "top_k";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let fail = |what: String| Err(Error::shape(Self::NAME, what));
        let [x] = inputs else { return fail(format!("takes one matrix, got {inputs:?}")) };
        let &[rows, columns] = &x[..] else { return fail(format!("takes a matrix [B,D], got {x}")) };
        if self.k == 0 || self.k > columns || self.k > MAX_K {
            let most = columns.min(MAX_K);
            return fail(format!("k = {} of rows of {columns}: choose k from 1 to {most}", self.k));
        }
        if columns > MAX_COLUMNS {
            return fail(format!("rows of {columns}: choose a queue of at most {MAX_COLUMNS}"));
        }
        let result = Shape::from([rows, self.k]);
        let mut shapes = vec![result.clone(), result];
        shapes.extend(self.labels.then(|| Shape::clone(x)));
        Ok(shapes)
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (k, columns) = (self.k, x[0].shape[1]);
        let [values, indices, labels @ ..] = y else { unreachable!("top_k has at least two outputs") };
        let rows = x[0].data.par_chunks(columns);
        let results = values.data.par_chunks_mut(k).zip(indices.data.par_chunks_mut(k));
        rows.zip(results).for_each(|(row, (values, indices))| {
            for ((value, index), (v, column)) in values.iter_mut().zip(indices).zip(largest(row, k)) {
                *value = v;
                *index = T::of(column as f64);
            }
        });
        if let [labels] = labels {
            labels.data.fill(T::zero());
            for (labels, indices) in labels.data.chunks_mut(columns).zip(indices.data.chunks(k)) {
                for index in indices {
                    labels[index.f64() as usize] = T::one();
                }
            }
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let &[rows, columns] = &x[0].shape()[..] else { unreachable!("shapes was asked first") };
        let tensors: Vec<_> = [x[0]].into_iter().chain(y).map(|t| (t, t.shape().row())).collect();
        let entry = if self.labels { "labels" } else { "forward" };
        gpu.run_rows(rows, &tensors, |rows| {
            let params = [("rows", rows.len().into()), ("columns", columns.into()), ("k", self.k.into())];
            Dispatch::new(Self::NAME, entry, params, &[], rows.len())
        })
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, k, labels, shape: [usize; 2], draw| {
            Case::new(name, TopK { k, labels }, vec![Input::of(shape, draw)])
        };
        let normal = Draw::Normal { scale: 1.0, offset: 0.0 };
        vec![
            case("three of seven", 3, true, [5, 7], normal),
            case("ties", 20, true, [9, 131], Draw::Index(4)),
            case("all equal", 64, true, [2, 300], Draw::Index(1)),
            case("whole row", 37, false, [2, 37], normal),
            case("20 of 4096", 20, false, [3, 4096], normal),
            case("64 of 65536", 64, true, [1, 65_536], Draw::Uniform(0.5, 0.5001)),
            case("one of 70,001", 1, false, [2, 70_001], normal),
            case("one of one", 1, true, [1, 1], normal),
        ]
    }
}
