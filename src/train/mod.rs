//! Stage 7: the training step, and the run around it.

pub mod checkpoint;
mod config;
mod log;
mod preset;
mod step;
mod trainer;

pub use config::{
    Config, DataConfig, EvalConfig, Method, ModelConfig, ObjectiveConfig, OptimizerConfig, OptimizerName,
    ScheduleName, TrainConfig,
};
pub(crate) use log::Progress;
pub use preset::PRESETS;
pub use step::{Batch, Learner, Momentum, StepReport};
pub use trainer::{Score, Summary, Trainer, labelled_split};
