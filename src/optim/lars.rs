//! LARS: momentum SGD whose steps are scaled to each parameter's length.

use super::{Optimizer, Unclaimed};
use crate::autograd::Grads;
use crate::error::Result;
use crate::nn::Param;
use crate::ops::{LarsUpdate, SgdUpdate, run};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Constants of LARS. The defaults are SwAV's, with vectors excluded as in BYOL.
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
    /// Name and momentum buffer by the parameter's id.
    buffers: BTreeMap<u64, (String, Tensor)>,
}

const BUFFER: &str = "momentum_buffer";

impl Lars {
    /// No buffers yet.
    pub fn new(config: LarsConfig) -> Lars {
        Lars { config, buffers: BTreeMap::new() }
    }

    /// New values of a parameter and its buffer.
    fn update(&self, p: &Tensor, g: &Tensor, old: Option<&Tensor>, lr: f64) -> Result<[Tensor; 2]> {
        let LarsConfig { momentum, weight_decay, trust, eps, exclude_1d } = self.config;
        let first = old.is_none();
        let inputs = [p, g, old.unwrap_or(p)];
        let outputs = if exclude_1d && p.shape().len() <= 1 {
            run(&SgdUpdate { lr, momentum, weight_decay: 0.0, nesterov: false, first }, &inputs)?
        } else {
            run(&LarsUpdate { lr, momentum, weight_decay, trust, eps, first }, &inputs)?
        };
        let mut outputs = outputs.into_iter();
        Ok([(); 2].map(|()| outputs.next().expect("two outputs")))
    }
}

impl Optimizer for Lars {
    fn step(&mut self, params: &[Param], grads: &Grads, lr: f64) -> Result<()> {
        for param in params {
            let Some(g) = grads.of_param(param) else { continue };
            let old = self.buffers.get(&param.id()).map(|(_, buffer)| buffer.clone());
            let [p, buffer] = self.update(&param.get(), g, old.as_ref(), lr)?;
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
