//! Whose checkpoint a file is: those of encoders, detectors and segmenters look alike from outside.

use crate::error::{Error, Result};
use toml::Table;

/// LIMIT: bytes of a configuration; a whole one has 2 KiB. Reading TOML takes 100 bytes for each.
pub(crate) const MAX_TEXT: usize = 1 << 18;

/// A kind of run.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The command that makes and goes on with runs of this kind.
    pub command: &'static str,
    /// The command that prints all keys of their configuration.
    pub keys: &'static str,
    /// What they train, with an article.
    trains: &'static str,
    /// Tables of which each of their configurations, and none of another kind, has one.
    tables: &'static [&'static str],
    /// What can be done with a checkpoint.
    uses: &'static str,
}

/// Pretraining. Earlier versions called the table of a method `objective`.
pub const ENCODERS: Kind = Kind {
    command: "vista pretrain",
    keys: "vista explain config",
    trains: "an encoder",
    tables: &["method", "objective"],
    uses: "`vista knn` and `vista probe` judge it, `vista detect --init` and `vista segment --init` train on it, `vista pretrain --resume` goes on with its run",
};

/// Training of detectors.
pub const DETECTORS: Kind = Kind {
    command: "vista detect",
    keys: "vista explain detect",
    trains: "a detector",
    tables: &["proposals"],
    uses: "`vista detect --checkpoint` judges and uses it, `vista export --format detectron2` exports it, `vista detect --resume` goes on with its run",
};

/// Training of segmenters.
pub const SEGMENTERS: Kind = Kind {
    command: "vista segment",
    keys: "vista explain segment",
    trains: "a segmenter",
    tables: &["segmenter"],
    uses: "`vista segment --checkpoint` judges and uses it, `vista segment --resume` goes on with its run",
};

impl Kind {
    /// The kind of the run that a configuration in a checkpoint is of; `None` if it is none that is known.
    pub fn of(config: &str) -> Option<&'static Kind> {
        let table: Table = (config.len() <= MAX_TEXT).then(|| config.parse().ok())??;
        let has = |kind: &&Kind| kind.tables.iter().any(|name| table.contains_key(*name));
        [&ENCODERS, &DETECTORS, &SEGMENTERS].into_iter().find(has)
    }

    /// Refuses a checkpoint of another kind by its configuration.
    ///
    /// # Errors
    /// [`Error::Input`] with what it is and what can be done with it.
    pub(super) fn expect(&self, config: &str, place: &str) -> Result<()> {
        match Kind::of(config) {
            Some(other) if other != self => {
                let what = format!("{} of `{}`, not {}", other.trains, other.command, self.trains);
                Err(Error::input(what, place, other.uses))
            }
            _ => Ok(()),
        }
    }
}
