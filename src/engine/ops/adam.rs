//! One step of Adam. No gradient.

use super::kernel::Kernel;
use super::{Case, Draw, Input};
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};

/// One step of Adam on one parameter.
///
/// ```text
/// d = g + weight_decay p
/// m = beta1 m + (1 - beta1) d
/// v = beta2 v + (1 - beta2) d^2
/// p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
/// ```
///
/// | value | shape |
/// |---|---|
/// | p, g, m, v | any, all the same; m and v are 0 before the first step |
/// | returns p, m, v | the same |
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
/// # Source
/// Kingma and Ba 2015, Algorithm 1, with L2 decay as in `torch.optim.Adam`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamUpdate {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the average of gradients.
    pub beta1: f64,
    /// Decay of the average of squared gradients.
    pub beta2: f64,
    /// Added to the root of the corrected v.
    pub eps: f64,
    /// L2 decay into the gradient.
    pub weight_decay: f64,
    /// Number of this step, t: 1 at the first.
    pub step: u32,
}

impl AdamUpdate {
    /// `1 / (1 - beta1^t)`, and `1 / sqrt(1 - beta2^t)`: times v itself, it would leave f32's range first.
    fn corrections(&self) -> [f64; 2] {
        let [m, v] = [self.beta1, self.beta2].map(|beta| 1.0 / (1.0 - beta.powi(self.step as i32)));
        [m, v.sqrt()]
    }
}

impl Kernel for AdamUpdate {
    const NAME: &'static str = "adam";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        if inputs.len() == 4 && inputs.iter().all(|s| *s == inputs[0]) {
            return Ok(vec![inputs[0].clone(); 3]);
        }
        Err(Error::shape(Self::NAME, format!("takes p, g, m and v of one shape, got {inputs:?}")))
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [lr, eps, decay] = [self.lr, self.eps, self.weight_decay].map(T::of);
        let [keep_m, keep_v] = [self.beta1, self.beta2].map(T::of);
        let [new_m, new_v] = [self.beta1, self.beta2].map(|beta| T::of(1.0 - beta));
        let [correct_m, correct_root] = self.corrections().map(T::of);
        let [p_next, m_next, v_next] = y else { unreachable!("adam has three outputs") };
        for i in 0..p_next.data.len() {
            let p = x[0].data[i];
            let d = x[1].data[i] + decay * p;
            let m = keep_m * x[2].data[i] + new_m * d;
            let v = keep_v * x[3].data[i] + new_v * d * d;
            m_next.data[i] = m;
            v_next.data[i] = v;
            p_next.data[i] = p - lr * (m * correct_m) / (v.sqrt() * correct_root + eps);
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let [correct_m, correct_root] = self.corrections().map(|c| c as f32);
        let tensors = [x[0], x[1], x[2], x[3], &y[0], &y[1], &y[2]];
        gpu.run_flat(
            Self::NAME,
            "forward",
            &[],
            &tensors,
            &[
                ("lr", (self.lr as f32).into()),
                ("weight_decay", (self.weight_decay as f32).into()),
                ("eps", (self.eps as f32).into()),
                ("keep_m", (self.beta1 as f32).into()),
                ("new_m", ((1.0 - self.beta1) as f32).into()),
                ("keep_v", (self.beta2 as f32).into()),
                ("new_v", ((1.0 - self.beta2) as f32).into()),
                ("correct_m", correct_m.into()),
                ("correct_root", correct_root.into()),
            ],
        )
    }

    fn cases() -> Vec<Case<Self>> {
        let fifth = AdamUpdate { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 5 };
        let squares = Input::of([7, 65], Draw::Uniform(0.01, 2.0));
        let inputs = || {
            let normal = Input::normal([7, 65]);
            vec![normal.clone(), normal.clone(), normal, squares.clone()]
        };
        vec![
            Case::new("fifth step", fifth, inputs()),
            Case::new("large eps", AdamUpdate { eps: 0.1, ..fifth }, inputs()),
        ]
    }
}
