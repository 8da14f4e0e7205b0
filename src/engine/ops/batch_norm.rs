//! Batch normalisation, with the residual addition and the relu that follow it in a ResNet.
//!
//! `y = act(gamma (x - mean) / sqrt(var + eps) + beta + residual)`, `act` being relu or nothing.
//!
//! Every dimension but the last (the channels) is averaged over. Whatever a norm normalises by is made
//! [coefficients](Coefficients) first; what is left is [`Normalize`]. A convolution may make the coefficients while it writes x, and
//! another normalise x as it reads it ([`super::conv_norm`]); the gradient is the same.
//!
//! With `dz` 0 where relu gives `y <= 0` and dy elsewhere, `xhat = (x - mean) / sqrt(var + eps)` and means over a group:
//!
//! | gradient | batch statistics | given statistics |
//! |---|---|---|
//! | dx | `gamma / sqrt(var + eps) (dz - mean(dz) - xhat mean(dz xhat))` | `gamma / sqrt(var + eps) dz` |
//! | dgamma | `sum dz xhat` | the same |
//! | dbeta | `sum dz` | the same |
//! | dresidual | `dz` | the same |
//!
//! Source: Ioffe and Szegedy 2015, algorithms 1 and 2; groups: He et al. 2020 (MoCo), section 3.3.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{BatchNorm, Coefficients, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [2, 1], &[1.0, 3.0])?;
//! let [gamma, beta] = [1.0, 0.0].map(|value| Tensor::full(device, [1], value));
//! let norm = BatchNorm { by: Coefficients::Batch { groups: 1, eps: 0.0 }, relu: false };
//! assert_eq!(run(&norm, &[&x, &gamma?, &beta?])?[0].to_vec()?, [-1.0, 1.0]);
//! # Ok::<(), vista::Error>(())
//! ```

mod coefficients;
mod normalize;
mod plan;
mod ranks;
pub(crate) mod twin;

pub use coefficients::Coefficients;
pub use normalize::Normalize;
pub(super) use plan::Mask;
pub use ranks::{Norms, Ranks, over_ranks};

use super::kernel::{Differentiable, Keep, Kernel};
use super::{Case, Draw, Input};
use crate::engine::device::scratch::with_scratch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use plan::{NAME, Plan};
use twin::{Norm, Stats};

/// A norm with its coefficients, residual and relu.
///
/// | tensor | shape |
/// |---|---|
/// | input `x` | `[n, .., C]` |
/// | inputs `gamma`, `beta`; `mean`, `var` if they are given, which get no gradient | `[C]` |
/// | input `residual` (may be left out) | as `x` |
/// | value `y` | as `x` |
/// | by-product `coefficients` | `[4, groups, C]`: mean, biased variance, `gamma / sqrt(var + eps)`, beta |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// What it normalises by.
    pub by: Coefficients,
    /// Whether a relu follows.
    pub relu: bool,
}

impl BatchNorm {
    pub(super) fn plan(&self, gpu: &Gpu, x: &Shape) -> Plan {
        Plan::new(gpu, x, self.by.groups(), self.by.eps() as f32, self.relu, self.by.is_batch())
    }

    /// The inputs of [`Coefficients`] among these, and the residual.
    fn split<'a, X: Copy>(&self, inputs: &'a [X]) -> (&'a [X], Option<X>) {
        let end = (1 + self.by.vectors()).min(inputs.len());
        (self.by.of(&inputs[..end]), inputs.get(end).copied())
    }

    /// The twin's backward pass from `y`, or with relu from anything that is positive where y is.
    pub(super) fn twin_backward_from<T: Real>(
        &self,
        [x, gamma, coefficients]: [&[T]; 3],
        [y, dy]: [&[T]; 2],
        grads: [Option<&mut [T]>; 4],
    ) {
        let stats = Stats::new(&coefficients[..coefficients.len() / 2]);
        let BatchNorm { by, relu } = *self;
        let norm = Norm { gamma, groups: by.groups(), eps: by.eps(), relu, batch_stats: by.is_batch() };
        twin::backward(&norm, stats, [x, y, dy], grads);
    }
}

