//! `vista detect`.

use super::judged::Watch;
use super::paths::{Files, Input, Mark, Output, absolute};
use super::runs::{self, TrainFlags, path, text, write_picture};
use super::signals;
use crate::engine::device::Device;
use crate::error::{Error, Result, counted};
use crate::photos::{Album, AlbumOptions, Photos, Rle, Source};
use crate::run::{Provenance, Start};
use crate::shell;
use crate::show::figures::{Drawn, detections, encoded_jpeg};
use crate::show::report;
use crate::transfer::detect::{
    Classes, DetectConfig, DetectRun, DetectSets, Detected, Judging, PRESETS, Seen, as_detections, judge,
    load, sides,
};
use crate::transfer::metrics::detection::{Detection, DetectionAp};
use serde_json::{Value, json};
use std::path::Path;

/// Train a detector of objects, with their masks, on an encoder; judge one; or find objects in photos.
///
/// With `--data`: trains, and ends with average precisions. With `--checkpoint` and `--eval-only`: judges. With `--checkpoint` and
/// `--photos`: finds objects in photos without labels.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// List the presets and end.
    #[arg(long)]
    presets: bool,
    #[command(flatten)]
    flags: Flags,
    /// Folder for configuration, log and checkpoints.
    #[arg(long, value_name = "DIR", default_value = "runs/detect")]
    out: Output,
    /// Go on with the run in `--out` from its newest sound checkpoint, as if it had never stopped.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace a run that is in `--out`.
    #[arg(long)]
    overwrite: bool,
    /// Judge the detector of `--checkpoint` and end.
    #[arg(long, requires = "checkpoint")]
    eval_only: bool,
    /// A trained detector: its run's folder or a checkpoint in it.
    #[arg(long, value_name = "FILE", value_parser = Input::checkpoint())]
    checkpoint: Option<Input>,
    /// Photos without labels in which the detector of `--checkpoint` is to find objects: a folder, a csv list, or one photo.
    #[arg(long, value_name = "DIR", requires = "checkpoint", conflicts_with = "eval_only")]
    photos: Option<Input>,
    /// Folder for those photos with what was found drawn on them: class, score, box, mask.
    #[arg(long, value_name = "DIR", requires = "photos")]
    draw: Option<Output>,
    /// File for what was found, in COCO's results format; pycocotools reads it.
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    results: Option<Output>,
    /// Print nothing but errors.
    #[arg(long)]
    quiet: bool,
}

/// What decides a run's configuration.
#[derive(Debug, clap::Args)]
struct Flags {
    /// A whole configuration by name; see `vista detect --presets` [default: detect-small].
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Folder of Pascal VOC, COCO or Penn-Fudan; or, with `--annotations`, of the photos.
    #[arg(long, value_name = "DIR")]
    data: Option<Input>,
    /// Annotations of the photos to learn from: COCO's JSON, or a folder of PNGs whose pixels are numbers of objects.
    #[arg(long, value_name = "FILE", requires = "data")]
    annotations: Option<Input>,
    /// The same of the photos to be judged on.
    #[arg(long, value_name = "FILE", requires = "annotations")]
    test: Option<Input>,
    /// Folder of those photos; that of `--data` if absent.
    #[arg(long, value_name = "DIR", requires = "test")]
    test_photos: Option<Input>,
    /// `faster-rcnn-c4`, `mask-rcnn-c4`, `faster-rcnn-fpn` or `mask-rcnn-fpn`; by the preset, without masks where the photos have none, if
    /// absent.
    #[arg(long, value_name = "KIND")]
    model: Option<String>,
    /// `batch`: all batch norms are trained; `frozen`: for batches of a few photos.
    #[arg(long, value_name = "KIND")]
    norm: Option<String>,
    #[command(flatten)]
    train: TrainFlags,
}

/// The preset where none is asked for.
const PRESET: &str = "detect-small";

