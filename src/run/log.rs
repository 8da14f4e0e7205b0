//! What a run says: `log.jsonl`, one JSON object a line.

use super::events::{Events, EventsEnd};
use super::growing::Growing;
use crate::error::{Error, Result};
use serde::Serialize;
use std::path::Path;

/// A photo that could not be decoded, in the log.
#[derive(Clone, Debug, Serialize)]
pub struct ReplacedRecord {
    /// Always `replaced`.
    pub kind: &'static str,
    /// The photo.
    pub photo: String,
    /// Why it can't be used.
    pub reason: String,
    /// The photo shown in its place.
    pub by: Option<String>,
}

/// A step that was not taken, in the log: its loss or gradient was not finite.
#[derive(Clone, Debug, Serialize)]
pub struct SkippedRecord {
    /// Always `skipped`.
    pub kind: &'static str,
    /// Number of the step.
    pub step: u64,
    /// The loss, in words since JSON has no number for it.
    pub loss: String,
    /// The gradient's norm.
    pub gradient_norm: String,
    /// The batch's photos.
    pub photos: Vec<String>,
}

impl SkippedRecord {
    /// A step of some photos.
    pub fn new(step: u64, loss: f64, gradient_norm: f32, photos: Vec<String>) -> SkippedRecord {
        let (loss, gradient_norm) = (loss.to_string(), gradient_norm.to_string());
        SkippedRecord { kind: "skipped", step, loss, gradient_norm, photos }
    }
}

/// Something that a person should know, in the log.
#[derive(Clone, Debug, Serialize)]
pub struct WarningRecord {
    /// Always `warning`.
    pub kind: &'static str,
    /// Steps done.
    pub step: u64,
    /// What is wrong and what to do.
    pub warning: String,
}

/// How a run ended, the last line of its log: behind what its checkpoint knows, so that a run which goes on writes over it.
#[derive(Clone, Debug, Serialize)]
pub struct EndRecord {
    /// Always `end`.
    pub kind: &'static str,
    /// Steps done.
    pub step: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// `done`, `interrupted` or `failed`.
    pub how: &'static str,
}

/// The run's log file, and the same for TensorBoard. What can't be written, as on a full disk, waits.
#[derive(Debug, Default)]
pub struct Log {
    lines: Growing,
    /// The same for TensorBoard.
    pub(crate) events: Events,
    failed: bool,
    told: bool,
}

impl Log {
    /// Opens `log.jsonl` in the run's folder and goes on where its state was saved: what a run wrote after its last
    /// checkpoint is written again.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub(crate) fn open(folder: &Path, step: u64, bytes: u64, events: Option<&EventsEnd>) -> Result<Log> {
        let lines = Growing::open(folder.join("log.jsonl"), bytes)?;
        let events = Events::open(folder, step, events)?;
        Ok(Log { lines, events, failed: false, told: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.lines.path()
    }

    /// Writes one line, at once if it can be.
    ///
    /// # Errors
    /// [`Error::Run`] for a record that is no JSON.
    pub fn write(&mut self, record: &impl Serialize) -> Result<()> {
        self.events.scalars(&serde_json::to_value(record).map_err(no_json)?);
        self.line(record)
    }

    /// Writes a line that is not for TensorBoard: nothing in it is a course.
    ///
    /// # Errors
    /// As [`Log::write`].
    pub(crate) fn line(&mut self, record: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(record).map_err(no_json)?;
        self.failed = !self.lines.add(format!("{line}\n").as_bytes());
        self.told &= self.failed;
        Ok(())
    }

    /// Whether lines have begun to wait since this was last asked.
    pub fn just_failed(&mut self) -> bool {
        let now = self.failed && !self.told;
        self.told |= now;
        now
    }

    /// Writes what waits and makes it durable; the bytes of the log, and where the event files end.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub(crate) fn finish(&mut self) -> Result<(u64, Option<EventsEnd>)> {
        Ok((self.lines.finish()?, Some(self.events.finish()?)))
    }
}

fn no_json(error: serde_json::Error) -> Error {
    Error::Run(format!("log: {error}"))
}
