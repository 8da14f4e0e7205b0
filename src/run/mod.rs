//! Any long job: the loop of every training, and a run in a folder. Knows no method and no detector.
//!
//! ```text
//! Train  --train-->  step, after, step, after ..           a loop in memory: fine-tuning, a probe
//! Job    --Run-->    the same loop with a folder: log.jsonl and event files that grow and go on where they were saved, checkpoints
//!                    that are written beside and renamed, judging, NaN, Ctrl-C, a lost GPU, resume to the bit
//! ```
//!
//! **Why so.** What can go wrong in a long job is the same whatever it trains: it is answered once, here. A [`Job`] tells its step
//! and everything that a step changes.
//!
//! **The trap.** A disk may be full: lines wait and are tried again, and a checkpoint that can't be written leaves the one before it.
//!
//! **The test.** `tests/pretrain/resume.rs`, `tests/command/events.rs`, `tests/command/signals.rs`.
//!
//! ```
//! # use vista::run::Provenance;
//! let made = Provenance::now(Some(&vista::Device::cpu())); // stands in the log, in checkpoints, in JSON
//! assert_eq!((made.vista.as_str(), made.driver), (vista::run::VERSION, None));
//! ```

pub mod archive;
mod durable;
pub mod events;
mod folder;
pub(crate) mod growing;
mod history;
mod job;
mod judge;
pub(crate) mod keys;
mod kind;
mod log;
pub(crate) mod memory;
mod progress;
mod provenance;
mod saving;
pub(crate) mod settings;
mod state;
mod train;
pub mod untrusted;
mod waiting;

pub use durable::{AfterEpoch, AfterStep, Run, Start, Summary};
pub(crate) use folder::expect_room;
pub use folder::{Found, is_at_work};
pub use history::History;
pub use job::{Job, Judgement, OnNan, Outcome, Pace, Reached};
pub use judge::{Judge, Score, Scores};
pub use kind::{DETECTORS, ENCODERS, Kind, SEGMENTERS};
pub use log::{EndRecord, Log, ReplacedRecord, SkippedRecord, WarningRecord};
pub use memory::MemoryPlan;
pub(crate) use progress::Progress;
pub use provenance::{COMMIT, LabelledSets, PhotoSet, Provenance, StartRecord, VERSION};
pub(crate) use provenance::{PROVENANCE, without_head};
pub use settings::Settings;
pub use train::{Done, Now, Schedule, Train, train};
