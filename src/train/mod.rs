//! Stage 7: the training step, and the run around it.

pub mod checkpoint;
mod config;
mod history;
mod log;
mod preset;
mod step;
mod sweep;
mod trainer;

pub use config::{
    Config, DataConfig, EvalConfig, Method, ModelConfig, ObjectiveConfig, OptimizerConfig, OptimizerName,
    ScheduleName, TrainConfig,
};
pub use history::History;
pub(crate) use log::Progress;
pub use preset::PRESETS;
pub use step::{Batch, Learner, Momentum, StepReport};
pub use sweep::{Outcome, Spread, Sweep, SweepRun};
pub use trainer::{Score, Summary, Trainer, labelled_split};
pub(crate) use trainer::{album, judge_photos, pretraining_photos};
