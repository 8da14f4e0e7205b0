//! Adam.

use super::{Optimizer, Unclaimed};
use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::ops::{AdamUpdate, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
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

    /// m and v of parameters that have these values: zeros before the first step.
    fn moments_of(&self, params: &[&Param], values: &[Tensor]) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let of = |(param, value): (&&Param, &Tensor)| match self.moments.get(&param.id()) {
            Some(old) => Ok((old.m.clone(), old.v.clone())),
            None => Tensor::full(value.device(), value.shape(), 0.0).map(|zero| (zero.clone(), zero)),
        };
        params.iter().zip(values).map(of).collect()
    }
}

impl Optimizer for Adam {
    fn step(&mut self, params: &[Param], grads: &Grads, lr: f64) -> Result<()> {
        let AdamConfig { beta1, beta2, eps, weight_decay } = self.config;
        // Those that have moved equally often share their corrections.
        let mut by_steps = BTreeMap::<u32, Vec<(&Param, &Tensor)>>::new();
        for (param, g) in params.iter().filter_map(|p| Some((p, grads.of_param(p)?))) {
            let steps = self.moments.get(&param.id()).map_or(0, |moments| moments.steps);
            by_steps.entry(steps).or_default().push((param, g));
        }
        let bundle = params.first().map_or(1, |p| p.get().device().bundle());
        let pack = |tensors: &[Tensor]| Tensor::pack(&tensors.iter().collect::<Vec<_>>());
        for (steps, group) in by_steps {
            let op = AdamUpdate { lr, beta1, beta2, eps, weight_decay, step: steps + 1 };
            for group in group.chunks(bundle) {
                let (params, grads): (Vec<&Param>, Vec<&Tensor>) = group.iter().copied().unzip();
                let values: Vec<Tensor> = params.iter().map(|p| p.get()).collect();
                let (m, v) = self.moments_of(&params, &values)?;
                let moved = run(&op, &[&pack(&values)?, &Tensor::pack(&grads)?, &pack(&m)?, &pack(&v)?])?;
                let shapes: Vec<_> = values.iter().map(|value| value.shape().clone()).collect();
                let [p, m, v] = [&moved[0], &moved[1], &moved[2]].map(|all| all.unpack(&shapes));
                for (param, ((p, m), v)) in params.into_iter().zip(p?.into_iter().zip(m?).zip(v?)) {
                    param.set(p)?;
                    let moments = Moments { name: param.name().to_string(), m, v, steps: steps + 1 };
                    self.moments.insert(param.id(), moments);
                }
            }
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
