//! Where a run is: what beside the learner must be the same for it to go on as if nothing had happened.

use super::collapse::Watch;
use super::config::Config;
use super::judge::Score;
use crate::data::{Photos, Position};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The course of a run so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RunState {
    /// Steps done.
    pub step: u64,
    /// The batch that comes next.
    pub next: Position,
    /// Seconds of training.
    pub seconds: f64,
    /// Steps in a row that were skipped since a number was not finite.
    pub skipped: u64,
    /// Photos that turned out to be broken.
    pub broken: BTreeSet<String>,
    /// The signs of collapse so far.
    pub watch: Watch,
    /// Judgements so far.
    pub judged: Judged,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Which photos there are.
    pub photos: PhotoList,
}

/// How a run was judged so far; `None` where there is nothing to judge by, or it has not been yet.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Judged {
    /// The encoder at the start; see [`Scores::start`](super::judge::Scores::start).
    pub first: Option<Score>,
    /// The untrained encoder with batch norm's statistics at 0 and 1.
    pub initial_statistics: Option<Score>,
    /// The last judgement.
    pub last: Option<Score>,
    /// Steps done and seconds of training at the last judgement.
    pub at: Option<(u64, f64)>,
    /// The best top-1.
    pub best: Option<f64>,
}

/// What a set of photos is known by: their number and their names in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PhotoList {
    count: usize,
    names: u32,
}

impl PhotoList {
    pub fn of(photos: &Photos) -> PhotoList {
        let mut names = crc32fast::Hasher::new();
        for photo in 0..photos.len() {
            names.update(photos.name(photo).as_bytes());
            names.update(&[0]);
        }
        PhotoList { count: photos.len(), names: names.finalize() }
    }
}

impl std::fmt::Display for PhotoList {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} photos (names {:08x})", self.count, self.names)
    }
}

impl RunState {
    /// A run that has not begun.
    pub fn new(config: &Config, photos: &Photos) -> RunState {
        RunState {
            step: 0,
            next: Position::default(),
            seconds: 0.0,
            skipped: 0,
            broken: BTreeSet::new(),
            watch: Watch::new(config.eval.collapse_steps),
            judged: Judged::default(),
            log_bytes: 0,
            photos: PhotoList::of(photos),
        }
    }
}
