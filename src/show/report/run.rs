//! What a run's folder says without its photos: headline, configuration, curves, warnings.

use super::facts::{RunFacts, chart, grouped, history, last, made, state, time};
use super::judged::{Judged, floors};
use super::repeat::command;
use super::{detector, segmenter};
use crate::error::{Error, Result};
use crate::pretrain::Config;
use crate::pretrain::settings::settings;
use crate::run::{DETECTORS, History, Kind, SEGMENTERS};
use crate::show::figures::{JUDGED, Mark, Panel, course};
use serde_json::{Value, json};
use std::path::Path;

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
        match Kind::of(&text) {
            Some(&DETECTORS) => return detector::facts(folder, &text),
            Some(&SEGMENTERS) => return segmenter::facts(folder, &text),
            _ => {}
        }
        let config = Config::preset("demo")?.merged(&text, &path.display().to_string())?;
        let history = history(folder)?;
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

/// What else a person wants to know.
fn facts(config: &Config, history: &History) -> Vec<[String; 2]> {
    let (batch, views, size) = (config.train.batch, config.image_views().len(), config.views.size);
    let mut all = vec![
        ("a step", format!("{batch} images x {views} views of {size} px")),
        ("seed", config.seed.to_string()),
    ];
    all.extend(made(history));
    all.into_iter().map(|(key, value)| [key.to_string(), value]).collect()
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

#[cfg(test)]
#[path = "../../../tests/unit/show/report/run.rs"]
mod tests;
