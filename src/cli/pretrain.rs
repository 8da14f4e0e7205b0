//! `vista pretrain`.

use super::judged::embedding;
use super::paths::{Files, Input, Output, absolute};
use super::presets;
use super::ranks;
use super::runs;
use super::signals;
use crate::engine::device::Device;
use crate::engine::nn::Stem;
use crate::error::{Error, Result};
use crate::files;
use crate::interop::Library;
use crate::pretrain::choice::{self, Choice, Quality, Wish};
use crate::pretrain::{Config, Summary, Trainer, album, judge_photos, methods};
use crate::run::settings::MAX_TEXT;
use crate::run::{Judge, Provenance, Score, Scores, Start};
use crate::shell;
use crate::show::report;
use crate::transfer::classify::{Knn, KnnJudge, KnnProtocol};
use indicatif::HumanDuration;
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::path::Path;
use std::time::{Duration, Instant};

/// Pretrain an encoder on photos without labels.
///
/// Without arguments: the preset `demo` on the photos that are built in. A TOML file replaces keys of the preset,
/// flags those of the file, `--set` those of all.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// List the presets and end.
    #[arg(long)]
    presets: bool,
    #[command(flatten)]
    flags: Flags,
    /// Folder for configuration, log and checkpoints.
    #[arg(long, value_name = "DIR", default_value = "runs/pretrain")]
    out: Output,
    /// Go on with the run in `--out` from its newest sound checkpoint, as if it had never stopped. Its configuration is
    /// kept; only `train.epochs`, `train.steps`, `train.minutes`, `train.memory_limit_mib`, `train.save_minutes`,
    /// `train.save_steps`, `train.on_nan`,
    /// `data.threads`, `data.cache_dir`, `data.cache_mib` and `device` may change, and `--data` and `--labelled` may name another place of the
    /// same photos.
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace a run that is in `--out`.
    #[arg(long)]
    overwrite: bool,
    /// Print the configuration, the memory plan and an estimate of the time from three measured steps; write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print nothing but errors.
    #[arg(long)]
    quiet: bool,
    /// Whether the command that calls goes on by itself.
    #[arg(skip)]
    pub(super) goes_on: bool,
}

/// What decides a run's configuration; `vista sweep` has the same.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// A whole configuration by name; see `vista pretrain --presets`. Without one: `demo`, or with `--data` what fits the photos, the
    /// device and the time.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// How large network and views are chosen for `--data`: `small` (minutes), `medium` (hours) or `large` (a night); by `--minutes` if
    /// absent.
    #[arg(long, value_enum, requires = "data", conflicts_with_all = ["preset", "config"])]
    quality: Option<Quality>,
    /// TOML file with keys to replace.
    #[arg(long, value_name = "FILE")]
    config: Option<Input>,
    /// Replace one key, as in `--set method.tau=0.1`; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Folder of photos (nested; JPEG, PNG, WebP, GIF, BMP, TIFF), csv list, or folder of STL-10, CIFAR-10, Pascal VOC or COCO; the
    /// built-in photos if absent.
    #[arg(long, value_name = "DIR")]
    data: Option<Input>,
    /// Start from the encoder in this file or in a run's folder: a checkpoint, or weights of torchvision, timm, MoCo or DenseCL as
    /// safetensors.
    #[arg(long, value_name = "FILE", value_parser = Input::checkpoint())]
    init: Option<Input>,
    /// What stands before the names of the encoder in that file, where it holds several.
    #[arg(long)]
    prefix: Option<String>,
    /// Folder with `train/CLASS/` and `test/CLASS/`, or of STL-10 or CIFAR-10, to judge the encoder by kNN.
    #[arg(long, value_name = "DIR")]
    labelled: Option<Input>,
    /// Follow links and lists that lead out of these folders.
    #[arg(long)]
    follow_links: bool,
    #[arg(long, visible_alias = "objective", help = about_methods())]
    method: Option<String>,
    /// `resnet18`, `resnet34` or `resnet50`.
    #[arg(long)]
    backbone: Option<String>,
    /// Side of a view in pixels.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// Images in a batch.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Views of each image (S2R2, SwAV).
    #[arg(long, value_name = "K")]
    views: Option<usize>,
    /// Views that pass through the encoder at a time; as many as `train.memory_mib` holds if absent.
    #[arg(long, value_name = "N")]
    chunk: Option<usize>,
    /// Most memory of all tensors: a run that needs more is refused before it starts; what is free if absent.
    #[arg(long, value_name = "MIB")]
    memory_limit: Option<usize>,
    /// Keep activations, queue and the checkpoint's weights as f16: half of their memory. Arithmetic stays f32. Stands for
    /// the three keys of `half`.
    #[arg(long)]
    half: bool,
    /// Passes over the photos.
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Stop after so many steps.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Stop after so many minutes of training.
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// `auto`, `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`.
    #[arg(long)]
    device: Option<String>,
    /// What to do with a step whose loss or gradient is not finite: `stop`, or `skip` it, at most three in a row. It moves
    /// nothing in any case.
    #[arg(long, value_name = "WHAT")]
    on_nan: Option<String>,
    /// Seed of everything random.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What was chosen for `--data`: photos are looked at once.
    #[arg(skip)]
    chosen: OnceCell<Choice>,
}

