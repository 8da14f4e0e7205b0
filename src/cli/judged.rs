//! What the judging commands share: their arguments, opening, progress, and the JSON that each leaves behind.

use super::paths::{Files, Input, absolute};
use crate::engine::device::Device;
use crate::engine::nn::ResNet;
use crate::error::{Error, Result, one_line};
use crate::photos::views::ViewConfig;
use crate::photos::{Album, Photos, Source, Split, labelled_split};
use crate::pretrain::ResNetEncoder;
use crate::pretrain::{Config, checkpoint};
use crate::run::{PROVENANCE, PhotoSet, Progress, Provenance, untrusted};
use crate::transfer::classify::{
    Embedded, Features, KnnProtocol, LabelledAlbums, colours, embed, handmade_features, precise_statistics,
};
use indicatif::HumanDuration;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Which encoder, and on which device.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// A checkpoint of `vista pretrain` or `vista import`, or a run's folder.
    #[arg(long, value_name = "FILE", value_parser = Input::checkpoint())]
    pub(super) checkpoint: Input,
    /// Side of a view in pixels; the checkpoint's own if absent.
    #[arg(long, value_name = "N")]
    pub(super) image_size: Option<usize>,
    /// `auto`, `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`.
    #[arg(long, default_value = "auto")]
    pub(super) device: String,
}

/// Whether floors are judged too.
#[derive(Debug, clap::Args)]
pub(super) struct Floors {
    /// Also judge what needs no learning: the same encoder before training (batch norm with statistics of the train photos),
    /// colours alone, and hand-made features of colours and edges.
    #[arg(long)]
    floor: bool,
}

/// An encoder ready to be judged.
pub(super) struct Opened {
    pub(super) device: Device,
    pub(super) encoder: ResNetEncoder,
    pub(super) config: Config,
    /// The views of its configuration, at the size asked for.
    pub(super) views: ViewConfig,
    /// Where the checkpoint says that it comes from; null where it does not.
    provenance: Value,
}

impl Chosen {
    pub(super) fn open(&self) -> Result<Opened> {
        let device = Device::open(&self.device)?;
        let (encoder, config) = checkpoint::load(&self.checkpoint, &device)?;
        let size = self.image_size.unwrap_or(config.views.size);
        let views = ViewConfig { size, ..config.views.clone() };
        views.check()?;
        let provenance = untrusted::text(&self.checkpoint, PROVENANCE)?;
        let provenance = provenance.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok(Opened { device, encoder, config, views, provenance })
    }

    /// The file of a judging command's protocol, seeds and figures, beside the checkpoint: a name of its own for each set of photos,
    /// `labelled`, and all that was `asked` for.
    pub(super) fn files(&self, command: &str, labelled: Option<&Path>, asked: &dyn Debug) -> Result<Files> {
        let checkpoint = &*self.checkpoint;
        let name = figures_name(command, checkpoint, labelled, asked)?;
        let mut files = Files::default();
        files.json = Some(checkpoint.with_file_name(name));
        Ok(files)
    }

    /// Opens the photos, then the encoder.
    pub(super) fn begin(&self, albums: impl FnOnce() -> Result<LabelledAlbums>) -> Result<Judging<'_>> {
        let began = Instant::now();
        let (albums, opened) = (albums()?, self.open()?);
        Ok(Judging { chosen: self, opened, albums, began })
    }
}

/// A name of its own for the figures of each checkpoint, set of photos and setting, the same for the same.
fn figures_name(
    command: &str,
    checkpoint: &Path,
    labelled: Option<&Path>,
    asked: &dyn Debug,
) -> Result<String> {
    let found = std::fs::metadata(checkpoint).map_err(|e| Error::io(checkpoint, e))?;
    let place = labelled.map(std::path::absolute).transpose().map_err(|e| Error::io(checkpoint, e))?;
    let all = format!("{:?} {:?} {place:?} {asked:?}", found.len(), found.modified().ok());
    let set = labelled.and_then(Path::file_stem).map_or("built-in".into(), |name| name.to_string_lossy());
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let set: String = set.chars().map(plain).collect();
    Ok(format!("{command}-{set}-{:08x}.json", crc32fast::hash(all.as_bytes())))
}

