//! What a run's folder says without its photos: configuration, curves, warnings.

use super::repeat::command;
use crate::error::{Error, Result};
use crate::pretrain::settings::settings;
use crate::pretrain::{Config, History};
use crate::show::figures::thinned;
use crate::transfer::classify::KnnProtocol;
use serde_json::{Value, json};
use std::path::Path;

/// The most points of a line.
const POINTS: usize = 400;

/// One chart.
struct Chart {
    title: &'static str,
    /// How its numbers are written: `""`, `%` or `bytes`.
    unit: &'static str,
    /// What it tells.
    note: &'static str,
    /// Name of each line and its field of the log; a field that ends in `.*` stands for one line a term.
    lines: &'static [(&'static str, &'static str)],
}

const fn chart(
    title: &'static str,
    unit: &'static str,
    note: &'static str,
    lines: &'static [(&'static str, &'static str)],
) -> Chart {
    Chart { title, unit, note, lines }
}

/// All charts in the page's order.
const CHARTS: [Chart; 10] = [
    chart("Loss", "", "The whole loss and each of its terms.", &[("loss", "loss"), ("", "terms.*")]),
    chart(
        "kNN accuracy",
        "%",
        "Labelled photos classified by their nearest; at 0 views batch norm has statistics of photos.",
        &[("top-1", "top1"), ("balanced", "balanced")],
    ),
    chart("Gradient norm", "", "Of all parameters.", &[("norm", "gradient_norm")]),
    chart(
        "Gradient norms of the terms",
        "",
        "Of each unweighted term, with respect to the embeddings.",
        &[("", "term_gradient_norms.*")],
    ),
    chart("Learning rate", "", "", &[("rate", "lr")]),
    chart("Mean cosine", "", "Collapse: near 1, all embeddings are the same.", &[("cosine", "cosine")]),
    chart(
        "Effective rank",
        "",
        "Collapse: a fall to a fifth of its best while the loss is no better than at equal embeddings.",
        &[("rank", "effective_rank")],
    ),
    chart("Purity", "%", "Pseudo-positives that share a label with their query.", &[("purity", "purity")]),
    chart("Images a second", "", "Images, not views.", &[("images/s", "images_per_second")]),
    chart("Memory", "bytes", "Tensors in use on the device.", &[("tensors", "bytes_in_use")]),
];

/// What a run's folder says.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The folder as it was given.
    pub name: String,
    json: Value,
}

impl RunFacts {
    /// Reads `config.toml` and `log.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Input`] naming the file if the folder holds no run.
    pub fn read(folder: &Path) -> Result<RunFacts> {
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
            "charts": CHARTS.iter().filter_map(|c| c.drawn(&history)).collect::<Vec<Value>>(),
            "warnings": history.of_kind("warning").cloned().collect::<Vec<Value>>(),
            "replaced": history.of_kind("replaced").cloned().collect::<Vec<Value>>(),
        });
        Ok(RunFacts { name, json })
    }

    /// As the page has it: `{name, config, settings, command, facts, charts, warnings, replaced}`.
    pub fn json(&self) -> Value {
        self.json.clone()
    }
}