/// What is said of `--method`.
fn about_methods() -> String {
    let names = methods::names().join(", ");
    format!("The method: {names}; another than the preset's brings its own optimiser, heads and views")
}

/// What `--half` stands for.
const HALF: &str = "half = { activations = true, queue = true, checkpoint = true }";

impl Flags {
    /// Preset, then file, then flags, then settings; for `--data` alone, what is chosen for the photos in place of the preset.
    pub(super) fn config(&self) -> Result<Config> {
        let base = match (&self.preset, &self.config, &self.data) {
            (None, None, Some(data)) => self.chosen(data)?.config.clone(),
            (preset, ..) => Config::preset(preset.as_deref().unwrap_or("demo"))?,
        };
        self.applied(base)
    }

    /// The same as far as it names files: where settings are chosen, no photo has to be looked at for that.
    pub(super) fn naming(&self) -> Result<Config> {
        match (&self.preset, &self.config, &self.data) {
            (None, None, Some(_)) => {
                let names = |setting: &&String| setting.starts_with("data.") || setting.starts_with("init");
                let demo = Config::preset("demo")?;
                self.settings.iter().filter(names).try_fold(demo, |config, setting| config.with(setting))
            }
            _ => self.config(),
        }
    }

    fn chosen(&self, data: &Path) -> Result<&Choice> {
        if let Some(chosen) = self.chosen.get() {
            return Ok(chosen);
        }
        let path = |input: &Option<Input>| input.as_ref().map(|path| path.to_path_buf());
        let wish = Wish {
            quality: self.quality,
            minutes: self.minutes,
            method: self.method.clone(),
            views: self.views,
            batch: self.batch,
            side: self.image_size,
            init: path(&self.init),
            prefix: self.prefix.clone(),
            labelled: path(&self.labelled),
            follow_links: self.follow_links,
        };
        let chosen = wish.choose(data, self.device.as_deref().unwrap_or("auto"))?;
        Ok(self.chosen.get_or_init(|| chosen))
    }

    /// The same over the configuration of a run that is to go on, unless another preset was asked for.
    fn config_over(&self, run: &Config) -> Result<Config> {
        if self.preset.is_some() { self.config() } else { self.applied(run.clone()) }
    }

