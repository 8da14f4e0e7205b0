//! `vista segment`.

use super::judged::Watch;
use super::paths::{Files, Input, Mark, Output, absolute};
use super::ranks;
use super::runs::{self, TrainFlags, path, text, write_picture};
use super::signals;
use crate::engine::device::Device;
use crate::error::{Error, Result, counted};
use crate::files;
use crate::photos::{Album, AlbumOptions, LabelMap, Photos, PixelClass, PixelClasses, Source};
use crate::run::{Provenance, Start};
use crate::shell;
use crate::show::figures::{confusion_matrix, encoded_jpeg, label_map};
use crate::show::report;
use crate::transfer::metrics::Confusion;
use crate::transfer::segment::{
    LabelledAlbum, PRESETS, SegmentConfig, SegmentRun, SegmentSets, Segmenter, floor, judge, load,
    own_numbers, segment,
};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use serde_json::{Value, json};
use std::path::Path;

/// Train a segmenter, which tells the class of each pixel, on an encoder; judge one; or segment photos.
///
/// With `--data`: trains, and ends with mIoU, mAcc and aAcc. With `--checkpoint` and `--eval-only`: judges, class by class. With
/// `--checkpoint` and `--photos`: segments photos without labels.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// List the presets and end.
    #[arg(long)]
    presets: bool,
    #[command(flatten)]
    flags: Flags,
    /// Folder for configuration, log and checkpoints.
    #[arg(long, value_name = "DIR", default_value = "runs/segment")]
    out: Output,
    /// Go on with the run in `--out` from its newest sound checkpoint, as if it had never stopped.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace a run that is in `--out`.
    #[arg(long)]
    overwrite: bool,
    /// Judge the segmenter of `--checkpoint` and end.
    #[arg(long, requires = "checkpoint")]
    eval_only: bool,
    /// Beside it the floor that needs no network: the class that is most frequent at each place of the photos to learn from.
    #[arg(long, requires = "eval_only")]
    floor: bool,
    /// File for the confusion matrix as a picture, SVG.
    #[arg(long, value_name = "FILE", requires = "eval_only")]
    confusion: Option<Output>,
    /// A trained segmenter: its run's folder or a checkpoint in it.
    #[arg(long, value_name = "FILE", value_parser = Input::checkpoint())]
    checkpoint: Option<Input>,
    /// Photos without labels that the segmenter of `--checkpoint` is to segment: a folder, a csv list, or one photo.
    #[arg(long, value_name = "DIR", requires = "checkpoint", conflicts_with = "eval_only")]
    photos: Option<Input>,
    /// Folder for the photos with the classes of their pixels drawn on them.
    #[arg(long, value_name = "DIR", requires = "checkpoint")]
    draw: Option<Output>,
    /// Folder for label maps, PNGs of 8 bits in the data set's own numbers, as its server takes them.
    #[arg(long, value_name = "DIR", requires = "checkpoint")]
    results: Option<Output>,
    /// Print nothing but errors.
    #[arg(long)]
    quiet: bool,
}

/// What decides a run's configuration.
#[derive(Debug, clap::Args)]
struct Flags {
    /// A whole configuration by name; see `vista segment --presets` [default: segment-small].
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Folder of Cityscapes, Pascal VOC, COCO, or of pairs (`images/train`, `labels/train`, the same of test); or, with `--labels`, of the
    /// photos.
    #[arg(long, value_name = "DIR")]
    data: Option<Input>,
    /// Folder of the label maps of the photos to learn from: PNGs, indexed or grey, whose pixels are numbers of classes.
    #[arg(long, value_name = "DIR", requires = "data")]
    labels: Option<Input>,
    /// Folder of the photos to be judged on.
    #[arg(long, value_name = "DIR", requires = "test_labels")]
    test_photos: Option<Input>,
    /// Folder of their label maps.
    #[arg(long, value_name = "DIR", requires = "test_photos")]
    test_labels: Option<Input>,
    /// List of the classes, one a line: a number, a name, perhaps a colour; that of the set, or the numbers that occur, if absent.
    #[arg(long, value_name = "FILE")]
    classes: Option<Input>,
    /// `pspnet` or `psanet`; by the preset if absent.
    #[arg(long, value_name = "KIND")]
    model: Option<String>,
    #[command(flatten)]
    train: TrainFlags,
}

/// The preset where none is asked for.
const PRESET: &str = "segment-small";
/// Photos on the page of a finished run, the worst.
const WORST: usize = 20;
/// Quality of the JPEGs.
const QUALITY: u8 = 90;

