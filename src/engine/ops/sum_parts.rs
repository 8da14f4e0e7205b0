//! Sums over the parts that a long product was cut into, of several tensors at once.
//!
//! `y_i = sum_p x_i[p]`, parts in ascending order.
//!
//! | value | shape |
//! |---|---|
//! | one to four inputs `x_i` | `[P_i, ..]` |
//! | returns `y_i` for each | `[..]` |

use super::kernel::Kernel;
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// The sums over the first dimension of up to four tensors.
#[derive(Clone, Copy, Debug)]
pub struct SumParts;

impl SumParts {
    /// Tensors that one dispatch sums: as many as there are bindings for.
    pub const MOST: usize = 4;

    /// Records the sums of up to [`SumParts::MOST`] pairs of parts and sum.
    ///
    /// # Errors
    /// [`Error::Limit`] if a tensor is over what the adapter can bind.
    pub fn record(gpu: &Gpu, pairs: &[[Tensor; 2]]) -> Result<()> {
        let [mut sizes, mut parts_of] = [[0; SumParts::MOST]; 2];
        let mut groups = 0;
        for (i, [parts, sum]) in pairs.iter().enumerate() {
            sizes[i] = sum.elements();
            parts_of[i] = parts.shape()[0];
            groups += sum.elements().div_ceil(256);
        }
        let [any, _] = &pairs[0];
        let unused = (pairs.len()..SumParts::MOST).map(|_| Tensor::uninit(any.device(), Shape::from([1])));
        let unused = unused.collect::<Result<Vec<_>>>()?;
        let parts = (0..SumParts::MOST).map(|i| pairs.get(i).map_or(any, |[parts, _]| parts));
        let sums = pairs.iter().map(|[_, sum]| sum).chain(&unused);
        let tensors: Vec<&Tensor> = parts.chain(sums).collect();
        gpu.run(Dispatch::new(
            SumParts::NAME,
            "forward",
            &[("sizes", sizes.into()), ("parts", parts_of.into())],
            &tensors,
            groups,
        ))
    }
}

impl Kernel for SumParts {
    const NAME: &'static str = "sum_parts";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        if (1..=SumParts::MOST).contains(&inputs.len()) && inputs.iter().all(|x| !x.is_empty()) {
            return Ok(inputs.iter().map(|x| Shape::from(x[1..].to_vec())).collect());
        }
        Err(Error::shape(Self::NAME, format!("takes one to four tensors [P,..], got {inputs:?}")))
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        for (x, y) in x.iter().zip(y) {
            let size = y.data.len().max(1);
            for (i, y) in y.data.iter_mut().enumerate() {
                *y = x.data.iter().skip(i).step_by(size).copied().sum();
            }
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let pairs: Vec<[Tensor; 2]> = x.iter().zip(y).map(|(x, y)| [(*x).clone(), y.clone()]).collect();
        SumParts::record(gpu, &pairs)
    }

    fn cases() -> Vec<Case<Self>> {
        vec![
            Case::new("one tensor", SumParts, vec![Input::normal([3, 7, 65])]),
            Case::new(
                "three tensors",
                SumParts,
                vec![Input::normal([5, 9]), Input::normal([1, 300]), Input::normal([2, 257])],
            ),
            Case::new(
                "four tensors",
                SumParts,
                vec![
                    Input::normal([2, 1]),
                    Input::normal([4, 256]),
                    Input::normal([3, 5]),
                    Input::normal([9, 3]),
                ],
            ),
        ]
    }
}
