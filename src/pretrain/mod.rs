//! Stage 7: the training step, and pretraining as a [`Job`](crate::run::Job).
//!
//! A step is nine numbered lines in [`Learner::step`], and their order is part of the method: the key encoder moves before any
//! pass, labels and logits read the old queue, nothing moves before the loss and the gradient are known to be finite.
//!
//! **Why so.** State changes in one place, so what must be saved to go on to the same bit can be listed: see [`checkpoint`].
//!
//! **The trap.** Batch norm lets an encoder cheat: a query and its key that were normalised together know each other. On one
//! device the keys are shuffled, normalised in groups, and put back (MoCo's ShuffleBN).
//!
//! **The test.** `tests/pretrain/training.rs` for the order, `tests/pretrain/resume.rs` for the state, `tests/pretrain/memory.rs` for the memory.
//!
//! ```
//! # use vista::pretrain::{Config, Trainer};
//! let folder = std::env::temp_dir().join(format!("vista-doc-{}", std::process::id()));
//! let config = ["device=cpu", "train.steps=2", "train.batch=4", "model.width=4", "views.size=16"]
//!     .iter()
//!     .try_fold(Config::preset("demo")?, |config, setting| config.with(setting))?;
//! let summary = Trainer::new(config, &folder, None)?.run()?; // two steps of S2R2 on the bundled photos
//! assert!(summary.steps == 2 && summary.checkpoint.exists() && folder.join("config.toml").exists());
//! # std::fs::remove_dir_all(&folder).map_err(|e| vista::Error::io(&folder, e))?;
//! # Ok::<(), vista::Error>(())
//! ```

mod batch;
mod check;
pub mod checkpoint;
pub mod choice;
mod collapse;
mod config;
mod dispersion;
pub mod encoder;
pub(crate) mod keys;
mod memory;
pub mod method;
pub mod methods;
pub mod momentum;
pub mod named;
mod old;
pub mod passes;
pub mod queue;
pub mod ranks;
mod record;
pub(crate) mod settings;
mod setup;
mod start;
mod step;
mod sweep;
mod trainer;
pub mod training;

pub use collapse::Watch;
pub use config::{
    Config, DataConfig, EvalConfig, ModelConfig, OptimizerConfig, OptimizerName, ScheduleName, TrainConfig,
};
pub use dispersion::Dispersion;
pub use memory::plan as memory_plan;
pub use method::{HalfConfig, Now};
pub use passes::Batch;
pub use setup::{activation_bytes, learner, learner_of};
pub(crate) use setup::{album, judge_photos, pretraining_photos};
pub use start::{Imported, ResNetEncoder, start_from, starting_encoder};
pub use step::{Learner, StepReport, TermReport};
pub use sweep::{Outcome, Spread, Sweep, SweepRun};
pub use trainer::{Pretraining, Trainer};

/// What there is of a pretraining to go on from.
pub type Found = crate::run::Found<Config>;
/// What a finished pretraining has to show.
pub type Summary = crate::run::Summary<crate::run::Scores>;
