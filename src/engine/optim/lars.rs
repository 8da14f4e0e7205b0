//! LARS: momentum SGD whose steps are scaled to each parameter's length.

use super::memory::Memory;
use super::rates::Group;
use super::sgd::SgdConfig;
use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::ops::{Update, run};
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

impl LarsConfig {
    /// Moves the parameters of a group by [`Update::Lars`], excluded ones by [`Update::Sgd`].
    pub(super) fn step(&self, memory: &mut Memory, group: &Group, grads: &Grads) -> Result<()> {
        let LarsConfig { momentum, weight_decay, trust, eps, exclude_1d } = *self;
        let (lr, decay) = (group.lr, group.decay);
        let (vectors, scaled): (Vec<Param>, Vec<Param>) =
            group.params.iter().cloned().partition(|p| exclude_1d && p.shape().len() <= 1);
        let plain = SgdConfig { momentum, weight_decay: 0.0, nesterov: false };
        plain.step(memory, &Group { params: vectors, lr, decay }, grads)?;
        // Each of these has a rate of its own.
        scaled.chunks(1).try_for_each(|param| {
            memory.move_by(param, grads, |steps, p, g, buffer| {
                let (weight_decay, first) = (decay * weight_decay, steps == 0);
                let op = Update::Lars { lr, momentum, weight_decay, trust, eps, first };
                run(&op, &[p, g, buffer.first().unwrap_or(p)])
            })
        })
    }
}
