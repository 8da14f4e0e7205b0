//! What the judging commands share: their arguments, progress, and the JSON that each leaves behind.

use super::paths::{Files, Input, Mark, Output};
use crate::engine::device::Device;
use crate::engine::nn::ResNet;
use crate::error::{Error, Result, one_line};
use crate::photos::views::ViewConfig;
use crate::photos::{Album, AlbumOptions, Photos, Source, Split, labelled_split};
use crate::pretrain::ResNetEncoder;
use crate::pretrain::{Config, Progress, checkpoint};
use crate::transfer::classify::{
    Features, KnnProtocol, LabelledAlbums, labelled_features, precise_statistics,
};
use indicatif::HumanDuration;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which encoder, and on which device.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// A checkpoint of `vista pretrain` or `vista import`.
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoint: Input,
    /// Side of a view in pixels; the checkpoint's own if absent.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// `auto`, `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Which encoder, on which device, and where the figures go.
#[derive(Debug, clap::Args)]
pub(super) struct Judged {
    #[command(flatten)]
    pub(super) chosen: Chosen,
    /// File for protocol, seeds and figures; beside the checkpoint if absent, named after the command; `-` prints them to
    /// standard output, and all else to standard error.
    #[arg(long, value_name = "FILE")]
    json: Option<Output>,
}

/// An encoder ready to be judged.
pub(super) struct Opened {
    pub(super) device: Device,
    pub(super) encoder: ResNetEncoder,
    pub(super) config: Config,
    /// The views of its configuration, at the size asked for.
    pub(super) views: ViewConfig,
}

impl Chosen {
    pub(super) fn open(&self) -> Result<Opened> {
        let device = Device::open(&self.device)?;
        let (encoder, config) = checkpoint::load(&self.checkpoint, &device)?;
        let size = self.image_size.unwrap_or(config.views.size);
        let views = ViewConfig { size, ..config.views.clone() };
        views.check()?;
        Ok(Opened { device, encoder, config, views })
    }
}

impl Judged {
    pub(super) fn open(&self) -> Result<Opened> {
        self.chosen.open()
    }

