//! Autodiff: a tape is a list of ops; `backward` walks it from its end and returns the gradients.

mod grads;
mod param;
mod tape;
mod var;

pub use grads::Grads;
pub use param::{Observation, Param, RunningStatistics};
pub use tape::{Tape, Var};
