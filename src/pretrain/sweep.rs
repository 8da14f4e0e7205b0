//! Many runs that differ in a few keys: planned, run one after another, continued where they stopped.

use super::config::Config;
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::files;
use crate::run::History;
use crate::run::Judge;
use crate::run::settings::{Difference, differences};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which keys take which values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sweep {
    /// A key of the configuration and its values; several make a grid, the first varying slowest.
    pub axes: Vec<(String, Vec<String>)>,
    /// Seeds of each combination; empty for the configuration's own.
    pub seeds: Vec<u64>,
}

/// What a finished run came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// kNN accuracy at the end, if the run had labelled photos.
    pub top1: Option<f64>,
    /// Mean over classes of the same.
    pub balanced: Option<f64>,
    /// kNN accuracy before the first step, batch norm with statistics of photos.
    pub untrained: Option<f64>,
    /// Mean loss of the last tenth of the steps.
    pub loss: Option<f64>,
    /// Steps done.
    pub steps: u64,
    /// Seconds of training, judging left out.
    pub seconds: f64,
}

/// What is kept in a finished run's folder, `result.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    config: String,
    outcome: Outcome,
}

/// One run of a sweep.
#[derive(Clone, Debug)]
pub struct SweepRun {
    /// A value of each key.
    pub values: Vec<String>,
    /// The whole configuration.
    pub config: Config,
    /// Where the run lies: `OUT/KEY=VALUE` (several joined by commas), with `/seed=N` below if seeds were given.
    pub folder: PathBuf,
    /// What it came to; `None` until it is finished.
    pub outcome: Option<Outcome>,
}

impl Sweep {
    /// Every run, the finished ones with their outcome. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Input`] if a key or value does not fit the configuration, two runs would be the same, or a finished
    /// run had another configuration: then the message names what differs.
    pub fn plan(&self, base: &Config, out: &(impl AsRef<Path> + ?Sized)) -> Result<Vec<SweepRun>> {
        let out = out.as_ref();
        let mut combinations: Vec<Vec<String>> = vec![Vec::new()];
        for (_, values) in &self.axes {
            let longer = |row: &Vec<String>| {
                values.iter().map(|v| [&row[..], std::slice::from_ref(v)].concat()).collect()
            };
            combinations = combinations.iter().flat_map::<Vec<_>, _>(longer).collect();
        }
        let mut runs = Vec::new();
        for values in combinations {
            let mut config = base.clone();
            let mut names = Vec::new();
            for ((key, _), value) in self.axes.iter().zip(&values) {
                let setting = format!("{key}={value}");
                config = config.with(&setting).map_err(|e| match e {
                    Error::Input { what, advice, .. } => {
                        Error::input(what, format!("--key {key} --values {value}"), advice)
                    }
                    other => other,
                })?;
                names.push(file_name(&setting));
            }
            let folder = out.join(names.join(","));
            match self.seeds[..] {
                [] => runs.push(SweepRun { values, config, folder, outcome: None }),
                ref seeds => runs.extend(seeds.iter().map(|&seed| SweepRun {
                    values: values.clone(),
                    config: Config { seed, ..config.clone() },
                    folder: folder.join(format!("seed={seed}")),
                    outcome: None,
                })),
            }
        }
        let mut folders = BTreeSet::new();
        for run in &mut runs {
            run.config.check()?;
            if !folders.insert(run.folder.clone()) {
                let place = run.folder.display().to_string();
                return Err(Error::input("two runs of the same values", place, "give each value once"));
            }
            run.outcome = finished(&run.folder, &run.config)?;
        }
        Ok(runs)
    }
}

impl SweepRun {
    /// Trains and keeps the outcome, in `self` and in the run's folder.
    ///
    /// # Errors
    /// As [`Trainer::new`] and [`Trainer::run`].
    pub fn run(&mut self, judge: Option<Box<dyn Judge>>) -> Result<()> {
        // What a run that was cut off has left is replaced.
        let trainer = Trainer::overwriting(self.config.clone(), &self.folder, judge)?;
        trainer.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
        let summary = trainer.run()?;
        let log = History::read(&summary.log)?;
        let outcome = Outcome {
            seed: self.config.seed,
            top1: summary.scores.map(|s| s.trained.top1),
            balanced: summary.scores.map(|s| s.trained.balanced),
            untrained: summary.scores.map(|s| s.start.top1),
            loss: log.last("loss"),
            steps: summary.steps,
            seconds: log.series("seconds").last().map_or(0.0, |p| p.1),
        };
        let stored = Stored { config: self.config.to_toml(), outcome: outcome.clone() };
        let text = serde_json::to_string_pretty(&stored).map_err(|e| Error::Run(format!("result: {e}")))?;
        // Renamed when whole: a result that is there is a finished run's.
        files::replace(&self.folder.join("result.json"), text.as_bytes())?;
        self.outcome = Some(outcome);
        Ok(())
    }
}

/// The outcome kept in a folder, if the run there is finished.
fn finished(folder: &Path, config: &Config) -> Result<Option<Outcome>> {
    let path = folder.join("result.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(&path, e)),
    };
    let place = path.display().to_string();
    let stored: Stored = serde_json::from_str(&text)
        .map_err(|e| Error::input(format!("not a result ({e})"), &place, "remove it to run again"))?;
    let changed = differences(&Config::kept(&stored.config, &place)?, config);
    let changed: Vec<String> = changed.iter().map(Difference::to_string).collect();
    if !changed.is_empty() {
        return Err(Error::input(
            format!("a finished run had another configuration ({})", changed.join("; ")),
            folder.display().to_string(),
            "give the same arguments, or another --out",
        ));
    }
    Ok(Some(stored.outcome))
}

/// A setting as the name of a folder on every system.
fn file_name(setting: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "=._-+".contains(c) { c } else { '_' };
    setting.chars().map(plain).collect()
}

/// Mean and sample standard deviation over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many values there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// `sqrt(sum (x - mean)^2 / (n - 1))`; 0 of one.
    pub std: f64,
}

impl Spread {
    /// Of these values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let square: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let std = if count > 1 { (square / (count - 1) as f64).sqrt() } else { 0.0 };
        (count > 0).then_some(Spread { count, mean, std })
    }
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/sweep.rs"]
mod tests;
