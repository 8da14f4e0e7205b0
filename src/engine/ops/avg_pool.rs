//! Mean over all pixels of each image and channel (global average pooling).
//!
//! `y[n,c] = mean over i, j of x[n,i,j,c]`, `dx[n,i,j,c] = dy[n,c] / (h w)`

pub mod twin;

use super::kernel::{Differentiable, Kernel};
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// Global average pooling.
///
/// | tensor | shape |
/// |---|---|
/// | input `x` | `[n, h, w, C]` |
/// | value `y` | `[n, C]` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool;

impl Kernel for AvgPool {
    const NAME: &'static str = "avg_pool";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs[0][..] {
            [n, h, w, c] if h * w > 0 => Ok(vec![Shape::from([n, c])]),
            _ => Err(Error::shape(
                Self::NAME,
                format!("input {} must be [n,h,w,c] with pixels: reshape it", inputs[0]),
            )),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        twin::forward(x[0].shape[1] * x[0].shape[2], x[0].shape[3], x[0].data, y[0].data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        dispatch(gpu, "forward", x[0].shape(), [x[0], &y[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        vec![
            Case::new("7x7", AvgPool, vec![Input::normal([3, 7, 7, 65])]),
            Case::new("uneven", AvgPool, vec![Input::normal([2, 3, 11, 9])]),
            Case::new("one pixel", AvgPool, vec![Input::normal([4, 1, 1, 5])]),
        ]
    }
}

impl Differentiable for AvgPool {
    fn save(&self, _x: &[&Tensor], _y: &[Tensor]) -> Vec<Tensor> {
        Vec::new()
    }

    fn twin_backward<T: Real>(&self, _saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        if let Some(dx) = &mut dx[0] {
            twin::backward(dx.shape[1] * dx.shape[2], dx.shape[3], dy.data, dx.data);
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, _saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        dispatch(gpu, "backward", dx.shape(), [dy, dx])
    }
}

/// Runs an entry point over the batch of images of shape `x`; the second tensor is written.
fn dispatch(gpu: &Gpu, entry: &'static str, x: &Shape, tensors: [&Tensor; 2]) -> Result<()> {
    let sizes = tensors.map(|t| t.shape().row());
    for images in gpu.batches(x[0], &sizes) {
        let count = images.len() * sizes[1];
        let params = [("pixels", (x[1] * x[2]).into()), ("channels", x[3].into()), ("count", count.into())];
        let bind = |(t, size)| (t, Some(images.start * size..images.end * size));
        gpu.run(Dispatch {
            tensors: tensors.into_iter().zip(sizes).map(bind).collect(),
            ..Dispatch::new(AvgPool::NAME, entry, &params, &[], count.div_ceil(256))
        })?;
    }
    Ok(())
}
