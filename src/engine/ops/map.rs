//! Functions of each element on its own, of one or two inputs, with broadcasting.
//!
//! | function | value | gradients |
//! |---|---|---|
//! | `Add` | `a + b` | `dy`, `dy` |
//! | `Sub` | `a - b` | `dy`, `-dy` |
//! | `Mul` | `a b` | `dy b`, `dy a` |
//! | `Div` | `a / b` | `dy / b`, `-dy a / b^2` |
//! | `Max`, `Min` | the larger, the smaller; NaN if one is | `dy` where it is a's, where it is b's; half each where equal |
//! | `Scale(c)` | `c a` | `c dy` |
//! | `Offset(c)` | `a + c` | `dy` |
//! | `Exp`, `Log`, `Sqrt` | `exp a`, `ln a`, the square root | `dy y`, `dy / a`, `dy / (2 y)`: infinite at 0 |
//! | `Square`, `Abs` | `a^2`, the absolute value | `2 a dy`, `sign(a) dy`: 0 at 0 |
//! | `Sigmoid` | `1 / (1 + exp(-a))` | `dy y (1 - y)` |
//! | `Softplus` | `ln(1 + exp a)` without overflow | `dy sigmoid(a)` |
//! | `Relu` | `max(a, 0)`, NaN if `a` is | 0 where `y <= 0`, else `dy` |
//! | `Clamp(low, high)` | the nearest in the range, NaN if `a` is | `dy` inside and on the bounds, else 0 |
//!
//! Of two inputs the shapes are lined up at their ends; a dimension that is 1 or missing in one of them is repeated, and its
//! gradient is the sum over the repetitions: `[B, D]` with `[B, 1]`, `[D]` or `[]`. Gradients at kinks, of NaN and of
//! infinity are those of PyTorch.
//!
//! A further function is an entry of [`Map`] with its row in `Map::table` and `Map::kind`, and a case in each of
//! `value` and `gradient` of the shader.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Map, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [2, 2], &[1.0, 2.0, 3.0, 4.0])?;
//! let row = Tensor::new(device, [2], &[10.0, 20.0])?; // repeated for each row of x
//! assert_eq!(run(&Map::Add, &[&x, &row])?[0].to_vec()?, [11.0, 22.0, 13.0, 24.0]);
//! # Ok::<(), vista::Error>(())
//! ```

mod broadcast;
mod table;

pub use table::Map;

use super::kernel::{Differentiable, Keep, Kernel};
use super::reduce::{sum_axis, sum_axis_twin};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::Result;
use broadcast::{Broadcast, Operand};

use Map::*;

/// What gradients read besides `dy`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    Inputs,
    Value,
}

impl Map {
    fn inputs(self) -> usize {
        if matches!(self, Add | Sub | Mul | Div | Max | Min) { 2 } else { 1 }
    }

    fn reads(self) -> Reads {
        match self {
            Add | Sub | Scale(_) | Offset(_) => Reads::Nothing,
            Exp | Sqrt | Sigmoid | Relu => Reads::Value,
            _ => Reads::Inputs,
        }
    }

    /// The inputs and the value as backward has them, `dy` standing for what it does not read.
    fn saved<X: Copy>(self, saved: &[X], dy: X) -> [X; 3] {
        match self.reads() {
            Reads::Nothing => [dy; 3],
            Reads::Inputs => [saved[0], saved[saved.len() - 1], dy],
            Reads::Value => [dy, dy, saved[0]],
        }
    }
}

