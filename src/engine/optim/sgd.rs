//! Stochastic gradient descent with momentum.

use super::memory::Memory;
use super::{Group, Optimizer};
use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::ops::{Update, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Constants of SGD. The defaults are MoCo's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// Share of the momentum buffer that is kept.
    pub momentum: f64,
    /// L2 decay into the gradient of every parameter.
    pub weight_decay: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
}

impl Default for SgdConfig {
    fn default() -> SgdConfig {
        SgdConfig { momentum: 0.9, weight_decay: 1e-4, nesterov: false }
    }
}

/// What SGD and LARS remember, by torch's name.
pub(super) const BUFFER: &[&str] = &["momentum_buffer"];

/// SGD with one momentum buffer for each parameter; the formula is [`Update::Sgd`]'s.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    buffers: Memory,
}

impl Sgd {
    /// No buffers yet.
    pub fn new(config: SgdConfig) -> Sgd {
        Sgd { config, buffers: Memory::new(BUFFER, false) }
    }
}

impl Optimizer for Sgd {
    fn step_groups(&mut self, groups: &[Group], grads: &Grads) -> Result<()> {
        let SgdConfig { momentum, weight_decay, nesterov } = self.config;
        for &Group { ref params, lr, decay } in groups {
            self.buffers.move_by(params, grads, |steps, p, g, buffer| {
                let (weight_decay, first) = (decay * weight_decay, steps == 0);
                let op = Update::Sgd { lr, momentum, weight_decay, nesterov, first };
                run(&op, &[p, g, buffer.first().unwrap_or(p)])
            })?;
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.buffers.state()
    }

    fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        self.buffers.load(params, state)
    }
}