impl Flags {
    /// Preset, then file, then flags, then settings.
    fn config(&self) -> Result<SegmentConfig> {
        self.applied(SegmentConfig::preset(self.preset.as_deref().unwrap_or(PRESET))?)
    }

    fn applied(&self, config: SegmentConfig) -> Result<SegmentConfig> {
        // Other photos have other label maps.
        let forgets = |config: &mut SegmentConfig| {
            let data = &mut config.data;
            (data.labels, data.test_photos, data.test_labels, data.classes) = (None, None, None, None);
        };
        let forgets = self.data.is_some().then_some(forgets);
        let own = [
            path("data", "data.photos", &self.data),
            path("labels", "data.labels", &self.labels),
            path("test-photos", "data.test_photos", &self.test_photos),
            path("test-labels", "data.test_labels", &self.test_labels),
            path("classes", "data.classes", &self.classes),
            text("model", "segmenter.kind", self.model.clone()),
        ];
        self.train.applied(config, "segmenter", forgets, own, SegmentConfig::like_init)
    }
}

/// Whether a file is what a run keeps for its page.
fn is_kept(text: &[u8]) -> bool {
    text.starts_with(b"{\"confusion\":")
}

pub(super) fn files(args: &Args) -> Result<Files> {
    if args.presets {
        return Ok(Files::default());
    }
    if args.checkpoint.is_some() {
        let none = || [] as [(&str, Mark); 0];
        let folders = [("--draw", &args.draw), ("--results", &args.results)];
        let files = folders.into_iter().fold(Files::default(), |files, (flag, folder)| match folder {
            Some(folder) => files.folder(flag, folder, none()),
            None => files,
        });
        let matrix = args.confusion.as_deref();
        return Ok(files.file("--confusion", matrix, Mark::Words("Which classes were taken for which")));
    }
    Ok(runs::files::<SegmentConfig>(
        &args.out,
        [args.resume, args.overwrite],
        [("segmented.json", Mark::Contents(is_kept))],
    ))
}

pub(super) fn run(args: &Args) -> Result<Value> {
    match (&args.checkpoint, &args.photos) {
        _ if args.presets => presets(),
        (Some(checkpoint), Some(photos)) => segment_photos(args, checkpoint, photos),
        (Some(checkpoint), None) if args.eval_only => evaluate(args, checkpoint),
        (Some(_), None) => {
            let advice = "add --eval-only to judge it, or --photos DIR to segment photos; to start from an encoder use --init";
            Err(Error::input("nothing to do with the checkpoint", "--checkpoint", advice))
        }
        (None, _) => train(args),
    }
}

fn presets() -> Result<Value> {
    let told = |preset: &crate::transfer::segment::SegmentPreset| {
        println!("{:24}  {}", preset.name, preset.about);
        json!({ "name": preset.name, "about": preset.about })
    };
    Ok(json!({ "presets": PRESETS.iter().map(told).collect::<Vec<_>>() }))
}

fn train(args: &Args) -> Result<Value> {
    signals::listen();
    let is_second = ranks::all().rank() > 0;
    let mut run = match args.resume {
        true => resumed(args)?,
        false => {
            let start = if args.overwrite { Start::Over } else { Start::Empty };
            let run = SegmentRun::start(args.flags.config()?, &*args.out, start, ranks::all())?;
            // Of the run that is replaced.
            let old = ["report.html", "segmented.json"].into_iter().filter(|_| !is_second);
            old.for_each(|name| drop(std::fs::remove_file(args.out.join(name))));
            run
        }
    };
    if args.quiet || is_second {
        run.be_quiet();
    } else {
        println!("{}\nconfig   {}", run.describe(), args.out.join("config.toml").display());
        run.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
        let mut watch = Watch::new();
        run.while_judging(move |done, all| watch.at(done, all, || format!("photo {done} of {all}")));
    }
    let folder = args.out.to_path_buf();
    if !is_second {
        run.when_judged(move |judged, test| report::keep_segmented(&folder, judged, test).map(drop));
    }
    run.stop_when(signals::asked());
    run.before_steps(signals::stop_after_step);
    let summary = run.run()?;
    runs::expect_time(&summary)?;
    if is_second {
        return Ok(Value::Null);
    }
    let page = report::write(&args.out, WORST, &summary.device, &mut |_, _| ());
    let page = page.map_err(|e| eprintln!("warning: the run is done, its page could not be made: {e}")).ok();
    if !args.quiet {
        println!("{} steps done", summary.steps);
        summary.scores.iter().for_each(|scores| println!("{scores}"));
        println!("checkpoint {}\nlog        {}", summary.checkpoint.display(), summary.log.display());
        page.iter().for_each(|page| println!("report     {}", page.display()));
        let (vista, checkpoint) = (shell::program(), shell::path(&summary.checkpoint));
        println!("next:");
        for (what, command) in [
            (
                "every class, the floor, and which are taken for which",
                "--eval-only --floor --confusion confusion.svg",
            ),
            ("the classes of photos' pixels, drawn on them", "--photos DIR --draw drawn"),
        ] {
            println!("  # {what}\n  {vista} segment --checkpoint {checkpoint} {command}");
        }
    }
    Ok(json!({
        "provenance": Provenance::now(Some(&summary.device)),
        "steps": summary.steps,
        "checkpoint": absolute(&summary.checkpoint),
        "log": absolute(&summary.log),
        "warnings": summary.left_out,
        "scores": summary.scores,
    }))
}

