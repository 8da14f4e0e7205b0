//! `vista report`.

use super::judged::embedding;
use super::paths::{Files, Input, Mark, Output, absolute};
use crate::engine::device::Device;
use crate::error::{Error, Result, readable_bytes};
use crate::files;
use crate::show::report::{self, RunFacts};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Make a page of a run, or of several to compare, that opens in any browser without a network.
///
/// Of one run: summary and the command that repeats it, curves, signs of collapse, a map of its photos (PCA and t-SNE), the
/// neighbours of every photo, MLS's Figs. 3 and 4, the configuration. Of several: their curves in one frame each, and
/// where their configurations differ.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folders of runs.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<Input>,
    /// File to write; `report.html` in the run's folder if absent, here if several runs are compared.
    #[arg(long, value_name = "FILE")]
    out: Option<Output>,
    /// Photos on the page, drawn by the run's seed; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 500)]
    photos: usize,
    /// `auto`, `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`, to embed the photos.
    #[arg(long, default_value = "auto")]
    device: String,
}

impl Args {
    fn page(&self) -> PathBuf {
        match (&self.out, self.runs.as_slice()) {
            (Some(out), _) => out.to_path_buf(),
            (None, [run]) => run.join("report.html"),
            (None, _) => PathBuf::from("report.html"),
        }
    }
}

pub(super) fn files(args: &Args) -> Result<Files> {
    // Where there is no folder its page has no place: that there is no run says more.
    args.runs.iter().filter(|run| !run.exists()).try_for_each(|run| RunFacts::read(run).map(drop))?;
    Ok(Files::default().file("--out", Some(&args.page()), Mark::Words(report::MARK)))
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let out = args.page();
    let runs = args.runs.iter().map(RunFacts::read).collect::<Result<Vec<_>>>()?;
    let gallery = match args.runs.as_slice() {
        [_, _, ..] => report::missing("A comparison has no photos: make each run's own report."),
        [run] if args.photos > 0 => match embedded(run, args) {
            Ok(gallery) => gallery,
            // What can't be made again is not replaced by less.
            Err(e) if report::has_photos(&out) => {
                let what = format!("the page that is there has photos, and a new one would have none ({e})");
                let advice =
                    "bring them back, name another page by --out, or make one without photos by --photos 0";
                return Err(Error::input(what, out.display().to_string(), advice));
            }
            Err(e) => {
                eprintln!("warning: the page has no photos: {e}");
                report::missing(format!("No photos: {e}."))
            }
        },
        _ => report::missing("This page was made without photos."),
    };
    let page = report::page(&runs, &gallery, None);
    files::replace(&out, page.as_bytes())?;
    println!("report {} ({})", out.display(), readable_bytes(page.len() as u64));
    Ok(json!({ "page": absolute(&out), "bytes": page.len(), "missing": gallery["missing"] }))
}

fn embedded(run: &Path, args: &Args) -> Result<Value> {
    let device = Device::open(&args.device)?;
    let gallery = report::gallery(run, args.photos, &device, &mut embedding())?;
    let warnings = gallery["warnings"].as_array().into_iter().flatten();
    warnings.filter_map(Value::as_str).for_each(|line| eprintln!("warning: {line}"));
    Ok(gallery)
}