impl Flags {
    /// Preset, then file, then flags, then settings.
    fn config(&self) -> Result<DetectConfig> {
        let config = self.applied(DetectConfig::preset(self.preset.as_deref().unwrap_or(PRESET))?)?;
        let is_asked = self.model.is_some()
            || self.preset.is_some()
            || self.train.config.is_some()
            || self.train.settings.iter().any(|setting| setting.starts_with("model.kind"));
        if is_asked || config.data.photos.is_none() {
            return Ok(config);
        }
        // Photos without masks teach boxes.
        Ok(match DetectSets::open(&config) {
            Ok(_) => config,
            Err(_) => {
                let boxes = config.with(&format!("model.kind={}", config.model.kind.of_boxes()))?;
                DetectSets::open(&boxes).map_or(config, |_| boxes)
            }
        })
    }

    fn applied(&self, config: DetectConfig) -> Result<DetectConfig> {
        // Other photos have other annotations.
        let forgets = |config: &mut DetectConfig| {
            let data = &mut config.data;
            (data.annotations, data.test, data.test_photos) = (None, None, None);
        };
        let forgets = self.data.is_some().then_some(forgets);
        let own = [
            path("data", "data.photos", &self.data),
            path("annotations", "data.annotations", &self.annotations),
            path("test", "data.test", &self.test),
            path("test-photos", "data.test_photos", &self.test_photos),
            text("model", "model.kind", self.model.clone()),
            text("norm", "model.norm", self.norm.clone()),
        ];
        self.train.applied(config, "model", forgets, own, DetectConfig::like_init)
    }
}

/// Whether a file is results of COCO as this program writes them.
fn is_found(text: &[u8]) -> bool {
    text == b"[]" || text.starts_with(b"[{\"image_id\":")
}

pub(super) fn files(args: &Args) -> Result<Files> {
    if args.presets {
        return Ok(Files::default());
    }
    if args.checkpoint.is_some() {
        let drawn = args
            .draw
            .iter()
            .fold(Files::default(), |files, folder| files.folder("--draw", folder, [] as [(&str, Mark); 0]));
        return Ok(drawn.file(
            "--results",
            args.results.as_ref().and_then(Output::file),
            Mark::Contents(is_found),
        ));
    }
    Ok(runs::files::<DetectConfig>(
        &args.out,
        [args.resume, args.overwrite],
        [("found.json", Mark::Contents(is_found))],
    ))
}

pub(super) fn run(args: &Args) -> Result<Value> {
    match (&args.checkpoint, &args.photos) {
        _ if args.presets => presets(),
        (Some(checkpoint), Some(photos)) => find(args, checkpoint, photos),
        (Some(checkpoint), None) if args.eval_only => evaluate(args, checkpoint),
        (Some(_), None) => {
            let advice = "add --eval-only to judge it, or --photos DIR to find objects; to start from an encoder use --init";
            Err(Error::input("nothing to do with the checkpoint", "--checkpoint", advice))
        }
        (None, _) => train(args),
    }
}

fn presets() -> Result<Value> {
    let told = |preset: &crate::transfer::detect::DetectPreset| {
        println!("{:24}  {}", preset.name, preset.about);
        json!({ "name": preset.name, "about": preset.about })
    };
    Ok(json!({ "presets": PRESETS.iter().map(told).collect::<Vec<_>>() }))
}

