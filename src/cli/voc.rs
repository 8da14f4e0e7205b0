//! `vista voc`.

use crate::cli::judged::{Judged, Judging, Watch, warn, watched};
use crate::cli::paths::Input;
use crate::error::{Error, Result};
use crate::photos::{Album, Photos, Source, multi_label_split};
use crate::transfer::classify::{
    Embedded, LabelledAlbums, MultiLabelled, Svm, Voc, VocResult, frequent, handmade_features,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;

/// Judge a checkpoint by multi-label classification of its frozen features: mean average precision.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) judged: Judged,
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
    /// Also judge what needs no learning: the same encoder before training (batch norm with statistics of the train photos),
    /// and hand-made features.
    #[arg(long)]
    floor: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let usual = Voc::default();
    let mut costs = if args.costs.is_empty() { usual.costs } else { args.costs.clone() };
    costs.sort_by(f64::total_cmp);
    let voc = Voc { costs, seed: args.seed, svm: Svm { seed: args.seed, ..usual.svm }, ..usual };
    let mut classes = Vec::new();
    let judging = args.judged.begin("voc", || {
        let photos = multi_label_split(Source::from(&*args.labelled).follow_links(args.follow_links))?;
        photos.iter().for_each(warn);
        classes = chosen_classes(args, &photos)?;
        voc.check()?;
        Ok(LabelledAlbums::new(photos))
    })?;
    let judge = |sets: [Embedded; 2]| judge(&judging, &voc, &classes, &sets);
    let trained = judge(judging.embed(&judging.opened.encoder.backbone)?)?;
    let mut floors = Vec::new();
    if args.floor {
        floors.push(("untrained", judge(judging.embed(&judging.untrained()?.backbone)?)?));
        floors.push(("hand-made", judge(judging.albums.both().map(described))?));
    }
    let all = judging.albums.train.photos().classes();
    let names: Vec<&str> = classes.iter().map(|&class| all[class].as_str()).collect();
    let mut lines = table(&trained, &names, &floors);
    lines.push(judging.counts());
    let floors: Value = floors.iter().map(|(name, found)| (name.to_string(), summary(found))).collect();
    judging.finish(
        &lines,
        json!({
            "dataset": {
                "list": args.labelled.display().to_string(),
                "classes": names.len(),
                "classes_file": args.classes.as_ref().map(|p| p.display().to_string()),
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

fn summary(found: &VocResult) -> Value {
    json!({ "map_area": found.map_area, "map_11point": found.map_11point })
}

fn table(trained: &VocResult, names: &[&str], floors: &[(&str, VocResult)]) -> Vec<String> {
    let heading =
        format!("{:20} {:>6} {:>5} {:>8}  {:>6} {:>8}", "class", "train", "test", "cost", "area", "11-point");
    let of_class = names.iter().zip(&trained.classes).map(|(name, c)| {
        let number = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.3}"));
        let (area, eleven) = (number(c.area), number(c.eleven_point));
        let cost = format!("{:.1e}", c.cost);
        format!("{name:20} {:>6} {:>5} {cost:>8}  {area:>6} {eleven:>8}", c.train_positives, c.test_positives)
    });
    let mut lines: Vec<String> = std::iter::once(heading).chain(of_class).collect();
    lines.push(format!("mean average precision of {} classes   area  11-point", names.len()));
    let means =
        std::iter::once(("this checkpoint", trained)).chain(floors.iter().map(|(n, found)| (*n, found)));
    lines.extend(
        means.map(|(n, found)| format!("{n:36} {:6.4}    {:6.4}", found.map_area, found.map_11point)),
    );
    lines.push(format!("{:36} {:6.4}", "random ranking (share of positives)", trained.chance));
    lines
}

/// Hand-made features of all photos.
fn described(album: &Album) -> Embedded {
    let ids: Vec<usize> = (0..album.photos().len()).collect();
    watched(ids.len(), "hand-made features of photos", |heard| handmade_features(album, &ids, heard))
}

fn judge(judging: &Judging, voc: &Voc, classes: &[usize], sets: &[Embedded; 2]) -> Result<VocResult> {
    let total = voc.fits(classes.len());
    let watch = Mutex::new(Watch::new(total as u64));
    let heard = |done: usize| {
        // Another thread may be printing; a later count will follow.
        if let Ok(mut watch) = watch.try_lock() {
            watch.at(done as u64, || format!("{done} of {total} machines"));
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
    let mut lines = reader.records().collect::<csv::Result<Vec<_>>>().map_err(bad)?;
    let column = |line: &csv::StringRecord, names: &[&str]| {
        line.iter().position(|cell| names.iter().any(|n| cell.trim().eq_ignore_ascii_case(n)))
    };
    let headings = lines.first().map(|l| (column(l, &["word", "class", "name"]), column(l, &["frequent"])));
    let (name, frequent) = match headings {
        Some((Some(name), frequent)) => {
            lines.remove(0);
            (name, frequent)
        }
        _ => (0, None),
    };
    let cell = |line: &csv::StringRecord, column: usize| line.get(column).unwrap_or("").trim().to_string();
    let names: Vec<String> = lines
        .iter()
        .filter(|line| frequent.is_none_or(|f| cell(line, f) == "1"))
        .map(|line| cell(line, name))
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Err(Error::input("no class", place(), "give one class a line"));
    }
    Ok(names)
}
