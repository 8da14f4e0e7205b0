//! Stage 7: the training step, and the run around it.

mod check;
pub mod checkpoint;
mod collapse;
mod config;
mod judge;
mod log;
pub mod passes;
mod preset;
mod setup;
mod step;
mod trainer;

pub use collapse::{Spread, Watch};
pub use config::{
    Config, DataConfig, EvalConfig, Method, ModelConfig, ObjectiveConfig, OptimizerConfig, OptimizerName,
    ScheduleName, SmallViews, Stabilization, TrainConfig,
};
pub use judge::Score;
pub use preset::PRESETS;
pub use setup::{activation_bytes, learner};
pub use step::{Batch, Learner, StepReport, Target, TermReport};
pub use trainer::{Summary, Trainer};
