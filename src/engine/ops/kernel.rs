//! What an op is: a shape rule, a CPU twin, a WGSL kernel, and for most a backward of each.
//!
//! An op implements [`Kernel`] (and [`Differentiable`]); the framework checks shapes, allocates outputs from
//! the device's pool and picks the twin or the shader. The tape sees ops through the object-safe [`Op`](super::Op).
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{TopK, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [3], &[1.0, 2.0, 3.0])?;
//! let refused = run(&TopK { k: 1, labels: false }, &[&x]).unwrap_err(); // by the op's shape rule, before anything runs
//! assert!(refused.to_string().starts_with("top_k: "), "{refused}");
//! # Ok::<(), vista::Error>(())
//! ```

use super::case::Case;
use crate::engine::device::{Device, Gpu, OpRun, Precision, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use std::fmt::Debug;

/// An op without a gradient: shape rule, twin and shader.
pub trait Kernel: Debug + Clone + Send + Sync + 'static {
    /// The op's name: that of its files, and the head of its error messages.
    const NAME: &'static str;

    /// How often the algorithm must read its first input, and backward whatever it reads: 2 where a reduction over all of them has
    /// to end before the first result can be written.
    const READS: u64 = 1;

    /// Shapes of all outputs: the only judge of shapes. Output 0 is the value, the others are by-products
    /// (statistics, indices) that backward or the caller reads.
    ///
    /// # Errors
    /// [`Error::Shape`] naming both shapes if the inputs do not fit.
    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>>;

    /// Multiply-adds of one forward pass of a matrix product or convolution (each of the two gradients takes as many);
    /// 0 for other ops. The shapes have passed [`Kernel::shapes`].
    fn work(&self, _inputs: &[&Shape]) -> u64 {
        0
    }

    /// The CPU twin: writes every element of every output, whose contents are arbitrary before.
    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]);

    /// Records the WGSL kernels that write the outputs.
    ///
    /// # Errors
    /// [`Error::Limit`] if a tensor is over what the adapter can bind.
    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()>;

    /// Examples that parity tests, gradient checks and `vista doctor` run: odd shapes, sizes over a tile.
    fn cases() -> Vec<Case<Self>>;
}

/// An op with a gradient: that of `sum(dy * y)` for its value `y`, with respect to each input.
pub trait Differentiable: Kernel {
    /// Inputs from this one on are constants, which get no gradient.
    const VARIABLES: usize = usize::MAX;

    /// Whether the gradient of the first input can be added to what is there: [`Differentiable::twin_add`] and
    /// [`Differentiable::gpu_add`].
    const ADDS: bool = false;

    /// What backward needs, picked from inputs and outputs; nothing by default.
    fn save(&self, _x: &[&Tensor], _y: &[Tensor]) -> Vec<Keep> {
        Vec::new()
    }

    /// The twin's backward: writes every element of every wanted `dx[i]`.
    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]);

    /// Records the WGSL kernels that write the wanted `dx[i]`.
    ///
    /// # Errors
    /// [`Error::Limit`] if a tensor is over what the adapter can bind.
    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()>;

    /// Adds the gradient of the first input to `sum`. Called only of an op that [adds](Differentiable::ADDS).
    fn twin_add<T: Real>(&self, _saved: &[View<T>], _dy: View<T>, _sum: &mut [T]) {
        unreachable!("{} does not add", Self::NAME);
    }

    /// `sum`, which no one else holds, or another tensor, once the recorded kernels have added the gradient of the first
    /// input to it. Called only of an op that [adds](Differentiable::ADDS).
    ///
    /// # Errors
    /// As [`Differentiable::gpu_backward`].
    fn gpu_add(&self, _gpu: &Gpu, _saved: &[&Tensor], _dy: &Tensor, _sum: Tensor) -> Result<Tensor> {
        unreachable!("{} does not add", Self::NAME);
    }
}

/// Runs an op forward: all outputs, the value first.
///
/// # Errors
/// [`Error::Shape`] if the inputs do not fit or are on different devices; the device's errors.
pub fn run<K: Kernel>(op: &K, x: &[&Tensor]) -> Result<Vec<Tensor>> {
    let device = common_device::<K>(x)?;
    let input_shapes: Vec<&Shape> = x.iter().map(|t| t.shape()).collect();
    let shapes = op.shapes(&input_shapes)?;
    let written = bytes(shapes.iter());
    let again = (K::READS - 1) * bytes([input_shapes[0]].into_iter());
    let describe = || OpRun {
        op: K::NAME,
        backward: false,
        work: op.work(&input_shapes),
        bytes: again + distinct_bytes(x) + written,
        milliseconds: None,
    };
    device.trace().op(describe, || {
        let y = shapes.iter().map(|s| Tensor::uninit(device, s.clone()));
        let mut y = y.collect::<Result<Vec<_>>>()?;
        match device {
            Device::Cpu(cpu) => match cpu.precision {
                Precision::F32 => run_twin::<K, f32>(op, x, &mut y),
                Precision::F64 => run_twin::<K, f64>(op, x, &mut y),
            },
            Device::Gpu(gpu) if gpu.records => op.gpu(gpu, x, &y)?,
            Device::Gpu(_) => {}
        }
        Ok(y)
    })
}

/// Bytes of tensors of these shapes in f32.
pub(super) fn bytes<'a>(shapes: impl Iterator<Item = &'a Shape>) -> u64 {
    shapes.map(|shape| 4 * shape.elements() as u64).sum()
}

/// Bytes of tensors in f32, those that are given twice counted once.
pub(super) fn distinct_bytes(x: &[&Tensor]) -> u64 {
    let first = |i: usize| !x[..i].iter().any(|before| before.shares(x[i]));
    bytes((0..x.len()).filter(|&i| first(i)).map(|i| x[i].shape()))
}

fn run_twin<K: Kernel, T: Real>(op: &K, x: &[&Tensor], y: &mut [Tensor]) {
    let x: Vec<View<T>> = x.iter().map(|t| t.view()).collect();
    let mut y: Vec<ViewMut<T>> = y.iter_mut().map(Tensor::view_mut).collect();
    op.twin(&x, &mut y);
}

fn common_device<'a, K: Kernel>(x: &[&'a Tensor]) -> Result<&'a Device> {
    let device = x.first().expect("an op has inputs").device();
    if x.iter().all(|t| t.device().same(device)) {
        return Ok(device);
    }
    let names: Vec<String> = x.iter().map(|t| t.device().name()).collect();
    Err(Error::shape(K::NAME, format!("inputs are on different devices: {}", names.join(", "))))
}

/// A tensor that an op's backward needs, and how a tape may keep it.
#[derive(Clone, Debug)]
pub enum Keep {
    /// As it is: a parameter, a statistic, what a loss is made of.
    Whole(Tensor),
    /// Perhaps as f16 ([`super::half`]): an activation, or whole numbers up to 2048.
    Activation(Tensor),
    /// Likewise, an activation that is normalised by the second tensor, coefficients, before a relu: its f16 copy stays
    /// [on the same side](super::Packed::before_relu).
    BeforeRelu(Tensor, Tensor),
}

impl From<&Tensor> for Keep {
    fn from(x: &Tensor) -> Keep {
        Keep::Whole(x.clone())
    }
}
