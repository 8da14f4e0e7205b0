//! `vista pretrain`.

use crate::error::{Error, Result};
use crate::train::{Config, PRESETS, Summary, Trainer};
use std::path::PathBuf;

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
    /// Folder for configuration, log and checkpoint.
    #[arg(long, value_name = "DIR", default_value = "runs/pretrain")]
    out: PathBuf,
}

/// What decides a run's configuration; `vista sweep` has the same.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// A whole configuration by name; see `vista pretrain --presets`.
    #[arg(long, default_value = "demo")]
    preset: String,
    /// TOML file with keys to replace.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace one key, as in `--set objective.tau=0.1`; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Folder of photos (nested, JPEG and PNG), csv list, or folder of STL-10, CIFAR-10, Pascal VOC or COCO; the
    /// built-in photos if absent.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Start from the encoder in this file: a checkpoint, or weights of torchvision, timm, MoCo or DenseCL as
    /// safetensors.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Folder with `train/CLASS/` and `test/CLASS/`, or of STL-10 or CIFAR-10, to judge the encoder by kNN.
    #[arg(long, value_name = "DIR")]
    labelled: Option<PathBuf>,
    /// `mls`, `moco`, `knn-moco`, `s2r2`, `simclr`, `swav`, `byol` or `densecl`; another than the preset's brings its own
    /// optimiser, heads and views.
    #[arg(long)]
    objective: Option<String>,
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
    /// `auto`, `cpu`, `gpu` or `gpu:NAME`.
    #[arg(long)]
    device: Option<String>,
    /// Seed of everything random.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl Flags {
    /// Preset, then file, then flags, then settings.
    pub(super) fn config(&self) -> Result<Config> {
        let mut config = Config::preset(&self.preset)?;
        if let Some(path) = &self.config {
            let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
            config = config.merged(&text, &path.display().to_string())?;
        }
        if let Some(name) = &self.objective {
            config = config.with_method(name)?;
        }
        if let Some(size) = self.image_size {
            config = config.with_size(size);
        }
        let number = |flag: &str, key: &str, value: Option<String>| {
            value.map(|v| (format!("{key} = {v}"), format!("--{flag} {v}")))
        };
        let text = |flag: &str, key: &str, value: Option<&str>| {
            value.map(|v| (format!("{key} = {}", toml::Value::String(v.into())), format!("--{flag} {v}")))
        };
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.to_string_lossy().into_owned());
        let flags = [
            text("data", "data.photos", path(&self.data).as_deref()),
            text("init", "init", path(&self.init).as_deref()),
            text("labelled", "data.labelled", path(&self.labelled).as_deref()),
            text("backbone", "model.backbone", self.backbone.as_deref()),
            text("device", "device", self.device.as_deref()),
            number("batch", "train.batch", self.batch.map(|n| n.to_string())),
            number("views", "train.views", self.views.map(|n| n.to_string())),
            number("chunk", "train.chunk", self.chunk.map(|n| n.to_string())),
            number("epochs", "train.epochs", self.epochs.map(|n| n.to_string())),
            number("steps", "train.steps", self.steps.map(|n| n.to_string())),
            number("minutes", "train.minutes", self.minutes.map(|n| format!("{n:?}"))),
            number("seed", "seed", self.seed.map(|n| n.to_string())),
        ];
        let half = "half = { activations = true, queue = true, checkpoint = true }";
        let half = self.half.then(|| (half.to_string(), "--half".to_string()));
        for (line, place) in flags.into_iter().flatten().chain(half) {
            config = config.merged(&line, &place)?;
        }
        // The demo's time limit is for those who ask for nothing else.
        if (self.epochs.is_some() || self.steps.is_some()) && self.minutes.is_none() {
            config.train.minutes = 0.0;
        }
        self.settings.iter().try_fold(config, |config, setting| config.with(setting))
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.presets {
        PRESETS.iter().for_each(|(name, what)| println!("{name:20} {what}"));
        return Ok(());
    }
    let config = args.flags.config()?;
    let trainer = Trainer::new(config, &args.out)?;
    println!("{}", trainer.describe());
    println!("config   {}", args.out.join("config.toml").display());
    for warning in trainer.warnings() {
        eprintln!("warning: {warning}");
    }
    report(&trainer.run()?);
    Ok(())
}

fn report(summary: &Summary) {
    println!("{} steps done", summary.steps);
    if let Some([before, after, colour]) = &summary.scores {
        println!("kNN             top-1  balanced");
        for (name, score) in [("untrained", before), ("trained", after), ("colour alone", colour)] {
            println!("{name:14}  {:.3}  {:.3}", score.top1, score.balanced);
        }
    }
    let checkpoint = summary.checkpoint.display();
    println!("checkpoint {checkpoint}\nlog        {}", summary.log.display());
    println!("next:");
    println!("  vista probe --checkpoint {checkpoint}                  a linear classifier on its features");
    println!("  vista knn --checkpoint {checkpoint} --labelled DIR     judge it on your own classes");
    println!("  vista pretrain --data DIR --image-size 64 --minutes 30      pretrain on your own photos");
}
