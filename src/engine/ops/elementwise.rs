//! The elementwise family: inputs of one shape, no broadcasting.
//!
//! | op | value | gradients |
//! |---|---|---|
//! | `Add` | `a + b` | `dy`, `dy` |
//! | `Sub` | `a - b` | `dy`, `-dy` |
//! | `Mul` | `a b` | `dy b`, `dy a` |
//! | `Scale(c)` | `c a` | `c dy` |
//! | `Relu` | `max(a, 0)`, NaN if `a` is | 0 where `y <= 0`, else `dy` |
//! | `AddRelu` | `max(a + b, 0)`, likewise | 0 where `y <= 0`, else `dy`, twice |

use super::kernel::{Differentiable, Kernel};
use super::{Case, Draw, Input};
use crate::engine::device::vector::vectorised;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// One of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elementwise {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a b`
    Mul,
    /// `c a`
    Scale(f32),
    /// `max(a, 0)`
    Relu,
    /// `max(a + b, 0)`
    AddRelu,
}

use Elementwise::*;

/// Elements per parallel task of the twin.
const CHUNK: usize = 1 << 14;

impl Elementwise {
    fn inputs(self) -> usize {
        if matches!(self, Scale(_) | Relu) { 1 } else { 2 }
    }

    /// `factor` of the kernel: that of `Scale`, or the sign of a gradient.
    /// The shader's constant `KIND`.
    fn kind(self) -> f64 {
        match self {
            Add => 0.0,
            Sub => 1.0,
            Mul => 2.0,
            Scale(_) => 3.0,
            Relu => 4.0,
            AddRelu => 5.0,
        }
    }

    fn factor(self) -> f32 {
        if let Scale(factor) = self { factor } else { 1.0 }
    }

    /// Runs one entry point.
    fn dispatch(self, gpu: &Gpu, entry: &'static str, factor: f32, tensors: [&Tensor; 3]) -> Result<()> {
        gpu.run_flat(Self::NAME, entry, &[("KIND", self.kind())], &tensors, &[("factor", factor.into())])
    }
}

/// `y = f(a, b)`, element by element.
fn map<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Sync) {
    y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK)).for_each(|((y, a), b)| {
        vectorised(
            #[inline(always)]
            || {
                for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                    *y = f(a, b);
                }
            },
        );
    });
}

impl Kernel for Elementwise {
    const NAME: &'static str = "elementwise";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let same = inputs.len() == self.inputs() && inputs.iter().all(|s| *s == inputs[0]);
        if same {
            Ok(vec![inputs[0].clone()])
        } else {
            Err(Error::shape(
                Self::NAME,
                format!("{self:?} needs {} inputs of one shape, got {inputs:?}", self.inputs()),
            ))
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (a, b) = (x[0].data, x[x.len() - 1].data);
        let zero = T::zero();
        let factor = T::of(f64::from(self.factor()));
        let y = &mut *y[0].data;
        match self {
            Add => map(a, b, y, |a, b| a + b),
            Sub => map(a, b, y, |a, b| a - b),
            Mul => map(a, b, y, |a, b| a * b),
            Scale(_) => map(a, b, y, |a, _| a * factor),
            // NaN stays NaN.
            Relu => map(a, b, y, |a, _| if a < zero { zero } else { a }),
            AddRelu => map(a, b, y, |a, b| if a + b < zero { zero } else { a + b }),
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.dispatch(gpu, "forward", self.factor(), [x[0], x[x.len() - 1], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        let pair = |draw| vec![Input::of([3, 5, 7], draw), Input::of([3, 5, 7], draw)];
        let normal = Draw::Normal { scale: 1.0, offset: 0.0 };
        vec![
            Case::new("add", Add, pair(normal)),
            Case::new("sub", Sub, pair(normal)),
            Case::new("mul", Mul, pair(normal)),
            Case::new("scale", Scale(-1.7), vec![Input::normal([2, 1025])]),
            Case::new("relu", Relu, vec![Input::of([4097], Draw::AwayFromZero)]),
            Case::new(
                "add_relu",
                AddRelu,
                vec![Input::of([9, 33], Draw::Distinct), Input::of([9, 33], Draw::Uniform(0.001, 0.01))],
            ),
            Case::new("one element", Add, vec![Input::normal([]), Input::normal([])]),
        ]
    }
}

impl Differentiable for Elementwise {
    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Tensor> {
        match self {
            Add | Sub | Scale(_) => vec![],
            Mul => vec![x[0].clone(), x[1].clone()],
            Relu | AddRelu => vec![y[0].clone()],
        }
    }

    fn activations(&self) -> &'static [usize] {
        if matches!(self, Relu | AddRelu) { &[0] } else { &[] }
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        for (input, dx) in dx.iter_mut().enumerate() {
            let Some(dx) = dx else { continue };
            let factor = T::of(f64::from(self.gradient_factor(input)));
            let other = self.gradient_other(input).map_or(dy.data, |i| saved[i].data);
            let zero = T::zero();
            match self {
                Relu | AddRelu => map(dy.data, other, dx.data, |dy, y| if y <= zero { zero } else { dy }),
                Mul => map(dy.data, other, dx.data, |dy, other| dy * other),
                Add | Sub | Scale(_) => map(dy.data, other, dx.data, |dy, _| dy * factor),
            }
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        for (input, dx) in dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            let other = self.gradient_other(input).map_or(dy, |i| saved[i]);
            self.dispatch(gpu, "backward", self.gradient_factor(input), [dy, other, dx])?;
        }
        Ok(())
    }
}

impl Elementwise {
    fn gradient_factor(self, input: usize) -> f32 {
        if self == Sub && input == 1 { -1.0 } else { self.factor() }
    }

    /// Which saved tensor an input's gradient reads besides `dy`.
    fn gradient_other(self, input: usize) -> Option<usize> {
        match self {
            Mul => Some(1 - input),
            Relu | AddRelu => Some(0),
            _ => None,
        }
    }
}