    /// The file of the command's figures.
    pub(super) fn files(&self, [command, mark]: [&'static str; 2]) -> Result<Files> {
        let checkpoint = &*self.chosen.checkpoint;
        std::fs::metadata(checkpoint).map_err(|e| Error::io(checkpoint, e))?;
        let path = self.report([command, mark]).path;
        Ok(path.map_or(Files::none(), |path| Files::none().file("--json", &path, Mark::Words(mark))))
    }

    /// Where the command's figures go.
    pub(super) fn report(&self, [command, _]: [&'static str; 2]) -> Report {
        let checkpoint = &self.chosen.checkpoint;
        let beside = checkpoint.with_file_name(format!("{command}.json"));
        let path = match &self.json {
            Some(path) if path.is_printed() => None,
            Some(path) => Some(path.to_path_buf()),
            None => Some(beside),
        };
        Report { command, path, checkpoint: checkpoint.display().to_string(), began: Instant::now() }
    }
}

impl Opened {
    /// The same architecture before training: initialised by the checkpoint's own seed, batch norm with the statistics of
    /// these photos.
    pub(super) fn untrained(&self, photos: &Album) -> Result<ResNetEncoder> {
        let encoder = self.config.encoder(&self.device)?;
        precise_statistics(&encoder.backbone, photos, &self.views, &self.device)?;
        Ok(encoder)
    }

    /// What the report says of the encoder and its views.
    pub(super) fn facts(&self) -> Value {
        json!({
            "backbone": self.config.model,
            "pretrained_by": self.config.method.entry().name,
            "pretraining_seed": self.config.seed,
            "init": self.config.init,
            "image_size": self.views.size,
            "device": self.device.name(),
        })
    }

    /// Frozen features of labelled photos by a backbone of this architecture.
    pub(super) fn features(&self, backbone: &ResNet, albums: &LabelledAlbums) -> Result<[Features; 2]> {
        let embed = |album: &Album, name: &str| {
            let mut watch = Watch::new(album.photos().len() as u64);
            let total = album.photos().len();
            let heard = &mut |done: usize| {
                watch.at(done as u64, || format!("features of {done} of {total} {name} photos"));
            };
            let found = labelled_features(backbone, album, &self.views, &self.device, heard);
            watch.end();
            found
        };
        Ok([embed(&albums.train, "train")?, embed(&albums.test, "test")?])
    }
}

/// Where labelled photos come from: one class each.
#[derive(Debug, clap::Args)]
pub(super) struct LabelledPhotos {
    /// Folder with `train/CLASS/` and `test/CLASS/` (or `val/CLASS/`), or of STL-10 or CIFAR-10; the built-in classes if absent.
    #[arg(long, value_name = "DIR")]
    labelled: Option<Input>,
    /// Follow links that lead out of it.
    #[arg(long)]
    follow_links: bool,
}

impl LabelledPhotos {
    /// How kNN judges them.
    pub(super) fn knn_protocol(&self) -> KnnProtocol {
        KnnProtocol::of(self.labelled.is_none())
    }

    pub(super) fn open(&self) -> Result<LabelledAlbums> {
        let photos = match &self.labelled {
            Some(folder) => labelled_split(Source::from(&**folder).follow_links(self.follow_links))?,
            None => [Split::Train, Split::Test].map(Photos::bundled_labelled),
        };
        photos.iter().for_each(warn);
        let [train, test] = photos.map(|p| Arc::new(Album::new(p, AlbumOptions::default())));
        let albums = LabelledAlbums { train, test };
        albums.check()?;
        Ok(albums)
    }
}

/// Says what the reader of some photos left out.
pub(super) fn warn(photos: &Photos) {
    photos.warnings().iter().for_each(|warning| eprintln!("warning: {}", one_line(warning.clone())));
}

/// Names the photos that could not be decoded, once all have been looked at.
pub(super) fn warn_of_undecodable<'a>(albums: impl IntoIterator<Item = &'a Album>) {
    albums.into_iter().flat_map(Album::left_out).for_each(|line| eprintln!("warning: {line}"));
}

/// What the report says of train and test photos: where they are, how many were used, and what was left out.
pub(super) fn dataset([train, test]: [&Album; 2]) -> Value {
    let warnings: Vec<String> = [train, test].map(Album::all_left_out).concat();
    json!({
        "train": train.photos().place(),
        "test": test.photos().place(),
        "train_photos": train.used(),
        "test_photos": test.used(),
        "undecodable": train.broken().len() + test.broken().len(),
        "warnings": warnings,
        "classes": train.photos().classes(),
    })
}

/// The JSON of one command.
pub(super) struct Report {
    command: &'static str,
    /// `None` for standard output.
    path: Option<PathBuf>,
    checkpoint: String,
    began: Instant,
}

impl Report {
    /// Writes it: `facts` are added to the command, version, checkpoint and seconds.
    pub(super) fn write(&self, facts: Value) -> Result<()> {
        let mut all = json!({
            "command": self.command,
            "vista": env!("CARGO_PKG_VERSION"),
            "checkpoint": self.checkpoint,
            "seconds": self.began.elapsed().as_secs_f64(),
        });
        if let (Some(all), Value::Object(facts)) = (all.as_object_mut(), facts) {
            all.extend(facts);
        }
        let Some(path) = &self.path else {
            println!("{all:#}");
            return Ok(());
        };
        std::fs::write(path, format!("{all:#}\n")).map_err(|e| Error::io(path, e))?;
        println!("figures  {}", path.display());
        Ok(())
    }
}

/// Progress with the time that is left.
pub(super) struct Watch {
    progress: Progress,
    began: Instant,
    total: u64,
}

impl Watch {
    pub(super) fn new(total: u64) -> Watch {
        Watch { progress: Progress::new(total), began: Instant::now(), total }
    }

    pub(super) fn at(&mut self, done: u64, what: impl Fn() -> String) {
        let left =
            self.began.elapsed().as_secs_f64() / done.max(1) as f64 * self.total.saturating_sub(done) as f64;
        let message = || format!("{}, {} left", what(), HumanDuration(Duration::from_secs_f64(left)));
        self.progress.at(done, message);
    }

    pub(super) fn end(&self) {
        self.progress.end();
    }
}

/// Features of photos that may have any number of labels, and which of them could be decoded.
pub(super) fn embed_all(
    backbone: &ResNet,
    album: &Album,
    views: &ViewConfig,
    device: &Device,
    name: &str,
) -> Result<crate::transfer::classify::Embedded> {
    let ids: Vec<usize> = (0..album.photos().len()).collect();
    let mut watch = Watch::new(ids.len() as u64);
    let heard = &mut |done: usize| {
        watch.at(done as u64, || format!("{name}: features of {done} of {} photos", ids.len()));
    };
    let found = crate::transfer::classify::embed(backbone, album, &ids, views, device, heard);
    watch.end();
    found
}
