//! What a run says: `log.jsonl`, one JSON object a line, and progress for a person.

use super::events::{Events, EventsEnd};
use super::growing::Growing;
use super::state::RunState;
use crate::error::{Error, Result};
use crate::run::Score;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

/// One step in the log.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// Always `step`.
    pub kind: &'static str,
    /// Steps done, this one included.
    pub step: u64,
    /// Epoch it belongs to, from 0.
    pub epoch: u64,
    /// Views seen so far.
    pub views: u64,
    /// The whole loss.
    pub loss: f32,
    /// Each term's value.
    pub terms: serde_json::Map<String, serde_json::Value>,
    /// More values of the method, such as SimSiam's `z_std`.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub watch: serde_json::Map<String, serde_json::Value>,
    /// 2-norm of each unweighted term's gradient with respect to the embeddings.
    pub term_gradient_norms: serde_json::Map<String, serde_json::Value>,
    /// 2-norm of the gradient with respect to the parameters.
    pub gradient_norm: f32,
    /// Share of pseudo-positives that share a label with their query, where the photos have labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purity: Option<f64>,
    /// Mean cosine of two views' projections.
    pub cosine: f64,
    /// Effective rank of the projections, see [`super::Dispersion`].
    pub effective_rank: f64,
    /// Learning rate.
    pub lr: f64,
    /// Seconds since training began, judging left out.
    pub seconds: f64,
    /// Images (not views) per second in this step.
    pub images_per_second: f64,
    /// Bytes of tensors in use on the device.
    pub bytes_in_use: u64,
}

/// The encoder judged by kNN.
#[derive(Clone, Debug, Serialize)]
pub struct EvalRecord {
    /// Always `knn`.
    pub kind: &'static str,
    /// Steps done.
    pub step: u64,
    /// Whole epochs done.
    pub epoch: u64,
    /// Views seen so far.
    pub views: u64,
    /// Seconds since training began, judging left out.
    pub seconds: f64,
    /// Share of photos classified rightly.
    pub top1: f64,
    /// Mean over classes of the share classified rightly.
    pub balanced: f64,
    /// Photos judged.
    pub photos: usize,
    /// Standard error of `top1`.
    pub top1_error: f64,
    /// Which photos those are.
    pub protocol: &'static str,
    /// At step 0 of a run from random weights: the same with batch norm's statistics at 0 and 1, beside those of photos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_statistics: Option<Score>,
}

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

/// The run's log file, and the same for TensorBoard. What can't be written, as on a full disk, waits.
#[derive(Debug)]
pub struct Log {
    lines: Growing,
    /// The same for TensorBoard.
    pub(super) events: Events,
    failed: bool,
    told: bool,
}

impl Log {
    /// Opens `log.jsonl` in the run's folder and goes on where its state was saved: what a run wrote after its last
    /// checkpoint is written again.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub(super) fn open(folder: &Path, state: &RunState) -> Result<Log> {
        let lines = Growing::open(folder.join("log.jsonl"), state.log_bytes)?;
        let events = Events::open(folder, state.step, state.events.as_ref())?;
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
        let bad = |e| Error::Run(format!("log: {e}"));
        let line = serde_json::to_string(record).map_err(bad)?;
        self.events.scalars(&serde_json::to_value(record).map_err(bad)?);
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
    pub(super) fn finish(&mut self) -> Result<(u64, Option<EventsEnd>)> {
        Ok((self.lines.finish()?, Some(self.events.finish()?)))
    }
}

/// Progress on the terminal; in a pipe, a line now and then instead of a bar.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    piped: bool,
    quiet: bool,
    said: Instant,
}

/// In a pipe, at most one line of progress in this time.
const QUIET: Duration = Duration::from_secs(20);

impl Progress {
    /// Progress over `total` units (steps, or seconds where time is what ends the run).
    pub fn new(total: u64) -> Progress {
        let piped = !std::io::stderr().is_terminal();
        let bar = if piped { ProgressBar::hidden() } else { ProgressBar::new(total) };
        // The message is cut off where the terminal ends; what stands before it must leave it room.
        let template = match console::Term::stderr().size().1 {
            0..100 => "{percent:>3}% {wide_msg}",
            100.. => "{bar:24} {percent:>3}% {elapsed} of about {duration}  {wide_msg}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
        Progress { bar, piped, quiet: false, said: Instant::now() }
    }

    /// The same, saying nothing if `quiet`.
    pub fn quiet_if(self, quiet: bool) -> Progress {
        let bar = if quiet { ProgressBar::hidden() } else { self.bar };
        Progress { bar, quiet, ..self }
    }

    /// Shows where the run is.
    pub fn at(&mut self, done: u64, message: impl Fn() -> String) {
        if self.quiet {
            return;
        }
        if !self.piped {
            self.bar.set_position(done);
            self.bar.set_message(message());
        } else if self.said.elapsed() >= QUIET {
            self.said = Instant::now();
            eprintln!("{}", message());
        }
    }

    /// Prints a line that stays.
    pub fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        if self.piped { eprintln!("{line}") } else { self.bar.println(line) }
    }

    /// Ends the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
