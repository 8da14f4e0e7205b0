//! Convolution, norm, relu, convolution: what is between two convolutions is never kept.
//!
//! ```text
//! what runs     conv(x_0) -> x_1, coefficients of x_1;  conv(relu(norm(x_1))) -> x_2, coefficients of x_2;  ..    ConvStatistics
//! what a tape   conv(x_0) -> x_1;                       conv(relu(norm(x_1))) -> x_2;                        ..    Conv2d, NormConv2d
//! ```
//!
//! On a GPU the statistics are gathered while an output is written, so that it is not read once more for them, and the norm
//! and relu are applied as it is read where that is faster; else, and on the CPU, in a pass into memory that is free again at once.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Coefficients, Conv2d, ConvStatistics, run}};
//! # let device = &Device::cpu();
//! let x = Tensor::new(device, [1, 1, 2, 1], &[1.0, 3.0])?;
//! let [w, gamma, beta] = [(vec![1, 1, 1, 1], 2.0), (vec![1], 1.0), (vec![1], 0.0)].map(|(shape, v)| Tensor::full(device, shape, v));
//! let conv = Conv2d { stride: [1; 2], padding: [0; 2], dilation: [1; 2], algorithm: None };
//! let by = Coefficients::Batch { groups: 1, eps: 0.0 };
//! let found = run(&ConvStatistics { conv, by }, &[&x, &w?, &gamma?, &beta?])?;
//! assert_eq!(found[0].to_vec()?, [2.0, 6.0]);
//! assert_eq!(found[1].to_vec()?, [4.0, 4.0, 0.5, 0.0]); // mean, variance, scale, shift of its channel
//! # Ok::<(), vista::Error>(())
//! ```