/// A judging command at work: an encoder and labelled photos.
pub(super) struct Judging<'a> {
    chosen: &'a Chosen,
    pub(super) opened: Opened,
    pub(super) albums: LabelledAlbums,
    began: Instant,
}

impl Judging<'_> {
    /// The same for commands that see no more of a photo than its middle: decoded as finely as the encoder's own run did.
    pub(super) fn of_centres(self) -> Self {
        let albums = self.albums.for_views(self.opened.config.detail());
        Judging { albums, ..self }
    }

    /// Frozen features of the train and the test photos by a backbone of this architecture.
    pub(super) fn embed(&self, backbone: &ResNet) -> Result<[Embedded; 2]> {
        let [train, test] = self.albums.both();
        Ok([
            self.opened.embed(backbone, train, "features of train photos")?,
            self.opened.embed(backbone, test, "features of test photos")?,
        ])
    }

    /// Features with the one class of each photo.
    pub(super) fn labelled(&self, [train, test]: [Embedded; 2]) -> [Features; 2] {
        [train.labelled(&self.albums.train), test.labelled(&self.albums.test)]
    }

    /// The same architecture before training: initialised by the checkpoint's own seed, batch norm with the statistics of
    /// the train photos.
    pub(super) fn untrained(&self) -> Result<ResNetEncoder> {
        let Opened { config, views, device, .. } = &self.opened;
        let encoder = config.encoder(device)?;
        precise_statistics(&encoder.backbone, &self.albums.train, views, device)?;
        Ok(encoder)
    }

    /// What needs no learning, judged by `untrained` as an encoder and by `judge` as features of the train and the test photos.
    pub(super) fn floors<T>(
        &self,
        wanted: &Floors,
        untrained: impl Fn(&ResNet) -> Result<T>,
        judge: impl Fn([Embedded; 2]) -> Result<T>,
    ) -> Result<Vec<(&'static str, T)>> {
        type Describe = fn(&Album, &[usize], &mut dyn FnMut(usize)) -> Embedded;
        if !wanted.floor {
            return Ok(Vec::new());
        }
        let described = |what: &str, describe: Describe| {
            let of = |album: &Album| {
                let ids: Vec<usize> = (0..album.photos().len()).collect();
                let what = format!("{what} of photos");
                let found = watched(ids.len(), &what, |heard| describe(album, &ids, heard));
                if found.kept.is_empty() { Err(album.nothing_decodable()) } else { Ok(found) }
            };
            let [train, test] = self.albums.both();
            judge([of(train)?, of(test)?])
        };
        Ok(vec![
            ("untrained", untrained(&self.untrained()?.backbone)?),
            ("colour", described("colours", colours)?),
            ("hand-made", described("hand-made features", handmade_features)?),
        ])
    }

    /// How many photos were used, in words.
    pub(super) fn counts(&self) -> String {
        format!("{} train and {} test photos", self.albums.train.used(), self.albums.test.used())
    }

    /// Says the `lines`; the JSON is `facts` (with more of `dataset`, if any) beside what is said of every judgement.
    pub(super) fn finish(&self, lines: &[String], mut facts: Value) -> Result<Value> {
        warn_of_undecodable(self.albums.both());
        lines.iter().for_each(|line| println!("{line}"));
        let mut all = json!({
            "checkpoint": absolute(&self.chosen.checkpoint),
            "seconds": self.began.elapsed().as_secs_f64(),
            "encoder": self.opened.facts(),
            "dataset": self.dataset(),
        });
        let more = facts.as_object_mut().and_then(|facts| facts.remove("dataset"));
        extend(&mut all["dataset"], more.unwrap_or_default());
        extend(&mut all, facts);
        extend(&mut all, json!({ "provenance": Provenance::now(Some(&self.opened.device)) }));
        Ok(all)
    }

    /// Where the photos are, how many were used, and what was left out.
    fn dataset(&self) -> Value {
        let [train, test] = self.albums.both();
        let warnings: Vec<String> = [train, test].map(Album::all_left_out).concat();
        json!({
            "train": train.photos().place(),
            "test": test.photos().place(),
            "photos": { "train": PhotoSet::of(train.photos()), "test": PhotoSet::of(test.photos()) },
            "train_photos": train.used(),
            "test_photos": test.used(),
            "undecodable": train.broken().len() + test.broken().len(),
            "warnings": warnings,
            "classes": train.photos().classes(),
        })
    }
}

