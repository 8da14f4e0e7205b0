//! Stochastic gradient descent with momentum.

use super::Optimizer;
use super::buffers::Buffers;
use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::ops::{SgdUpdate, run};
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

/// SGD with one momentum buffer for each parameter; the formula is [`SgdUpdate`]'s.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    buffers: Buffers,
}

impl Sgd {
    /// No buffers yet.
    pub fn new(config: SgdConfig) -> Sgd {
        Sgd { config, buffers: Buffers::default() }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, params: &[Param], grads: &Grads, lr: f64) -> Result<()> {
        let SgdConfig { momentum, weight_decay, nesterov } = self.config;
        self.buffers.move_by(params, grads, |p, g, buffer| {
            let op = SgdUpdate { lr, momentum, weight_decay, nesterov, first: buffer.is_none() };
            run(&op, &[p, g, buffer.unwrap_or(p)])
        })
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self.buffers.state())
    }

    fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        self.buffers.load(params, state)
    }
}
