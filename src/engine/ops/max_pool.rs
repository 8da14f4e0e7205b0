//! Maximum over windows of images NHWC.
//!
//! `y[n,i,j,c] = max over ky < kernel, kx < kernel of x[n, i stride + ky - padding, j stride + kx - padding, c]`, where
//! `x` is minus infinity outside of the image. The first of equal maxima wins, a NaN wins over everything.
//! `dx` gets each `dy` at the place of its maximum.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{MaxPool, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 2, 2, 1], &[1.0, 4.0, 3.0, 2.0])?;
//! let pool = MaxPool { kernel: [2; 2], stride: [2; 2], padding: [0; 2] };
//! assert_eq!(run(&pool, &[&x])?[0].to_vec()?, [4.0]);
//! # Ok::<(), vista::Error>(())
//! ```

pub(crate) mod twin;

use super::kernel::{Differentiable, Keep, Kernel};
use super::{Case, Draw, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use twin::Window;

/// Max pooling. Pairs are [vertical, horizontal]; the output size is `(size + 2 padding - kernel) / stride + 1`, rounded
/// down.
///
/// | tensor | shape |
/// |---|---|
/// | input `x` | `[n, h, w, C]` |
/// | value `y` | `[n, oh, ow, C]` |
/// | by-product `index` | `[n, oh, ow, C]`: the tap `ky kernel_w + kx` that holds the maximum |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// Pixels of a window.
    pub kernel: [usize; 2],
    /// Input pixels from one window to the next.
    pub stride: [usize; 2],
    /// Pixels of minus infinity around the image, at most half of the kernel.
    pub padding: [usize; 2],
}

impl MaxPool {
    fn window(&self, x: &[usize]) -> Result<Window> {
        let fail = |detail: String| Err(Error::shape("max_pool", detail));
        let &[_, h, w, c] = x else { return fail(format!("input {x:?} must be [n,h,w,c]: reshape it")) };
        let MaxPool { kernel, stride, padding } = *self;
        let bad = |a: usize| kernel[a] == 0 || stride[a] == 0 || 2 * padding[a] > kernel[a];
        if bad(0) || bad(1) {
            return fail(format!(
                "{self:?}: kernel and stride must be at least 1, padding at most half of the kernel"
            ));
        }
        let size =
            |a: usize, size: usize| Some((size + 2 * padding[a]).checked_sub(kernel[a])? / stride[a] + 1);
        let (Some(oh), Some(ow)) = (size(0, h), size(1, w)) else {
            return fail(format!(
                "windows of {kernel:?} do not fit input {x:?} padded by {padding:?}: use larger images"
            ));
        };
        if h == 0 || w == 0 {
            return fail(format!("input {x:?} has no pixels: use larger images"));
        }
        Ok(Window { h, w, c, oh, ow, kernel, stride, padding })
    }
}

impl Kernel for MaxPool {
    const NAME: &'static str = "max_pool";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let window = self.window(inputs[0])?;
        let y = Shape::from([inputs[0][0], window.oh, window.ow, window.c]);
        Ok(vec![y.clone(), y])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [y, index] = y else { unreachable!("two outputs") };
        let window = self.window(x[0].shape).expect("shapes accepted the input");
        twin::forward(&window, x[0].data, y.data, index.data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let window = self.window(x[0].shape())?;
        let (image, out) = (window.h * window.w * window.c, window.oh * window.ow * window.c);
        dispatch(gpu, "forward", &window, &[(x[0], image), (&y[0], out), (&y[1], out)], out)
    }

    fn cases() -> Vec<Case<Self>> {
        let op = |kernel, stride, padding| MaxPool { kernel, stride, padding };
        let distinct = |shape: [usize; 4]| vec![Input::of(shape, Draw::Distinct)];
        vec![
            Case::new("stem", op([3, 3], [2, 2], [1, 1]), distinct([2, 13, 17, 3])),
            Case::new("one channel", op([3, 3], [2, 2], [1, 1]), distinct([1, 7, 6, 1])),
            Case::new("no padding", op([2, 2], [2, 2], [0, 0]), distinct([2, 8, 9, 5])),
            Case::new("uneven", op([3, 2], [1, 3], [1, 0]), distinct([1, 9, 10, 19])),
        ]
    }
}

impl Differentiable for MaxPool {
    fn save(&self, _x: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        // Whole numbers up to 2048 are exact.
        let exact = self.kernel[0] * self.kernel[1] <= 2048;
        vec![if exact { Keep::Activation(y[1].clone()) } else { Keep::Whole(y[1].clone()) }]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        if let Some(dx) = &mut dx[0] {
            let window = self.window(dx.shape).expect("shapes accepted the input");
            twin::backward(&window, saved[0].data, dy.data, dx.data);
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let Some(dx) = &dx[0] else { return Ok(()) };
        let window = self.window(dx.shape())?;
        let (image, out) = (window.h * window.w * window.c, window.oh * window.ow * window.c);
        dispatch(gpu, "backward", &window, &[(saved[0], out), (dy, out), (dx, image)], image)
    }
}

/// Runs an entry point over the batch, with the tensors' elements per image and those that are written.
fn dispatch(
    gpu: &Gpu,
    entry: &'static str,
    p: &Window,
    tensors: &[(&Tensor, usize)],
    written: usize,
) -> Result<()> {
    gpu.run_rows(tensors[0].0.shape()[0], tensors, |images| {
        let count = images.len() * written;
        let params = [
            ("h", p.h.into()),
            ("w", p.w.into()),
            ("channels", p.c.into()),
            ("oh", p.oh.into()),
            ("ow", p.ow.into()),
            ("kh", p.kernel[0].into()),
            ("kw", p.kernel[1].into()),
            ("stride_y", p.stride[0].into()),
            ("stride_x", p.stride[1].into()),
            ("pad_y", p.padding[0].into()),
            ("pad_x", p.padding[1].into()),
            ("count", count.into()),
        ];
        Dispatch::new(MaxPool::NAME, entry, params, &[], count.div_ceil(256))
    })
}
