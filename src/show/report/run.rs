//! What a run's folder says without its photos: configuration, curves, warnings.

use super::repeat::command;
use crate::error::{Error, Result};
use crate::pretrain::Config;
use crate::pretrain::settings::settings;
use crate::run::History;
use crate::show::figures::{Mark, Panel, course};
use crate::transfer::classify::KnnProtocol;
use serde_json::{Value, json};
use std::path::Path;

/// What a run's folder says.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The folder as it was given.
    pub name: String,
    /// As the page has it: `{name, config, settings, command, facts, warnings, replaced}`.
    pub json: Value,
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
        let json = json!({
            "name": name,
            "config": config.to_toml(),
            "settings": settings(&config).into_iter().map(|(key, value)| [key, value.to_string()]).collect::<Vec<_>>(),
            "command": command(&config, &folder.with_extension("again")),
            "facts": facts(&config, &history),
            "warnings": history.of_kind("warning").cloned().collect::<Vec<Value>>(),
            "replaced": history.of_kind("replaced").cloned().collect::<Vec<Value>>(),
        });
        let panels = course(&history);
        Ok(RunFacts { name, json, panels })
    }
}

/// The first things that a person wants to know.
fn facts(config: &Config, history: &History) -> Vec<[String; 2]> {
    let last = |field: &str| history.series(field).last().map(|point| point.1);
    let photos = config.data.photos.as_ref().map_or("the bundled photos".into(), |p| p.display().to_string());
    let steps = last("step").unwrap_or(0.0);
    let views = history.series("step").last().map_or(0.0, |p| p.0);
    let (batch, made, size) = (config.train.batch, config.image_views().len(), config.views.size);
    let minutes = last("seconds").unwrap_or(0.0) / 60.0;
    let mut all = vec![
        ("method", config.method.name().into()),
        ("encoder", format!("{}, width {}", config.model.backbone, config.model.width)),
        ("photos", photos),
        ("views", format!("{batch} images x {made} of {size} px a step")),
        ("done", format!("{steps:.0} steps, {views:.0} views, {minutes:.1} minutes")),
        ("seed", config.seed.to_string()),
    ];
    if let Some(path) = &config.init {
        all.push(("started from", path.display().to_string()));
    }
    if let (Some(first), Some(last)) = (history.of_kind("knn").next(), history.of_kind("knn").last()) {
        all.extend(knn_facts(first, last));
    }
    let undecodable = history.of_kind("replaced").count();
    if undecodable > 0 {
        all.push(("undecodable photos", undecodable.to_string()));
    }
    all.into_iter().map(|(key, value)| [key.to_string(), value]).collect()
}

/// How the encoder was judged at first and at last, of records of the log.
fn knn_facts(first: &Value, last: &Value) -> Vec<(&'static str, String)> {
    let number = |record: &Value, key: &str| record[key].as_f64();
    let top1 = |record: &Value| {
        let error = number(record, "top1_error").map_or(String::new(), |error| format!(" ± {error:.3}"));
        number(record, "top1").map_or("-".into(), |top1| format!("{top1:.3}{error}"))
    };
    let start = match number(&first["initial_statistics"], "top1") {
        Some(other) => {
            format!("untrained {}; {other:.3} with batch norm's statistics at 0 and 1", top1(first))
        }
        None => format!("at the start {}", top1(first)),
    };
    let mut facts = vec![("kNN top-1", format!("{} ({start})", top1(last)))];
    let protocol = serde_json::from_value::<KnnProtocol>(last["protocol"].clone());
    if let (Ok(protocol), Some(photos)) = (protocol, last["photos"].as_u64()) {
        facts.push(("judged by kNN", format!("{}; ± is the standard error", protocol.told(photos as usize))));
    }
    facts
}

/// The charts of several runs, those of one title together: a colour a run where there are several, a colour a line otherwise.
pub(super) fn charts(runs: &[RunFacts]) -> Value {
    let mut all: Vec<Panel> = Vec::new();
    for (color, run) in runs.iter().enumerate() {
        for panel in &run.panels {
            let mut panel = panel.clone();
            if runs.len() > 1 {
                panel.limit = None;
                for (i, series) in panel.series.iter_mut().enumerate() {
                    series.name = format!("{} {}", run.name, series.name);
                    series.color = Some(color);
                    if i > 0 {
                        series.mark = Mark::Dashed;
                    }
                }
            }
            match all.iter_mut().find(|known| known.title == panel.title) {
                Some(known) => known.series.extend(panel.series),
                None => all.push(panel),
            }
        }
    }
    all.iter().map(|p| json!({ "title": p.title, "note": p.note, "svg": p.card() })).collect()
}

#[cfg(test)]
#[path = "../../../tests/unit/show/report/run.rs"]
mod tests;