/// Runs an entry point over the elements of `shape`, the last tensor being written. Of the operands a and b, which come
/// first, either may be repeated.
fn dispatch(
    op: Map,
    gpu: &Gpu,
    entries: [&'static str; 2],
    second: bool,
    shape: &Shape,
    tensors: &[&Tensor],
) -> Result<()> {
    let repeat =
        Broadcast::of(shape, [tensors[0].shape(), tensors[1].shape()]).expect("shapes was asked first");
    let operands = repeat.operands();
    let strided = operands.contains(&Operand::Strided);
    let (low, high) = match op {
        Scale(c) | Offset(c) => (c, c),
        Clamp(low, high) => (low, high),
        _ => (0.0, 0.0),
    };
    let place = |operand: Operand| operand as u32 as f64;
    let size = |i: usize| match operands.get(i) {
        Some(Operand::One | Operand::Strided) => 0,
        _ => 1,
    };
    let tensors: Vec<_> = tensors.iter().enumerate().map(|(i, tensor)| (*tensor, size(i))).collect();
    gpu.run_rows(shape.elements(), &tensors, |range| {
        let threads = if strided { range.len() } else { range.len().div_ceil(4) };
        let params = [
            ("count", threads.into()),
            ("start", range.start.into()),
            ("low", low.into()),
            ("high", high.into()),
            ("sizes", repeat.sizes.into()),
            ("a_strides", repeat.strides[0].into()),
            ("b_strides", repeat.strides[1].into()),
        ];
        Dispatch {
            constants: vec![
                ("KIND", op.kind()),
                ("SECOND", f64::from(u8::from(second))),
                ("A", place(operands[0])),
                ("B", place(operands[1])),
            ],
            ..Dispatch::new(Map::NAME, entries[usize::from(strided)], params, &[], threads.div_ceil(256))
        }
    })
}

impl Kernel for Map {
    const NAME: &'static str = "map";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        broadcast::shape(self, self.inputs(), inputs).map(|shape| vec![shape])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [a, b] = [x[0], x[x.len() - 1]];
        let repeat = Broadcast::of(y[0].shape, [a.shape, b.shape]).expect("shapes was asked first");
        self.table(table::Forward { repeat: &repeat, a: a.data, b: b.data, y: y[0].data });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let tensors = [x[0], x[x.len() - 1], &y[0]];
        dispatch(*self, gpu, ["forward", "forward_repeated"], false, y[0].shape(), &tensors)
    }

    fn cases() -> Vec<Case<Self>> {
        let normal = Draw::Normal { scale: 1.0, offset: 0.0 };
        let one = |name, op, draw| Case::new(name, op, vec![Input::of([3, 5, 7], draw)]);
        let two = |name, op, a: &[usize], b: &[usize], draw| {
            Case::new(name, op, vec![Input::of(a, draw), Input::of(b, draw)])
        };
        let same: &[usize] = &[3, 5, 7];
        vec![
            two("add", Add, same, same, normal),
            two("sub", Sub, same, same, normal),
            two("mul", Mul, same, same, normal),
            two("div", Div, same, same, Draw::AwayFromZero),
            two("max", Max, same, same, normal),
            two("min", Min, same, same, normal),
            Case::new("scale", Scale(-1.7), vec![Input::normal([2, 1025])]),
            one("offset", Offset(0.3), normal),
            one("exp", Exp, normal),
            one("log", Log, Draw::Uniform(0.1, 3.0)),
            one("sqrt", Sqrt, Draw::Uniform(0.1, 3.0)),
            one("square", Square, normal),
            one("abs", Abs, Draw::AwayFromZero),
            one("sigmoid", Sigmoid, Draw::Normal { scale: 3.0, offset: 0.0 }),
            one("softplus", Softplus, Draw::Normal { scale: 3.0, offset: 0.0 }),
            Case::new("relu", Relu, vec![Input::of([4097], Draw::AwayFromZero)]),
            // Sixty-fourths: none near a bound.
            Case::new("clamp", Clamp(-0.742, 0.258), vec![Input::of([3, 67], Draw::Distinct)]),
            two("one element", Add, &[], &[], normal),
            two("a number on the right", Mul, &[1030], &[], normal),
            two("a number on the left", Sub, &[1], &[2, 515], normal),
            two("a column", Div, &[9, 33], &[9, 1], Draw::AwayFromZero),
            two("a row", Mul, &[1030, 3], &[3], normal),
            two("rows and columns", Max, &[17, 1], &[1, 65], normal),
            two("in the middle", Mul, &[5, 1, 7], &[3, 5, 600, 7], normal),
            two("every other", Sub, &[2, 1, 3, 1], &[1, 7, 1, 9], normal),
            two("a number times rows", Add, &[1, 1], &[1, 33], normal),
        ]
    }
}

impl Differentiable for Map {
    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        match self.reads() {
            Reads::Nothing => vec![],
            Reads::Inputs => x.iter().map(|x| Keep::from(*x)).collect(),
            Reads::Value if *self == Relu => vec![Keep::Activation(y[0].clone())],
            Reads::Value => vec![(&y[0]).into()],
        }
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        for (input, dx) in dx.iter_mut().enumerate() {
            let Some(dx) = dx else { continue };
            let gradient = |dy: View<T>, out: &mut [T]| {
                let [a, b, y] = self.saved(saved, dy);
                let repeat = Broadcast::of(dy.shape, [a.shape, b.shape]).expect("the shapes of forward");
                let [a, b, y] = [a, b, y].map(|view| view.data);
                self.table(table::Backward { repeat: &repeat, input, dy: dy.data, a, b, y, dx: out });
            };
            let axes = broadcast::repeated(dx.shape, dy.shape);
            let sum = |all: Vec<T>| axes.iter().fold(all, |all, axis| sum_axis_twin(&all, *axis));
            if axes.is_empty() {
                gradient(dy, dx.data);
            } else if self.reads() == Reads::Nothing {
                let sums = sum(dy.data.to_vec());
                gradient(View { shape: dx.shape, data: &sums }, dx.data);
            } else {
                let mut all = vec![T::zero(); dy.data.len()];
                gradient(dy, &mut all);
                dx.data.copy_from_slice(&sum(all));
            }
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        for (input, dx) in dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            let gradient = |dy: &Tensor, out: &Tensor| {
                let [a, b, y] = self.saved(saved, dy);
                let entries = ["backward", "backward_repeated"];
                dispatch(*self, gpu, entries, input == 1, dy.shape(), &[a, b, dy, y, out])
            };
            let axes = broadcast::repeated(dx.shape(), dy.shape());
            let like = |x: &Tensor| Tensor::uninit(dy.device(), x.shape().clone());
            if axes.is_empty() {
                gradient(dy, dx)?;
            } else if self.reads() == Reads::Nothing {
                let sums = like(dx)?;
                sum_axes(gpu, dy.clone(), &axes, &sums)?;
                gradient(&sums, dx)?;
            } else {
                let all = like(dy)?;
                gradient(dy, &all)?;
                sum_axes(gpu, all, &axes, dx)?;
            }
        }
        Ok(())
    }
}

/// Adds up one axis after the other.
fn sum_axes(gpu: &Gpu, mut x: Tensor, axes: &[[usize; 3]], y: &Tensor) -> Result<()> {
    let (last, first) = axes.split_last().expect("an axis");
    for axis in first {
        let sums = Tensor::uninit(x.device(), Shape::from([axis[0], axis[2]]))?;
        sum_axis(gpu, &x, *axis, 1.0, 0.0, &sums)?;
        x = sums;
    }
    sum_axis(gpu, &x, *last, 1.0, 0.0, y)
}
