//! Event files for TensorBoard, beside the log: its numbers as scalars, weights as histograms, views as images.
//!
//! A file is a list of records: length (u64), masked CRC-32C of the length, an `Event` in protobuf's wire format, masked
//! CRC-32C of it; all little-endian.
//!
//! # Source
//! TensorFlow, `tensorflow/core/lib/io/record_writer.h`, `util/event.proto`, `framework/summary.proto`.

use prost::Message;
use serde_json::Value as Json;
use std::fs::File;
use std::io::Write;
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

/// The event file of a process. It repeats what the log has, so a write that fails ends it and nothing else.
#[derive(Debug)]
pub(super) struct Events {
    file: Option<File>,
}

/// Buckets of a histogram.
const BUCKETS: usize = 30;

impl Events {
    /// A new file in the run's folder, for what follows after `step` steps.
    pub fn open(folder: &Path, step: u64) -> Events {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
        let name =
            format!("events.out.tfevents.{:010}.{:09}.vista", now / 1_000_000_000, now % 1_000_000_000);
        let file = File::create(folder.join(name)).map_err(|e| ended(&e)).ok();
        let mut events = Events { file };
        events.write(0, Event { file_version: Some("brain.Event:2".into()), ..Event::default() });
        events.write(step, Event { session: Some(SessionLog { status: 1 }), ..Event::default() });
        events
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
        if let Some(Err(e)) = self.file.as_mut().map(|file| file.write_all(&record)) {
            ended(&e);
            self.file = None;
        }
    }
}

fn ended(why: &std::io::Error) {
    eprintln!(
        "warning: TensorBoard's event file ends here ({why}): log.jsonl has all that it would have had"
    );
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
mod tests {
    use super::*;

    /// The events of a file whose checksums all hold.
    fn read(bytes: &[u8]) -> Vec<Event> {
        let (mut events, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            assert_eq!(after[..4], masked(length));
            let size = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
            let event = &after[4..][..size];
            assert_eq!(after[4 + size..][..4], masked(event));
            events.push(Event::decode(event).expect("an event"));
            rest = &after[8 + size..];
        }
        events
    }

    #[test]
    fn records_become_scalars_and_weights_histograms() {
        let folder = tempfile::tempdir().expect("folder");
        let mut events = Events::open(folder.path(), 7);
        events.scalars(
            &serde_json::json!({"kind": "step", "step": 8, "loss": 1.5, "terms": {"nce": 2.0}, "photo": "x"}),
        );
        events.histogram(8, "conv1.weight", &[-1.0, 0.0, 0.0, 2.0, f32::NAN]);
        events.image(8, "views", [1, 2], vec![0, 128, 255, 9, 9, 9]);
        let file =
            std::fs::read_dir(folder.path()).expect("folder").next().expect("a file").expect("an entry");
        let events = read(&std::fs::read(file.path()).expect("bytes"));
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((events[1].step, events[1].session.as_ref().map(|s| s.status)), (7, Some(1)));
        let values = |i: usize| &events[i].summary.as_ref().expect("a summary").values;
        let scalars: Vec<_> = values(2).iter().map(|v| (v.tag.as_str(), v.simple_value)).collect();
        assert_eq!(scalars, [("step/loss", Some(1.5)), ("step/terms/nce", Some(2.0))]);
        let histogram = values(3)[0].histogram.as_ref().expect("a histogram");
        assert_eq!((histogram.num, histogram.sum, histogram.sum_squares), (4.0, 1.0, 5.0));
        assert_eq!((histogram.min, histogram.max, histogram.bucket.iter().sum::<f64>()), (-1.0, 2.0, 4.0));
        let image = values(4)[0].image.as_ref().expect("an image");
        assert_eq!((image.height, image.width, &image.encoded[1..4]), (1, 2, &b"PNG"[..]));
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283); // RFC 3720, B.4, and the catalogue of CRCs
    }
}
