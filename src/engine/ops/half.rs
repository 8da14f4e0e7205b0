//! Half storage: values kept as IEEE 754 binary16 (f16), two in a word. Nothing is computed in f16: what is kept is
//! widened again before use.
//!
//! | value | kept as |
//! |---|---|
//! | zero, infinity, NaN | itself, with its sign |
//! | `abs(x) < 2^-24` | 2^-24 with its sign, the smallest f16: nothing but zero becomes zero, so relu's `y > 0` stays |
//! | `abs(x) > 65,504` | 65,504 with its sign, the largest f16 |
//! | others | the nearest f16, ties to even |
//!
//! A relu further on sees the same, but for values beyond 65,504 and below 2^-24: given the coefficients by which x is normalised before it (mean, variance, scale, shift,
//! as [`ConvStatistics`](super::ConvStatistics) returns them), a value whose nearest f16 is on the other side of where
//! `scale (x - mean) + shift` becomes positive is kept as the f16 next to it that is not, be it zero.
//!
//! The error is at most `2^-11 abs(x)` where `2^-14 <= abs(x) <= 65,504`, and at most 2^-24 below. [`Half`] has no
//! gradient; what is kept on a tape in half is treated as the value it stands for.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Half, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [2, 2], &[1.0, 1e-9, 1e9, 0.0])?;
//! assert_eq!(run(&Half::Round, &[&x])?[0].to_vec()?, [1.0, 2f32.powi(-24), 65504.0, 0.0]);
//! # Ok::<(), vista::Error>(())
//! ```

mod twin;

use super::kernel::{Kernel, run};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Device, Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use half::f16;
use std::ops::Range;

/// The two directions, and both.
///
/// | op | input | value |
/// |---|---|---|
/// | `Round` | `x` of any shape, perhaps coefficients `[4, groups, C]` | as `x`, each element what it is kept as |
/// | `Pack` | `x` of n elements, perhaps coefficients | `[n/2]`, rounded up: words whose bits are two f16, the first in the low half |
/// | `Unpack(shape)` | those words, in any shape | the n elements |
#[derive(Clone, Debug, PartialEq)]
pub enum Half {
    /// `unpack(pack(x))`
    Round,
    /// Values to words.
    Pack,
    /// Words to values of this shape.
    Unpack(Shape),
}

/// A tensor whose elements are kept as f16: half the bytes.
#[derive(Clone, Debug)]
pub struct Packed {
    shape: Shape,
    /// `[rows, row / 2]` where rows are whole words, so that they can be read and written alone.
    words: Tensor,
}

impl Packed {
    /// The f16 copy of a tensor.
    ///
    /// # Errors
    /// The device's.
    pub fn new(x: &Tensor) -> Result<Packed> {
        Packed::before_relu(x, None)
    }

    /// The f16 copy of a tensor `[n, .., C]` that keeps each element on its side of where `scale (x - mean) + shift` becomes
    /// positive, with coefficients `[4, groups, C]`: mean, variance, scale, shift.
    ///
    /// # Errors
    /// [`Error::Shape`] if the coefficients do not fit; the device's.
    pub fn before_relu(x: &Tensor, coefficients: Option<&Tensor>) -> Result<Packed> {
        let inputs: Vec<&Tensor> = [x].into_iter().chain(coefficients).collect();
        let (shape, words) = (x.shape().clone(), run(&Half::Pack, &inputs)?.swap_remove(0));
        let row = shape.row();
        let in_rows = !shape.is_empty() && row.is_multiple_of(2);
        let words = if in_rows { words.reshape([shape[0], row / 2])? } else { words };
        Ok(Packed { shape, words })
    }

    /// A matrix of even width from its f16 elements.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is no matrix of even width or has another number of elements; the device's errors.
    pub fn from_halves(device: &Device, shape: Shape, halves: &[f16]) -> Result<Packed> {
        let words: Vec<f32> = halves
            .chunks_exact(2)
            .map(|pair| f32::from_bits(u32::from(pair[0].to_bits()) | u32::from(pair[1].to_bits()) << 16))
            .collect();
        match shape[..] {
            [rows, width] if width.is_multiple_of(2) => {
                Ok(Packed { words: Tensor::new(device, [rows, width / 2], &words)?, shape })
            }
            _ => Err(Error::shape(Half::NAME, format!("{shape} is no matrix of even width"))),
        }
    }

    /// The words: two f16 in the bits of each element, the first in the low half.
    pub fn words(&self) -> &Tensor {
        &self.words
    }

    /// The shape of the values.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The values, as f32.
    ///
    /// # Errors
    /// The device's.
    pub fn unpack(&self) -> Result<Tensor> {
        Ok(run(&Half::Unpack(self.shape.clone()), &[&self.words])?.swap_remove(0))
    }

    /// The values of some rows (of the first dimension).
    ///
    /// # Errors
    /// [`Error::Shape`] if they are out of range or have an odd number of elements.
    pub fn unpack_rows(&self, rows: Range<usize>) -> Result<Tensor> {
        self.check_rows()?;
        let shape = self.shape.with_rows(rows.len());
        Ok(run(&Half::Unpack(shape), &[&self.words.rows(rows)?])?.swap_remove(0))
    }

