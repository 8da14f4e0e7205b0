//! Stage 6: optimisers, learning-rate schedules, the momentum encoder's average.
//!
//! An optimiser replaces parameter values from gradients and keeps what it remembers of each parameter. The
//! learning rate is an argument of each step: a schedule is a pure function of the step's number, and [`groups`] makes of it the
//! rate of each parameter.
//!
//! **The trap.** A parameter without a gradient is left alone: decay and momentum would move it all the same. Weight decay is
//! coupled, in the gradient, as in the papers' recipes; LARS may leave vectors out. On a GPU all parameters move in one kernel, packed.
//!
//! **The test.** `a_parameter_without_a_gradient_is_left_alone`, `a_resumed_optimizer_continues_bit_for_bit` in
//! `tests/engine/optim.rs`; golden cases `sgd`, `adam`, `lars`.
//!
//! ```
//! # use vista::{Device, Tensor, engine::autograd::{Param, Tape}, engine::ops::Over, engine::optim::{OptimConfig, SgdConfig}};
//! let device = Device::cpu();
//! let w = Param::new("w", Tensor::full(&device, [2], 1.0)?);
//! let mut sgd = OptimConfig::Sgd(SgdConfig { momentum: 0.0, weight_decay: 0.0, nesterov: false }).build();
//! let tape = Tape::new(&device);
//! let grads = tape.param(&w).square()?.sum(Over::All)?.backward()?; // 2 w
//! sgd.step(&[w.clone()], &grads, 0.25)?;
//! assert_eq!(w.get().to_vec()?, [0.5, 0.5]);
//! # Ok::<(), vista::Error>(())
//! ```

mod adam;
mod ema;
mod lars;
mod memory;
mod norm;
mod rates;
mod schedule;
mod sgd;

pub use adam::AdamConfig;
pub use ema::ema_update;
pub use lars::LarsConfig;
pub use norm::squared_norm;
pub(crate) use norm::{add_to, squared};
pub use rates::{Group, Rate, groups};
pub use schedule::{Decay, LrSchedule};
pub use sgd::SgdConfig;

use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use memory::Memory;
use serde::{Deserialize, Serialize};

/// Which optimiser, with its constants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OptimConfig {
    /// Stochastic gradient descent with momentum.
    Sgd(SgdConfig),
    /// Adam.
    Adam(AdamConfig),
    /// LARS.
    Lars(LarsConfig),
}

impl OptimConfig {
    /// A fresh optimiser.
    pub fn build(&self) -> Optimizer {
        // By torch's names.
        let memory = match self {
            OptimConfig::Adam(_) => Memory::new(&["exp_avg", "exp_avg_sq"], true),
            OptimConfig::Sgd(_) | OptimConfig::Lars(_) => Memory::new(&["momentum_buffer"], false),
        };
        Optimizer { config: self.clone(), memory }
    }
}

/// What moves parameters along their gradients, with what it remembers of each; the formulas are those of
/// [`Update`](crate::engine::ops::Update).
#[derive(Debug)]
pub struct Optimizer {
    config: OptimConfig,
    memory: Memory,
}

impl Optimizer {
    /// Gives every parameter of some [`groups`] that has a gradient a new value. The others are left alone: neither decayed nor
    /// moved by momentum.
    ///
    /// # Errors
    /// The device's.
    pub fn step_groups(&mut self, groups: &[Group], grads: &Grads) -> Result<()> {
        groups.iter().try_for_each(|group| match &self.config {
            OptimConfig::Sgd(config) => config.step(&mut self.memory, group, grads),
            OptimConfig::Adam(config) => config.step(&mut self.memory, group, grads),
            OptimConfig::Lars(config) => config.step(&mut self.memory, group, grads),
        })
    }

    /// As [`Optimizer::step_groups`], all at one rate.
    ///
    /// # Errors
    /// The device's.
    pub fn step(&mut self, params: &[Param], grads: &Grads, lr: f64) -> Result<()> {
        self.step_groups(&groups(params, &[], lr), grads)
    }

    /// What it remembers, as tensors named `parameter.quantity`, for a checkpoint.
    ///
    /// # Errors
    /// The device's.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.memory.state()
    }

    /// Takes up what [`Optimizer::state`] gave, for parameters of the same names. What it remembered is dropped.
    ///
    /// # Errors
    /// [`crate::Error::Input`] naming the first entry that fits no parameter by name and shape.
    pub fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()> {
        self.memory.load(params, state)
    }
}
