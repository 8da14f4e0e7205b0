//! Event files for TensorBoard, beside the log: its numbers as scalars, weights as histograms, views as images.
//!
//! A file is a list of records: length (u64), masked CRC-32C of the length, an `Event` in protobuf's wire format, masked
//! CRC-32C of it; all little-endian. Each process writes a file of its own, and TensorBoard reads them in the order of
//! their names. Together they hold each record of the log once: what came after the checkpoint that a run goes on from is
//! taken away.
//!
//! # Source
//! TensorFlow, `tensorflow/core/lib/io/record_writer.h`, `util/event.proto`, `framework/summary.proto`.
//!
//! ```
//! # use vista::run::events::Events;
//! let folder = std::env::temp_dir().join(format!("vista-events-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! let mut events = Events::open(&folder, 0, None)?;
//! events.scalars(&serde_json::json!({ "kind": "step", "step": 1, "loss": 2.5 })); // step/loss
//! events.finish()?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::growing::Growing;
use crate::error::{Error, Result};
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

/// Status 1 says that a run goes on from the event's step: what an earlier file has from there on is void.
#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
    #[prost(message, optional, tag = "5")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// Number of channels.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    /// A PNG.
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(double, tag = "1")]
    min: f64,
    #[prost(double, tag = "2")]
    max: f64,
    #[prost(double, tag = "3")]
    num: f64,
    #[prost(double, tag = "4")]
    sum: f64,
    #[prost(double, tag = "5")]
    sum_squares: f64,
    /// Upper ends of the buckets.
    #[prost(double, repeated, tag = "6")]
    bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    bucket: Vec<f64>,
}

/// The event file of a process.
#[derive(Debug, Default)]
pub struct Events {
    file: Growing,
}

/// Where a run's event files end: the last one by its name, and its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventsEnd {
    file: String,
    bytes: u64,
}

/// Buckets of a histogram.
const BUCKETS: usize = 30;

const PREFIX: &str = "events.out.tfevents.";
const SUFFIX: &str = ".vista";
const SECOND: u128 = 1_000_000_000;

impl Events {
    /// A new file in the run's folder for what follows after `step` steps. Files that are there are cut back to `end`.
    ///
    /// # Errors
    /// [`Error::Io`] if files can't be written, or not be taken away.
    pub fn open(folder: &(impl AsRef<Path> + ?Sized), step: u64, end: Option<&EventsEnd>) -> Result<Events> {
        let folder = folder.as_ref();
        let mut names = names(folder);
        // A checkpoint of an older version does not know where they end: they stay.
        if end.is_some() || step == 0 {
            let keeps = |name: &String| end.is_some_and(|end| *name <= end.file);
            for path in names.iter().filter(|name| !keeps(name)).map(|name| folder.join(name)) {
                fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
            }
            names.retain(keeps);
            if let Some(end) = end.filter(|end| names.contains(&end.file)) {
                Growing::open(folder.join(&end.file), end.bytes)?;
            }
        }
        // The name is the latest even if the clock was put back.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
        let time = names.last().and_then(|name| time_of(name)).map_or(now, |last| now.max(last + 1));
        let name = format!("{PREFIX}{:010}.{:09}{SUFFIX}", time / SECOND, time % SECOND);
        let mut events = Events { file: Growing::open(folder.join(name), 0)? };
        events.write(0, Event { file_version: Some("brain.Event:2".into()), ..Event::default() });
        // A TensorBoard that has read on beyond the checkpoint forgets what it read from this step on.
        let from = if step == 0 { 0 } else { step + 1 };
        events.write(from, Event { session: Some(SessionLog { status: 1 }), ..Event::default() });
        Ok(events)
    }

