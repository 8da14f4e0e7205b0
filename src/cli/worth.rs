//! `vista worth`.

use super::judged::{LabelledPhotos, Watch, warn_of_undecodable};
use super::paths::{Files, Input, Mark, Output, absolute};
use super::{pretrain, signals};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::pretrain::{Config, Imported, ResNetEncoder, checkpoint};
use crate::run::Provenance;
use crate::shell;
use crate::transfer::classify::worth::{Heard, Kept, Start};
use crate::transfer::classify::{Finetune, Probe, Worth};
use clap::{Args as _, FromArgMatches};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Is pretraining worth it on your photos? Random start against pretrained, at shares of the labels
///
/// Trains a linear probe and the whole network from random parameters, from a run, and from another encoder (--init), on the
/// same parts of the labelled photos with several seeds, and prints one table with standard errors, differences paired by
/// seed, and what follows in a sentence.
///
///   vista worth --checkpoint runs/mine --labelled CLASSES             # a run that is there
///   vista worth --data PHOTOS --minutes 60 --labelled CLASSES         # pretrains first, in --out
///
/// Ctrl-C stops it; the same command goes on. Each figure is kept in `worth.json` in the run's folder as soon as it is known, by
/// encoder, photos, share, seed and settings, so that other sets and other runs never replace it.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, group(clap::ArgGroup::new("run").required(true).args(["data", "checkpoint"])))]
pub(super) struct Args {
    /// Pretrain on these photos first, as `vista pretrain --data` does; the run in `--out` goes on where it stopped.
    #[arg(long, value_name = "DIR")]
    data: Option<Input>,
    /// Minutes of that pretraining; as `vista pretrain` has it if absent.
    #[arg(long, value_name = "N", requires = "data")]
    minutes: Option<f64>,
    /// Folder of that run.
    #[arg(long, value_name = "DIR", default_value = "runs/worth", conflicts_with = "checkpoint")]
    out: Output,
    /// A run's folder, or a checkpoint of `vista pretrain` or `vista import`.
    #[arg(long, value_name = "RUN", value_parser = Input::checkpoint())]
    checkpoint: Option<Input>,
    /// Another encoder to start from: a run or a checkpoint, or weights of torchvision, timm, MoCo or DenseCL as safetensors.
    #[arg(long, value_name = "FILE", value_parser = Input::checkpoint())]
    init: Option<Input>,
    #[command(flatten)]
    photos: LabelledPhotos,
    /// Shares of the labelled train photos, joined by commas.
    #[arg(long, value_name = "S,S,..", value_delimiter = ',', default_values_t = [0.01, 0.1, 1.0])]
    shares: Vec<f64>,
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = 3)]
    seeds: u64,
    /// Passes of fine-tuning over the train photos.
    #[arg(long, value_name = "N", default_value_t = Finetune::default().epochs)]
    epochs: u64,
    /// Side of a view in pixels; the checkpoint's own if absent.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// `auto`, `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Figures of all calls, in a run's folder.
const KEPT: &str = "worth.json";

/// The newest checkpoint in a run's folder.
const NEWEST: &str = "checkpoint.safetensors";

impl Args {
    fn checkpoint(&self) -> PathBuf {
        self.checkpoint.as_deref().map_or(self.out.join(NEWEST), Path::to_path_buf)
    }

