//! What an error can refer to: the page that has its reason, where that takes more than a line.
//!
//! ```
//! # use vista::Topic;
//! assert_eq!(Topic::Queue.to_string(), "vista explain queue");
//! ```

use std::fmt::{self, Display, Formatter};

/// A page that `vista explain` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Topic {
    /// Every key of a configuration: meaning, default, source.
    Config,
    /// Photos and batches.
    Data,
    /// Crops and colours.
    Views,
    /// Features, projections, the momentum copy.
    Encoder,
    /// Keys of earlier steps.
    Queue,
    /// Methods and their losses.
    Method,
    /// Optimisers and schedules.
    Optim,
    /// The order of a step.
    Train,
    /// Judging frozen features.
    Eval,
    /// Detectors of objects, and every key of their configuration.
    Detect,
    /// Segmenters, which tell the class of each pixel, and every key of their configuration.
    Segment,
    /// Other libraries' encoders.
    Interop,
    /// A run as one page.
    Report,
    /// GPUs, the CPU, and which one is taken.
    Devices,
    /// Several processes, each with a GPU of its own.
    Ranks,
    /// Batches larger than memory.
    Memory,
    /// Values kept as f16.
    Half,
    /// Encoders that stop telling photos apart.
    Collapse,
    /// What holds when something goes wrong.
    Promises,
}

/// The command that prints the page.
impl Display for Topic {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "vista explain {}", format!("{self:?}").to_lowercase())
    }
}