    /// Writes what waits and makes it durable; where the files end.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub fn finish(&mut self) -> Result<EventsEnd> {
        let bytes = self.file.finish()?;
        let name = self.file.path().file_name().unwrap_or_default();
        Ok(EventsEnd { file: name.to_string_lossy().into_owned(), bytes })
    }

    /// Every number of a log's record, named by its kind and its dotted field.
    pub fn scalars(&mut self, record: &Json) {
        let kind = record["kind"].as_str().unwrap_or_default();
        let mut values = Vec::new();
        numbers(kind, record, &mut values);
        if let (Some(step), false) = (record["step"].as_u64(), values.is_empty()) {
            self.summary(step, values);
        }
    }

    /// The distribution of some values.
    pub fn histogram(&mut self, step: u64, tag: &str, values: &[f32]) {
        let value = Value { tag: tag.into(), histogram: Some(histogram(values)), ..Value::default() };
        self.summary(step, vec![value]);
    }

    /// A picture of `[height, width, 3]` bytes.
    pub fn image(&mut self, step: u64, tag: &str, [height, width]: [usize; 2], rgb: Vec<u8>) {
        let mut png = std::io::Cursor::new(Vec::new());
        let Some(picture) = image::RgbImage::from_raw(width as u32, height as u32, rgb) else { return };
        if picture.write_to(&mut png, image::ImageFormat::Png).is_ok() {
            let (height, width, encoded) = (height as i32, width as i32, png.into_inner());
            let image = Some(Image { height, width, colorspace: 3, encoded });
            self.summary(step, vec![Value { tag: tag.into(), image, ..Value::default() }]);
        }
    }

    fn summary(&mut self, step: u64, values: Vec<Value>) {
        self.write(step, Event { summary: Some(Summary { values }), ..Event::default() });
    }

    fn write(&mut self, step: u64, event: Event) {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        let event = Event { wall_time, step: step as i64, ..event }.encode_to_vec();
        let length = (event.len() as u64).to_le_bytes();
        let record = [&length[..], &masked(&length), &event, &masked(&event)].concat();
        // What waits is written with the next record, and before the next checkpoint at the latest.
        self.file.add(&record);
    }
}

/// The event files in a folder that this program wrote, in order.
fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    names.retain(|name| time_of(name).is_some());
    names.sort();
    names
}

/// When an event file was begun, in nanoseconds, by its name.
fn time_of(name: &str) -> Option<u128> {
    let (seconds, nanoseconds) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('.')?;
    Some(seconds.parse::<u128>().ok()?.checked_mul(SECOND)? + nanoseconds.parse::<u128>().ok()?)
}

/// CRC-32C, rotated and shifted so that a record may hold records.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

fn numbers(name: &str, record: &Json, into: &mut Vec<Value>) {
    let Some(fields) = record.as_object() else { return };
    for (field, value) in fields.iter().filter(|(field, _)| !["kind", "step"].contains(&field.as_str())) {
        let tag = format!("{name}/{field}");
        match value.as_f64() {
            Some(number) => into.push(Value { tag, simple_value: Some(number as f32), ..Value::default() }),
            None => numbers(&tag, value, into),
        }
    }
}

fn histogram(values: &[f32]) -> Histogram {
    let finite = || values.iter().map(|&v| f64::from(v)).filter(|v| v.is_finite());
    let (min, max) = finite().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let width = ((max - min) / BUCKETS as f64).max(f64::MIN_POSITIVE);
    let mut bucket = vec![0.0; BUCKETS];
    finite().for_each(|v| bucket[(((v - min) / width) as usize).min(BUCKETS - 1)] += 1.0);
    let bucket_limit =
        (1..=BUCKETS).map(|i| if i == BUCKETS { max } else { min + i as f64 * width }).collect();
    let (num, sum, sum_squares) = (finite().count() as f64, finite().sum(), finite().map(|v| v * v).sum());
    Histogram { min, max, num, sum, sum_squares, bucket_limit, bucket }
}

#[cfg(test)]
#[path = "../../tests/unit/run/events.rs"]
mod tests;
