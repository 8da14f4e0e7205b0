//! LARS: momentum SGD whose steps are scaled to each parameter's length.

use super::Optimizer;
use super::buffers::Buffers;
use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::ops::{LarsUpdate, SgdUpdate, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Constants of LARS. The defaults are SwAV's, with vectors excluded as in BYOL; SwAV's own code excludes none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LarsConfig {
    /// Share of the momentum buffer that is kept.
    pub momentum: f64,
    /// L2 decay into the gradient.
    pub weight_decay: f64,
    /// Length of a step of rate 1 as a share of the parameter's norm.
    pub trust: f64,
    /// Added to the denominator of the scale.
    pub eps: f64,
    /// Leave parameters of one dimension (biases, batch norm) neither decayed nor scaled: plain momentum SGD.
    pub exclude_1d: bool,
}

impl Default for LarsConfig {
    fn default() -> LarsConfig {
        LarsConfig { momentum: 0.9, weight_decay: 1e-6, trust: 1e-3, eps: 1e-8, exclude_1d: true }
    }
}

/// LARS with one momentum buffer for each parameter; the formula is [`LarsUpdate`]'s.
#[derive(Debug)]
pub struct Lars {
    config: LarsConfig,
    buffers: Buffers,
}

impl Lars {
    /// No buffers yet.
    pub fn new(config: LarsConfig) -> Lars {
        Lars { config, buffers: Buffers::default() }
    }
}

impl Optimizer for Lars {
    fn step(&mut self, params: &[Param], grads: &Grads, lr: f64) -> Result<()> {
        let LarsConfig { momentum, weight_decay, trust, eps, exclude_1d } = self.config;
        let (vectors, scaled): (Vec<Param>, Vec<Param>) =
            params.iter().cloned().partition(|p| exclude_1d && p.shape().len() <= 1);
        self.buffers.move_by(&vectors, grads, |p, g, buffer| {
            let first = buffer.is_none();
            let op = SgdUpdate { lr, momentum, weight_decay: 0.0, nesterov: false, first };
            run(&op, &[p, g, buffer.unwrap_or(p)])
        })?;
        // Each of these has a rate of its own.
        scaled.chunks(1).try_for_each(|param| {
            self.buffers.move_by(param, grads, |p, g, buffer| {
                let op = LarsUpdate { lr, momentum, weight_decay, trust, eps, first: buffer.is_none() };
                run(&op, &[p, g, buffer.unwrap_or(p)])
            })
        })
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self.buffers.state())
    }

    fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        self.buffers.load(params, state)
    }
}
