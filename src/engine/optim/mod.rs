//! Step 6 of the pipeline: optimisers, learning-rate schedules, the momentum encoder's average.
//!
//! An optimiser replaces parameter values from gradients and keeps what it remembers of each parameter. The
//! learning rate is an argument of each step: a schedule is a pure function of the step's number.
//!
//! **The trap.** A parameter without a gradient is left alone: decay and momentum would move it all the same. Weight decay is
//! coupled, in the gradient, as in the papers' recipes; LARS may leave vectors out. On a GPU all parameters move in one kernel, packed.
//!
//! **The test.** `a_parameter_without_a_gradient_is_left_alone`, `a_resumed_optimizer_continues_bit_for_bit` in
//! `tests/optim.rs`; golden cases `sgd`, `adam`, `lars`.

mod adam;
mod buffers;
mod ema;
mod lars;
mod schedule;
mod sgd;

pub use adam::{Adam, AdamConfig};
pub use ema::ema_update;
pub use lars::{Lars, LarsConfig};
pub use schedule::CosineSchedule;
pub use sgd::{Sgd, SgdConfig};

use crate::engine::autograd::Grads;
use crate::engine::nn::Param;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that moves parameters along their gradients.
pub trait Optimizer: std::fmt::Debug {
    /// Gives every parameter that has a gradient a new value. The others are left alone: neither decayed nor
    /// moved by momentum.
    ///
    /// # Errors
    /// The device's.
    fn step(&mut self, params: &[Param], grads: &Grads, lr: f64) -> Result<()>;

    /// What it remembers, as tensors named `parameter.quantity`, for a checkpoint.
    ///
    /// # Errors
    /// The device's.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;

    /// Takes up what [`Optimizer::state`] gave, for parameters of the same names. What it remembered is dropped.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first entry that fits no parameter by name and shape.
    fn load(&mut self, params: &[Param], state: &[(String, Tensor)]) -> Result<()>;
}

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
    pub fn build(&self) -> Box<dyn Optimizer> {
        match self {
            OptimConfig::Sgd(config) => Box::new(Sgd::new(config.clone())),
            OptimConfig::Adam(config) => Box::new(Adam::new(config.clone())),
            OptimConfig::Lars(config) => Box::new(Lars::new(config.clone())),
        }
    }
}

/// Entries of a checkpoint's optimiser state, each to be claimed by the parameter it belongs to.
struct Unclaimed<'a>(BTreeMap<&'a str, &'a Tensor>);

impl<'a> Unclaimed<'a> {
    fn new(state: &'a [(String, Tensor)]) -> Unclaimed<'a> {
        Unclaimed(state.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect())
    }

    /// The entry `parameter.quantity`, on the parameter's device.
    fn claim(&mut self, param: &Param, quantity: &str) -> Result<Option<Tensor>> {
        let tensor = self.0.remove(format!("{}.{quantity}", param.name()).as_str());
        tensor.map(|t| t.to_device(param.get().device())).transpose()
    }

    /// Like [`Unclaimed::claim`], of the parameter's shape.
    fn claim_like(&mut self, param: &Param, quantity: &str) -> Result<Option<Tensor>> {
        match self.claim(param, quantity)? {
            Some(tensor) if *tensor.shape() != param.shape() => Err(Error::input(
                format!("optimiser state is {}, the parameter {}", tensor.shape(), param.shape()),
                format!("{}.{quantity}", param.name()),
                "resume with the configuration that the checkpoint was made with",
            )),
            tensor => Ok(tensor),
        }
    }

    /// # Errors
    /// [`Error::Input`] if an entry is left.
    fn finish(self) -> Result<()> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::input(
                "optimiser state belongs to no parameter",
                name,
                "resume with the configuration that the checkpoint was made with",
            )),
        }
    }
}
