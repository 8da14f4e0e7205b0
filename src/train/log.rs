//! What a run says: `log.jsonl`, one JSON object a line, and progress for a person.

use crate::error::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
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
    /// Share of test photos classified rightly.
    pub top1: f64,
    /// Mean over classes of the share classified rightly.
    pub balanced: f64,
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

/// The run's log file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Log {
    /// Starts `log.jsonl` in the run's folder.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub fn create(folder: &Path) -> Result<Log> {
        let path = folder.join("log.jsonl");
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Log { path, file: BufWriter::new(file) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one line, at once.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub fn write(&mut self, record: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(record).map_err(|e| Error::Run(format!("log: {e}")))?;
        let written = writeln!(self.file, "{line}").and_then(|()| self.file.flush());
        written.map_err(|e| Error::io(&self.path, e))
    }
}

/// Progress on the terminal; in a pipe, a line now and then instead of a bar.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    piped: bool,
    said: Instant,
}

/// In a pipe, at most one line of progress in this time.
const QUIET: Duration = Duration::from_secs(20);

impl Progress {
    /// Progress over `total` units (steps, or seconds where time is what ends the run).
    pub fn new(total: u64) -> Progress {
        let piped = !std::io::stderr().is_terminal();
        let bar = if piped { ProgressBar::hidden() } else { ProgressBar::new(total) };
        let style =
            ProgressStyle::with_template("{bar:24} {percent:>3}% {elapsed} of about {duration}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress { bar, piped, said: Instant::now() }
    }

    /// Shows where the run is.
    pub fn at(&mut self, done: u64, message: impl Fn() -> String) {
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
        if self.piped { eprintln!("{line}") } else { self.bar.println(line) }
    }

    /// Ends the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
