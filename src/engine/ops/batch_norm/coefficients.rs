//! What rows are normalised by.

use super::plan::{Bound::Block, Bound::Whole, NAME, Plan};
use super::twin;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::ops::kernel::Kernel;
use crate::engine::ops::{Case, Draw, Input};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// The coefficients of a batch norm, `[4, groups, C]`: mean, biased variance, `scale = gamma / sqrt(var + eps)`, `shift = beta`.
///
/// | by | inputs |
/// |---|---|
/// | `Batch` | `x` `[n, .., C]`, `gamma`, `beta` `[C]` |
/// | `Given` | `gamma`, `beta`, `mean`, `var` `[C]` |
///
/// It has no gradient of its own, but as part of a [`BatchNorm`](super::BatchNorm).
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit, or a group has one value per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Coefficients {
    /// The statistics of a batch.
    Batch {
        /// Groups of consecutive samples with statistics of their own; divides `n`.
        groups: usize,
        /// Added to the variance.
        eps: f32,
    },
    /// Statistics that are constants, the same for all samples: running ones, in evaluation.
    Given {
        /// Added to the variance.
        eps: f32,
    },
}

impl Coefficients {
    /// Groups of samples with coefficients of their own.
    pub fn groups(&self) -> usize {
        if let Coefficients::Batch { groups, .. } = *self { groups } else { 1 }
    }

    /// Added to the variance.
    pub fn eps(&self) -> f64 {
        let (Coefficients::Batch { eps, .. } | Coefficients::Given { eps }) = *self;
        f64::from(eps)
    }

    /// Whether they follow from x, so that its gradient flows through them too.
    pub fn is_batch(&self) -> bool {
        matches!(self, Coefficients::Batch { .. })
    }

    /// How many vectors `[C]` there are beside x.
    pub fn vectors(&self) -> usize {
        if self.is_batch() { 2 } else { 4 }
    }

    /// Their own inputs among x and the vectors.
    pub fn of<'a, X>(&self, x_and_vectors: &'a [X]) -> &'a [X] {
        if self.is_batch() { x_and_vectors } else { &x_and_vectors[1..] }
    }

    /// Their shape for x and vectors that fit it.
    pub(in crate::engine::ops) fn shape_of(&self, x: &Shape, vectors: &[&Shape]) -> Result<Shape> {
        let c = x.last().copied().unwrap_or(0);
        let fits = x.len() >= 2 && vectors.len() == self.vectors() && vectors.iter().all(|v| v[..] == [c]);
        if !fits || x.elements() == 0 {
            let detail = format!(
                "needs x [n,..,C] with at least one element and {} vectors [C], got {x} and {vectors:?}: check the \
                 channels of the layer before",
                self.vectors()
            );
            return Err(Error::shape(NAME, detail));
        }
        let groups = self.groups();
        if groups == 0 || !x[0].is_multiple_of(groups) {
            let detail =
                format!("{} samples do not split into {groups} equal groups: change the batch", x[0]);
            return Err(Error::shape(NAME, detail));
        }
        if self.is_batch() && x.elements() / c / groups < 2 {
            let detail =
                format!("one value per channel and group has no variance (x {x}): use a larger batch");
            return Err(Error::shape(NAME, detail));
        }
        Ok(Shape::from([4, groups, c]))
    }

    /// Writes them on the CPU; the inputs are those of the op.
    pub(in crate::engine::ops) fn twin_of<T: Real>(&self, x: &[View<T>], coefficients: &mut [T]) {
        let (stats, factors) = coefficients.split_at_mut(coefficients.len() / 2);
        let (gamma, beta) = match self {
            Coefficients::Batch { groups, .. } => {
                twin::statistics(x[0].data, x[1].data.len(), *groups, stats);
                (x[1].data, x[2].data)
            }
            Coefficients::Given { .. } => {
                let (mean, var) = stats.split_at_mut(x[0].data.len());
                mean.copy_from_slice(x[2].data);
                var.copy_from_slice(x[3].data);
                (x[0].data, x[1].data)
            }
        };
        twin::factors(gamma, beta, self.eps(), stats, factors);
    }

    /// Records the kernels that write them; the inputs are those of the op.
    pub(in crate::engine::ops) fn record(
        &self,
        gpu: &Gpu,
        x: &[&Tensor],
        coefficients: &Tensor,
    ) -> Result<()> {
        let plan = self.plan(gpu, x[0]);
        match (self, x) {
            (Coefficients::Batch { .. }, &[x, gamma, beta]) => {
                let blocks = plan.statistics(x)?;
                plan.over_blocks(gpu, "statistics_blocks", &[], &[Block(x), Whole(&blocks)])?;
                plan.merge(gpu, [&blocks, gamma, beta, coefficients])
            }
            (Coefficients::Given { .. }, &[gamma, beta, mean, var]) => {
                plan.given(gpu, &[mean, gamma, beta, var, coefficients])
            }
            _ => unreachable!("the shape rule has passed the inputs"),
        }
    }

    /// How their kernels cut the rows of x.
    pub(in crate::engine::ops) fn plan(&self, gpu: &Gpu, x: &Tensor) -> Plan {
        Plan::new(gpu, x.shape(), self.groups(), self.eps() as f32, false, self.is_batch())
    }
}

impl Kernel for Coefficients {
    const NAME: &'static str = "coefficients";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match (self, inputs) {
            (Coefficients::Batch { .. }, [x, vectors @ ..]) => Ok(vec![self.shape_of(x, vectors)?]),
            (_, [gamma, ..]) if gamma.len() == 1 => {
                Ok(vec![self.shape_of(&Shape::from([1, gamma[0]]), inputs)?])
            }
            _ => Err(Error::shape(Self::NAME, format!("{self:?} takes vectors [C], got {inputs:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        self.twin_of(x, y[0].data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.record(gpu, x, &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let batch = |name, groups, x: &[usize]| {
            let c = [x[x.len() - 1]];
            let inputs = vec![Input::normal(x), Input::normal(c), Input::normal(c)];
            Case::new(name, Coefficients::Batch { groups, eps: 1e-5 }, inputs)
        };
        let given = |name, c: usize| {
            let mut inputs = vec![Input::normal([c]); 3];
            inputs.push(Input::of([c], Draw::Positive));
            Case::new(name, Coefficients::Given { eps: 1e-5 }, inputs)
        };
        vec![
            batch("images, two groups", 2, &[4, 9, 7, 36]),
            batch("vectors, odd channels", 1, &[9, 7]),
            given("given", 300),
            given("given, odd channels", 7),
        ]
    }
}
