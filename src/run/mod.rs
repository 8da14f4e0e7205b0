//! Any long job: what a training is made of that knows no method.

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
