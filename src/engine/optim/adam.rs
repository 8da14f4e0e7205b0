//! Adam.

use super::memory::Memory;
use super::rates::Group;
use crate::engine::autograd::Grads;
use crate::engine::ops::{Update, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Constants of Adam. The defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Decay of the average of gradients.
    pub beta1: f64,
    /// Decay of the average of squared gradients.
    pub beta2: f64,
    /// Added to the root of the corrected second moment.
    pub eps: f64,
    /// L2 decay into the gradient of every parameter.
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    fn default() -> AdamConfig {
        AdamConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl AdamConfig {
    /// Moves the parameters of a group by [`Update::Adam`].
    pub(super) fn step(&self, memory: &mut Memory, group: &Group, grads: &Grads) -> Result<()> {
        let AdamConfig { beta1, beta2, eps, weight_decay } = *self;
        let (lr, weight_decay) = (group.lr, group.decay * weight_decay);
        memory.move_by(&group.params, grads, |steps, p, g, moments| {
            let op = Update::Adam { lr, beta1, beta2, eps, weight_decay, step: steps + 1 };
            if let [m, v] = moments {
                return run(&op, &[p, g, m, v]);
            }
            let zero = Tensor::full(p.device(), p.shape(), 0.0)?;
            run(&op, &[p, g, &zero, &zero])
        })
    }
}