    fn applied(&self, mut config: Config) -> Result<Config> {
        if let Some(path) = &self.config {
            let text = files::read_text(path, MAX_TEXT as u64)?;
            config = config.merged(&text, &path.display().to_string())?;
        }
        if let Some(name) = &self.method {
            config = config.with_method(name)?;
        }
        if let Some(size) = self.image_size {
            config.views.size = size;
        }
        let number = |flag: &str, key: &str, value: Option<String>| {
            value.map(|v| (format!("{key} = {v}"), format!("--{flag} {v}")))
        };
        let text = |flag: &str, key: &str, value: Option<&str>| {
            value.map(|v| (format!("{key} = {}", toml::Value::String(v.into())), format!("--{flag} {v}")))
        };
        // A method without the number has two views of each image.
        let views = self.views.filter(|_| config.whole("views").is_some());
        if let (None, Some(n)) = (views, self.views.filter(|&n| n != 2)) {
            let what = format!("{n} views of each image, of which {} has two", config.method.name());
            let advice = "leave it out: only some methods have `method.views`";
            return Err(Error::input(what, format!("--views {n}"), advice));
        }
        let path = |p: &Option<Input>| p.as_ref().map(|p| p.to_string_lossy().into_owned());
        // What was chosen for the photos may be to learn from a part of them.
        let data = path(&self.data).filter(|_| self.chosen.get().is_none());
        let flags = [
            text("data", "data.photos", data.as_deref()),
            text("init", "init", path(&self.init).as_deref()),
            text("prefix", "init_prefix", self.prefix.as_deref()),
            text("labelled", "data.labelled", path(&self.labelled).as_deref()),
            text("backbone", "model.backbone", self.backbone.as_deref()),
            text("device", "device", self.device.as_deref()),
            text("on-nan", "train.on_nan", self.on_nan.as_deref()),
            number("batch", "train.batch", self.batch.map(|n| n.to_string())),
            number("views", "method.views", views.map(|n| n.to_string())),
            number("chunk", "train.chunk", self.chunk.map(|n| n.to_string())),
            number("memory-limit", "train.memory_limit_mib", self.memory_limit.map(|n| n.to_string())),
            number("epochs", "train.epochs", self.epochs.map(|n| n.to_string())),
            number("steps", "train.steps", self.steps.map(|n| n.to_string())),
            number("minutes", "train.minutes", self.minutes.map(|n| format!("{n:?}"))),
            number("seed", "seed", self.seed.map(|n| n.to_string())),
            self.half.then(|| (HALF.into(), "--half".into())),
            self.follow_links.then(|| ("data.follow_links = true".into(), "--follow-links".into())),
        ];
        for (line, place) in flags.into_iter().flatten() {
            config = config.merged(&line, &place)?;
        }
        // The demo's time limit is for those who ask for nothing else.
        if (self.epochs.is_some() || self.steps.is_some()) && self.minutes.is_none() {
            config.train.minutes = 0.0;
        }
        let config = self.settings.iter().try_fold(config, |config, setting| config.with(setting))?;
        Ok(config.absolute())
    }
}

/// kNN on the labelled photos of a configuration, if it has any.
///
/// # Errors
/// As [`Config::check`]; [`Error::Input`] for photos that can't be used.
pub fn judge_of(config: &Config) -> Result<Option<Box<dyn Judge>>> {
    config.check()?;
    let Some([train, test]) = judge_photos(config)? else { return Ok(None) };
    Ok(Some(Box::new(KnnJudge {
        train: album(config, train)?,
        test: album(config, test)?,
        knn: Knn { k: config.eval.knn_k, tau: config.eval.knn_tau },
        protocol: protocol(config),
        views: config.views.clone(),
    })))
}

fn protocol(config: &Config) -> KnnProtocol {
    KnnProtocol::of(config.data.labelled.is_none())
}

pub(super) fn files(args: &Args) -> Result<Files> {
    if args.presets || args.dry_run {
        return Ok(Files::default());
    }
    let files = runs::files::<Config>(&args.out, [args.resume, args.overwrite], []);
    // A run that goes on reads what its checkpoint says.
    if args.resume { Ok(files) } else { Ok(files.with_config(&args.flags.naming()?)) }
}

