//! Batch normalisation, with the residual addition and the relu that follow it in a ResNet.
//!
//! `y = act(gamma (x - mean) / sqrt(var + eps) + beta + residual)`, `act` being relu or nothing.
//!
//! Every dimension but the last (the channels) is averaged over. [`BatchNorm`] takes mean and biased variance from the
//! batch, split into groups of consecutive samples with statistics of their own; [`BatchNormEval`] is given them.
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

mod plan;
pub mod twin;

use super::kernel::{Differentiable, Kernel};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use bytemuck::bytes_of;
use plan::{Bound::Block, Bound::Whole, Given, Mask, Plan};
use twin::{Grads, Norm, Stats};

const NAME: &str = "batch_norm";

/// Normalisation by the statistics of the batch.
///
/// | tensor | shape |
/// |---|---|
/// | input `x` | `[n, .., C]` |
/// | inputs `gamma`, `beta` | `[C]` |
/// | input `residual` (may be left out) | as `x` |
/// | value `y` | as `x` |
/// | by-product `stats` | `[2, groups, C]`: mean, biased variance |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Groups of consecutive samples with statistics of their own; divides `n`.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Whether a relu follows.
    pub relu: bool,
}

/// Normalisation by given statistics, which get no gradient.
///
/// | tensor | shape |
/// |---|---|
/// | input `x` | `[n, .., C]` |
/// | inputs `gamma`, `beta`, `mean`, `var` | `[C]` |
/// | input `residual` (may be left out) | as `x` |
/// | value `y` | as `x` |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormEval {
    /// Added to the variance.
    pub eps: f32,
    /// Whether a relu follows.
    pub relu: bool,
}

/// The shape of `x` if all inputs fit: `vectors` of `[C]` behind `x`, then perhaps a residual.
fn check(inputs: &[&Shape], vectors: usize) -> Result<Shape> {
    let x = inputs[0];
    let c = x.last().copied().unwrap_or(0);
    let rest = inputs.get(1 + vectors..).unwrap_or(&[]);
    let fits = x.len() >= 2
        && inputs.len() > vectors
        && inputs[1..=vectors].iter().all(|v| v[..] == [c])
        && rest.len() <= 1
        && rest.iter().all(|residual| *residual == x);
    if fits && x.elements() > 0 {
        return Ok(x.clone());
    }
    Err(Error::shape(
        NAME,
        format!(
            "needs x [n,..,C] with at least one element, {vectors} vectors [C] and perhaps a residual like x, got \
             {inputs:?}: check the channels of the layer before"
        ),
    ))
}

impl BatchNorm {
    pub(super) fn norm<'a, T: Real>(&self, gamma: &'a [T], beta: &'a [T]) -> Norm<'a, T> {
        Norm { gamma, beta, groups: self.groups, eps: f64::from(self.eps), relu: self.relu }
    }

    fn plan(&self, gpu: &Gpu, x: &Tensor) -> Plan {
        Plan::new(gpu, x.shape(), self.groups, self.eps, self.relu, true)
    }

    /// Shape of the coefficients of a norm of C channels, `[4, groups, C]`: mean, biased variance,
    /// `scale = gamma / sqrt(var + eps)`, `shift = beta`.
    pub(super) fn coefficients_shape(&self, channels: usize) -> Shape {
        Shape::from([4, self.groups, channels])
    }

    /// Records the coefficients of x.
    pub(super) fn coefficients(&self, gpu: &Gpu, [x, gamma, beta, coefficients]: [&Tensor; 4]) -> Result<()> {
        let plan = self.plan(gpu, x);
        let blocks = plan.table(x, 2 * plan.groups * plan.blocks)?;
        plan.over_blocks(gpu, "statistics_blocks", &[], &[Block(x), Whole(&blocks)])?;
        plan.merge(gpu, [&blocks, gamma, beta, coefficients])
    }

    /// Room for the means and squared deviations of blocks of so many rows of `x`.
    pub(super) fn blocks(&self, gpu: &Gpu, x: &Tensor, rows: usize) -> Result<Tensor> {
        let plan = self.plan(gpu, x).cut(rows);
        plan.table(x, 2 * plan.groups * plan.blocks)
    }

    /// Records the coefficients of x from the statistics of its blocks of so many rows.
    pub(super) fn merge(
        &self,
        gpu: &Gpu,
        x: &Tensor,
        rows: usize,
        [blocks, gamma, beta, coefficients]: [&Tensor; 4],
    ) -> Result<()> {
        self.plan(gpu, x).cut(rows).merge(gpu, [blocks, gamma, beta, coefficients])
    }

