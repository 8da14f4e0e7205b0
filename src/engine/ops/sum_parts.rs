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
use crate::engine::device::deferred::MOST;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// The sums over the first dimension of up to four tensors.
#[derive(Clone, Copy, Debug)]
pub struct SumParts;

impl Kernel for SumParts {
    const NAME: &'static str = "sum_parts";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        if (1..=MOST).contains(&inputs.len()) && inputs.iter().all(|x| !x.is_empty()) {
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
        x.iter().zip(y).try_for_each(|(x, y)| gpu.sum_parts((*x).clone(), y.clone()))
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
