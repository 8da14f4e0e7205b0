//! Adam.

use super::{Optimizer, Unclaimed};
use crate::autograd::Grads;
use crate::error::Result;
use crate::nn::Param;
use crate::ops::{AdamUpdate, run};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// Adam with two moments and a step count for each parameter; the formula is [`AdamUpdate`]'s.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    /// By the parameter's id.
    moments: BTreeMap<u64, Moments>,
}

#[derive(Debug)]
struct Moments {
    name: String,
    m: Tensor,
    v: Tensor,
    steps: u32,
}

const M: &str = "exp_avg";
const V: &str = "exp_avg_sq";
const STEPS: &str = "step";

impl Adam {
    /// No moments yet.
    pub fn new(config: AdamConfig) -> Adam {
        Adam { config, moments: BTreeMap::new() }
    }
}

impl Optimizer for Adam {
    fn step(&mut self, params: &[Param], grads: &Grads, lr: f64) -> Result<()> {
        let AdamConfig { beta1, beta2, eps, weight_decay } = self.config;
        for param in params {
            let Some(g) = grads.of_param(param) else { continue };
            let p = param.get();
            let (m, v, steps) = match self.moments.get(&param.id()) {
                Some(old) => (old.m.clone(), old.v.clone(), old.steps),
                None => {
                    let zero = Tensor::full(p.device(), p.shape(), 0.0)?;
                    (zero.clone(), zero, 0)
                }
            };
            let op = AdamUpdate { lr, beta1, beta2, eps, weight_decay, step: steps + 1 };
            let [p, m, v] = run(&op, &[&p, g, &m, &v])?.try_into().expect("three outputs");
            param.set(p)?;
            let moments = Moments { name: param.name().to_string(), m, v, steps: steps + 1 };
            self.moments.insert(param.id(), moments);
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for Moments { name, m, v, steps } in self.moments.values() {
            all.push((format!("{name}.{M}"), m.clone()));
            all.push((format!("{name}.{V}"), v.clone()));
            all.push((format!("{name}.{STEPS}"), Tensor::full(m.device(), [], *steps as f32)?));
        }
        Ok(all)
    }

    fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        let mut entries = Unclaimed::new(state);
        self.moments.clear();
        for param in params {
            let (m, v) = (entries.claim_like(param, M)?, entries.claim_like(param, V)?);
            let steps = entries.claim(param, STEPS)?;
            if let (Some(m), Some(v), Some(steps)) = (m, v, steps) {
                let moments = Moments { name: param.name().to_string(), m, v, steps: steps.item()? as u32 };
                self.moments.insert(param.id(), moments);
            }
        }
        entries.finish()
    }
}