fn train(args: &Args) -> Result<Value> {
    signals::listen();
    let mut run = match args.resume {
        true => resumed(args)?,
        false => {
            let start = if args.overwrite { Start::Over } else { Start::Empty };
            let run = DetectRun::start(args.flags.config()?, &*args.out, start)?;
            // Of the run that is replaced.
            ["report.html", "found.json"]
                .iter()
                .for_each(|name| drop(std::fs::remove_file(args.out.join(name))));
            run
        }
    };
    if args.quiet {
        run.be_quiet();
    } else {
        println!("{}\nconfig   {}", run.describe(), args.out.join("config.toml").display());
        run.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
        let mut watch = Watch::new();
        run.while_judging(move |done, all| watch.at(done, all, || format!("photo {done} of {all}")));
    }
    let folder = args.out.to_path_buf();
    let classes = run.classes().clone();
    run.when_judged(move |judged, album| {
        report::keep_found(&folder, judged, album.photos(), &classes).map(drop)
    });
    run.stop_when(signals::asked());
    run.before_steps(signals::stop_after_step);
    let summary = run.run()?;
    runs::expect_time(&summary)?;
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
            ("every class, and what it finds as COCO's results", "--eval-only --results found.json"),
            ("objects in photos without labels, drawn on them", "--photos DIR --draw drawn"),
        ] {
            println!("  # {what}\n  {vista} detect --checkpoint {checkpoint} {command}");
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

/// Photos on the page of a finished run, the worst.
const WORST: usize = 20;

/// The run in `--out`, ready to go on.
fn resumed(args: &Args) -> Result<DetectRun> {
    let over = |run: &DetectConfig| match args.flags.preset {
        Some(_) => args.flags.config(),
        None => args.flags.applied(run.clone()),
    };
    let (found, config) = runs::resumed(&args.out, args.quiet, over)?;
    DetectRun::start(config, &*args.out, Start::From(Box::new(found)))
}

/// A configuration for a trained detector, which is what it was trained as.
fn as_trained(config: DetectConfig, trained: &DetectConfig, checkpoint: &Path) -> Result<DetectConfig> {
    config.check()?;
    if (&config.model, &config.init) != (&trained.model, &trained.init) {
        let advice = "leave out --model, --init, --norm, --backbone and keys of model";
        return Err(Error::input(
            "a detector is what it was trained as",
            checkpoint.display().to_string(),
            advice,
        ));
    }
    Ok(config)
}

/// Judges a detector on the photos of its run, or on others.
fn evaluate(args: &Args, checkpoint: &Path) -> Result<Value> {
    let device = Device::open(args.flags.train.device.as_deref().unwrap_or("auto"))?;
    let (net, trained, classes) = load(checkpoint, &device)?;
    let config = as_trained(args.flags.applied(trained.clone())?, &trained, checkpoint)?;
    let sets = DetectSets::open(&config)?;
    let Some(test) = sets.test else {
        let advice =
            "name annotations of photos to be judged on by --annotations TRAIN.json --test TEST.json";
        return Err(Error::input("no photos to be judged on", checkpoint.display().to_string(), advice));
    };
    if sets.classes.names != classes.names {
        let [own, theirs] = [&classes, &sets.classes].map(|classes| classes.names.join(", "));
        let what = format!("it tells apart {own}, the photos have {theirs}");
        return Err(Error::input(what, checkpoint.display().to_string(), "give photos of its classes"));
    }
    let ids: Vec<usize> = (0..test.photos().len()).collect();
    let mut watch = Watch::new();
    let judging = Judging { net: &net, config: &config, album: &test };
    let judged = judge(&judging, &ids, &mut |done, all| {
        watch.at(done, all, || format!("photo {done} of {all}"));
        true
    })?;
    drop(watch);
    let left_out = [test.all_left_out(), judged.left_out.clone()].concat();
    left_out.iter().for_each(|line| eprintln!("warning: {line}"));
    println!("boxes\n{}", judged.boxes.text);
    judged.masks.iter().for_each(|masks| println!("masks\n{}", masks.text));
    println!("{:24}  {:>6}  {:>6}  {:>6}", "class", "AP", "AP50", "AP75");
    for (class, ap) in classes.names.iter().zip(&judged.boxes.classes) {
        match ap {
            Some(ap) => println!("{class:24}  {:6.3}  {:6.3}  {:6.3}", ap.mean(), ap.at(50), ap.at(75)),
            None => println!("{class:24}  no object"),
        }
    }
    let written = write_results(args, &judged.detections, test.photos(), &sets.classes)?;
    let of = |ap: &DetectionAp| {
        let classes = classes.names.iter().zip(&ap.classes).map(|(class, ap)| {
            (
                class.clone(),
                json!(ap.as_ref().map(|ap| json!({ "AP": ap.mean(), "AP50": ap.at(50), "AP75": ap.at(75) }))),
            )
        });
        let summary = ap.summary.iter().map(|(name, value)| (name.to_string(), json!(value)));
        json!({ "summary": Value::Object(summary.collect()), "classes": Value::Object(classes.collect()) })
    };
    Ok(json!({
        "provenance": Provenance::now(Some(&device)),
        "warnings": left_out,
        "checkpoint": absolute(checkpoint),
        "photos": judged.scores.photos,
        "objects": judged.scores.objects,
        "boxes": of(&judged.boxes),
        "masks": judged.masks.as_ref().map(of),
        "results": written,
    }))
}

/// Finds objects in photos without labels.
fn find(args: &Args, checkpoint: &Path, photos: &Path) -> Result<Value> {
    args.draw.iter().try_for_each(|folder| runs::expect_empty("--draw", folder))?;
    let device = Device::open(args.flags.train.device.as_deref().unwrap_or("auto"))?;
    let (net, trained, classes) = load(checkpoint, &device)?;
    let config =
        args.flags.train.settings.iter().try_fold(trained.clone(), |config, setting| config.with(setting))?;
    let config = as_trained(config, &trained, checkpoint)?;
    let source = Source::from(photos).follow_links(args.flags.train.follow_links);
    let album =
        Album::new(Photos::open(source, None)?, AlbumOptions { cache_bytes: 0, ..AlbumOptions::default() });
    let ids: Vec<usize> = (0..album.photos().len()).collect();
    let mut watch = Watch::new();
    let judging = Judging { net: &net, config: &config, album: &album };
    let found = judging.detections(&ids, &mut |done, all| {
        watch.at(done, all, || format!("photo {done} of {all}"));
        true
    })?;
    drop(watch);
    let left_out = album.all_left_out();
    left_out.iter().for_each(|line| eprintln!("warning: {line}"));
    if found.is_empty() {
        return Err(album.nothing_decodable());
    }
    let all = as_detections(&found);
    let written = write_results(args, &all, album.photos(), &classes)?;
    let count = found.len();
    if let Some(folder) = &args.draw {
        let drawn = draw(folder, &album, &classes.names, &found)?;
        println!("drawn    {} in {}", counted(drawn, "photo", "photos"), folder.display());
    }
    println!("{} in {}", counted(all.len(), "object", "objects"), counted(count, "photo", "photos"));
    for (class, name) in classes.names.iter().enumerate() {
        let of_class = all.iter().filter(|detection| detection.class == class).count();
        if of_class > 0 {
            println!("  {name:24} {of_class}");
        }
    }
    Ok(json!({
        "provenance": Provenance::now(Some(&device)),
        "checkpoint": absolute(checkpoint),
        "photos": count,
        "objects": all.len(),
        "warnings": left_out,
        "results": written,
    }))
}

fn write_results(
    args: &Args,
    found: &[Detection],
    photos: &Photos,
    classes: &Classes,
) -> Result<Option<String>> {
    let Some(path) = args.results.as_ref().and_then(Output::file) else { return Ok(None) };
    report::write_found(path, found, photos, classes)?;
    println!("results  {}", path.display());
    Ok(Some(absolute(path)))
}

/// Draws what was found on each photo, as a JPEG of its name, into the folder of `--draw`.
fn draw(folder: &Path, album: &Album, classes: &[String], all: &[Seen]) -> Result<usize> {
    let mut count = 0;
    for Seen { photo: id, objects, .. } in all {
        let Ok(photo) = album.photo(*id) else { continue };
        let drawn = |one: &Detected| Drawn {
            rect: sides(one.rect),
            class: one.class,
            name: classes[one.class].clone(),
            score: Some(f64::from(one.score)),
            mask: one.mask.as_ref().map(Rle::bitmap),
        };
        let shown = objects.iter().filter(|one| one.score >= SHOWN).map(drawn).collect::<Vec<_>>();
        let picture = encoded_jpeg(&detections(&photo.image, &shown), QUALITY)?;
        write_picture(folder, album, *id, ".jpg", &picture)?;
        count += 1;
    }
    Ok(count)
}

/// Least score of what is drawn.
const SHOWN: f32 = 0.5;
/// Quality of the JPEGs.
const QUALITY: u8 = 90;
