//! Convolution of NHWC images with OHWI weights, as an implicit matrix product.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Conv2d, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 1, 3, 1], &[1.0, 2.0, 4.0])?; // one row of three pixels
//! let w = Tensor::new(device, [1, 1, 2, 1], &[-1.0, 1.0])?; // what a pixel has more than the one before it
//! let conv = Conv2d { stride: [1; 2], padding: [0; 2], dilation: [1; 2], algorithm: None };
//! assert_eq!(run(&conv, &[&x, &w])?[0].to_vec()?, [1.0, 2.0]);
//! # Ok::<(), vista::Error>(())
//! ```

mod gather;
pub(crate) mod geometry;
mod implicit;
mod transforms;
pub(crate) mod twin;
mod winograd;

pub use geometry::Winograd;
pub(super) use implicit::{forward, forward_with_statistics, grad_input, grad_weight, rows_of_statistics};

use super::kernel::{Differentiable, Keep, Kernel};
use super::reduce::{sum_axis, sum_axis_twin};
use super::{Case, Input, Map};
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use geometry::Geometry;
use rayon::prelude::*;

/// `y[n,i,j,o] = sum_(ky,kx,c) x[n, i s + ky d - p, j s + kx d - p, c] w[o,ky,kx,c] (+ bias[o])`
///
/// Cross-correlation (the kernel is not flipped) with zero padding; s, p, d are stride, padding and dilation, each
/// [vertical, horizontal].
///
/// | value | shape |
/// |---|---|
/// | `x` | `[n, h, w, c]` |
/// | `w` | `[o, kh, kw, c]` |
/// | `bias` (optional third input) | `[o]` |
/// | returns | `[n, oh, ow, o]`, `oh = (h + 2 p - d (kh - 1) - 1) / s + 1` rounded down |
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Input pixels from one output pixel to the next.
    pub stride: [usize; 2],
    /// Zero pixels around the input.
    pub padding: [usize; 2],
    /// Input pixels from one kernel tap to the next.
    pub dilation: [usize; 2],
    /// What a GPU must take, for tests and measurements: a 3x3 kernel, stride 1 and a padding of at most 2 are needed. Without it
    /// takes what is faster.
    pub algorithm: Option<Winograd>,
}

impl Conv2d {
    /// The same stride and padding in both directions, no dilation.
    pub const fn new(stride: usize, padding: usize) -> Conv2d {
        Conv2d { stride: [stride; 2], padding: [padding; 2], dilation: [1; 2], algorithm: None }
    }

    /// All sizes for an input and a weight.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit together, or its algorithm is not for these sizes.
    pub fn geometry(&self, x: &[usize], w: &[usize]) -> Result<Geometry> {
        let g = Geometry::new(x, w, self.stride, self.padding, self.dilation)?;
        if self.algorithm.is_some() && !Winograd::applies(&g) {
            let detail =
                format!("needs a 3x3 kernel and a padding of at most 2, got {x:?}, {w:?} and {self:?}");
            return Err(Error::shape(Self::NAME, detail));
        }
        Ok(Geometry { algorithm: self.algorithm, ..g })
    }

    pub(super) fn known(&self, x: &[usize], w: &[usize]) -> Geometry {
        self.geometry(x, w).expect("the shape rule has passed these shapes")
    }
}