/// The first things that a person wants to know.
fn facts(config: &Config, history: &History) -> Vec<[String; 2]> {
    let ends = |field: &str| {
        let all = history.series(field);
        Some((all.first()?.1, all.last()?.1))
    };
    let last = |field: &str| ends(field).map(|(_, last)| last);
    let lower = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let photos = config.data.photos.as_ref().map_or("the bundled photos".into(), |p| p.display().to_string());
    let steps = last("step").unwrap_or(0.0);
    let views = history.series("step").last().map_or(0.0, |p| p.0);
    let mut all = vec![
        ("method", config.method.entry().name.into()),
        ("encoder", format!("{}, width {}", lower(&config.model.backbone), config.model.width)),
        ("photos", photos),
        (
            "views",
            format!(
                "{} images x {} of {} px a step",
                config.train.batch,
                config.image_views().len(),
                config.views.size
            ),
        ),
        (
            "done",
            format!(
                "{steps:.0} steps, {views:.0} views, {:.1} minutes",
                last("seconds").unwrap_or(0.0) / 60.0
            ),
        ),
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

impl Chart {
    /// A chart with its lines; `None` without any point.
    fn drawn(&self, history: &History) -> Option<Value> {
        let Chart { title, unit, note, lines } = *self;
        let mut series = Vec::new();
        for &(name, field) in lines {
            match field.strip_suffix('*') {
                None => series.push((name.to_string(), history.series(field))),
                Some(prefix) => {
                    let terms = history.terms().into_iter();
                    series
                        .extend(terms.map(|term| (term.clone(), history.series(&format!("{prefix}{term}")))));
                }
            }
        }
        // A loss of one term is that term.
        let same = |a: &(f64, f64), b: &(f64, f64)| (a.1 - b.1).abs() <= 1e-5 * a.1.abs();
        if title == "Loss"
            && series.len() == 2
            && series[0].1.iter().zip(&series[1].1).all(|(a, b)| same(a, b))
        {
            series.pop();
        }
        series.retain(|(_, points)| !points.is_empty());
        let line = |(name, points): &(String, Vec<(f64, f64)>)| {
            let points: Vec<[f64; 2]> = thinned(points, POINTS)
                .into_iter()
                .filter(|p| p.1.is_finite())
                .map(|(x, y)| [x.round(), short(y)])
                .collect();
            json!({ "name": name, "points": points })
        };
        let limit = match title {
            "Mean cosine" => Some(0.99),
            "Effective rank" => series.first().map(|(_, p)| 0.2 * p.iter().map(|p| p.1).fold(0.0, f64::max)),
            _ => None,
        };
        let series: Vec<Value> = series.iter().map(line).collect();
        (!series.is_empty())
            .then(|| json!({ "title": title, "unit": unit, "note": note, "limit": limit, "series": series }))
    }
}

/// Five digits are more than a chart shows.
fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_hold_the_logs_numbers_and_what_is_not_there_has_no_chart() {
        let folder = tempfile::tempdir().expect("folder");
        let config = Config::preset("demo").expect("preset").with("seed=7").expect("set");
        std::fs::write(folder.path().join("config.toml"), config.to_toml()).expect("written");
        let log = concat!(
            "{\"kind\":\"knn\",\"views\":0,\"top1\":0.25,\"balanced\":0.2,\"photos\":215,\"top1_error\":0.03,",
            "\"protocol\":\"leave_one_out\",\"initial_statistics\":{\"top1\":0.34,\"balanced\":0.3}}\n",
            "{\"kind\":\"step\",\"step\":1,\"views\":8,\"loss\":2.0,\"terms\":{\"a\":2.0},\"cosine\":0.5,\"seconds\":6}\n",
            "{\"kind\":\"step\",\"step\":2,\"views\":16,\"loss\":1.0,\"terms\":{\"a\":1.0},\"cosine\":0.7,\"seconds\":12}\n",
            "{\"kind\":\"warning\",\"step\":2,\"warning\":\"all the same\"}\n",
        );
        std::fs::write(folder.path().join("log.jsonl"), log).expect("written");
        let json = RunFacts::read(folder.path()).expect("run").json();
        let titles: Vec<&str> =
            json["charts"].as_array().expect("charts").iter().filter_map(|c| c["title"].as_str()).collect();
        assert_eq!(titles, ["Loss", "kNN accuracy", "Mean cosine"]);
        assert_eq!(
            json["charts"][0]["series"],
            json!([{"name": "loss", "points": [[8.0, 2.0], [16.0, 1.0]]}])
        );
        assert_eq!(json["warnings"][0]["warning"], "all the same");
        assert!(json["settings"].as_array().expect("list").contains(&json!(["seed", "7"])));
        assert!(json["facts"].to_string().contains("2 steps, 16 views, 0.2 minutes"));
        let knn = "0.250 ± 0.030 (untrained 0.250 ± 0.030; 0.340 with batch norm's statistics at 0 and 1)";
        for part in [knn, "215 photos, each among all others", "standard error"] {
            assert!(json["facts"].to_string().contains(part), "{part}: {}", json["facts"]);
        }
        let message = RunFacts::read(&folder.path().join("no")).unwrap_err().to_string();
        assert!(message.contains("no run here"), "{message}");
    }
}
