//! A convolution of what batch norm and relu make of its input, which no one keeps: it is made again wherever it is read, in
//! the forward pass and in the gradient of the weight. On a GPU that is on load where it is faster, else, and on the CPU, a
//! pass into memory that is free again at once.

use super::kernel::{Differentiable, Kernel};
use super::{BatchNorm, Case, Conv2d, Input, batch_norm, conv2d};
use crate::engine::device::scratch::with_scratch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// `y = conv(relu(gamma (x - mean) / sqrt(var + eps) + beta), w)`, mean and var being those of x.
///
/// | value | shape |
/// |---|---|
/// | `x` | `[n, h, w, c]` |
/// | `w` | `[o, kh, kw, c]` |
/// | `gamma`, `beta` | `[c]` |
/// | returns `y` | `[n, oh, ow, o]` |
/// | by-product `coefficients` | `[4, groups, c]`: mean, biased variance, `gamma / sqrt(var + eps)`, beta |
///
/// The gradients are those of a [`BatchNorm`] with relu and of a [`Conv2d`], one behind the other. A tape keeps x alone of
/// the three tensors that the two would need.
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together; see [`Conv2d`] and [`BatchNorm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConv2d {
    /// Groups of consecutive samples with statistics of their own; divides `n`.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// The convolution.
    pub conv: Conv2d,
}

impl NormConv2d {
    fn norm(&self) -> BatchNorm {
        BatchNorm { groups: self.groups, eps: self.eps, relu: true }
    }
}

impl Kernel for NormConv2d {
    const NAME: &'static str = "norm_conv2d";
    const READS: u64 = 2;

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let [x, w, gamma, beta] = inputs else {
            return Err(Error::shape(Self::NAME, format!("needs x, w, gamma and beta, got {inputs:?}")));
        };
        let g = self.conv.geometry(x, w)?;
        self.norm().shapes(&[x, gamma, beta])?;
        Ok(vec![Shape::from(g.output()), self.norm().coefficients_shape(g.c)])
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        self.conv.work(&inputs[..2])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [y, coefficients] = y else { unreachable!("two outputs") };
        let [x, w, gamma, beta] = x else { unreachable!("four inputs") };
        let g = self.conv.known(x.shape, w.shape);
        batch_norm::twin::coefficients(&self.norm().norm(gamma.data, beta.data), x.data, coefficients.data);
        with_scratch(x.data.len(), |a: &mut [T]| {
            batch_norm::twin::apply([self.groups, g.c], true, coefficients.data, x.data, None, a);
            conv2d::twin::forward(&g, a, w.data, y.data);
        });
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let &[x, w, gamma, beta] = x else { unreachable!("four inputs") };
        let [y, coefficients] = y else { unreachable!("two outputs") };
        self.norm().coefficients(gpu, [x, gamma, beta, coefficients])?;
        let images = conv2d::Images { x, coefficients: Some(coefficients) };
        conv2d::forward(gpu, &self.conv.known(x.shape(), w.shape()), images, [w, y], None)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, conv, groups, x: [usize; 4], [o, kh, kw]: [usize; 3]| {
            let inputs = vec![
                Input::normal(x),
                Input::normal([o, kh, kw, x[3]]),
                Input::normal([x[3]]),
                Input::normal([x[3]]),
            ];
            Case::new(name, NormConv2d { groups, eps: 1e-5, conv }, inputs)
        };
        // Few elements: none of them within a difference step of the relu's kink.
        vec![
            case("3x3", Conv2d::new(1, 1), 1, [2, 4, 3, 8], [12, 3, 3]),
            case("3x3 stride 2", Conv2d::new(2, 1), 1, [2, 5, 4, 4], [8, 3, 3]),
            case("1x1", Conv2d::new(1, 0), 1, [2, 3, 4, 12], [20, 1, 1]),
            case("odd channels", Conv2d::new(1, 1), 2, [4, 3, 3, 5], [9, 3, 3]),
            case("three groups", Conv2d::new(1, 1), 3, [6, 3, 2, 4], [8, 3, 3]),
            case("several tiles", Conv2d::new(1, 1), 2, [4, 5, 4, 4], [68, 3, 3]),
            case("many channels", Conv2d::new(1, 1), 1, [2, 3, 3, 20], [260, 3, 3]),
        ]
    }
}

impl Differentiable for NormConv2d {
    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Tensor> {
        vec![x[0].clone(), x[1].clone(), x[2].clone(), y[1].clone()]
    }

    fn activations(&self) -> &'static [usize] {
        &[0]
    }

    fn before_relu(&self) -> Option<usize> {
        Some(3)
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let [x, w, gamma, coefficients] = saved else { unreachable!("four saved tensors") };
        let g = self.conv.known(x.shape, w.shape);
        with_scratch(x.data.len(), |a: &mut [T]| {
            batch_norm::twin::apply([self.groups, g.c], true, coefficients.data, x.data, None, a);
            let [dx, dw, dgamma, dbeta] = dx else { unreachable!("four inputs") };
            if let Some(dw) = dw {
                conv2d::twin::grad_weight(&g, a, dy.data, dw.data);
            }
            if dx.is_none() && dgamma.is_none() && dbeta.is_none() {
                return;
            }
            with_scratch(x.data.len(), |da: &mut [T]| {
                conv2d::twin::grad_input(&g, w.data, dy.data, da, false);
                let grads = batch_norm::twin_grads(dx, dgamma, dbeta, &mut []);
                let stats = batch_norm::twin::Stats::new(&coefficients.data[..coefficients.data.len() / 2]);
                let norm = self.norm().norm(gamma.data, &[]);
                batch_norm::twin::backward(&norm, true, stats, x.data, a, da, grads);
            });
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let &[x, w, gamma, coefficients] = saved else { unreachable!("four saved tensors") };
        let [dx, dw, dgamma, dbeta] = dx else { unreachable!("four inputs") };
        let g = self.conv.known(x.shape(), w.shape());
        if let Some(dw) = dw {
            let images = conv2d::Images { x, coefficients: Some(coefficients) };
            conv2d::grad_weight(gpu, &g, images, [dy, dw])?;
        }
        if dx.is_none() && dgamma.is_none() && dbeta.is_none() {
            return Ok(());
        }
        let da = Tensor::uninit(x.device(), x.shape().clone())?;
        conv2d::grad_input(gpu, &g, [w, dy, &da], false)?;
        self.norm().backward_without_y(gpu, [x, gamma, coefficients], &da, [dx, dgamma, dbeta])
    }
}
