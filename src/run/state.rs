//! Where a run is: what beside its arrays must be the same for it to go on as if nothing had happened.

use super::events::EventsEnd;
use crate::photos::{Album, Photos, Position};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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
    /// Judgements so far.
    pub judged: Judged,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Where the event files end; `None` in checkpoints of older versions.
    #[serde(default)]
    pub events: Option<EventsEnd>,
    /// Which photos there are.
    pub photos: PhotoList,
    /// Which labelled photos there are, train and test, if any; `None` in checkpoints of older versions too.
    #[serde(default)]
    pub labelled: Option<[PhotoList; 2]>,
    /// What the job keeps itself.
    #[serde(flatten)]
    pub job: Map<String, Value>,
}

/// When a run was judged last, and the best figure; `None` where it has not been yet.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Judged {
    /// Steps done and seconds of training at the last judgement.
    pub at: Option<(u64, f64)>,
    /// Whether that was on a part of the photos.
    #[serde(default)]
    pub is_part: bool,
    /// The best figure of one after the start.
    pub best: Option<f64>,
}

/// What a set of photos is known by: their number, their names in order, and what is in some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PhotoList {
    pub count: usize,
    names: u32,
    /// Absent in checkpoints of older versions.
    #[serde(default)]
    contents: Option<u32>,
}

/// Photos whose contents are compared, spread evenly: few enough to be read at every start.
const SAMPLE: usize = 256;

impl PhotoList {
    pub fn of(photos: &Photos) -> PhotoList {
        let [mut names, mut contents] = [(); 2].map(|()| crc32fast::Hasher::new());
        for photo in 0..photos.len() {
            names.update(photos.name(photo).as_bytes());
            names.update(&[0]);
        }
        for photo in (0..photos.len()).step_by(photos.len().div_ceil(SAMPLE).max(1)) {
            contents.update(&photos.checksum(photo).unwrap_or_default().to_le_bytes());
        }
        PhotoList { count: photos.len(), names: names.finalize(), contents: Some(contents.finalize()) }
    }

    /// Names and contents in sixteen digits.
    pub fn digest(&self) -> String {
        format!("{:08x}{:08x}", self.names, self.contents.unwrap_or_default())
    }

    /// Whether these are the same photos. Contents are looked at where the photos have moved: in their own place a broken
    /// one may be repaired.
    pub fn are(&self, now: &PhotoList, moved: bool) -> bool {
        let contents = !moved || self.contents.is_none() || self.contents == now.contents;
        self.count == now.count && self.names == now.names && contents
    }
}

impl std::fmt::Display for PhotoList {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} photos (names {:08x}", self.count, self.names)?;
        self.contents.map_or(Ok(()), |sum| write!(f, ", contents {sum:08x}"))?;
        write!(f, ")")
    }
}

impl RunState {
    /// A run that has not begun, which learns from some photos and is judged on others.
    pub fn new(photos: &Photos, judged_on: Option<[&Album; 2]>) -> RunState {
        RunState {
            step: 0,
            next: Position::default(),
            seconds: 0.0,
            skipped: 0,
            broken: BTreeSet::new(),
            judged: Judged::default(),
            log_bytes: 0,
            events: None,
            photos: PhotoList::of(photos),
            labelled: judged_on.map(|albums| albums.map(|album| PhotoList::of(album.photos()))),
            job: Map::new(),
        }
    }
}
