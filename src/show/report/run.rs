//! What a run's folder says without its photos: headline, configuration, curves, warnings.

use super::judged::{Judged, floors};
use super::repeat::command;
use crate::error::{Error, Result};
use crate::pretrain::Config;
use crate::pretrain::settings::settings;
use crate::run::{History, is_at_work};
use crate::show::figures::{JUDGED, Mark, Panel, course};
use serde_json::{Value, json};
use std::path::Path;

/// What a run's folder says.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The folder as it was given.
    pub name: String,
    /// As the page has it: `{name, lead, state, knn, time, facts, warnings, replaced, command, config, settings}`.
    pub json: Value,
    judged: Option<Judged>,
    panels: Vec<Panel>,
}

impl RunFacts {
    /// Reads `config.toml` and `log.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Input`] naming the file if the folder holds no run.
    pub fn read(folder: &(impl AsRef<Path> + ?Sized)) -> Result<RunFacts> {
        let folder = folder.as_ref();
        let path = folder.join("config.toml");
        let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                let advice = "give the folder that `vista pretrain --out` named";
                Error::input("no run here (no config.toml)", folder.display().to_string(), advice)
            }
            _ => Error::io(&path, e),
        })?;
        let config = Config::preset("demo")?.merged(&text, &path.display().to_string())?;
        // A run that is just starting has no log yet.
        let log = folder.join("log.jsonl");
        let history = if log.exists() { History::read(&log)? } else { History::default() };
        let name = folder.display().to_string();
        let judged = Judged::of(&config, &history);
        let [word, told] = state(folder, &history);
        let json = json!({
            "name": name,
            "lead": lead(&config, &history),
            "state": { "word": word, "told": told },
            "knn": judged.as_ref().map(|judged| json!({ "rows": floors(&history), "judged": judged.told })),
            "time": time(&history),
            "facts": facts(&config, &history),
            "warnings": history.of_kind("warning").cloned().collect::<Vec<Value>>(),
            "replaced": history.of_kind("replaced").cloned().collect::<Vec<Value>>(),
            "command": command(&config, &folder.with_extension("again")),
            "config": config.to_toml(),
            "settings": settings(&config).into_iter().map(|(key, value)| [key, value.to_string()]).collect::<Vec<_>>(),
        });
        let panels = course(&history);
        Ok(RunFacts { name, json, judged, panels })
    }
}

/// The last value of a field.
fn last(history: &History, field: &str) -> f64 {
    history.series(field).last().map_or(0.0, |point| point.1)
}

/// What was trained, on what, for how long: two sentences.
fn lead(config: &Config, history: &History) -> String {
    let count = |set: &str| history.of_kind("start").last().and_then(|start| start[set]["count"].as_u64());
    let photos = match (count("photos"), &config.data.photos) {
        (Some(count), Some(place)) => format!("{} photos of {}", grouped(count), place.display()),
        (None, Some(place)) => format!("the photos of {}", place.display()),
        (Some(count), None) => format!("the {count} bundled photos"),
        (None, None) => "the bundled photos".into(),
    };
    let start = match &config.init {
        Some(path) => format!("from {}", path.display()),
        None => "from random weights".into(),
    };
    let (method, backbone, width) = (config.method.name(), config.model.backbone, config.model.width);
    let [steps, seconds] = ["step", "seconds"].map(|field| last(history, field));
    let views = history.series("step").last().map_or(0.0, |point| point.0);
    let (views, steps, size) = (grouped(views as u64), grouped(steps as u64), config.views.size);
    let minutes = seconds / 60.0;
    format!(
        "{method} trained a {backbone} of width {width} on {photos}, {start}, for {minutes:.1} minutes. That was {steps} \
         steps and {views} views of {size} pixels."
    )
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
fn time(history: &History) -> Vec<Value> {
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

/// What else a person wants to know.
fn facts(config: &Config, history: &History) -> Vec<[String; 2]> {
    let (batch, made, size) = (config.train.batch, config.image_views().len(), config.views.size);
    let mut all = vec![
        ("a step", format!("{batch} images x {made} views of {size} px")),
        ("seed", config.seed.to_string()),
    ];
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
    all.into_iter().map(|(key, value)| [key.to_string(), value]).collect()
}

/// A number with commas: `276,992`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

/// What runs are called on a page: without the folders that all have before them.
pub(super) fn names(runs: &[RunFacts]) -> Vec<String> {
    let folders: Vec<Vec<&str>> = runs.iter().map(|run| run.name.split('/').collect()).collect();
    let shared = |at: usize| folders.iter().all(|name| at + 1 < name.len() && name[at] == folders[0][at]);
    let from = (0..).find(|&at| !shared(at)).unwrap_or(0);
    folders.iter().map(|name| name[from..].join("/")).collect()
}

/// The charts of several runs, those of one title together: a colour a run where there are several, a colour a line otherwise.
/// Runs that were judged on different photos have a chart of their accuracy for each set.
pub(super) fn charts(runs: &[RunFacts]) -> Value {
    // Each with the run that came first in it.
    let mut all: Vec<(Panel, usize)> = Vec::new();
    let (several, names) = (runs.len() > 1, names(runs));
    for (color, run) in runs.iter().enumerate() {
        for panel in &run.panels {
            let mut panel = panel.clone();
            if several {
                panel.levels.clear();
                for (i, series) in panel.series.iter_mut().enumerate() {
                    series.name = format!("{} {}", names[color], series.name);
                    series.color = Some(color);
                    if i > 0 {
                        series.mark = Mark::Dashed;
                    }
                }
            }
            // Of the charts of one title that with the same photos.
            let is_same = |other: usize| panel.title != JUDGED || same_set(run, &runs[other]);
            match all.iter_mut().find(|(known, first)| known.title == panel.title && is_same(*first)) {
                Some((known, _)) => known.series.extend(panel.series),
                // Beside those of its title, if there are any.
                None => {
                    let beside = all.iter().rposition(|(known, _)| known.title == panel.title);
                    all.insert(beside.map_or(all.len(), |at| at + 1), (panel, color));
                }
            }
        }
    }
    let apart = different_sets(runs);
    for (panel, first) in all.iter_mut().filter(|(panel, _)| apart && panel.title == JUDGED) {
        let judged = runs[*first].judged.as_ref().map_or("", |judged| &judged.told);
        panel.title = format!("{JUDGED} of {judged}");
    }
    all.iter().map(|(panel, _)| chart(panel)).collect()
}

/// Whether two runs were judged on the same photos, if both were.
fn same_set(a: &RunFacts, b: &RunFacts) -> bool {
    a.judged.as_ref().zip(b.judged.as_ref()).is_none_or(|(a, b)| a.is_same(b))
}

/// Whether runs were judged on different photos, so that their accuracies say nothing of which is better.
pub(super) fn different_sets(runs: &[RunFacts]) -> bool {
    let judged: Vec<&RunFacts> = runs.iter().filter(|run| run.judged.is_some()).collect();
    judged.iter().any(|run| !same_set(run, judged[0]))
}

/// A chart as the page has it.
pub(super) fn chart(panel: &Panel) -> Value {
    json!({ "title": panel.title, "note": panel.note, "svg": panel.card() })
}

#[cfg(test)]
#[path = "../../../tests/unit/show/report/run.rs"]
mod tests;