impl Kernel for BatchNorm {
    const NAME: &'static str = NAME;
    const READS: u64 = 2;

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let x = inputs[0];
        let (vectors, residual) = (inputs.get(1..=self.by.vectors()), inputs.get(1 + self.by.vectors()..));
        let (Some(vectors), Some([] | [_])) = (vectors, residual) else {
            let detail =
                format!("needs x, {} vectors and perhaps a residual, got {inputs:?}", self.by.vectors());
            return Err(Error::shape(NAME, detail));
        };
        let coefficients = self.by.shape_of(x, vectors)?;
        match residual {
            Some([residual]) if *residual != x => {
                Err(Error::shape(NAME, format!("the residual {residual} is not like x {x}")))
            }
            _ => Ok(vec![x.clone(), coefficients]),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [y, coefficients] = y else { unreachable!("two outputs") };
        let (of, residual) = self.split(x);
        self.by.twin_of(of, coefficients.data);
        let size = [self.by.groups(), x[1].data.len()];
        let residual = residual.map(|r| r.data);
        twin::apply(size, self.relu, coefficients.data, x[0].data, residual, y.data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let (of, residual) = self.split(x);
        self.by.record(gpu, of, &y[1])?;
        normalize::record(gpu, [x[0], &y[1], &y[0]], self.relu, residual)
    }

    fn cases() -> Vec<Case<Self>> {
        let batch = |groups, relu| BatchNorm { by: Coefficients::Batch { groups, eps: 1e-5 }, relu };
        let given = |relu| BatchNorm { by: Coefficients::Given { eps: 1e-5 }, relu };
        let case = |name, op: BatchNorm, shape: &[usize], residual: bool| {
            let c = [shape[shape.len() - 1]];
            let mut inputs = vec![Input::normal(shape), Input::normal(c), Input::normal(c)];
            if !op.by.is_batch() {
                inputs.extend([Input::of(c, Draw::Constant), Input::of(c, Draw::Positive)]);
            }
            inputs.extend(residual.then(|| Input::normal(shape)));
            Case::new(name, op, inputs)
        };
        let offset = Input::of([4, 9, 9, 5], Draw::Normal { scale: 1.0, offset: 30.0 });
        vec![
            case("images", batch(1, false), &[3, 4, 5, 6], false),
            case("65 channels", batch(1, false), &[2, 5, 3, 65], false),
            // Few elements with relu: none of them within a difference step of the kink.
            case("relu", batch(1, true), &[2, 3, 3, 5], false),
            case("residual and relu", batch(1, true), &[2, 3, 2, 9], true),
            case("residual", batch(1, false), &[2, 3, 3, 7], true),
            case("four groups, relu", batch(4, true), &[8, 2, 2, 3], false),
            case("three groups of vectors", batch(3, false), &[12, 11], false),
            case("two rows", batch(1, false), &[2, 33], false),
            case("one channel, many rows", batch(2, false), &[2, 37, 31, 1], false),
            case("several tiles and blocks", batch(2, false), &[4, 9, 7, 36], true),
            case("more blocks than shares", batch(1, false), &[2, 35, 30, 4], false),
            Case::new("large mean", batch(1, false), vec![offset, Input::normal([5]), Input::normal([5])]),
            case("evaluation, images", given(false), &[3, 5, 6, 7], false),
            case("evaluation, vectors, relu", given(true), &[9, 20], false),
            case("evaluation, residual, relu", given(true), &[2, 3, 3, 5], true),
        ]
    }
}

impl Differentiable for BatchNorm {
    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        let mut saved = vec![Keep::Activation(x[0].clone()), x[1].into(), (&y[1]).into()];
        saved.extend(self.relu.then(|| Keep::Activation(y[0].clone())));
        saved
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let [x, gamma, coefficients] = [0, 1, 2].map(|i| saved[i].data);
        let y = saved.get(3).map_or(dy.data, |y| y.data);
        let (vectors, residual) = dx.split_at_mut(1 + self.by.vectors());
        let [dx, dgamma, dbeta, given @ ..] = vectors else { unreachable!("three inputs at least") };
        for constant in given.iter_mut().flatten() {
            constant.data.fill(T::zero());
        }
        let grads = [data(dx), data(dgamma), data(dbeta), residual.first_mut().and_then(data)];
        self.twin_backward_from([x, gamma, coefficients], [y, dy.data], grads);
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let (x, gamma, coefficients) = (saved[0], saved[1], saved[2]);
        let (vectors, residual) = dx.split_at(1 + self.by.vectors());
        for constant in vectors[3..].iter().flatten() {
            gpu.clear(constant, 0..constant.elements());
        }
        let mask = Mask::Y(saved.get(3).copied().unwrap_or(dy));
        let grads = [&dx[0], &dx[1], &dx[2]];
        let plan = self.plan(gpu, x.shape());
        plan.backward(gpu, [x, dy], mask, [gamma, coefficients], grads, residual.first())
    }
}

/// What a twin is to write of a gradient that may not be wanted.
pub(super) fn data<'a, T>(dx: &'a mut Option<ViewMut<'_, T>>) -> Option<&'a mut [T]> {
    dx.as_mut().map(|dx| &mut *dx.data)
}

/// An activation `[n, .., C]` that may wait for its norm and relu: with coefficients `[4, groups, C]` (mean, variance, scale,
/// shift of each group of samples) it stands for `relu(scale (x - mean) + shift)`.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::ops) struct Waiting<X> {
    pub x: X,
    pub coefficients: Option<X>,
}

impl<X> From<X> for Waiting<X> {
    fn from(x: X) -> Waiting<X> {
        Waiting { x, coefficients: None }
    }
}

impl<T: Real> Waiting<View<'_, T>> {
    /// Calls `f` with what it stands for, in memory that is free again afterwards.
    pub fn with<R>(&self, f: impl FnOnce(&[T]) -> R) -> R {
        let Some(coefficients) = self.coefficients else { return f(self.x.data) };
        with_scratch(self.x.data.len(), |a: &mut [T]| {
            let size = [coefficients.shape[1], coefficients.shape[2]];
            twin::apply(size, true, coefficients.data, self.x.data, None, a);
            f(a)
        })
    }
}

impl Waiting<&Tensor> {
    /// 0 where nothing is left to apply.
    pub fn groups(&self) -> usize {
        self.coefficients.map_or(0, |coefficients| coefficients.shape()[1])
    }

    /// Calls `f` with it as it is if it is to be normalised `on_load`, or with what a pass before has made of it.
    pub fn read(
        self,
        gpu: &Gpu,
        on_load: bool,
        f: impl FnOnce(Waiting<&Tensor>) -> Result<()>,
    ) -> Result<()> {
        let Some(coefficients) = self.coefficients.filter(|_| !on_load) else { return f(self) };
        let y = Tensor::uninit(self.x.device(), self.x.shape().clone())?;
        normalize::record(gpu, [self.x, coefficients, &y], true, None)?;
        f(Waiting::from(&y))
    }
}