    /// Overwrites rows `start..start + rows.shape()[0]`, in place where no other tensor shares the words.
    ///
    /// # Errors
    /// [`Error::Shape`] if the rows do not fit or have an odd number of elements; the device's errors.
    pub fn write_rows(&mut self, start: usize, rows: &Tensor) -> Result<()> {
        self.check_rows()?;
        if rows.shape().row() != self.shape.row() {
            let detail = format!("rows {} at {start} do not fit into {}", rows.shape(), self.shape);
            return Err(Error::shape("write_rows", detail));
        }
        self.words.write_rows(start, &Packed::new(rows)?.words)
    }

    fn check_rows(&self) -> Result<()> {
        if self.words.shape().len() == 2 {
            return Ok(());
        }
        let detail = format!("rows of {} are not whole words: choose an even width", self.shape);
        Err(Error::shape(Half::NAME, detail))
    }
}

/// Whether coefficients `[4, groups, C]` fit x `[n, .., C]`.
fn fit(x: &Shape, coefficients: &[&Shape]) -> bool {
    match coefficients {
        [] => true,
        [only] => {
            matches!(only[..], [4, groups, c] if groups > 0 && x.len() > 1
                && x[0].is_multiple_of(groups) && x.last() == Some(&c) && c > 0)
        }
        _ => false,
    }
}

impl Kernel for Half {
    const NAME: &'static str = "half";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match (self, inputs) {
            (Half::Round, [x, rest @ ..]) if fit(x, rest) => Ok(vec![(*x).clone()]),
            (Half::Pack, [x, rest @ ..]) if fit(x, rest) => Ok(vec![Shape::from([x.elements().div_ceil(2)])]),
            (Half::Unpack(y), [words]) if words.elements() == y.elements().div_ceil(2) => Ok(vec![y.clone()]),
            _ => Err(Error::shape(
                Self::NAME,
                format!(
                    "{self:?} cannot take {inputs:?}: give one tensor that fits, and coefficients [4,groups,C]"
                ),
            )),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let sides = x.get(1).map(|&coefficients| twin::Sides::new(coefficients, x[0].data.len()));
        let (x, y) = (x[0].data, &mut *y[0].data);
        match self {
            Half::Round => twin::round(x, sides.as_ref(), y),
            Half::Pack => twin::pack(x, sides.as_ref(), y),
            Half::Unpack(_) => twin::unpack(x, y),
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let coefficients = x.get(1).copied();
        match self {
            Half::Round => {
                let words = Tensor::uninit(x[0].device(), Shape::from([x[0].elements().div_ceil(2)]))?;
                gpu_pack(gpu, x[0], coefficients, &words)?;
                gpu_unpack(gpu, &words, &y[0])
            }
            Half::Pack => gpu_pack(gpu, x[0], coefficients, &y[0]),
            Half::Unpack(_) => gpu_unpack(gpu, x[0], &y[0]),
        }
    }

    /// Of both directions together: words alone are bits, which no two number types share.
    fn cases() -> Vec<Case<Self>> {
        let normal = |scale| Draw::Normal { scale, offset: 0.0 };
        let before_relu = |name, x: &[usize], groups, scale| {
            let coefficients = Input::of([4, groups, x[x.len() - 1]], Draw::Constant);
            Case::new(name, Half::Round, vec![Input::of(x, normal(scale)), coefficients])
        };
        vec![
            Case::new("round", Half::Round, vec![Input::normal([3, 5, 7])]),
            Case::new("round, over a block", Half::Round, vec![Input::normal([2, 33_001])]),
            Case::new("round, one element", Half::Round, vec![Input::normal([])]),
            Case::new("round, subnormal", Half::Round, vec![Input::of([1025], normal(1e-6))]),
            Case::new("round, out of range", Half::Round, vec![Input::of([514], normal(1e5))]),
            before_relu("round before a relu", &[6, 37, 5], 1, 1.0),
            before_relu("round before a relu, groups over a block", &[4, 301, 28], 2, 1.0),
            before_relu("round before a relu, out of range", &[4, 9, 7], 2, 1e5),
        ]
    }
}

fn gpu_pack(gpu: &Gpu, x: &Tensor, coefficients: Option<&Tensor>, words: &Tensor) -> Result<()> {
    let Some(coefficients) = coefficients else {
        return convert(gpu, "pack", x.elements(), [0; 3], &[(x, 2), (words, 1)]);
    };
    let (groups, channels) = (coefficients.shape()[1], coefficients.shape()[2]);
    let sizes = [channels, x.elements() / groups, groups * channels];
    let tensors = [(x, 2), (words, 1), (coefficients, 0)];
    convert(gpu, "pack_before_relu", x.elements(), sizes, &tensors)
}

fn gpu_unpack(gpu: &Gpu, words: &Tensor, y: &Tensor) -> Result<()> {
    convert(gpu, "unpack", y.elements(), [0; 3], &[(words, 1), (y, 2)])
}

/// Runs one entry point over so many values, in pairs, which are rows of the tensors. The sizes are those of the coefficients:
/// channels, elements in a group, channels of all groups.
fn convert(
    gpu: &Gpu,
    entry: &'static str,
    elements: usize,
    [channels, group, list]: [usize; 3],
    tensors: &[(&Tensor, usize)],
) -> Result<()> {
    gpu.run_rows(elements.div_ceil(2), tensors, |pairs| {
        let first = 2 * pairs.start;
        let vec4s = (elements.min(2 * pairs.end) - first).div_ceil(4);
        let params = [
            ("vec4s", vec4s.into()),
            ("first", first.into()),
            ("channels", channels.into()),
            ("group", group.into()),
            ("list", list.into()),
        ];
        Dispatch::new(Half::NAME, entry, params, &[], vec4s.div_ceil(256))
    })
}