use super::batch_norm::{Mask, Waiting, data};
use super::kernel::{Differentiable, Keep, Kernel};
use super::{BatchNorm, Case, Coefficients, Conv2d, Draw, Input, conv2d};
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
/// | `gamma`, `beta` of the norm of y; `mean`, `var` if they are given | `[o]` |
/// | coefficients of x (may be left out) | `[4, groups, c]`: mean, variance, scale, shift |
/// | returns `y` | `[n, oh, ow, o]` |
/// | returns coefficients of y | `[4, groups, o]` |
///
/// It has no gradient of its own: a tape [records](crate::engine::autograd::Tape::record) its output as that of a [`Conv2d`] or a
/// [`NormConv2d`].
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together; see [`Conv2d`] and [`Coefficients`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvStatistics {
    /// The convolution.
    pub conv: Conv2d,
    /// What the norm of y normalises by.
    pub by: Coefficients,
}

impl ConvStatistics {
    /// Where the coefficients of x are among the inputs.
    fn before(&self) -> usize {
        2 + self.by.vectors()
    }

    /// The inputs of the coefficients of y.
    fn of<X: Clone>(&self, y: X, inputs: &[X]) -> Vec<X> {
        let vectors = inputs[2..self.before()].iter().cloned();
        let y_and_vectors: Vec<X> = [y].into_iter().chain(vectors).collect();
        self.by.of(&y_and_vectors).to_vec()
    }
}

impl Kernel for ConvStatistics {
    const NAME: &'static str = "conv_statistics";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let before = self.before();
        if !(before..=before + 1).contains(&inputs.len()) {
            let detail = format!("needs x, w, {} vectors and perhaps coefficients of x", self.by.vectors());
            return Err(Error::shape(Self::NAME, format!("{detail}, got {inputs:?}")));
        }
        let (x, g) = (inputs[0], self.conv.geometry(inputs[0], inputs[1])?);
        let y = Shape::from(g.output());
        let coefficients = self.by.shape_of(&y, &inputs[2..before])?;
        match inputs.get(before) {
            Some(_) if x.elements() == 0 => {
                Err(Error::shape(Self::NAME, format!("x {x} is empty and has no coefficients")))
            }
            Some(given) if given[..] != [4, self.by.groups(), g.c] => {
                let detail = format!("coefficients {given} of {} groups do not fit x {x}", self.by.groups());
                Err(Error::shape(Self::NAME, detail))
            }
            _ => Ok(vec![y, coefficients]),
        }
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        self.conv.work(&inputs[..2])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [y, coefficients] = y else { unreachable!("two outputs") };
        let g = self.conv.known(x[0].shape, x[1].shape);
        let images = Waiting { x: x[0], coefficients: x.get(self.before()).copied() };
        images.with(|a| conv2d::twin::forward(&g, a, x[1].data, y.data));
        let y = View { shape: y.shape, data: &*y.data };
        self.by.twin_of(&self.of(y, x), coefficients.data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let [y, coefficients] = y else { unreachable!("two outputs") };
        let images = Waiting { x: x[0], coefficients: x.get(self.before()).copied() };
        let g = self.conv.known(x[0].shape(), x[1].shape());
        let rows = conv2d::rows_of_statistics(gpu, &g, self.by.groups()).filter(|_| self.by.is_batch());
        let Some(rows) = rows else {
            conv2d::forward(gpu, &g, images, [x[1], y], None)?;
            return self.by.record(gpu, &self.of(y, x), coefficients);
        };
        let plan = self.by.plan(gpu, y).cut(rows);
        let blocks = plan.statistics(y)?;
        conv2d::forward_with_statistics(gpu, &g, images, [x[1], y, &blocks])?;
        plan.merge(gpu, [&blocks, x[2], x[3], coefficients])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, conv, groups, x: [usize; 4], [o, kh, kw]: [usize; 3], waits: bool| {
            let op = ConvStatistics { conv, by: Coefficients::Batch { groups, eps: 1e-5 } };
            let mut inputs = vec![Input::normal(x), Input::normal([o, kh, kw, x[3]])];
            inputs.extend([Input::normal([o]), Input::normal([o])]);
            inputs.extend(waits.then(|| Input::of([4, groups, x[3]], Draw::Constant)));
            Case::new(name, op, inputs)
        };
        let dilated = Conv2d { padding: [2; 2], dilation: [2; 2], ..Conv2d::new(1, 1) };
        let given = |name, waits| {
            let mut given = case(name, Conv2d::new(1, 1), 1, [2, 5, 7, 8], [12, 3, 3], waits);
            given.op.by = Coefficients::Given { eps: 1e-5 };
            given.inputs.insert(4, Input::of([12], Draw::Constant));
            given.inputs.insert(5, Input::of([12], Draw::Positive));
            given
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
            case("coefficients, dilated", dilated, 1, [2, 7, 6, 16], [16, 3, 3], true),
            given("given statistics", false),
            given("given statistics, coefficients of x", true),
        ]
    }
}

/// `y = conv(relu(gamma (x - mean) / sqrt(var + eps) + beta), w)`
///
/// | value | shape |
/// |---|---|
/// | `x` | `[n, h, w, c]` |
/// | `w` | `[o, kh, kw, c]` |
/// | `gamma`, `beta`; `mean`, `var` if they are given, which get no gradient | `[c]` |
/// | returns `y` | `[n, oh, ow, o]` |
/// | by-product `coefficients` | `[4, groups, c]`: mean, biased variance, `gamma / sqrt(var + eps)`, beta |
///
/// The gradients are those of a [`BatchNorm`] with relu and of a [`Conv2d`], one behind the other. A tape keeps x alone of
/// the three tensors that the two would need.
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together; see [`Conv2d`] and [`Coefficients`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConv2d {
    /// What x is normalised by.
    pub by: Coefficients,
    /// The convolution.
    pub conv: Conv2d,
}

impl NormConv2d {
    fn norm(&self) -> BatchNorm {
        BatchNorm { by: self.by, relu: true }
    }

    /// The inputs of the coefficients of x.
    fn of<X: Copy>(&self, inputs: &[X]) -> Vec<X> {
        let x_and_vectors: Vec<X> = inputs[..1].iter().chain(&inputs[2..]).copied().collect();
        self.by.of(&x_and_vectors).to_vec()
    }
}

impl Kernel for NormConv2d {
    const NAME: &'static str = "norm_conv2d";
    const READS: u64 = 2;

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let [x, w, vectors @ ..] = inputs else {
            return Err(Error::shape(Self::NAME, format!("needs x, w and vectors, got {inputs:?}")));
        };
        let g = self.conv.geometry(x, w)?;
        Ok(vec![Shape::from(g.output()), self.by.shape_of(x, vectors)?])
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        self.conv.work(&inputs[..2])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [y, coefficients] = y else { unreachable!("two outputs") };
        self.by.twin_of(&self.of(x), coefficients.data);
        let given = View { shape: coefficients.shape, data: &*coefficients.data };
        let g = self.conv.known(x[0].shape, x[1].shape);
        let images = Waiting { x: x[0], coefficients: Some(given) };
        images.with(|a| conv2d::twin::forward(&g, a, x[1].data, y.data));
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let [y, coefficients] = y else { unreachable!("two outputs") };
        self.by.record(gpu, &self.of(x), coefficients)?;
        let images = Waiting { x: x[0], coefficients: Some(coefficients) };
        conv2d::forward(gpu, &self.conv.known(x[0].shape(), x[1].shape()), images, [x[1], y], None)
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, conv, groups, x: [usize; 4], [o, kh, kw]: [usize; 3]| {
            let inputs = vec![
                Input::normal(x),
                Input::normal([o, kh, kw, x[3]]),
                Input::normal([x[3]]),
                Input::normal([x[3]]),
            ];
            Case::new(name, NormConv2d { by: Coefficients::Batch { groups, eps: 1e-5 }, conv }, inputs)
        };
        let mut given = case("given statistics", Conv2d::new(1, 1), 1, [2, 4, 3, 7], [12, 3, 3]);
        given.op.by = Coefficients::Given { eps: 1e-5 };
        given.inputs.extend([Input::of([7], Draw::Constant), Input::of([7], Draw::Positive)]);
        let dilated = Conv2d { padding: [2; 2], dilation: [2; 2], ..Conv2d::new(1, 1) };
        // Few elements: none of them within a difference step of the relu's kink.
        vec![
            case("3x3", Conv2d::new(1, 1), 1, [2, 4, 3, 8], [12, 3, 3]),
            case("3x3 stride 2", Conv2d::new(2, 1), 1, [2, 5, 4, 4], [8, 3, 3]),
            case("1x1", Conv2d::new(1, 0), 1, [2, 3, 4, 12], [20, 1, 1]),
            case("odd channels", Conv2d::new(1, 1), 2, [4, 3, 3, 5], [9, 3, 3]),
            case("three groups", Conv2d::new(1, 1), 3, [6, 3, 2, 4], [8, 3, 3]),
            case("several tiles", Conv2d::new(1, 1), 2, [4, 5, 4, 4], [68, 3, 3]),
            case("many channels", Conv2d::new(1, 1), 1, [2, 3, 3, 20], [260, 3, 3]),
            case("dilated", dilated, 1, [2, 4, 5, 4], [8, 3, 3]),
            given,
        ]
    }
}

impl Differentiable for NormConv2d {
    const VARIABLES: usize = 4;

    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        let images = Keep::BeforeRelu(x[0].clone(), y[1].clone());
        vec![images, x[1].into(), x[2].into(), (&y[1]).into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let &[x, w, gamma, coefficients] = saved else { unreachable!("four saved tensors") };
        let [dx, dw, dgamma, dbeta, ..] = dx else { unreachable!("four inputs at least") };
        let g = self.conv.known(x.shape, w.shape);
        Waiting { x, coefficients: Some(coefficients) }.with(|a| {
            if let Some(dw) = dw {
                conv2d::twin::grad_weight(&g, a, dy.data, dw.data);
            }
            if dx.is_none() && dgamma.is_none() && dbeta.is_none() {
                return;
            }
            with_scratch(x.data.len(), |da: &mut [T]| {
                conv2d::twin::grad_input(&g, w.data, dy.data, da, false);
                let grads = [data(dx), data(dgamma), data(dbeta), None];
                self.norm().twin_backward_from([x.data, gamma.data, coefficients.data], [a, da], grads);
            });
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let &[x, w, gamma, coefficients] = saved else { unreachable!("four saved tensors") };
        let [dx, dw, dgamma, dbeta, ..] = dx else { unreachable!("four inputs at least") };
        let g = self.conv.known(x.shape(), w.shape());
        if let Some(dw) = dw {
            let images = Waiting { x, coefficients: Some(coefficients) };
            conv2d::grad_weight(gpu, &g, images, [dy, dw])?;
        }
        if dx.is_none() && dgamma.is_none() && dbeta.is_none() {
            return Ok(());
        }
        let da = Tensor::uninit(x.device(), x.shape().clone())?;
        conv2d::grad_input(gpu, &g, [w, dy, &da], false)?;
        let plan = self.norm().plan(gpu, x.shape());
        plan.backward(gpu, [x, &da], Mask::Coefficients, [gamma, coefficients], [dx, dgamma, dbeta], None)
    }
}
