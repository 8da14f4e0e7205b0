//! `vista sweep`.

use super::paths::{Files, Mark, Output, absolute, marked};
use super::pretrain::{Flags, judge_of};
use super::runs;
use crate::error::{Error, Result};
use crate::files;
use crate::pretrain::{Config, Outcome, Spread, Sweep, SweepRun};
use crate::show::figures::{svg, sweep_panel};
use serde_json::{Value, json};
use std::path::Path;

/// Pretrain once for each value of a key, then tabulate and plot
///
/// Each value is a whole run in OUT/KEY=VALUE. The same command again skips finished runs and goes on with the next;
/// a run that was cut off starts anew. Several keys make a grid.
///
/// The papers' sweeps, each on photos of your own (--data, --labelled):
///
///   MLS, Table 8    vista sweep --preset mls-coco-r50-400ep --key method.k --values 1,5,20,40 --out runs/k
///   MLS, Fig. 5 a   vista sweep --preset mls-coco-r50-400ep --key method.queue --values 1024,2048,4096,8192 --out runs/queue
///   MLS, Fig. 5 b   vista sweep --preset mls-coco-r50-400ep --key method.lambda --values 0.1,0.3,0.5,0.7,1 --out runs/lambda
///   MLS, Table 7    vista sweep --preset mls-coco-r50-400ep --key method.dictionaries --values both,g_only,z_only --out runs/dict
///   S2R2, Fig. 1    vista sweep --preset s2r2-stl10-r18 --key train.batch --values 8,16,32,64,128 --out runs/images
///                   vista sweep --preset s2r2-stl10-r18 --key method.views --values 2,5,10,20 --set train.groups=1 --out runs/views
///
/// Runs are judged by kNN; `vista probe` judges a run's checkpoint by a linear classifier, as S2R2's Fig. 1 does.
/// (The papers name 1024 and 4096 slots and lambda 0.5 only; the other values of Fig. 5 and those of Fig. 1 are ours.)
///
/// In minutes on the built-in photos:
///
///   vista sweep --method mls --key method.k --values 1,5,20,40 --steps 200 --seeds 0,1,2 --out runs/k
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Key to vary, dotted as in `method.k`; may be given again, with values of its own.
    #[arg(long = "key", value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// Its values, joined by commas.
    #[arg(long, value_name = "V,V,..", required = true)]
    values: Vec<String>,
    /// Seeds of every run, joined by commas: figures become means with their standard deviation.
    #[arg(long, value_name = "N,N,..", value_delimiter = ',', conflicts_with = "seed")]
    seeds: Vec<u64>,
    #[command(flatten)]
    flags: Flags,
    /// Folder for the runs, `sweep.csv`, `sweep.json` and `sweep.svg`.
    #[arg(long, value_name = "DIR", default_value = "runs/sweep")]
    out: Output,
}

/// What stands at the beginning of the drawing.
const SVG_MARK: &str = "<!-- vista sweep -->";

pub(super) fn files(args: &Args) -> Result<Files> {
    // What is wrong with the photos is said when they are read.
    let config = args.flags.config().or_else(|_| args.flags.naming())?;
    let tables = [("sweep.csv", ",seed,top1,"), ("sweep.json", "\"plotted\": "), ("sweep.svg", SVG_MARK)];
    let tables = tables.map(|(name, mark)| (name, Mark::Words(mark)));
    let mut files = Files::default().folder("--out", &args.out, tables);
    for run in args.sweep()?.plan(&config, &args.out)?.iter().filter(|run| run.outcome.is_none()) {
        // What a run that was cut off has left is replaced, as are its checkpoints.
        let result = [("result.json", Mark::Any)];
        files = files.folder("--out", &run.folder, runs::files_of::<Config>().into_iter().chain(result));
    }
    Ok(files.with_config(&config))
}

impl Args {
    fn sweep(&self) -> Result<Sweep> {
        Ok(Sweep { axes: axes(&self.keys, &self.values)?, seeds: self.seeds.clone() })
    }
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let sweep = args.sweep()?;
    let keys: Vec<String> = sweep.axes.iter().map(|(key, _)| key.clone()).collect();
    let mut runs = sweep.plan(&args.flags.config()?, &args.out)?;
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(&args.out, e))?;
    let count = runs.len();
    let mut failures = Vec::new();
    for i in 0..count {
        let name = format!("[{}/{count}] {}, seed {}", i + 1, settings(&keys, &runs[i]), runs[i].config.seed);
        if runs[i].outcome.is_some() {
            eprintln!("{name}: finished before");
            continue;
        }
        eprintln!("{name}");
        let judged = judge_of(&runs[i].config).and_then(|judge| runs[i].run(judge));
        match judged {
            // One value may well be too much for training; the others are still worth knowing.
            Err(Error::Run(why)) => {
                eprintln!("failed: {why}");
                failures.push(settings(&keys, &runs[i]));
            }
            result => result?,
        }
        write(&args.out, &keys, &runs)?;
    }
    let facts = write(&args.out, &keys, &runs)?;
    print!("{}", table(&keys, &runs));
    for file in ["sweep.csv", "sweep.json", "sweep.svg"] {
        println!("{}", args.out.join(file).display());
    }
    match failures.is_empty() {
        true => Ok(facts),
        false => Err(Error::Run(format!(
            "{} of {count} runs failed ({}): their reasons are above; the same command tries them again",
            failures.len(),
            failures.join("; ")
        ))),
    }
}