    /// The run that is pretrained first, if any.
    fn pretraining(&self) -> Result<Option<pretrain::Args>> {
        let Some(data) = &self.data else { return Ok(None) };
        let mut line: Vec<OsString> = ["pretrain", "--device", &self.device].map(OsString::from).to_vec();
        let mut add = |flag: &str, value: &Path| line.extend([flag.into(), value.as_os_str().to_owned()]);
        add("--data", data);
        add("--out", &self.out);
        self.photos.labelled().iter().for_each(|folder| add("--labelled", folder));
        let number = |n: f64| PathBuf::from(n.to_string());
        self.minutes.iter().for_each(|&n| add("--minutes", &number(n)));
        self.image_size.iter().for_each(|&n| add("--image-size", &number(n as f64)));
        line.extend(self.checkpoint().is_file().then(|| "--resume".into()));
        let command = pretrain::Args::augment_args(clap::Command::new("pretrain"));
        let parsed = command.try_get_matches_from(line).and_then(|m| pretrain::Args::from_arg_matches(&m));
        parsed
            .map(Some)
            .map_err(|e| Error::input(e.kind().to_string(), "--data", "see `vista pretrain --help`"))
    }
}

pub(super) fn files(args: &Args) -> Result<Files> {
    Ok(match args.pretraining()? {
        Some(pretraining) => {
            pretrain::files(&pretraining)?.folder("--out", &args.out, [(KEPT, Mark::Command("worth".into()))])
        }
        None => {
            let checkpoint = args.checkpoint();
            std::fs::metadata(&checkpoint).map_err(|e| Error::io(&checkpoint, e))?;
            Files::default().file(
                "--checkpoint",
                Some(&checkpoint.with_file_name(KEPT)),
                Mark::Command("worth".into()),
            )
        }
    })
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let finetune = Finetune { epochs: args.epochs, ..Finetune::default() };
    let worth = Worth { shares: args.shares.clone(), seeds: args.seeds, finetune, probe: Probe::default() };
    let albums = args.photos.open()?;
    worth.check()?;
    if let Some(mut pretraining) = args.pretraining()? {
        pretraining.goes_on = true;
        pretrain::run(&pretraining)?;
    }
    signals::listen();
    let device = Device::open(&args.device)?;
    let starts = starts(args, &device)?;
    let path = args.checkpoint().with_file_name(KEPT);
    let done = Kept::read(&path)?.cells;
    eprintln!("Ctrl-C stops; the same command goes on");
    let mut watch = Watch::new();
    let cells = worth.run(&starts, &albums, &device, &done, &mut |heard| match heard {
        Heard::Work { done, total, what } => {
            watch.at(done as usize, total as usize, || what.into());
            Ok(())
        }
        Heard::Cell(cell) => Kept::add(&path, cell),
    })?;
    drop(watch);
    warn_of_undecodable(albums.both());
    let table = worth.table(&starts, &albums, &cells);
    println!("{table}{}", table.verdict);
    println!("figures  {}", path.display());
    Ok(json!({
        "provenance": Provenance::now(Some(&device)),
        "checkpoint": absolute(&args.checkpoint()),
        "init": args.init.as_deref().map(absolute),
        "device": device.name(),
        "protocols": { "finetune": worth.finetune, "probe": worth.probe },
        "dataset": { "train": albums.train.photos().place(), "test": albums.test.photos().place() },
        "table": table,
    }))
}

/// Random parameters, the run's, and those of another file.
fn starts(args: &Args, device: &Device) -> Result<Vec<Start>> {
    let path = args.checkpoint();
    let (run, config) = checkpoint::load(&path, device)?;
    let size = args.image_size.unwrap_or(config.views.size);
    let start = |name: &str, config: &Config, encoder: Option<ResNetEncoder>| -> Result<Start> {
        let views = ViewConfig { size, ..config.views.clone() };
        views.check()?;
        let backbone = encoder.map(|encoder| encoder.backbone);
        Ok(Start { name: name.into(), net: config.resnet(), views, backbone })
    };
    let mut starts = vec![start("random", &config, None)?, start("the run", &config, Some(run))?];
    if let Some(init) = args.init.as_deref() {
        let (encoder, config) = match checkpoint::load(init, device) {
            Ok(ours) => ours,
            Err(_) => {
                Imported::from_file(init, None, None, device).map(|found| (found.encoder, found.config))?
            }
        };
        starts.push(start(&shell::path(init), &config, Some(encoder))?);
    }
    Ok(starts)
}
