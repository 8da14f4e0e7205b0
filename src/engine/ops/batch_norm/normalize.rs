//! Batch norm by coefficients that are there already.

use super::plan::Plan;
use super::twin;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::ops::kernel::Kernel;
use crate::engine::ops::{Case, Draw, Input};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// `y = act(scale (x - mean) + shift + residual)`, act being relu or nothing: what is left of a [`BatchNorm`](super::BatchNorm) once
/// there are coefficients.
///
/// | value | shape |
/// |---|---|
/// | `x` | `[n, .., C]` |
/// | coefficients | `[4, groups, C]`: mean, variance, scale, shift of groups of consecutive samples |
/// | `residual` (may be left out) | as `x` |
/// | returns `y` | as `x` |
///
/// It has no gradient of its own: a tape [records](crate::engine::autograd::Tape::record) its output as that of a
/// [`BatchNorm`](super::BatchNorm).
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalize {
    /// Whether a relu follows.
    pub relu: bool,
}

/// Records the kernels of [`Normalize`].
pub(super) fn record(
    gpu: &Gpu,
    [x, coefficients, y]: [&Tensor; 3],
    relu: bool,
    residual: Option<&Tensor>,
) -> Result<()> {
    let plan = Plan::new(gpu, x.shape(), coefficients.shape()[1], 0.0, relu, true);
    plan.normalise(gpu, [x, coefficients, y], residual)
}

impl Kernel for Normalize {
    const NAME: &'static str = "normalize";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        if let [x, coefficients] | [x, coefficients, _] = inputs
            && let &[4, groups, c] = &coefficients[..]
            && let [n, .., channels] = x[..]
            && c == channels
            && groups > 0
            && n.is_multiple_of(groups)
            && x.elements() > 0
            && inputs.get(2).is_none_or(|residual| residual == x)
        {
            return Ok(vec![(*x).clone()]);
        }
        let detail = "needs x [n,..,C], coefficients [4,groups,C] and perhaps a residual like x, got";
        Err(Error::shape(Self::NAME, format!("{detail} {inputs:?}: check the channels of the layer before")))
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (image, coefficients) = (x[0], x[1]);
        let size = [coefficients.shape[1], coefficients.shape[2]];
        let residual = x.get(2).map(|residual| residual.data);
        twin::apply(size, self.relu, coefficients.data, image.data, residual, y[0].data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        record(gpu, [x[0], x[1], &y[0]], self.relu, x.get(2).copied())
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, relu, groups, x: &[usize], residual: bool| {
            let coefficients = Input::of([4, groups, x[x.len() - 1]], Draw::Constant);
            let mut inputs = vec![Input::normal(x), coefficients];
            inputs.extend(residual.then(|| Input::normal(x)));
            Case::new(name, Normalize { relu }, inputs)
        };
        vec![
            case("images", false, 1, &[3, 5, 6, 8], false),
            case("odd channels, groups, relu", true, 2, &[4, 3, 3, 7], false),
            case("residual, relu", true, 2, &[4, 9, 7, 36], true),
            case("vectors, residual", false, 3, &[9, 5], true),
        ]
    }
}
