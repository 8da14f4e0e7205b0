//! Stage 7: the training step, and the run around it.

mod archive;
mod batch;
mod check;
pub mod checkpoint;
mod collapse;
mod config;
mod course;
mod events;
mod folder;
mod history;
mod judge;
mod keys;
mod log;
mod memory;
mod parts;
pub mod passes;
mod preset;
mod record;
mod saving;
mod setup;
mod state;
mod step;
mod sweep;
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
pub use judge::Score;
pub(crate) use log::Progress;
pub use memory::MemoryPlan;
pub use preset::PRESETS;
pub use setup::{activation_bytes, learner, starting_encoder};
pub(crate) use setup::{album, judge_photos, pretraining_photos};
pub use step::{Batch, Learner, StepReport, Target, TermReport};
pub use sweep::{Outcome, Spread, Sweep, SweepRun};
pub use trainer::{AfterEpoch, Summary, Trainer};
