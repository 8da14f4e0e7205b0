//! Transposed convolution: the gradient of a convolution by its input, used forward.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{ConvTranspose2d, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 1, 2, 1], &[1.0, 10.0])?; // two pixels
//! let w = Tensor::new(device, [1, 1, 2, 1], &[1.0, 2.0])?; // each becomes itself and twice itself
//! let y = run(&ConvTranspose2d { stride: 2, padding: 0 }, &[&x, &w])?;
//! assert_eq!(y[0].to_vec()?, [1.0, 2.0, 10.0, 20.0]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::conv2d::geometry::Geometry;
use super::conv2d::{self, twin};
use super::kernel::{Differentiable, Keep, Kernel};
use super::{Case, Input};
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// `y[n, s i - p + a, s j - p + b, o] += x[n,i,j,c] w[c,a,b,o]`
///
/// | value | shape |
/// |---|---|
/// | `x` | `[n, h, w, c]` |
/// | `w` | `[c, kh, kw, o]` |
/// | returns | `[n, (h - 1) s - 2 p + kh, (w - 1) s - 2 p + kw, o]` |
///
/// With the roles of input and output exchanged it is [`super::Conv2d`] with the same weight: its value is that convolution's gradient by the
/// input, its gradients are that convolution and its gradient by the weight. The kernels are the same.
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together, or nothing is left of the result.
/// # Source
/// `torch.nn.functional.conv_transpose2d`, whose weight is `[c, o, kh, kw]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2d {
    /// Output pixels from one input pixel to the next.
    pub stride: usize,
    /// Pixels that are cut off on every side of the output.
    pub padding: usize,
}

impl ConvTranspose2d {
    /// The convolution that it is the transpose of.
    fn geometry(&self, x: &[usize], w: &[usize]) -> Result<Geometry> {
        let bad = || {
            Error::shape(
                Self::NAME,
                format!("takes x [n,h,w,c] and w [c,kh,kw,o], got {x:?}, {w:?} and {self:?}"),
            )
        };
        let (&[n, height, width, c], &[from, kh, kw, o]) = (x, w) else { return Err(bad()) };
        let side = |side: usize, kernel: usize| {
            (side.checked_sub(1)? * self.stride + kernel)
                .checked_sub(2 * self.padding)
                .filter(|&side| side > 0)
        };
        let (Some(oh), Some(ow)) = (side(height, kh), side(width, kw)) else { return Err(bad()) };
        let g = Geometry::new(&[n, oh, ow, o], w, [self.stride; 2], [self.padding; 2], [1; 2])?;
        if c == from && g.output() == [n, height, width, c] { Ok(g) } else { Err(bad()) }
    }

    fn known(&self, x: &[usize], w: &[usize]) -> Geometry {
        self.geometry(x, w).expect("the shape rule has passed these shapes")
    }
}

impl Kernel for ConvTranspose2d {
    const NAME: &'static str = "conv_transpose2d";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let [x, w] = inputs else {
            return Err(Error::shape(Self::NAME, format!("needs x and w, got {inputs:?}")));
        };
        let g = self.geometry(x, w)?;
        Ok(vec![Shape::from([g.n, g.h, g.w, g.c])])
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        let g = self.known(inputs[0], inputs[1]);
        (g.n * g.oh * g.ow * g.o * g.depth()) as u64
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        twin::grad_input(&self.known(x[0].shape, x[1].shape), x[1].data, x[0].data, y[0].data, false);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        conv2d::grad_input(gpu, &self.known(x[0].shape(), x[1].shape()), [x[1], x[0], &y[0]], false)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, [stride, padding]: [usize; 2], x: [usize; 4], [kh, kw, o]: [usize; 3]| {
            let inputs = vec![Input::normal(x), Input::normal([x[3], kh, kw, o])];
            Case::new(name, ConvTranspose2d { stride, padding }, inputs)
        };
        vec![
            case("2x2, stride 2", [2, 0], [3, 7, 5, 8], [2, 2, 12]),
            case("2x2, stride 2, odd channels", [2, 0], [2, 4, 6, 5], [2, 2, 3]),
            case("3x3, stride 2", [2, 1], [2, 5, 4, 6], [3, 3, 7]),
            case("4x4, stride 2", [2, 1], [2, 3, 4, 4], [4, 4, 4]),
            case("3x3, stride 1", [1, 1], [1, 6, 7, 20], [3, 3, 101]),
            case("one pixel", [2, 0], [5, 1, 1, 16], [2, 2, 4]),
        ]
    }
}

impl Differentiable for ConvTranspose2d {
    fn save(&self, x: &[&Tensor], _y: &[Tensor]) -> Vec<Keep> {
        vec![Keep::Activation(x[0].clone()), x[1].into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let (x, w) = (saved[0], saved[1]);
        let g = self.known(x.shape, w.shape);
        if let Some(dx) = &mut dx[0] {
            twin::forward(&g, dy.data, w.data, dx.data);
        }
        if let Some(dw) = &mut dx[1] {
            twin::grad_weight(&g, dy.data, x.data, dw.data);
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let (x, w) = (saved[0], saved[1]);
        let g = self.known(x.shape(), w.shape());
        if let Some(dx) = &dx[0] {
            conv2d::forward(gpu, &g, dy.into(), [w, dx], None)?;
        }
        match &dx[1] {
            Some(dw) => conv2d::grad_weight(gpu, &g, dy.into(), [x, dw]),
            None => Ok(()),
        }
    }
}
