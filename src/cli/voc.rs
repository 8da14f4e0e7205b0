//! `vista voc`.

use crate::cli::judged::{Chosen, Floors, Judging, Watch, warn};
use crate::cli::paths::{Files, Input, absolute};
use crate::engine::nn::ResNet;
use crate::error::{Error, Result};
use crate::photos::{Photos, Source, multi_label_split};
use crate::transfer::classify::{Embedded, LabelledAlbums, MultiLabelled, Svm, Voc, VocResult, frequent};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;

/// Judge a checkpoint by multi-label classification of its frozen features: mean average precision.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) judged: Chosen,
    /// Csv list of photos: `file`, `labels` (joined by `;`), `split` (`train` and `test`).
    #[arg(long, value_name = "LIST")]
    labelled: Input,
    /// Follow links and lists that lead out of its folder.
    #[arg(long)]
    follow_links: bool,
    /// Judge these classes alone: a list of names, or a csv list with a column `word` (`class`, `name`) and perhaps
    /// `frequent`, of which those with 1 are taken.
    #[arg(long, value_name = "FILE")]
    classes: Option<Input>,
    /// Leave out classes with fewer train photos.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_train: usize,
    /// Leave out classes with fewer test photos.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_test: usize,
    /// Costs to choose from, such as 0.1,1,10 [default: the protocol's 26 from 1e-7 to 100].
    #[arg(long, value_name = "C,..", value_delimiter = ',')]
    costs: Vec<f64>,
    /// Seed of folds and machines.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    floors: Floors,
}

pub(super) fn files(args: &Args) -> Result<Files> {
    args.judged.files("voc", Some(&args.labelled), args)
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let usual = Voc::default();
    let mut costs = if args.costs.is_empty() { usual.costs } else { args.costs.clone() };
    costs.sort_by(f64::total_cmp);
    let voc = Voc { costs, seed: args.seed, svm: Svm { seed: args.seed, ..usual.svm }, ..usual };
    let mut classes = Vec::new();
    let judging = args.judged.begin(|| {
        let photos = multi_label_split(Source::from(&*args.labelled).follow_links(args.follow_links))?;
        photos.iter().for_each(warn);
        classes = chosen_classes(args, &photos)?;
        voc.check()?;
        Ok(LabelledAlbums::new(photos))
    })?;
    let judging = judging.of_centres();
    let judge = |sets: [Embedded; 2]| judge(&judging, &voc, &classes, &sets);
    let of_encoder = |net: &ResNet| judge(judging.embed(net)?);
    let mut found = vec![("this checkpoint", of_encoder(&judging.opened.encoder.backbone)?)];
    found.extend(judging.floors(&args.floors, of_encoder, judge)?);
    let all = judging.albums.train.photos().classes();
    let names: Vec<&str> = classes.iter().map(|&class| all[class].as_str()).collect();
    let mut lines = table(&found, &names);
    lines.push(judging.counts());
    let means = |r: &VocResult| json!({ "map_area": r.map_area, "map_11point": r.map_11point });
    let floors: Value = found[1..].iter().map(|(name, result)| (name.to_string(), means(result))).collect();
    let trained = &found[0].1;
    judging.finish(
        &lines,
        json!({
            "dataset": {
                "list": absolute(&args.labelled),
                "classes": names.len(),
                "classes_file": args.classes.as_deref().map(absolute),
                "min_train": args.min_train,
                "min_test": args.min_test,
            },
            "protocol": voc,
            "results": {
                "map_area": trained.map_area,
                "map_11point": trained.map_11point,
                "random_ranking": trained.chance,
                "classes": names.iter().zip(&trained.classes).map(|(name, c)| (name.to_string(), json!(c)))
                    .collect::<serde_json::Map<_, _>>(),
            },
            "floors": floors,
        }),
    )
}

