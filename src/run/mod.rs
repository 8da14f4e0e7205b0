//! Any long job: what a training is made of that knows no method.
//!
//! **In:** records of what happened. **Out:** `log.jsonl` ([`Log`]) and event files that grow and go on where they were saved, safetensors
//! with a checksum that are written beside and renamed, progress for a person, [`Judge`] for what tells how good a network is.
//!
//! **The trap.** A disk may be full: lines wait and are tried again, and a checkpoint that can't be written leaves the one before it.
//!
//! **The test.** `tests/resume.rs`, `tests/events.rs`, `tests/signals.rs`.

pub(crate) mod archive;
pub(crate) mod events;
pub(crate) mod growing;
mod history;
mod judge;
mod log;
mod progress;

pub use history::History;
pub use judge::{Judge, Score, Scores};
pub use log::{EvalRecord, Log, ReplacedRecord, SkippedRecord, WarningRecord};
pub(crate) use progress::Progress;
