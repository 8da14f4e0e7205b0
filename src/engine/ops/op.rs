//! Ops as a tape sees them: object-safe, with what they keep for their backward.

use super::Map;
use super::half::Packed;
use super::kernel::{Differentiable, Keep, bytes, distinct_bytes, run};
use crate::engine::device::{Device, OpRun, Precision, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use std::fmt::Debug;

/// One tensor that a tape keeps.
#[derive(Debug)]
pub(crate) enum Kept {
    /// In f32.
    Whole(Keep),
    /// As f16.
    Half(Packed),
}

/// What the tape keeps of one op for its backward.
#[derive(Debug)]
pub struct Saved {
    pub(crate) kept: Vec<Kept>,
    pub(super) input_shapes: Vec<Shape>,
}

impl Saved {
    pub(super) fn new(kept: Vec<Keep>, input_shapes: Vec<Shape>) -> Saved {
        Saved { kept: kept.into_iter().map(Kept::Whole).collect(), input_shapes }
    }

    /// What was saved, in f32 again.
    pub(super) fn tensors(&self) -> Result<Vec<Tensor>> {
        let whole = |kept: &Kept| match kept {
            Kept::Whole(Keep::Whole(x) | Keep::Activation(x) | Keep::BeforeRelu(x, _)) => Ok(x.clone()),
            Kept::Half(packed) => packed.unpack(),
        };
        self.kept.iter().map(whole).collect()
    }
}

/// An op as the tape sees it.
pub trait Op: Debug {
    /// The op's name.
    fn name(&self) -> &'static str;

    /// All outputs, the value first.
    ///
    /// # Errors
    /// As [`run`].
    fn outputs(&self, x: &[&Tensor]) -> Result<Vec<Tensor>>;

    /// What backward needs, of inputs and outputs.
    fn saved(&self, x: &[&Tensor], y: &[Tensor]) -> Saved;

    /// All outputs, and what backward needs.
    ///
    /// # Errors
    /// As [`run`].
    fn forward(&self, x: &[&Tensor]) -> Result<(Vec<Tensor>, Saved)> {
        let y = self.outputs(x)?;
        let saved = self.saved(x, &y);
        Ok((y, saved))
    }

    /// Gradients of the wanted inputs from that of the value.
    ///
    /// # Errors
    /// The device's; `dy` must have the value's shape, which a [tape](crate::engine::autograd::Tape::backward) sees to.
    fn backward(&self, saved: &Saved, dy: &Tensor, wants: &[bool]) -> Result<Vec<Option<Tensor>>>;

    /// As [`Op::backward`], with `sum`, of the first input's shape, added to that input's gradient, which must be wanted then.
    ///
    /// # Errors
    /// As [`Op::backward`], and [`Error::Shape`] if the sum has another shape.
    fn backward_onto(
        &self,
        saved: &Saved,
        dy: &Tensor,
        wants: &[bool],
        sum: Option<Tensor>,
    ) -> Result<Vec<Option<Tensor>>> {
        let mut dx = self.backward(saved, dy, wants)?;
        add_to_first(&mut dx, sum)?;
        Ok(dx)
    }
}

/// The sum of two gradients, or the only one.
pub(crate) fn added(sum: Option<Tensor>, dx: Tensor) -> Result<Tensor> {
    match sum {
        Some(sum) => Ok(run(&Map::Add, &[&sum, &dx])?.swap_remove(0)),
        None => Ok(dx),
    }
}

fn add_to_first(dx: &mut [Option<Tensor>], sum: Option<Tensor>) -> Result<()> {
    if let (Some(sum), Some(first)) = (sum, dx.first_mut()) {
        *first = Some(added(first.take(), sum)?);
    }
    Ok(())
}

impl<K: Differentiable> Op for K {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn outputs(&self, x: &[&Tensor]) -> Result<Vec<Tensor>> {
        run(self, x)
    }

    fn saved(&self, x: &[&Tensor], y: &[Tensor]) -> Saved {
        let input_shapes = x.iter().map(|t| t.shape().clone()).collect();
        Saved::new(self.save(x, y), input_shapes)
    }

    fn backward(&self, saved: &Saved, dy: &Tensor, wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        self.backward_onto(saved, dy, wants, None)
    }

    fn backward_onto(
        &self,
        saved: &Saved,
        dy: &Tensor,
        wants: &[bool],
        sum: Option<Tensor>,
    ) -> Result<Vec<Option<Tensor>>> {
        if let (Some(sum), Some(shape)) = (&sum, saved.input_shapes.first())
            && sum.shape() != shape
        {
            let detail = format!("the sum is {}, the gradient {shape}", sum.shape());
            return Err(Error::shape(K::NAME, detail));
        }
        // In place if it can be; else the two are added once both are there.
        let (onto, aside) = sum.map_or((None, None), |sum| match K::ADDS && sum.is_sole() {
            true => (Some(sum), None),
            false => (None, Some(sum)),
        });
        let device = dy.device();
        let (tensors, shapes) = (saved.tensors()?, &saved.input_shapes);
        let tensors: Vec<&Tensor> = tensors.iter().collect();
        let added = bytes(onto.iter().map(Tensor::shape));
        let describe = || {
            let inputs: Vec<&Shape> = shapes.iter().collect();
            let wanted = inputs.iter().zip(wants).filter(|(_, want)| **want).map(|(shape, _)| *shape);
            let read: Vec<&Tensor> = tensors.iter().copied().chain([dy]).collect();
            OpRun {
                op: K::NAME,
                backward: true,
                work: self.work(&inputs) * wants.iter().take(2).filter(|want| **want).count() as u64,
                bytes: K::READS * distinct_bytes(&read) + bytes(wanted) + added,
                milliseconds: None,
            }
        };
        let mut wants = wants.to_vec();
        wants[0] &= onto.is_none();
        wants.iter_mut().skip(K::VARIABLES).for_each(|want| *want = false);
        let mut dx = device.trace().op(describe, || {
            let wanted = shapes.iter().zip(&wants);
            let dx = wanted.map(|(s, want)| want.then(|| Tensor::uninit(device, s.clone())).transpose());
            let mut dx = dx.collect::<Result<Vec<_>>>()?;
            let sum = match device {
                Device::Cpu(cpu) => match cpu.precision {
                    Precision::F32 => backward_twin::<K, f32>(self, &tensors, dy, &mut dx, onto),
                    Precision::F64 => backward_twin::<K, f64>(self, &tensors, dy, &mut dx, onto),
                },
                Device::Gpu(gpu) if gpu.records => {
                    self.gpu_backward(gpu, &tensors, dy, &dx)?;
                    onto.map(|sum| self.gpu_add(gpu, &tensors, dy, sum)).transpose()?
                }
                Device::Gpu(_) => onto,
            };
            if sum.is_some() {
                dx[0] = sum;
            }
            Ok::<_, Error>(dx)
        })?;
        add_to_first(&mut dx, aside)?;
        Ok(dx)
    }
}

/// Writes the gradients, and adds that of the first input to the sum.
fn backward_twin<K: Differentiable, T: Real>(
    op: &K,
    saved: &[&Tensor],
    dy: &Tensor,
    dx: &mut [Option<Tensor>],
    mut sum: Option<Tensor>,
) -> Option<Tensor> {
    let views: Vec<View<T>> = saved.iter().map(|t| t.view()).collect();
    let mut dx: Vec<Option<ViewMut<T>>> = dx.iter_mut().map(|dx| dx.as_mut().map(Tensor::view_mut)).collect();
    op.twin_backward(&views, dy.view(), &mut dx);
    if let Some(sum) = &mut sum {
        op.twin_add(&views, dy.view(), sum.view_mut().data);
    }
    sum
}
