//! Adam.

use super::memory::Memory;
use super::{Group, Optimizer};
use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
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

/// Adam with two moments and a step count for each parameter; the formula is [`Update::Adam`]'s.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    moments: Memory,
}

impl Adam {
    /// No moments yet.
    pub fn new(config: AdamConfig) -> Adam {
        Adam { config, moments: Memory::new(&["exp_avg", "exp_avg_sq"], true) }
    }
}

impl Optimizer for Adam {
    fn step_groups(&mut self, groups: &[Group], grads: &Grads) -> Result<()> {
        let AdamConfig { beta1, beta2, eps, weight_decay } = self.config;
        for &Group { ref params, lr, decay } in groups {
            self.moments.move_by(params, grads, |steps, p, g, moments| {
                let (weight_decay, step) = (decay * weight_decay, steps + 1);
                let op = Update::Adam { lr, beta1, beta2, eps, weight_decay, step };
                if let [m, v] = moments {
                    return run(&op, &[p, g, m, v]);
                }
                let zero = Tensor::full(p.device(), p.shape(), 0.0)?;
                run(&op, &[p, g, &zero, &zero])
            })?;
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.moments.state()
    }

    fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        self.moments.load(params, state)
    }
}
