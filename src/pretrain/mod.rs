//! Stage 7: the training step, and the run around it.
//!
//! A step is nine numbered lines in [`Learner::step`], and their order is part of the method: the key encoder moves before any
//! pass, labels and logits read the old queue, nothing moves before the loss and the gradient are known to be finite.
//!
//! **Why so.** State changes in one place, so what must be saved to go on to the same bit can be listed: see [`checkpoint`].
//!
//! **The trap.** Batch norm lets an encoder cheat: a query and its key that were normalised together know each other. On one
//! device the keys are shuffled, normalised in groups, and put back (MoCo's ShuffleBN).
//!
//! **The test.** `tests/training.rs` for the order, `tests/resume.rs` for the state, `tests/memory.rs` for the memory.

mod archive;
mod batch;
mod check;
pub mod checkpoint;
mod collapse;
mod config;
mod course;
pub mod encoder;
mod events;
mod folder;
mod growing;
mod history;
mod judge;
mod keys;
mod log;
mod memory;
pub mod objective;
mod parts;
pub mod passes;
mod preset;
pub mod queue;
mod record;
mod reopening;
mod saving;
mod setup;
mod state;
mod step;
mod sweep;
mod telling;
mod trainer;
pub mod untrusted;

pub use collapse::{Dispersion, Watch};
pub(crate) use config::MAX_TEXT;
pub use config::{
    Config, DataConfig, EvalConfig, Method, ModelConfig, ObjectiveConfig, OnNan, OptimizerConfig,
    OptimizerName, ScheduleName, SmallViews, Stabilization, TrainConfig,
};
pub use folder::{Found, MAY_CHANGE};
pub use history::History;
pub use judge::{Score, Scores};
pub(crate) use log::Progress;
pub use memory::MemoryPlan;
pub use preset::PRESETS;
pub use setup::{activation_bytes, learner, starting_encoder};
pub(crate) use setup::{album, judge_photos, pretraining_photos};
pub use step::{Batch, Learner, StepReport, Target, TermReport};
pub use sweep::{Outcome, Spread, Sweep, SweepRun};
pub use trainer::{AfterEpoch, AfterStep, Summary, Trainer};
