//! Stochastic gradient descent with momentum.

use super::memory::Memory;
use super::rates::Group;
use crate::engine::autograd::Grads;
use crate::engine::ops::{Update, run};
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

impl SgdConfig {
    /// Moves the parameters of a group by [`Update::Sgd`].
    pub(super) fn step(&self, memory: &mut Memory, group: &Group, grads: &Grads) -> Result<()> {
        let SgdConfig { momentum, weight_decay, nesterov } = *self;
        let (lr, weight_decay) = (group.lr, group.decay * weight_decay);
        memory.move_by(&group.params, grads, |steps, p, g, buffer| {
            let op = Update::Sgd { lr, momentum, weight_decay, nesterov, first: steps == 0 };
            run(&op, &[p, g, buffer.first().unwrap_or(p)])
        })
    }
}