    /// Records the backward pass where y was not kept: by x, gamma and the coefficients.
    pub(super) fn backward_without_y(
        &self,
        gpu: &Gpu,
        [x, gamma, coefficients]: [&Tensor; 3],
        dy: &Tensor,
        grads: [&Option<Tensor>; 3],
    ) -> Result<()> {
        let mask = Mask::Coefficients(coefficients);
        self.plan(gpu, x).backward(gpu, [x, dy], mask, [gamma, coefficients, coefficients], grads, None)
    }
}

impl Kernel for BatchNorm {
    const NAME: &'static str = NAME;
    const READS: u64 = 2;

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let x = check(inputs, 2)?;
        let c = x[x.len() - 1];
        if self.groups == 0 || !x[0].is_multiple_of(self.groups) {
            let detail =
                format!("{} samples do not split into {} equal groups: change the batch", x[0], self.groups);
            return Err(Error::shape(NAME, detail));
        }
        if x.elements() / c / self.groups < 2 {
            let detail =
                format!("one value per channel and group has no variance (x {x}): use a larger batch");
            return Err(Error::shape(NAME, detail));
        }
        Ok(vec![x, Shape::from([2, self.groups, c])])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [y, stats] = y else { unreachable!("two outputs") };
        let residual = x.get(3).map(|r| r.data);
        twin::forward(&self.norm(x[1].data, x[2].data), x[0].data, residual, y.data, stats.data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let plan = self.plan(gpu, x[0]);
        let blocks = plan.table(x[0], 2 * plan.groups * plan.blocks)?;
        plan.over_blocks(gpu, "statistics_blocks", &[], &[Block(x[0]), Whole(&blocks)])?;
        let residual = x.get(3).copied();
        let tensors = [
            Block(x[0]),
            Whole(&blocks),
            Whole(x[1]),
            Whole(x[2]),
            Block(residual.unwrap_or(x[0])),
            Whole(&y[1]),
            Block(&y[0]),
        ];
        let residual = residual.map(|_| "RESIDUAL");
        plan.over_blocks(gpu, plan.entry(["forward", "forward_odd"]), residual.as_slice(), &tensors)
    }

    fn cases() -> Vec<Case<Self>> {
        let op = |groups, relu| BatchNorm { groups, eps: 1e-5, relu };
        let inputs = |shape: &[usize], residual: bool| {
            let c = shape[shape.len() - 1];
            let mut inputs = vec![Input::normal(shape), Input::normal([c]), Input::normal([c])];
            inputs.extend(residual.then(|| Input::normal(shape)));
            inputs
        };
        let offset = Input::of([4, 9, 9, 5], Draw::Normal { scale: 1.0, offset: 30.0 });
        vec![
            Case::new("images", op(1, false), inputs(&[3, 4, 5, 6], false)),
            Case::new("65 channels", op(1, false), inputs(&[2, 5, 3, 65], false)),
            // Few elements with relu: none of them within a difference step of the kink.
            Case::new("relu", op(1, true), inputs(&[2, 3, 3, 5], false)),
            Case::new("residual and relu", op(1, true), inputs(&[2, 3, 2, 9], true)),
            Case::new("residual", op(1, false), inputs(&[2, 3, 3, 7], true)),
            Case::new("four groups, relu", op(4, true), inputs(&[8, 2, 2, 3], false)),
            Case::new("three groups of vectors", op(3, false), inputs(&[12, 11], false)),
            Case::new("two rows", op(1, false), inputs(&[2, 33], false)),
            Case::new("one channel, many rows", op(2, false), inputs(&[2, 37, 31, 1], false)),
            Case::new("several tiles and blocks", op(2, false), inputs(&[4, 9, 7, 36], true)),
            Case::new("more blocks than shares", op(1, false), inputs(&[2, 35, 30, 4], false)),
            Case::new("large mean", op(1, false), vec![offset, Input::normal([5]), Input::normal([5])]),
        ]
    }
}

impl Differentiable for BatchNorm {
    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Tensor> {
        let mut saved = vec![x[0].clone(), x[1].clone(), y[1].clone()];
        saved.extend(self.relu.then(|| y[0].clone()));
        saved
    }

    fn activations(&self) -> &'static [usize] {
        &[0, 3]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let (x, gamma, stats) = (saved[0].data, saved[1].data, saved[2].data);
        let y = saved.get(3).map_or(dy.data, |y| y.data);
        let (vectors, residual) = dx.split_at_mut(3);
        let [dx, dgamma, dbeta] = vectors else { unreachable!("three inputs at least") };
        let grads = twin_grads(dx, dgamma, dbeta, residual);
        twin::backward(&self.norm(gamma, &[]), true, Stats::new(stats), x, y, dy.data, grads);
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let (x, gamma, stats) = (saved[0], saved[1], saved[2]);
        let mask = Mask::Y(saved.get(3).copied().unwrap_or(dy));
        let grads = [&dx[0], &dx[1], &dx[2]];
        self.plan(gpu, x).backward(gpu, [x, dy], mask, [gamma, stats, stats], grads, dx.get(3))
    }
}