/// The best figure of all epochs, so named.
pub(super) fn best_on_test(top1: f64) -> String {
    format!("best on test (chosen by looking at the test photos): top-1 {top1:.4}")
}

/// Adds the entries of one object to another.
pub(super) fn extend(all: &mut Value, more: Value) {
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
}

impl Opened {
    /// Frozen features of all photos by a backbone of this architecture; `what` it is called while it goes on.
    pub(super) fn embed(&self, backbone: &ResNet, album: &Album, what: &str) -> Result<Embedded> {
        let ids: Vec<usize> = (0..album.photos().len()).collect();
        watched(ids.len(), what, |heard| embed(backbone, album, &ids, &self.views, &self.device, heard))
    }

    /// What the report says of the encoder and its views.
    fn facts(&self) -> Value {
        json!({
            "backbone": self.config.model,
            "pretrained_by": self.config.method.name(),
            "pretraining_seed": self.config.seed,
            "init": self.config.init,
            "image_size": self.views.size,
            "device": self.device.name(),
            "provenance": self.provenance,
        })
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
    /// Where they are, if not built in.
    pub(super) fn labelled(&self) -> Option<&Path> {
        self.labelled.as_deref()
    }

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
        let albums = LabelledAlbums::new(photos);
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

/// Progress with the time that is left; its bar comes with the first news and goes with it.
pub(super) struct Watch {
    progress: Option<Progress>,
    began: Instant,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch { progress: None, began: Instant::now() }
    }

    pub(super) fn at(&mut self, done: usize, total: usize, what: impl Fn() -> String) {
        let left =
            self.began.elapsed().as_secs_f64() / done.max(1) as f64 * total.saturating_sub(done) as f64;
        let message = || format!("{}, {} left", what(), HumanDuration(Duration::from_secs_f64(left)));
        self.progress.get_or_insert_with(|| Progress::new(total as u64)).at(done as u64, message);
    }
}

/// Does some work on `total` photos with its progress; the work tells how many are done.
pub(super) fn watched<T>(total: usize, what: &str, work: impl FnOnce(&mut dyn FnMut(usize)) -> T) -> T {
    let mut watch = Watch::new();
    work(&mut |done| watch.at(done, total, || format!("{what}: {done} of {total}")))
}

/// What hears how much of some photos is decoded and embedded, and of how much.
pub(super) fn embedding() -> impl FnMut(usize, usize) {
    let mut watch = Watch::new();
    move |done, total| {
        let share = 100 * done / total.max(1);
        watch.at(done, total, || format!("{share}% of the photos decoded and embedded"));
    }
}

/// Tells how far a large file is read, if that takes long.
pub(super) fn reading(path: &Path, done: u64, all: u64) {
    static WATCH: Mutex<Option<(PathBuf, Watch)>> = Mutex::new(None);
    let Ok(mut watch) = WATCH.lock() else { return };
    if done >= all {
        *watch = None;
        return;
    }
    if watch.as_ref().is_none_or(|(of, _)| of != path) {
        *watch = Some((path.into(), Watch::new()));
    }
    if let Some((_, watch)) = watch.as_mut().filter(|(_, watch)| watch.began.elapsed() > LONG) {
        let of = |bytes: u64| bytes >> 20;
        watch.at(of(done) as usize, of(all) as usize, || {
            format!("{}: {} of {} MiB read", path.display(), of(done), of(all))
        });
    }
}

/// What takes longer shows how far it is.
const LONG: Duration = Duration::from_secs(2);
