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
//! The error is at most `2^-11 abs(x)` where `2^-14 <= abs(x) <= 65,504`, and at most 2^-24 below. [`Half`] has no
//! gradient; what is kept on a tape in half is treated as the value it stands for.

use super::kernel::{Kernel, run};
use super::{Case, Draw, Input};
use crate::device::kernel::Dispatch;
use crate::device::vector::vectorised;
use crate::device::{Device, Gpu, real::Real};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor, View, ViewMut};
use bytemuck::{Pod, Zeroable, bytes_of};
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use std::ops::Range;

/// The two directions, and both.
///
/// | op | input | value |
/// |---|---|---|
/// | `Round` | `x` of any shape | as `x`, each element what it is kept as |
/// | `Pack` | `x` of n elements | `[n/2]`, rounded up: words whose bits are two f16, the first in the low half |
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
        let (shape, words) = (x.shape().clone(), run(&Half::Pack, &[x])?.swap_remove(0));
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
        let mut dims = self.shape.to_vec();
        dims[0] = rows.len();
        Ok(run(&Half::Unpack(dims.into()), &[&self.words.rows(rows)?])?.swap_remove(0))
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

/// The value that f16 can hold instead of a finite one outside of its range.
#[inline(always)]
fn confined(x: f32) -> f32 {
    const SMALLEST: f32 = 1.0 / (1 << 24) as f32;
    const LARGEST: f32 = 65_504.0;
    let magnitude = x.abs();
    let stays = magnitude == 0.0 || magnitude.is_nan() || magnitude == f32::INFINITY;
    if stays { x } else { magnitude.clamp(SMALLEST, LARGEST).copysign(x) }
}

/// Elements that are converted at a time.
const BLOCK: usize = 512;
/// Blocks of a parallel task.
const BLOCKS: usize = 32;

/// `f16` of up to [`BLOCK`] values.
#[inline(always)]
fn narrow<T: Real>(x: &[T], halves: &mut [f16]) {
    let mut values = [0.0; BLOCK];
    let values = &mut values[..x.len()];
    vectorised(|| {
        for (value, &x) in values.iter_mut().zip(x) {
            *value = confined(x.f64() as f32);
        }
    });
    halves[..x.len()].convert_from_f32_slice(values);
}

/// The values of up to [`BLOCK`] `f16`.
#[inline(always)]
fn widen<T: Real>(halves: &[f16], y: &mut [T]) {
    let mut values = [0.0; BLOCK];
    let values = &mut values[..y.len()];
    halves[..y.len()].convert_to_f32_slice(values);
    vectorised(|| {
        for (y, &value) in y.iter_mut().zip(values.iter()) {
            *y = T::of(f64::from(value));
        }
    });
}

fn pack<T: Real>(x: &[T], words: &mut [T]) {
    words.par_chunks_mut(BLOCKS * BLOCK / 2).zip(x.par_chunks(BLOCKS * BLOCK)).for_each(|(words, x)| {
        for (words, x) in words.chunks_mut(BLOCK / 2).zip(x.chunks(BLOCK)) {
            let mut halves = [f16::ZERO; BLOCK];
            narrow(x, &mut halves);
            for (word, pair) in words.iter_mut().zip(halves.chunks_exact(2)) {
                *word = T::from_word(u32::from(pair[0].to_bits()) | u32::from(pair[1].to_bits()) << 16);
            }
        }
    });
}

fn unpack<T: Real>(words: &[T], y: &mut [T]) {
    y.par_chunks_mut(BLOCKS * BLOCK).zip(words.par_chunks(BLOCKS * BLOCK / 2)).for_each(|(y, words)| {
        for (y, words) in y.chunks_mut(BLOCK).zip(words.chunks(BLOCK / 2)) {
            let mut halves = [f16::ZERO; BLOCK];
            for (pair, word) in halves.chunks_exact_mut(2).zip(words) {
                let word = word.to_word();
                pair.copy_from_slice(&[f16::from_bits(word as u16), f16::from_bits((word >> 16) as u16)]);
            }
            widen(&halves, y);
        }
    });
}

fn round<T: Real>(x: &[T], y: &mut [T]) {
    y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(y, x)| {
        let mut halves = [f16::ZERO; BLOCK];
        narrow(x, &mut halves);
        widen(&halves, y);
    });
}

impl Kernel for Half {
    const NAME: &'static str = "half";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match (self, inputs) {
            (Half::Round, [x]) => Ok(vec![(*x).clone()]),
            (Half::Pack, [x]) => Ok(vec![Shape::from([x.elements().div_ceil(2)])]),
            (Half::Unpack(y), [words]) if words.elements() == y.elements().div_ceil(2) => Ok(vec![y.clone()]),
            _ => Err(Error::shape(
                Self::NAME,
                format!("{self:?} cannot take {inputs:?}: give one tensor that fits"),
            )),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (x, y) = (x[0].data, &mut *y[0].data);
        match self {
            Half::Round => round(x, y),
            Half::Pack => pack(x, y),
            Half::Unpack(_) => unpack(x, y),
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        match self {
            Half::Round => {
                let words = Tensor::uninit(x[0].device(), Shape::from([x[0].elements().div_ceil(2)]))?;
                dispatch(gpu, "pack", x[0].elements(), x[0], &words)?;
                dispatch(gpu, "unpack", x[0].elements(), &words, &y[0])
            }
            Half::Pack => dispatch(gpu, "pack", x[0].elements(), x[0], &y[0]),
            Half::Unpack(_) => dispatch(gpu, "unpack", y[0].elements(), x[0], &y[0]),
        }
    }

    /// Of both directions together: words alone are bits, which no two number types share.
    fn cases() -> Vec<Case<Self>> {
        let normal = |scale| Draw::Normal { scale, offset: 0.0 };
        vec![
            Case::new("round", Half::Round, vec![Input::normal([3, 5, 7])]),
            Case::new("round, over a block", Half::Round, vec![Input::normal([2, 33_001])]),
            Case::new("round, one element", Half::Round, vec![Input::normal([])]),
            Case::new("round, subnormal", Half::Round, vec![Input::of([1025], normal(1e-6))]),
            Case::new("round, out of range", Half::Round, vec![Input::of([514], normal(1e5))]),
        ]
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    vec4s: u32,
    spare0: u32,
    spare1: u32,
    spare2: u32,
}

/// Runs one entry point over `elements` values, in chunks that one binding holds.
fn dispatch(gpu: &Gpu, entry: &'static str, elements: usize, from: &Tensor, into: &Tensor) -> Result<()> {
    // Words are half as many as values and their bindings too start on a multiple of 64: chunks of pairs.
    for pairs in gpu.row_chunks(elements.div_ceil(2), 2) {
        let values = 2 * pairs.start..elements.min(2 * pairs.end);
        let vec4s = values.len().div_ceil(4);
        let params = Params { vec4s: vec4s as u32, spare0: 0, spare1: 0, spare2: 0 };
        let (from_range, into_range) = if entry == "pack" { (values, pairs) } else { (pairs, values) };
        gpu.run(Dispatch {
            shader: Half::NAME,
            entry,
            constants: Vec::new(),
            params: bytes_of(&params),
            tensors: vec![(from, Some(from_range)), (into, Some(into_range))],
            groups: vec4s.div_ceil(256) as u64,
            work: 0,
        })?;
    }
    Ok(())
}