pub(super) fn run(args: &Args) -> Result<Value> {
    if args.presets {
        return presets::list(args.flags.device.as_deref().unwrap_or("auto"));
    }
    if args.dry_run {
        return dry_run(args);
    }
    signals::listen();
    let is_second = ranks::all().rank() > 0;
    let mut trainer = if args.resume {
        resumed(args)?
    } else {
        let config = args.flags.config()?;
        let judge = judge_of(&config)?;
        let start = if args.overwrite { Start::Over } else { Start::Empty };
        let trainer = Trainer::across(config, &args.out, judge, start, ranks::all())?;
        if !is_second {
            let _ = std::fs::remove_file(args.out.join("report.html")); // of the run that is replaced
        }
        trainer
    };
    if args.quiet || is_second {
        trainer.be_quiet();
    } else {
        println!(
            "{}",
            match args.flags.chosen.get() {
                Some(chosen) => told(chosen, &trainer),
                None => trainer.describe(),
            }
        );
        println!("config   {}", args.out.join("config.toml").display());
        trainer.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    }
    trainer.stop_when(signals::asked());
    trainer.before_steps(signals::stop_after_step);
    let mut written = Instant::now();
    trainer.after_epoch(move |folder| {
        // The page is made of the whole log: often enough to look at, seldom enough to cost nothing.
        if written.elapsed() > REPORT_EVERY {
            let _ = report::write(folder, 0, &Device::cpu(), &mut |_, _| {}); // the last one tells what is wrong
            written = Instant::now();
        }
    });
    let config = trainer.config().clone();
    let summary = trainer.run()?;
    runs::expect_time(&summary)?;
    if is_second {
        return Ok(Value::Null);
    }
    let mut embedding = embedding();
    let mut heard = |done, total| {
        if !args.quiet {
            embedding(done, total);
        }
    };
    let page = report::write(&args.out, REPORT_PHOTOS, &summary.device, &mut heard);
    drop(embedding); // its bar
    let page = page.map_err(|e| eprintln!("warning: the run is done, its page could not be made: {e}")).ok();
    if !args.quiet {
        tell(&summary, protocol(&config), page.as_deref());
        if !args.goes_on {
            println!("next:");
            for (what, command) in next(&summary, &args.out, &config) {
                println!("  # {what}\n  {} {command}", shell::program());
            }
        }
    }
    Ok(as_json(&summary))
}

/// A run's page is renewed at the end of an epoch at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Photos in the page of a finished run; `vista report --photos` takes more.
const REPORT_PHOTOS: usize = 200;

/// What a run would be.
fn dry_run(args: &Args) -> Result<Value> {
    let config = args.flags.config()?;
    let text = config.commented();
    print!("{text}");
    let judge = judge_of(&config)?;
    let (memory, (total, seconds)) = on_trial(&config, judge, |trainer| {
        println!("\n{}", trainer.describe());
        trainer.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
        Ok((*trainer.memory(), trainer.rehearse()?))
    })?;
    let facts = json!({ "config": text, "memory": memory, "steps": total, "seconds_of_steps": seconds });
    // The first step also builds kernels and fills pools.
    let Some(&last) = seconds.last() else { return Ok(facts) };
    let steps: Vec<String> = seconds.iter().map(|s| format!("{s:.2}")).collect();
    let whole = HumanDuration(Duration::from_secs_f64((last * total as f64).min(1e12)));
    println!("time     three steps took {} s; {total} steps would take about {whole}", steps.join(", "));
    if config.train.minutes > 0.0 {
        println!("         the run ends after {} minutes of training", config.train.minutes);
    }
    println!("nothing was written");
    Ok(facts)
}

/// Looks at a run in a folder of its own: what is measured leaves nothing behind in the run's.
fn on_trial<T>(
    config: &Config,
    judge: Option<Box<dyn Judge>>,
    look: impl FnOnce(Trainer) -> Result<T>,
) -> Result<T> {
    let folder = std::env::temp_dir().join(format!("vista-dry-run-{}", std::process::id()));
    let looked = Trainer::overwriting(config.clone(), &folder, judge).and_then(look);
    let _ = std::fs::remove_dir_all(&folder);
    looked
}

/// What was chosen for the photos, and a stronger start where there is one.
fn told(chosen: &Choice, trainer: &Trainer) -> String {
    let config = trainer.config();
    // Where time ends the run, some steps tell how many there will be. A guess: no run fails for it.
    let is_timed = config.train.minutes > 0.0;
    let steps = is_timed.then(|| on_trial(config, None, Trainer::rehearse).ok()).flatten();
    let seconds = steps.and_then(|(_, seconds)| seconds.last().copied());
    let lines = choice::told(config, &chosen.survey, trainer.device(), trainer.memory(), seconds);
    let model = &config.model;
    if config.init.is_some() || (model.width, model.stem) != (64, Stem::Imagenet) {
        return lines;
    }
    let name = format!("{:?}", model.backbone).to_lowercase();
    format!(
        "{lines}\nstronger --init {name}.safetensors starts from a million labelled photos; with torchvision and safetensors:\n         \
         python3 -c \"import torchvision, safetensors.torch as s; \
         s.save_file(torchvision.models.{name}(weights='DEFAULT').state_dict(), '{name}.safetensors')\""
    )
}