/// Each key with its values.
fn axes(keys: &[String], values: &[String]) -> Result<Vec<(String, Vec<String>)>> {
    if keys.len() != values.len() {
        let what = format!("{} times --key and {} times --values", keys.len(), values.len());
        return Err(Error::input(what, "arguments", "give each --key its --values"));
    }
    let pair = |(key, text): (&String, &String)| {
        let values = split(text);
        match values.iter().all(|v| !v.is_empty()) {
            true => Ok((key.trim().to_string(), values)),
            false => Err(Error::input("an empty value", format!("--values {text}"), "write V,V,..")),
        }
    };
    keys.iter().zip(values).map(pair).collect()
}

/// Parts between commas, those inside brackets left alone: `[0.2,1.0],[0.5,1.0]` are two.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in text.chars() {
        depth += i32::from(c == '[') - i32::from(c == ']');
        match parts.last_mut() {
            Some(part) if c != ',' || depth > 0 => part.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts.iter().map(|part| part.trim().to_string()).collect()
}

fn settings(keys: &[String], run: &SweepRun) -> String {
    let pairs: Vec<String> = keys.iter().zip(&run.values).map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(", ")
}

/// A figure of an outcome, and its name.
type Figure = (&'static str, fn(&Outcome) -> Option<f64>);

const FIGURES: [Figure; 6] = [
    ("top1", |o| o.top1),
    ("balanced", |o| o.balanced),
    ("untrained", |o| o.untrained),
    ("loss", |o| o.loss),
    ("steps", |o| Some(o.steps as f64)),
    ("seconds", |o| Some(o.seconds)),
];

/// A figure of the finished ones of some runs.
fn spread(runs: &[SweepRun], figure: fn(&Outcome) -> Option<f64>) -> Option<Spread> {
    Spread::of(&runs.iter().filter_map(|run| figure(run.outcome.as_ref()?)).collect::<Vec<_>>())
}

/// Runs of the same values, seed by seed.
fn groups(runs: &[SweepRun]) -> impl Iterator<Item = &[SweepRun]> {
    runs.chunk_by(|a, b| a.values == b.values)
}

/// A line for each combination of values: means over seeds, with the standard deviation where there are several.
fn table(keys: &[String], runs: &[SweepRun]) -> String {
    let mut rows = vec![keys.to_vec()];
    rows[0].push("runs".into());
    rows[0].extend(FIGURES.iter().map(|(name, _)| name.to_string()));
    for group in groups(runs) {
        let mut row = group[0].values.clone();
        row.push(group.iter().filter(|run| run.outcome.is_some()).count().to_string());
        row.extend(FIGURES.iter().map(|&(name, figure)| match spread(group, figure) {
            None => "-".into(),
            Some(s) if ["steps", "seconds"].contains(&name) => format!("{:.0}", s.mean),
            Some(s) if s.count == 1 => format!("{:.4}", s.mean),
            Some(s) => format!("{:.4} ± {:.4}", s.mean, s.std),
        }));
        rows.push(row);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Writes what there is so far: a line for each finished run (csv), all with means and spreads (json), the plot (svg).
fn write(out: &Path, keys: &[String], runs: &[SweepRun]) -> Result<Value> {
    let done = || runs.iter().filter_map(|run| Some((run, run.outcome.as_ref()?)));
    let bad = |e: &dyn std::fmt::Display| Error::Run(format!("sweep: {e}"));
    let mut csv = csv::Writer::from_writer(Vec::new());
    let heading = keys.iter().map(String::as_str).chain(["seed"]).chain(FIGURES.iter().map(|f| f.0));
    csv.write_record(heading).map_err(|e| bad(&e))?;
    for (run, outcome) in done() {
        let figures =
            FIGURES.iter().map(|(_, figure)| figure(outcome).map_or(String::new(), |x| x.to_string()));
        let line = run.values.iter().cloned().chain([outcome.seed.to_string()]).chain(figures);
        csv.write_record(line).map_err(|e| bad(&e))?;
    }
    let csv = csv.into_inner().map_err(|e| bad(&e))?;
    // Loss where nothing is labelled; accuracies of some runs beside losses of others would say nothing.
    let (name, figure) = if done().all(|(_, o)| o.top1.is_some()) {
        ("kNN top-1", FIGURES[0].1)
    } else {
        ("loss", FIGURES[3].1)
    };
    let cell = |group: &[SweepRun]| Some((group[0].values.clone(), spread(group, figure)?));
    let cells: Vec<_> = groups(runs).filter_map(cell).collect();
    let several = cells.iter().any(|(_, spread)| spread.count > 1);
    let means = groups(runs).map(|group| {
        let figures = FIGURES.iter().map(|&(name, f)| (name.to_string(), json!(spread(group, f))));
        json!({"values": group[0].values, "figures": figures.collect::<serde_json::Map<_, _>>()})
    });
    let runs: Vec<_> = done()
        .map(|(run, outcome)| {
            json!({"values": run.values, "folder": absolute(&run.folder), "outcome": outcome})
        })
        .collect();
    let facts = json!({"keys": keys, "plotted": name, "runs": runs, "means": means.collect::<Vec<_>>()});
    let json = serde_json::to_string_pretty(&facts).map_err(|e| bad(&e))?;
    let y = if several { format!("{name}, mean ± std of seeds") } else { name.to_string() };
    let svg = svg(&[sweep_panel(keys, &y, &cells)], 1);
    for (file, bytes) in [
        ("sweep.csv", csv),
        ("sweep.json", json.into_bytes()),
        ("sweep.svg", marked(&svg, SVG_MARK).into_bytes()),
    ] {
        files::replace(&out.join(file), &bytes)?;
    }
    Ok(facts)
}

#[cfg(test)]
#[path = "../../tests/unit/cli/sweep.rs"]
mod tests;
