//! What the folder of any run says, whatever was trained.

use super::judged::Judged;
use crate::error::Result;
use crate::run::{History, is_at_work};
use crate::show::figures::Panel;
use serde_json::{Value, json};
use std::path::Path;

/// What a run's folder says.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The folder as it was given.
    pub name: String,
    /// As the page has it: `{name, lead, state, knn, time, facts, warnings, replaced, command, config, settings}`.
    pub json: Value,
    pub(super) judged: Option<Judged>,
    pub(super) panels: Vec<Panel>,
}

/// What was logged; nothing of a run that is just starting.
pub(super) fn history(folder: &Path) -> Result<History> {
    let log = folder.join("log.jsonl");
    if log.exists() { History::read(&log) } else { Ok(History::default()) }
}

/// The last value of a field.
pub(super) fn last(history: &History, field: &str) -> f64 {
    history.series(field).last().map_or(0.0, |point| point.1)
}

/// Whether the run goes on, in a word and in a sentence.
pub(super) fn state(folder: &Path, history: &History) -> [String; 2] {
    let step = last(history, "step") as u64;
    let minutes = last(history, "seconds") / 60.0;
    let reached = format!("{} steps in {minutes:.1} minutes", grouped(step));
    let (word, told) = match history.of_kind("end").last().map(|end| &end["how"]) {
        Some(how) if how == "done" => ("ended", format!("ended: {reached}")),
        Some(how) if how == "interrupted" => ("stopped", format!("stopped: {reached}; --resume goes on")),
        Some(_) => ("failed", format!("failed after {reached}: a number was not finite")),
        None if is_at_work(folder) => ("running", format!("running: {reached} so far")),
        // Killed, or written by an older version, which did not say how it ended.
        None => ("quiet", format!("at rest: {reached}; nothing is at work in its folder")),
    };
    [word.into(), told]
}

/// On what the time went: of the run's, and of that of the threads that make its views; the shares of each sum to 1.
pub(super) fn time(history: &History) -> Vec<Value> {
    let seconds: Vec<f64> = history.pairs("step", "seconds").iter().map(|point| point.1).collect();
    let mean = |field: &str| {
        // A step is as long as the clock says between it and the one before it.
        let shares = history.pairs("seconds", field);
        let mut before = 0.0;
        let spent = shares.iter().map(|(at, share)| share * (at - std::mem::replace(&mut before, *at)));
        let whole = seconds.last().filter(|_| !shares.is_empty())?;
        Some(spent.sum::<f64>() / whole)
    };
    let bar = |of: &str, mut parts: Vec<(&str, f64)>, rest: &str| {
        let sum: f64 = parts.iter().map(|part| part.1).sum();
        // The first batches are made before the clock runs: in a run of few steps that is more than all of its time.
        parts.iter_mut().for_each(|part| part.1 /= sum.max(1.0));
        let left = (1.0 - sum).max(0.0);
        json!({ "of": of, "parts": parts.into_iter().chain([(rest, left)]).collect::<Vec<_>>() })
    };
    let run =
        mean("waiting").map(|waiting| bar("the run", vec![("waiting for photos", waiting)], "computing"));
    let threads = mean("decoding").zip(mean("augmenting")).map(|(decoding, augmenting)| {
        bar("the loader's threads", vec![("decoding", decoding), ("augmenting", augmenting)], "idle")
    });
    run.into_iter().chain(threads).collect()
}

/// By what program, on what, when, by which command it was made.
pub(super) fn made(history: &History) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let start = history.of_kind("start").last();
    let said = |key: &str| start.and_then(|start| start[key].as_str()).map(String::from);
    if let Some(device) = said("device") {
        let driver = said("driver").map_or(String::new(), |driver| format!(", driver {driver}"));
        all.push(("device", device + &driver));
    }
    if let (Some(version), Some(commit)) = (said("vista"), said("commit")) {
        all.push(("program", format!("vista {version}, commit {commit}")));
    }
    all.extend(said("date").map(|date| ("started", date)));
    all.extend(said("command").map(|command| ("command", command)));
    let undecodable = history.of_kind("replaced").count();
    if undecodable > 0 {
        all.push(("undecodable photos", undecodable.to_string()));
    }
    all
}

/// A number with commas: `276,992`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

/// A chart as the page has it.
pub(super) fn chart(panel: &Panel) -> Value {
    json!({ "title": panel.title, "note": panel.note, "svg": panel.card() })
}