/// The run in `--out`, ready to go on.
fn resumed(args: &Args) -> Result<SegmentRun> {
    let over = |run: &SegmentConfig| match args.flags.preset {
        Some(_) => args.flags.config(),
        None => args.flags.applied(run.clone()),
    };
    let (found, config) = runs::resumed(&args.out, args.quiet, over)?;
    SegmentRun::start(config, &*args.out, Start::From(Box::new(found)), ranks::all())
}

/// A trained segmenter with a configuration for it, which is what it was trained as, and its classes.
fn trained(args: &Args, checkpoint: &Path) -> Result<(Segmenter, SegmentConfig, PixelClasses)> {
    let device = Device::open(args.flags.train.device.as_deref().unwrap_or("auto"))?;
    let (net, trained, classes) = load(checkpoint, &device)?;
    let config = args.flags.applied(trained.clone())?;
    config.check()?;
    let n = classes.all.len();
    if (&config.segmenter, &config.init, config.segmenter(n))
        != (&trained.segmenter, &trained.init, trained.segmenter(n))
    {
        let what = "a segmenter is what it was trained as";
        let advice = "leave out --model, --init, --backbone, keys of segmenter and, of a PSANet, crops.size";
        return Err(Error::input(what, checkpoint.display().to_string(), advice));
    }
    Ok((net, config, classes))
}

/// Judges a segmenter on the photos of its run, or on others.
fn evaluate(args: &Args, checkpoint: &Path) -> Result<Value> {
    expect_empty(args)?;
    let (net, config, known) = trained(args, checkpoint)?;
    let Some(test) = &LabelledAlbum::to_be_judged_on(&config.data, &known)? else {
        let advice = "name the folders of photos to be judged on and of their label maps by --test-photos and --test-labels";
        return Err(Error::input("no photos to be judged on", checkpoint.display().to_string(), advice));
    };
    // With the numbers that these photos' label maps have.
    let classes = test.labels.classes();
    let ids: Vec<usize> = (0..test.album.photos().len()).collect();
    let mut watch = Watch::new();
    let mut heard = |done: usize, all: usize| {
        watch.at(done, all, || format!("photo {done} of {all}"));
        true
    };
    let mut written = 0;
    let mut taken = |id: usize, map: &LabelMap| {
        written += 1;
        write(args, &test.album, id, map, classes)
    };
    let judged = judge(&net, &config, test, &ids, &mut heard, &mut taken)?;
    judged.expect_some(test)?;
    let floor =
        args.floor.then(|| floor(&SegmentSets::open(&config)?.train, test, &mut heard)).transpose()?;
    drop(watch);
    let left_out = [test.album.all_left_out(), judged.left_out.clone()].concat();
    left_out.iter().for_each(|line| eprintln!("warning: {line}"));
    println!("{}", judged.scores);
    if let Some(floor) = &floor {
        let [miou, macc, aacc] = [floor.miou(), floor.macc(), floor.aacc()];
        println!(
            "mIoU {miou:.3}  mAcc {macc:.3}  aAcc {aacc:.3}  of the class that is most frequent at each place"
        );
    }
    println!("{:24}  {:>6}  {:>8}", "class", "IoU", "accuracy");
    let told = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.3}"));
    for ((class, iou), accuracy) in
        classes.iter().zip(judged.confusion.iou()).zip(judged.confusion.accuracies())
    {
        println!("{:24}  {:>6}  {:>8}", class.name, told(iou), told(accuracy));
    }
    if let Some(path) = args.confusion.as_ref().and_then(Output::file) {
        files::replace(path, confusion_matrix(&judged.confusion, classes).as_bytes())?;
        println!("confusion {}", path.display());
    }
    say_folders(args, written);
    let floor = floor.as_ref().map(|floor| figures(floor, classes));
    let mut all = figures(&judged.confusion, classes);
    all["provenance"] = json!(Provenance::now(Some(&net.device())));
    all["warnings"] = json!(left_out);
    all["checkpoint"] = json!(absolute(checkpoint));
    all["photos"] = json!(judged.scores.photos);
    all["floor"] = json!(floor);
    Ok(all)
}

