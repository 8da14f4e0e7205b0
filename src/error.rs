//! The one error type: facts as fields, messages that end in what to do.
//!
//! ```
//! # use vista::Error;
//! let error = Error::input("no photo", "empty/", "give a folder with photos");
//! assert_eq!((error.to_string(), error.exit_code()), ("no photo: empty/: give a folder with photos".into(), 2));
//! ```

use crate::topic::Topic;
use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong through a caller's mistake or a machine's limit.
///
/// A broken invariant of this crate itself is a panic instead, never an `Error`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Inputs of an op do not fit together.
    #[error("{op}: {detail}")]
    Shape {
        /// Name of the op that judged the shapes.
        op: &'static str,
        /// Which dimensions disagree, with both shapes.
        detail: String,
    },
    /// A tensor is larger than the adapter can bind at once.
    #[error(
        "{op}: {what} needs {needed} in one binding, this adapter allows {available}: lower --batch or --image-size"
    )]
    Limit {
        /// Name of the op.
        op: &'static str,
        /// Which tensor of the op.
        what: &'static str,
        /// Size needed, readable.
        needed: String,
        /// Size available, readable.
        available: String,
    },
    /// The device failed or is not there.
    #[error("device: {0}")]
    Device(String),
    /// Something the user gave cannot be used: what, where, what to do.
    #[error("{what}: {place}: {advice}")]
    Input {
        /// What is wrong.
        what: String,
        /// Which file, key or argument.
        place: String,
        /// What to do about it.
        advice: String,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}: check that it is there and that you may use it", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The device was lost: a driver that was reset, a GPU that was unplugged. Opening it anew may help.
    #[error("device: {0}")]
    DeviceLost(String),
    /// The user asked the run to stop; what was done is saved.
    #[error("{0}")]
    Interrupted(String),
    /// The run itself failed (exit code 1 rather than 2).
    #[error("{0}")]
    Run(String),
}

/// A number of things: `1 class`, `3 classes`.
pub(crate) fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

impl Error {
    /// A shape error of `op`.
    pub fn shape(op: &'static str, detail: impl Into<String>) -> Error {
        Error::Shape { op, detail: detail.into() }
    }

    /// Bad input: what is wrong, where, and what to do.
    pub fn input(what: impl Into<String>, place: impl Into<String>, advice: impl Into<String>) -> Error {
        Error::Input {
            what: one_line(what.into()),
            place: one_line(place.into()),
            advice: one_line(advice.into()),
        }
    }

    /// The same, naming the page that teaches the reason: `.. (vista explain queue)`.
    pub fn see(mut self, topic: Topic) -> Error {
        match &mut self {
            Error::Input { advice: text, .. }
            | Error::Device(text)
            | Error::DeviceLost(text)
            | Error::Run(text) => *text += &format!(" ({topic})"),
            _ => {}
        }
        self
    }

    /// A failed read or write of `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Error {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// The process exit code: 2 for bad input, 1 for a failed run, 130 for one that was interrupted.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Run(_) | Error::Shape { .. } | Error::DeviceLost(_) => 1,
            Error::Interrupted(_) => 130,
            Error::Limit { .. } | Error::Device(_) | Error::Input { .. } | Error::Io { .. } => 2,
        }
    }
}

/// The error for a thread that the system does not start.
pub(crate) fn no_thread(why: impl std::fmt::Display) -> Error {
    Error::Run(format!(
        "no thread can be started ({why}): allow more (ulimit -u, or a container's limit of processes), or ask for fewer \
         (data.threads, RAYON_NUM_THREADS)"
    ))
}

/// A text without line breaks and other controls, which names of files may have.
pub(crate) fn one_line(text: String) -> String {
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

/// `1536` -> `"1.5 KiB"`.
pub fn readable_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
