//! One step of stochastic gradient descent with momentum. No gradient.

use super::kernel::Kernel;
use super::{Case, Input};
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// One step of SGD on one parameter.
///
/// ```text
/// d      = g + weight_decay p
/// buffer = d at the first step, later momentum buffer + d
/// p      = p - lr (d + momentum buffer if nesterov, else buffer)
/// ```
///
/// The learning rate is outside the buffer, and the gradient is not dampened.
///
/// | value | shape |
/// |---|---|
/// | p, g, buffer | any, all the same; the buffer is not read at the first step |
/// | returns p, buffer | the same |
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
/// # Source
/// Sutskever et al. 2013, as in `torch.optim.SGD`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdUpdate {
    /// Learning rate.
    pub lr: f64,
    /// Share of the buffer that is kept.
    pub momentum: f64,
    /// L2 decay into the gradient.
    pub weight_decay: f64,
    /// Look ahead by one step of momentum.
    pub nesterov: bool,
    /// Whether there is no buffer yet.
    pub first: bool,
}

impl Kernel for SgdUpdate {
    const NAME: &'static str = "sgd";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        if inputs.len() == 3 && inputs.iter().all(|s| *s == inputs[0]) {
            return Ok(vec![inputs[0].clone(); 2]);
        }
        Err(Error::shape(Self::NAME, format!("takes p, g and buffer of one shape, got {inputs:?}")))
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [lr, momentum, decay] = [self.lr, self.momentum, self.weight_decay].map(T::of);
        let [p_next, buffer_next] = y else { unreachable!("sgd has two outputs") };
        let inputs = x[0].data.iter().zip(x[1].data).zip(x[2].data);
        let outputs = p_next.data.iter_mut().zip(&mut *buffer_next.data);
        for (((&p, &g), &buffer), (p_next, buffer_next)) in inputs.zip(outputs) {
            let d = g + decay * p;
            let next = if self.first { d } else { momentum * buffer + d };
            *buffer_next = next;
            *p_next = p - lr * if self.nesterov { d + momentum * next } else { next };
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let flag = |on: bool| f64::from(u8::from(on));
        let constants = [("NESTEROV", flag(self.nesterov)), ("FIRST", flag(self.first))];
        gpu.run_flat(
            Self::NAME,
            "forward",
            &constants,
            &[x[0], x[1], x[2], &y[0], &y[1]],
            &[
                ("lr", (self.lr as f32).into()),
                ("momentum", (self.momentum as f32).into()),
                ("weight_decay", (self.weight_decay as f32).into()),
            ],
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let plain = SgdUpdate { lr: 0.1, momentum: 0.9, weight_decay: 0.01, nesterov: false, first: false };
        let inputs = || vec![Input::normal([7, 65]); 3];
        vec![
            Case::new("momentum", plain, inputs()),
            Case::new("nesterov", SgdUpdate { nesterov: true, ..plain }, inputs()),
            Case::new("first step", SgdUpdate { first: true, ..plain }, inputs()),
        ]
    }
}