impl Kernel for Conv2d {
    const NAME: &'static str = implicit::NAME;

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let ([x, w] | [x, w, _]) = inputs else {
            return Err(Error::shape(Self::NAME, format!("needs x, w and perhaps a bias, got {inputs:?}")));
        };
        let g = self.geometry(x, w)?;
        match inputs.get(2) {
            Some(bias) if bias.elements() != g.o => {
                let detail =
                    format!("the bias {bias} must hold one value for each of {} output channels", g.o);
                Err(Error::shape(Self::NAME, detail))
            }
            _ => Ok(vec![Shape::from(g.output())]),
        }
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        let g = self.known(inputs[0], inputs[1]);
        (g.n * g.oh * g.ow * g.o * g.depth()) as u64
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let g = self.known(x[0].shape, x[1].shape);
        twin::forward(&g, x[0].data, x[1].data, y[0].data);
        if let Some(bias) = x.get(2) {
            y[0].data.par_chunks_mut(g.o.max(1)).with_min_len(64).for_each(|pixel| {
                pixel.iter_mut().zip(bias.data).for_each(|(y, &bias)| *y += bias);
            });
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let g = self.known(x[0].shape(), x[1].shape());
        forward(gpu, &g, x[0].into(), [x[1], &y[0]], x.get(2).copied())
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, op: Conv2d, x: [usize; 4], [o, kh, kw]: [usize; 3]| {
            Case::new(name, op, vec![Input::normal(x), Input::normal([o, kh, kw, x[3]])])
        };
        let by = |algorithm, padding| Conv2d { padding, algorithm: Some(algorithm), ..Conv2d::new(1, 0) };
        let (f2, f4) = (Winograd::F2, Winograd::F4);
        let plain = Conv2d::new(1, 1);
        let asymmetric = Conv2d { stride: [2, 1], padding: [0, 2], dilation: [1, 2], ..plain };
        let dilated = Conv2d { stride: [2, 3], padding: [2, 4], dilation: [3, 2], ..plain };
        // As in a dilated stage of a ResNet: all that Winograd's algorithm needs but the dilation.
        let stage = |dilation| Conv2d { padding: [dilation; 2], dilation: [dilation; 2], ..plain };
        let with_bias = |name, op| {
            let mut with_bias = case(name, op, [2, 5, 6, 4], [7, 3, 3]);
            with_bias.inputs.push(Input::normal([7]));
            with_bias
        };
        vec![
            case("3x3", Conv2d::new(1, 1), [2, 7, 5, 8], [12, 3, 3]),
            case("3x3 odd channels", Conv2d::new(1, 1), [1, 6, 7, 5], [9, 3, 3]),
            case("3x3 stride 2", Conv2d::new(2, 1), [2, 9, 8, 4], [8, 3, 3]),
            case("1x1", Conv2d::new(1, 0), [2, 5, 7, 12], [20, 1, 1]),
            case("1x1 stride 2", Conv2d::new(2, 0), [2, 7, 6, 8], [4, 1, 1]),
            case("stem", Conv2d::new(2, 3), [2, 17, 14, 3], [8, 7, 7]),
            case("asymmetric", asymmetric, [1, 9, 8, 4], [6, 3, 2]),
            case("dilated", dilated, [1, 11, 13, 4], [5, 3, 3]),
            case("dilated, the same size", stage(2), [2, 9, 8, 32], [16, 3, 3]),
            case("dilated by 4, odd", stage(4), [2, 9, 7, 32], [48, 3, 3]),
            case("dilated beyond the image", stage(4), [2, 3, 2, 32], [16, 3, 3]),
            case("no tap reaches", Conv2d::new(3, 0), [2, 7, 8, 3], [4, 2, 1]),
            case("one pixel", Conv2d::new(1, 1), [3, 1, 1, 4], [4, 3, 3]),
            case("several tiles", Conv2d::new(1, 1), [2, 12, 9, 20], [101, 3, 3]),
            case("long sum", Conv2d::new(1, 1), [1, 3, 3, 68], [8, 3, 3]),
            case("many pixels", Conv2d::new(1, 0), [3, 20, 16, 4], [5, 1, 1]),
            with_bias("bias", plain),
            case("F2", by(f2, [1, 1]), [2, 8, 6, 16], [12, 3, 3]),
            case("F4", by(f4, [1, 1]), [2, 8, 12, 16], [12, 3, 3]),
            case("F2, odd", by(f2, [1, 1]), [2, 7, 5, 5], [9, 3, 3]),
            case("F4, odd", by(f4, [1, 1]), [2, 7, 5, 5], [9, 3, 3]),
            case("F2, paddings 0 and 2", by(f2, [0, 2]), [3, 5, 9, 6], [3, 3, 3]),
            case("F4, paddings 2 and 0", by(f4, [2, 0]), [3, 5, 9, 7], [20, 3, 3]),
            case("F4, one pixel", by(f4, [1, 1]), [3, 1, 1, 4], [4, 3, 3]),
            case("F2, many tiles", by(f2, [1, 1]), [4, 19, 23, 20], [101, 3, 3]),
            case("F4, many tiles", by(f4, [1, 1]), [5, 30, 21, 40], [101, 3, 3]),
            with_bias("F4, bias", by(f4, [1, 1])),
        ]
    }
}

impl Differentiable for Conv2d {
    const ADDS: bool = true;

    fn save(&self, x: &[&Tensor], _y: &[Tensor]) -> Vec<Keep> {
        vec![Keep::Activation(x[0].clone()), x[1].into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let (x, w) = (saved[0], saved[1]);
        let g = self.known(x.shape, w.shape);
        for (input, dx) in dx.iter_mut().enumerate() {
            let Some(dx) = dx else { continue };
            match input {
                0 => twin::grad_input(&g, w.data, dy.data, dx.data, false),
                1 => twin::grad_weight(&g, x.data, dy.data, dx.data),
                _ => dx.data.copy_from_slice(&sum_axis_twin(dy.data, [1, g.pixels(), g.o])),
            }
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let (x, w) = (saved[0], saved[1]);
        let g = self.known(x.shape(), w.shape());
        for (input, dx) in dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            match input {
                0 => grad_input(gpu, &g, [w, dy, dx], false)?,
                1 => grad_weight(gpu, &g, x.into(), [dy, dx])?,
                _ => sum_axis(gpu, dy, [1, g.pixels(), g.o], 1.0, 0.0, dx)?,
            }
        }
        Ok(())
    }

    fn twin_add<T: Real>(&self, saved: &[View<T>], dy: View<T>, sum: &mut [T]) {
        let (x, w) = (saved[0], saved[1]);
        twin::grad_input(&self.known(x.shape, w.shape), w.data, dy.data, sum, true);
    }

    fn gpu_add(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, sum: Tensor) -> Result<Tensor> {
        let (x, w) = (saved[0], saved[1]);
        let g = self.known(x.shape(), w.shape());
        if implicit::adds(gpu, &g) {
            grad_input(gpu, &g, [w, dy, &sum], true)?;
            return Ok(sum);
        }
        let dx = Tensor::uninit(sum.device(), sum.shape().clone())?;
        grad_input(gpu, &g, [w, dy, &dx], false)?;
        let both = Tensor::uninit(sum.device(), sum.shape().clone())?;
        Map::Add.gpu(gpu, &[&sum, &dx], std::slice::from_ref(&both))?;
        Ok(both)
    }
}
