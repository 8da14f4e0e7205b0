//! Stage 7: the training step, and the run around it.

mod check;
pub mod checkpoint;
mod collapse;
mod config;
mod history;
mod judge;
mod log;
mod parts;
pub mod passes;
mod preset;
mod setup;
mod step;
mod sweep;
mod trainer;

pub use collapse::{Dispersion, Watch};
pub use config::{
    Config, DataConfig, EvalConfig, Method, ModelConfig, ObjectiveConfig, OptimizerConfig, OptimizerName,
    ScheduleName, SmallViews, Stabilization, TrainConfig,
};
pub use history::History;
pub use judge::Score;
pub(crate) use log::Progress;
pub use preset::PRESETS;
pub use setup::{activation_bytes, learner, starting_encoder};
pub(crate) use setup::{album, judge_photos, pretraining_photos};
pub use step::{Batch, Learner, StepReport, Target, TermReport};
pub use sweep::{Outcome, Spread, Sweep, SweepRun};
pub use trainer::{Summary, Trainer};