/// Records `y = act(scale (x - mean) + shift + residual)` by the coefficients: [`twin::apply`] on a GPU.
pub(super) fn apply(
    gpu: &Gpu,
    [x, coefficients, y]: [&Tensor; 3],
    relu: bool,
    residual: Option<&Tensor>,
) -> Result<()> {
    let plan = Plan::new(gpu, x.shape(), coefficients.shape()[1], 0.0, relu, true);
    plan.normalise(gpu, [x, y], Given::Coefficients(coefficients), residual)
}

impl BatchNormEval {
    fn norm<'a, T: Real>(&self, gamma: &'a [T], beta: &'a [T]) -> Norm<'a, T> {
        Norm { gamma, beta, groups: 1, eps: f64::from(self.eps), relu: self.relu }
    }
}

impl Kernel for BatchNormEval {
    const NAME: &'static str = NAME;

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        Ok(vec![check(inputs, 4)?])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let norm = self.norm(x[1].data, x[2].data);
        let stats = Stats { mean: x[3].data, var: x[4].data };
        twin::normalise(&norm, stats, x[0].data, x.get(5).map(|r| r.data), y[0].data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let plan = Plan::new(gpu, x[0].shape(), 1, self.eps, self.relu, false);
        plan.normalise(gpu, [x[0], &y[0]], Given::Statistics([x[3], x[1], x[2], x[4]]), x.get(5).copied())
    }

    fn cases() -> Vec<Case<Self>> {
        let inputs = |shape: &[usize], residual: bool| {
            let c = [shape[shape.len() - 1]];
            let mut inputs = vec![Input::normal(shape), Input::normal(c), Input::normal(c)];
            inputs.extend([Input::of(c, Draw::Constant), Input::of(c, Draw::Positive)]);
            inputs.extend(residual.then(|| Input::normal(shape)));
            inputs
        };
        let op = |relu| BatchNormEval { eps: 1e-5, relu };
        vec![
            Case::new("evaluation, images", op(false), inputs(&[3, 5, 6, 7], false)),
            Case::new("evaluation, vectors, relu", op(true), inputs(&[9, 20], false)),
            Case::new("evaluation, residual, relu", op(true), inputs(&[2, 3, 3, 5], true)),
        ]
    }
}

impl Differentiable for BatchNormEval {
    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Tensor> {
        let mut saved = vec![x[0].clone(), x[1].clone(), x[3].clone(), x[4].clone()];
        saved.extend(self.relu.then(|| y[0].clone()));
        saved
    }

    fn activations(&self) -> &'static [usize] {
        &[0, 4]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let y = saved.get(4).map_or(dy.data, |y| y.data);
        let stats = Stats { mean: saved[2].data, var: saved[3].data };
        let (vectors, residual) = dx.split_at_mut(5);
        let [dx, dgamma, dbeta, dmean, dvar] = vectors else { unreachable!("five inputs at least") };
        for constant in [dmean, dvar].into_iter().flatten() {
            constant.data.fill(T::zero());
        }
        let grads = twin_grads(dx, dgamma, dbeta, residual);
        twin::backward(&self.norm(saved[1].data, &[]), false, stats, saved[0].data, y, dy.data, grads);
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let plan = Plan::new(gpu, saved[0].shape(), 1, self.eps, self.relu, false);
        let mask = Mask::Y(saved.get(4).copied().unwrap_or(dy));
        for constant in dx[3..5].iter().flatten() {
            let params = plan.params();
            let groups = plan.channels.div_ceil(64);
            gpu.run(Dispatch::raw(NAME, "zero", bytes_of(&params), &[constant], groups))?;
        }
        let grads = [&dx[0], &dx[1], &dx[2]];
        plan.backward(gpu, [saved[0], dy], mask, [saved[1], saved[2], saved[3]], grads, dx.get(5))
    }
}

/// The twin's view of the wanted gradients.
pub(super) fn twin_grads<'a, T>(
    dx: &'a mut Option<ViewMut<'_, T>>,
    dgamma: &'a mut Option<ViewMut<'_, T>>,
    dbeta: &'a mut Option<ViewMut<'_, T>>,
    residual: &'a mut [Option<ViewMut<'_, T>>],
) -> Grads<'a, T> {
    let data = |v: &'a mut Option<ViewMut<'_, T>>| v.as_mut().map(|v| &mut *v.data);
    let dresidual = residual.first_mut().and_then(data);
    Grads { dx: data(dx), dgamma: data(dgamma), dbeta: data(dbeta), dresidual }
}
