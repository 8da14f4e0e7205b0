//! Where a result comes from: the program, the machine, the command, the photos.

use super::state::PhotoList;
use crate::engine::device::Device;
use crate::photos::Photos;
use crate::shell;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the program was built of: twelve digits, `+changes` behind them where its sources were not the commit's;
/// `unknown` where there was none to be known.
pub const COMMIT: &str = env!("VISTA_COMMIT");

/// Which program made something, when, on what, and by which command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// [`VERSION`].
    pub vista: String,
    /// [`COMMIT`].
    pub commit: String,
    /// The time in UTC, as in `2026-11-27T15:36:54Z`.
    pub date: String,
    /// The command that was typed, as a shell reads it back.
    pub command: String,
    /// The device, of what computes on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its driver, with the version; none on the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Threads that share the CPU's work.
    pub threads: usize,
}

impl Provenance {
    /// Of what this process does now, on a device if it computes on one.
    pub fn now(device: Option<&Device>) -> Provenance {
        let driver = match device {
            None | Some(Device::Cpu(_)) => None,
            Some(Device::Gpu(gpu)) => Some(gpu.summary.driver.clone()),
        };
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Provenance {
            vista: VERSION.into(),
            commit: COMMIT.into(),
            date: date(seconds),
            command: std::env::args_os().map(shell::word).collect::<Vec<_>>().join(" "),
            device: device.map(Device::name),
            driver,
            threads: rayon::current_num_threads(),
        }
    }
}

/// Which photos there were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhotoSet {
    /// How many.
    pub count: usize,
    /// Sixteen digits that a moved set keeps: the CRC-32 of all names in their order, then that of the contents of up to 256
    /// photos, spread evenly, by their own CRC-32s.
    pub digest: String,
}

impl PhotoSet {
    /// Of these photos; up to 256 of them are read.
    pub fn of(photos: &Photos) -> PhotoSet {
        PhotoSet::from(&PhotoList::of(photos))
    }
}

impl From<&PhotoList> for PhotoSet {
    fn from(list: &PhotoList) -> PhotoSet {
        PhotoSet { count: list.count, digest: list.digest() }
    }
}

/// Labelled photos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledSets {
    /// Those that the others are compared with.
    pub train: PhotoSet,
    /// Those that are judged.
    pub test: PhotoSet,
}

/// The start of a run, or where one went on: a line of its log, and in its checkpoints, where a JSON list holds the first and the
/// last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartRecord {
    /// Always `start`.
    pub kind: String,
    /// Steps that were done before.
    pub step: u64,
    /// Program, machine, command.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// The photos that it learns from.
    pub photos: PhotoSet,
    /// The photos that it is judged on, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<LabelledSets>,
}

/// Key of the start records among the texts of a checkpoint.
pub(crate) const PROVENANCE: &str = "provenance";

/// What lines of a head begin with.
const NAMES: [&str; 7] = ["started", "went on", "command", "program", "device", "photos", "labelled"];

impl StartRecord {
    /// Of a run of some photos that starts now after so many steps.
    pub(super) fn new(
        device: &Device,
        step: u64,
        photos: &PhotoList,
        labelled: Option<&[PhotoList; 2]>,
    ) -> StartRecord {
        let labelled = labelled.map(|[train, test]| LabelledSets { train: train.into(), test: test.into() });
        let provenance = Provenance::now(Some(device));
        StartRecord { kind: "start".into(), step, provenance, photos: photos.into(), labelled }
    }

    /// A few lines for a person, each with its name before it.
    fn lines(&self) -> Vec<String> {
        let StartRecord { step, provenance: p, photos, labelled, .. } = self;
        let set = |set: &PhotoSet| format!("{}, digest {}", set.count, set.digest);
        let driver = p.driver.iter().map(|driver| format!(", driver {driver}")).collect::<String>();
        let mut lines = vec![
            match step {
                0 => format!("started   {}", p.date),
                _ => format!("went on   {} after step {step}", p.date),
            },
            format!("command   {}", p.command),
            format!("program   vista {}, commit {}", p.vista, p.commit),
            format!("device    {}{driver}", p.device.as_deref().unwrap_or("none")),
            format!("photos    {}", set(photos)),
        ];
        if let Some(LabelledSets { train, test }) = labelled {
            lines.push(format!("labelled  train {}; test {}", set(train), set(test)));
        }
        lines
    }
}

/// A configuration with where its run comes from above it, as comments.
pub(super) fn headed(starts: &[StartRecord], config: &str) -> String {
    let comment = |line: String| format!("# {}\n", line.replace(char::is_control, " "));
    let head: String = starts.iter().flat_map(StartRecord::lines).map(comment).collect();
    format!("{head}\n{config}")
}

/// A configuration without that; a text with other comments above it as it is.
pub(crate) fn without_head(text: &str) -> &str {
    let Some((head, config)) = text.split_once("\n\n") else { return text };
    let ours = |line: &str| NAMES.iter().any(|name| line.starts_with(&format!("# {name:8}  ")));
    if head.lines().all(ours) { config } else { text }
}

/// Seconds since 1970 as `2026-11-27T15:36:54Z`.
///
/// # Source
/// Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`: years begin in March there, so that the
/// leap day is a year's last.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468; // since 1 March of the year 0
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = 400 * era + year + month / 10;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let [hour, minute, second] = [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60];
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_793_814, "2026-11-27T15:36:54Z"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }

    #[test]
    fn a_digest_tells_names_order_and_contents_apart() {
        let photos = |files: &[(&str, &[u8])]| {
            let file = |(name, bytes): &(&str, &[u8])| (name.to_string(), bytes.to_vec(), Vec::new());
            PhotoSet::of(&Photos::from_bytes(files.iter().map(file).collect(), Vec::new()))
        };
        let all = [
            photos(&[("a", b"1"), ("b", b"2")]),
            photos(&[("b", b"2"), ("a", b"1")]),
            photos(&[("a", b"1"), ("c", b"2")]),
            photos(&[("a", b"1"), ("b", b"3")]),
            photos(&[("a", b"1")]),
        ];
        assert_eq!(all[0], photos(&[("a", b"1"), ("b", b"2")]));
        assert!(all[1..].iter().all(|other| other.digest != all[0].digest), "{all:?}");
        assert!(all.iter().all(|set| set.digest.len() == 16));
    }
}
