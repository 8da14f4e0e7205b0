//! A convolution and the statistics of what it writes, for the batch norm behind it: on a GPU they are gathered while the
//! output is written, so that it is not read once more for them. On the CPU that gained nothing measurable.

use super::kernel::Kernel;
use super::{BatchNorm, Case, Conv2d, Draw, Input, batch_norm, conv2d};
use crate::engine::device::scratch::with_scratch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// `y = conv(x, w)`, or `y = conv(relu(scale (x - mean) + shift), w)` given coefficients of x, and the coefficients that a
/// batch norm of y needs.
///
/// | value | shape |
/// |---|---|
/// | `x` | `[n, h, w, c]` |
/// | `w` | `[o, kh, kw, c]` |
/// | `gamma`, `beta` of the norm of y | `[o]` |
/// | coefficients of x (may be left out) | `[4, groups, c]`: mean, variance, scale, shift |
/// | returns `y` | `[n, oh, ow, o]` |
/// | returns coefficients of y | `[4, groups, o]`: mean, biased variance, `gamma / sqrt(var + eps)`, beta |
///
/// It has no gradient of its own: a tape [records](crate::engine::autograd::Tape::record) its output as that of a [`Conv2d`] or a
/// [`NormConv2d`](super::NormConv2d).
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together; see [`Conv2d`] and [`BatchNorm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvStatistics {
    /// The convolution.
    pub conv: Conv2d,
    /// Groups of consecutive samples with statistics of their own; divides `n`.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
}

impl ConvStatistics {
    fn norm(&self) -> BatchNorm {
        BatchNorm { groups: self.groups, eps: self.eps, relu: false }
    }
}

impl Kernel for ConvStatistics {
    const NAME: &'static str = "conv_statistics";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let ([x, w, gamma, beta] | [x, w, gamma, beta, _]) = inputs else {
            let detail = format!("needs x, w, gamma, beta and perhaps coefficients of x, got {inputs:?}");
            return Err(Error::shape(Self::NAME, detail));
        };
        let g = self.conv.geometry(x, w)?;
        let y = Shape::from(g.output());
        self.norm().shapes(&[&y, gamma, beta])?;
        match inputs.get(4) {
            Some(_) if x.elements() == 0 => {
                Err(Error::shape(Self::NAME, format!("x {x} is empty and has no coefficients")))
            }
            Some(coefficients) if **coefficients != self.norm().coefficients_shape(g.c) => {
                let detail =
                    format!("coefficients {coefficients} of {} groups do not fit x {x}", self.groups);
                Err(Error::shape(Self::NAME, detail))
            }
            _ => Ok(vec![y, self.norm().coefficients_shape(g.o)]),
        }
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        self.conv.work(&inputs[..2])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [y, coefficients] = y else { unreachable!("two outputs") };
        let (image, w) = (x[0], x[1]);
        let g = self.conv.known(image.shape, w.shape);
        match x.get(4) {
            None => conv2d::twin::forward(&g, image.data, w.data, y.data),
            Some(given) => with_scratch(image.data.len(), |a: &mut [T]| {
                batch_norm::twin::apply([self.groups, g.c], true, given.data, image.data, None, a);
                conv2d::twin::forward(&g, a, w.data, y.data);
            }),
        }
        batch_norm::twin::coefficients(&self.norm().norm(x[2].data, x[3].data), y.data, coefficients.data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let [y, coefficients] = y else { unreachable!("two outputs") };
        let (w, gamma, beta) = (x[1], x[2], x[3]);
        let images = conv2d::Images { x: x[0], coefficients: x.get(4).copied() };
        let g = self.conv.known(x[0].shape(), w.shape());
        let Some(rows) = conv2d::rows_of_statistics(gpu, &g, self.groups) else {
            conv2d::forward(gpu, &g, images, [w, y], None)?;
            return self.norm().coefficients(gpu, [y, gamma, beta, coefficients]);
        };
        let blocks = self.norm().blocks(gpu, y, rows)?;
        conv2d::forward_with_statistics(gpu, &g, images, [w, y, &blocks])?;
        self.norm().merge(gpu, y, rows, [&blocks, gamma, beta, coefficients])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, conv, groups, x: [usize; 4], [o, kh, kw]: [usize; 3], given: bool| {
            let op = ConvStatistics { conv, groups, eps: 1e-5 };
            let mut inputs = vec![Input::normal(x), Input::normal([o, kh, kw, x[3]])];
            inputs.extend([Input::normal([o]), Input::normal([o])]);
            inputs.extend(given.then(|| Input::of([4, groups, x[3]], Draw::Constant)));
            Case::new(name, op, inputs)
        };
        vec![
            case("3x3", Conv2d::new(1, 1), 1, [2, 7, 5, 8], [12, 3, 3], false),
            case("1x1, odd channels", Conv2d::new(1, 0), 1, [2, 7, 5, 5], [13, 1, 1], false),
            case("stem", Conv2d::new(2, 3), 1, [2, 17, 14, 3], [8, 7, 7], false),
            case("several tiles", Conv2d::new(1, 1), 1, [3, 12, 9, 4], [68, 3, 3], false),
            case("groups of whole tiles", Conv2d::new(1, 0), 2, [4, 8, 8, 4], [36, 1, 1], false),
            case("groups that cut tiles", Conv2d::new(1, 1), 3, [6, 5, 7, 4], [8, 3, 3], false),
            case("coefficients of x", Conv2d::new(2, 1), 1, [3, 12, 9, 8], [68, 3, 3], true),
            case("coefficients, 1x1", Conv2d::new(1, 0), 1, [2, 7, 5, 12], [40, 1, 1], true),
            case("coefficients, groups", Conv2d::new(1, 0), 2, [4, 8, 8, 8], [36, 1, 1], true),
            case("coefficients, odd channels", Conv2d::new(1, 1), 2, [4, 5, 7, 5], [9, 3, 3], true),
            case("coefficients, many channels", Conv2d::new(1, 1), 1, [2, 5, 7, 20], [260, 3, 3], true),
        ]
    }
}