/// The figures of a confusion matrix in JSON.
fn figures(confusion: &Confusion, classes: &[PixelClass]) -> Value {
    let class = |((class, iou), accuracy): ((&PixelClass, Option<f64>), Option<f64>)| {
        (class.name.clone(), json!({ "IoU": iou, "accuracy": accuracy }))
    };
    let of_classes = classes.iter().zip(confusion.iou()).zip(confusion.accuracies()).map(class);
    let row = |label: usize| (0..classes.len()).map(|p| confusion.count(label, p)).collect::<Vec<_>>();
    json!({
        "mIoU": confusion.miou(), "mAcc": confusion.macc(), "aAcc": confusion.aacc(),
        "classes": of_classes.collect::<serde_json::Map<_, _>>(),
        "confusion": (0..classes.len()).map(row).collect::<Vec<_>>(),
    })
}

/// Segments photos without labels.
fn segment_photos(args: &Args, checkpoint: &Path, photos: &Path) -> Result<Value> {
    expect_empty(args)?;
    let (net, config, known) = trained(args, checkpoint)?;
    let classes = &known.all;
    let source = Source::from(photos).follow_links(args.flags.train.follow_links);
    let album =
        Album::new(Photos::open(source, None)?, AlbumOptions { cache_bytes: 0, ..AlbumOptions::default() });
    let all = album.photos().len();
    let (mut watch, mut counts, mut done) = (Watch::new(), vec![0_u64; classes.len()], 0);
    for id in 0..all {
        if let Ok(photo) = album.photo(id) {
            let map = segment(&net, &config, &photo.image)?;
            map.classes.iter().for_each(|&class| counts[usize::from(class)] += 1);
            write(args, &album, id, &map, classes)?;
            done += 1;
        }
        watch.at(id + 1, all, || format!("photo {} of {all}", id + 1));
    }
    drop(watch);
    let left_out = album.all_left_out();
    left_out.iter().for_each(|line| eprintln!("warning: {line}"));
    if done == 0 {
        return Err(album.nothing_decodable());
    }
    say_folders(args, done);
    println!("{}", counted(done, "photo", "photos"));
    let pixels = counts.iter().sum::<u64>().max(1) as f64;
    let shares: Vec<f64> = counts.iter().map(|&count| count as f64 / pixels).collect();
    for (class, share) in classes.iter().zip(&shares).filter(|(_, share)| **share > 0.0) {
        println!("  {:24} {:5.1} %", class.name, 100.0 * share);
    }
    let shares: serde_json::Map<_, _> =
        classes.iter().zip(&shares).map(|(class, share)| (class.name.clone(), json!(share))).collect();
    Ok(json!({
        "provenance": Provenance::now(Some(&net.device())),
        "checkpoint": absolute(checkpoint),
        "photos": done,
        "warnings": left_out,
        "shares": shares,
    }))
}

/// Refuses folders for pictures that hold other files.
fn expect_empty(args: &Args) -> Result<()> {
    let folders = [("--draw", &args.draw), ("--results", &args.results)];
    folders
        .into_iter()
        .try_for_each(|(flag, folder)| folder.iter().try_for_each(|folder| runs::expect_empty(flag, folder)))
}

/// Writes what was said of a photo into the folders that were named.
fn write(args: &Args, album: &Album, id: usize, map: &LabelMap, classes: &[PixelClass]) -> Result<()> {
    if let Some(folder) = &args.draw {
        let photo = album.photo(id).map_err(Error::Run)?;
        let picture = encoded_jpeg(&label_map(&photo.image, map, classes), QUALITY)?;
        write_picture(folder, album, id, ".jpg", &picture)?;
    }
    if let Some(folder) = &args.results {
        let [height, width] = map.size.map(|side| side as u32);
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(&own_numbers(classes, map), width, height, ExtendedColorType::L8)
            .map_err(|e| Error::Run(format!("a label map of {width}x{height} pixels: {e}")))?;
        write_picture(folder, album, id, ".png", &bytes)?;
    }
    Ok(())
}

fn say_folders(args: &Args, photos: usize) {
    for (what, folder) in [("drawn", &args.draw), ("labels", &args.results)] {
        if let Some(folder) = folder {
            println!("{what:8} {} in {}", counted(photos, "photo", "photos"), folder.display());
        }
    }
}