/// A line for each class by this checkpoint, then the means by each encoder.
fn table(found: &[(&str, VocResult)], names: &[&str]) -> Vec<String> {
    let heading =
        format!("{:20} {:>6} {:>5} {:>8}  {:>6} {:>8}", "class", "train", "test", "cost", "area", "11-point");
    let mut lines = vec![heading];
    lines.extend(names.iter().zip(&found[0].1.classes).map(|(name, c)| {
        let number = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.3}"));
        let (area, eleven) = (number(c.area), number(c.eleven_point));
        let cost = format!("{:.1e}", c.cost);
        format!("{name:20} {:>6} {:>5} {cost:>8}  {area:>6} {eleven:>8}", c.train_positives, c.test_positives)
    }));
    lines.push(format!("mean average precision of {} classes   area  11-point", names.len()));
    let means =
        found.iter().map(|(name, r)| format!("{name:36} {:6.4}    {:6.4}", r.map_area, r.map_11point));
    lines.extend(means);
    lines.push(format!("{:36} {:6.4}", "random ranking (share of positives)", found[0].1.chance));
    lines
}

fn judge(judging: &Judging, voc: &Voc, classes: &[usize], sets: &[Embedded; 2]) -> Result<VocResult> {
    let total = voc.fits(classes.len());
    let watch = Mutex::new(Watch::new());
    let heard = |done: usize| {
        // Another thread may be printing; a later count will follow.
        if let Ok(mut watch) = watch.try_lock() {
            watch.at(done, total, || format!("{done} of {total} machines"));
        }
    };
    let albums = judging.albums.both();
    let labels = [0, 1].map(|i| sets[i].multi_labels(albums[i], classes));
    let [train, test] = [0, 1].map(|i| MultiLabelled {
        features: &sets[i].values,
        labels: &labels[i],
        classes: classes.len(),
    });
    voc.run(&train, &test, &heard)
}

/// The classes to judge, as numbers in the list's order.
fn chosen_classes(args: &Args, [train, test]: &[Photos; 2]) -> Result<Vec<usize>> {
    let all = train.classes();
    let number = |name: &String, file: &Path| {
        all.iter().position(|class| class == name).ok_or_else(|| {
            let what = format!("class {name:?} is not in {}", args.labelled.display());
            Error::input(what, file.display().to_string(), "name classes of the list")
        })
    };
    let mut wanted: Vec<usize> = match &args.classes {
        None => (0..all.len()).collect(),
        Some(file) => class_names(file)?.iter().map(|name| number(name, file)).collect::<Result<_>>()?,
    };
    wanted.sort_unstable();
    wanted.dedup();
    let chosen = frequent(&wanted, [(train, args.min_train), (test, args.min_test)]);
    if chosen.is_empty() {
        let what = format!("no class with {} train and {} test photos", args.min_train, args.min_test);
        let advice = "lower --min-train and --min-test, or give labels";
        return Err(Error::input(what, args.labelled.display().to_string(), advice));
    }
    Ok(chosen)
}

/// LIMIT: bytes of a file of classes.
const MAX_CLASSES: u64 = 16 << 20;

/// Names in a file of classes; see [`Args::classes`].
fn class_names(file: &Path) -> Result<Vec<String>> {
    let place = || file.display().to_string();
    let text = crate::files::read_text(file, MAX_CLASSES)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let bad = |e: csv::Error| Error::input(format!("not a list ({e})"), place(), "give one class a line");
    let lines = reader.records().collect::<csv::Result<Vec<_>>>().map_err(bad)?;
    let column = |names: &[&str]| {
        let is_one = |cell: &str| names.iter().any(|name| cell.trim().eq_ignore_ascii_case(name));
        lines.first()?.iter().position(is_one)
    };
    // Without a heading the first column has the names.
    let heading = column(&["word", "class", "name"]);
    let frequent = heading.and_then(|_| column(&["frequent"]));
    let cell = |line: &csv::StringRecord, column: usize| line.get(column).unwrap_or("").trim().to_string();
    let names: Vec<String> = lines[usize::from(heading.is_some())..]
        .iter()
        .filter(|line| frequent.is_none_or(|f| cell(line, f) == "1"))
        .map(|line| cell(line, heading.unwrap_or(0)))
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Err(Error::input("no class", place(), "give one class a line"));
    }
    Ok(names)
}
