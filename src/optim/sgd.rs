//! Stochastic gradient descent with momentum.

use super::{Optimizer, Unclaimed};
use crate::autograd::Grads;
use crate::error::Result;
use crate::nn::Param;
use crate::ops::{SgdUpdate, run};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Name and momentum buffer by the parameter's id.
    buffers: BTreeMap<u64, (String, Tensor)>,
}

const BUFFER: &str = "momentum_buffer";

impl Sgd {
    /// No buffers yet.
    pub fn new(config: SgdConfig) -> Sgd {
        Sgd { config, buffers: BTreeMap::new() }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, params: &[Param], grads: &Grads, lr: f64) -> Result<()> {
        let SgdConfig { momentum, weight_decay, nesterov } = self.config;
        for param in params {
            let Some(g) = grads.of_param(param) else { continue };
            let p = param.get();
            let old = self.buffers.get(&param.id()).map(|(_, buffer)| buffer.clone());
            let op = SgdUpdate { lr, momentum, weight_decay, nesterov, first: old.is_none() };
            let [p, buffer] =
                run(&op, &[&p, g, old.as_ref().unwrap_or(&p)])?.try_into().expect("two outputs");
            param.set(p)?;
            self.buffers.insert(param.id(), (param.name().to_string(), buffer));
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let buffers = self.buffers.values();
        Ok(buffers.map(|(name, buffer)| (format!("{name}.{BUFFER}"), buffer.clone())).collect())
    }

    fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        let mut entries = Unclaimed::new(state);
        self.buffers.clear();
        for param in params {
            if let Some(buffer) = entries.claim_like(param, BUFFER)? {
                self.buffers.insert(param.id(), (param.name().to_string(), buffer));
            }
        }
        entries.finish()
    }
}