fn as_json(summary: &Summary) -> Value {
    let scores = summary.scores;
    json!({
        "provenance": Provenance::now(Some(&summary.device)),
        "steps": summary.steps,
        "checkpoint": absolute(&summary.checkpoint),
        "log": absolute(&summary.log),
        "warnings": summary.left_out,
        "knn": {
            start_name(scores): scores.map(|s| s.start),
            "initial_statistics": scores.and_then(|s| s.initial_statistics),
            "trained": scores.map(|s| s.trained),
            "colour": scores.map(|s| s.colour),
        },
    })
}

/// The run in `--out`, ready to go on.
fn resumed(args: &Args) -> Result<Trainer> {
    let over = |run: &Config| args.flags.config_over(run);
    let (found, config) = runs::resumed(&args.out, args.quiet, over)?;
    if config.half.checkpoint {
        eprintln!(
            "warning: weights in this checkpoint are f16 (half.checkpoint): the run goes on from rounded ones"
        );
    }
    let judge = judge_of(&config)?;
    Trainer::across(config, &args.out, judge, Start::From(Box::new(found)), ranks::all())
}

/// What the encoder at the start of a run is called.
fn start_name(scores: Option<Scores>) -> &'static str {
    let from_file = scores.is_some_and(|s| s.initial_statistics.is_none());
    if from_file { "start" } else { "untrained" }
}

fn tell(summary: &Summary, protocol: KnnProtocol, page: Option<&Path>) {
    println!("{} steps done", summary.steps);
    if let Some(scores) = summary.scores {
        println!("{:18}  {:13}  balanced", "kNN", "top-1");
        let row = |name: &str, Score { top1, balanced, error, .. }: Score| {
            println!("{name:18}  {top1:.3} ± {error:.3}  {balanced:.3}");
        };
        row(start_name(Some(scores)), scores.start);
        scores.initial_statistics.iter().for_each(|score| row("  statistics 0, 1", *score));
        row("trained", scores.trained);
        row("colour alone", scores.colour);
        println!("{}; ± is the standard error", protocol.told(scores.trained.photos));
        if scores.initial_statistics.is_some() {
            println!(
                "untrained: batch norm has statistics of the photos; 0 and 1 are those that it starts with"
            );
        }
    }
    let checkpoint = summary.checkpoint.display();
    println!("checkpoint {checkpoint}\nlog        {}", summary.log.display());
    if let Some(page) = page {
        println!("report     {}", page.display());
    }
}

/// Commands that go on from a run, each with what it is for; they can be run as they are printed.
fn next(summary: &Summary, out: &Path, config: &Config) -> Vec<(&'static str, String)> {
    let checkpoint = shell::path(&summary.checkpoint);
    let format = if Library::Torchvision.fit(&config.resnet()).is_ok() { "torchvision" } else { "onnx" };
    let export =
        ("the encoder for other programs", format!("export --checkpoint {checkpoint} --format {format}"));
    let Some(photos) = &config.data.photos else {
        let probe = format!("probe --checkpoint {checkpoint}");
        let own = "your own photos: --data DIR --out runs/mine, all else is chosen for them";
        return vec![("a linear classifier on its features", probe), export, (own, "pretrain --help".into())];
    };
    let judge = match &config.data.labelled {
        Some(labelled) => (
            "how good it is, beside colours and hand-made features",
            format!("probe --checkpoint {checkpoint} --labelled {} --floor", shell::path(labelled)),
        ),
        None => ("how good it is: --checkpoint RUN --labelled CLASSES --floor", "probe --help".into()),
    };
    let features = shell::path(out.join("features.safetensors"));
    let embed = format!("embed {} --checkpoint {checkpoint} --out {features}", shell::path(photos));
    vec![judge, ("features of your photos, to search in", embed), export]
}
