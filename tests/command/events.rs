//! TensorBoard's files: whatever stops a run and wherever it goes on, they hold each record of the log once.

use crate::program;

use prost::Message;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use vista::rng::KeyedRng;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session: Option<Session>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Event files in the order in which TensorBoard reads them.
fn files(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run).expect("folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().contains("tfevents")).collect();
    files.sort();
    files
}

/// The events of a file, which must be whole.
fn events(file: &Path) -> Vec<Event> {
    let bytes = fs::read(file).expect("bytes");
    let (mut all, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes")) as usize;
        all.push(Event::decode(&rest[12..][..length]).expect("an event"));
        rest = &rest[16 + length..];
    }
    all
}

type Scalars = BTreeMap<(String, i64), Vec<u32>>;

/// Every scalar of the event files by tag and step, as bits.
fn scalars(run: &Path) -> Scalars {
    let mut all = Scalars::new();
    for event in files(run).iter().flat_map(|file| events(file)) {
        for scalar in event.summary.into_iter().flat_map(|summary| summary.values) {
            if let Some(value) = scalar.value {
                all.entry((scalar.tag, event.step)).or_default().push(value.to_bits());
            }
        }
    }
    all
}

/// The same of the log.
fn logged(run: &Path) -> Scalars {
    fn walk(tag: &str, step: i64, value: &Value, all: &mut Scalars) {
        match (value.as_f64(), value.as_object()) {
            (Some(number), _) => {
                all.entry((tag.into(), step)).or_default().push((number as f32).to_bits());
            }
            (_, Some(fields)) => {
                let numbers = fields.iter().filter(|(name, _)| !["step", "kind"].contains(&name.as_str()));
                numbers.for_each(|(name, value)| walk(&format!("{tag}/{name}"), step, value, all));
            }
            _ => {}
        }
    }
    let mut all = Scalars::new();
    for line in fs::read_to_string(run.join("log.jsonl")).expect("log").lines() {
        let record: Value = serde_json::from_str(line).expect("a record");
        // How the run began and ended is no course.
        let kind = record["kind"].as_str().filter(|kind| !["start", "end"].contains(kind));
        if let (Some(kind), Some(step)) = (kind, record["step"].as_i64()) {
            walk(kind, step, &record, &mut all);
        }
    }
    all
}

#[track_caller]
fn assert_each_once(run: &Path) {
    let (found, expected) = (scalars(run), logged(run));
    let odd: Vec<_> = expected.iter().filter(|(key, values)| found.get(key) != Some(values)).collect();
    assert!(odd.is_empty(), "not as in the log: {:?} of {}", &odd[..odd.len().min(3)], expected.len());
    let more: Vec<_> = found.keys().filter(|key| !expected.contains_key(key)).collect();
    assert!(more.is_empty(), "not in the log: {more:?}");
    assert!(expected.values().all(|values| values.len() == 1));
}

/// A run of so many steps in `run` that saves at every third and is judged at every seventh.
fn start(folder: &Path, steps: u64, more: &[&str]) -> Child {
    let mut command = program::command(folder);
    let tiny = "pretrain --device cpu --image-size 16 --batch 4 --views 2 --epochs 100000 --out run";
    command.args(tiny.split(' ')).args(["--steps", &steps.to_string()]);
    for setting in ["model.width=4", "train.save_steps=3", "eval.every_steps=7", "eval.every_minutes=0"] {
        command.args(["--set", setting]);
    }
    command.args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("vista")
}

fn steps(run: &Path) -> usize {
    let log = fs::read_to_string(run.join("log.jsonl")).unwrap_or_default();
    log.lines().filter(|line| line.contains("\"kind\":\"step\"")).count()
}

#[test]
fn a_run_that_is_killed_and_goes_on_has_each_step_once_in_its_event_files() {
    let folder = tempfile::tempdir().expect("folder");
    let run = folder.path().join("run");
    let mut rng = KeyedRng::new("events", 0, [0; 3]);
    for kill in 0..4 {
        let mut child = start(folder.path(), 100_000, if kill == 0 { &[] } else { &["--resume"] });
        let until = steps(&run) + 8 + rng.below(8) as usize;
        while steps(&run) < until || !run.join("checkpoint.safetensors").exists() {
            assert!(child.try_wait().expect("status").is_none(), "the run ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    let total = steps(&run) as u64 + 5;
    assert!(start(folder.path(), total, &["--resume"]).wait().expect("ended").success());
    assert_eq!(steps(&run) as u64, total);
    assert_each_once(&run);
    // Each file after the first takes back what a TensorBoard that looks on has read, but nothing that is kept.
    let mut last = 0;
    for file in files(&run) {
        let events = events(&file);
        let start = events.iter().find(|event| event.session.as_ref().is_some_and(|s| s.status == 1));
        let from = start.expect("a start").step;
        assert!(from == 0 || from == last + 1, "from {from} after {last}");
        last = events.iter().map(|event| event.step).max().expect("an event").max(last);
    }
}

#[test]
fn a_run_in_place_of_another_has_event_files_of_its_own() {
    let folder = tempfile::tempdir().expect("folder");
    let run = folder.path().join("run");
    assert!(start(folder.path(), 9, &[]).wait().expect("ended").success());
    assert!(start(folder.path(), 4, &["--overwrite"]).wait().expect("ended").success());
    assert_eq!(steps(&run), 4);
    assert_each_once(&run);
}
