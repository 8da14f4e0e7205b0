//! The settings of a run on somebody's photos where nobody says more than where they are: by their number and size, by the
//! device, and by the time that the run may take.
//!
//! The choices stand in `TABLE`, with the numbers of a method for short runs in `small` of its [entry](super::methods::Entry);
//! what is known of them by measurement is in docs/RESULTS.md, under "The settings of `pretrain --data`".
//!
//! ```no_run
//! # use vista::pretrain::choice::Wish;
//! let wish = Wish { minutes: Some(60.0), ..Wish::default() };
//! let chosen = wish.choose("photos".as_ref(), "auto")?;
//! println!("{} photos, {} px", chosen.survey.photos, chosen.config.views.size);
//! # Ok::<(), vista::Error>(())
//! ```

use super::config::Config;
use super::methods::mls::Mls;
use super::methods::moco::power_of_two;
use super::setup::judge_photos;
use crate::engine::device::Device;
use crate::engine::nn::{Architecture, Stem};
use crate::error::{Result, readable_bytes};
use crate::interop::{Source as EncoderSource, Weights};
use crate::photos::views::ViewConfig;
use crate::photos::{Photos, Source, Survey, train_folder};
use crate::run::memory::{self, MemoryPlan};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How much a run may take: the size of its network and of its views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Some minutes.
    Small,
    /// Some hours.
    Medium,
    /// A night.
    Large,
}

/// A row of [`TABLE`].
struct Row {
    gpu: bool,
    quality: Quality,
    backbone: Architecture,
    /// Side of a view.
    side: usize,
    /// Images of two views in a batch.
    batch: usize,
    minutes: f64,
}

/// The networks are as wide as torchvision's and have its stem, so that other programs can load them.
const TABLE: [Row; 6] = {
    use Architecture::{Resnet18, Resnet50};
    use Quality::{Large, Medium, Small};
    const fn row(
        gpu: bool,
        quality: Quality,
        backbone: Architecture,
        [side, batch]: [usize; 2],
        minutes: f64,
    ) -> Row {
        Row { gpu, quality, backbone, side, batch, minutes }
    }
    [
        row(false, Small, Resnet18, [64, 64], 20.0),
        row(false, Medium, Resnet18, [96, 64], 120.0),
        row(false, Large, Resnet18, [128, 64], 600.0),
        row(true, Small, Resnet18, [96, 256], 20.0),
        row(true, Medium, Resnet50, [128, 256], 120.0),
        row(true, Large, Resnet50, [224, 256], 600.0),
    ]
};

/// The method where none is asked for: photos of scenes hold many things.
const METHOD: &str = "mls";
/// The one that ranks more than two views of an image.
const MANY_VIEWS: &str = "s2r2";
/// Share of the run in which the learning rate rises.
const WARMUP: f64 = 0.05;
/// More epochs than any run has: time ends it.
const EPOCHS: u64 = 100_000;
/// Share of the free memory for decoded photos, and the most of it.
const CACHE: (f64, u64) = (0.25, 4 << 30);

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// `--quality`; by the minutes if absent.
    pub quality: Option<Quality>,
    /// `--minutes`; the quality's if absent.
    pub minutes: Option<f64>,
    /// `--method`.
    pub method: Option<String>,
    /// `--views`.
    pub views: Option<usize>,
    /// `--batch`.
    pub batch: Option<usize>,
    /// `--image-size`.
    pub side: Option<usize>,
    /// `--init`.
    pub init: Option<PathBuf>,
    /// `--prefix`.
    pub prefix: Option<String>,
    /// `--labelled`.
    pub labelled: Option<PathBuf>,
    /// `--follow-links`.
    pub follow_links: bool,
}

/// What was chosen.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The settings.
    pub config: Config,
    /// The photos that they are for.
    pub survey: Survey,
}

impl Wish {
    /// Looks at the photos at a path and at the device, and chooses. Class folders in `train/` and `test/` are judged on, and only
    /// the former learned from.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for photos that can't be used, an unknown method, or a file `init` that holds no
    /// encoder; the device's.
    pub fn choose(&self, data: &Path, device: &str) -> Result<Choice> {
        let train = train_folder(data).filter(|_| self.labelled.is_none());
        let photos = train.clone().unwrap_or_else(|| data.to_path_buf());
        let survey = Survey::of(&Photos::open(Source::from(&*photos).follow_links(self.follow_links), None)?);
        let gpu = matches!(Device::open(device)?, Device::Gpu(_));
        let mut config = self.config(&survey, gpu, memory::free())?;
        config.data.photos = Some(photos);
        config.data.labelled = train.map(|_| data.to_path_buf()).or(self.labelled.clone());
        if let Some([train, _]) = judge_photos(&config)? {
            config.eval.knn_k = config.eval.knn_k.min(train.len());
        }
        Ok(Choice { config, survey })
    }

    /// The configuration but for its photos, by what they are like, whether the device is a GPU, and the bytes of memory that are
    /// free, where that can be known.
    fn config(&self, survey: &Survey, gpu: bool, free: Option<u64>) -> Result<Config> {
        let row = self.row(gpu);
        let photos = survey.photos;
        let many = self.views.is_some_and(|views| views != 2);
        let method = self.method.as_deref().unwrap_or(if many { MANY_VIEWS } else { METHOD });
        let mut base = Config::base(Mls::default());
        base.train.batch = self.batch.unwrap_or_else(|| row.batch.min(power_of_two(photos / 2)).max(2));
        base.views = ViewConfig::moco_v2(self.side.unwrap_or(row.side));
        base.model.backbone = row.backbone;
        if let Some(init) = &self.init {
            base = self.of_file(base, init)?;
        }
        base.train.epochs = EPOCHS;
        base.train.minutes = self.minutes.unwrap_or(row.minutes);
        base.eval.every_epochs = 0;
        base.eval.every_minutes = (base.train.minutes / 10.0).clamp(1.0, 30.0);
        let mut config = base.with_small_method(method, photos)?;
        (config.views.blur_p, config.views.hue) = (0.0, 0.0);
        (config.optimizer.warmup_steps, config.optimizer.warmup_share) = (0, WARMUP);
        let room = free.map_or(CACHE.1, |free| ((free as f64 * CACHE.0) as u64).min(CACHE.1));
        let largest = 2 * config.views.size;
        if survey.size[0] > largest {
            config.data.shrink_to = largest;
        }
        config.data.cache_mib = (decoded(&config, survey).min(room) >> 20).max(64) as usize;
        Ok(config)
    }

    fn row(&self, gpu: bool) -> &'static Row {
        let by_time = match self.minutes {
            Some(minutes) if minutes > 300.0 => Quality::Large,
            Some(minutes) if minutes > 60.0 => Quality::Medium,
            _ => Quality::Small,
        };
        let quality = self.quality.unwrap_or(by_time);
        TABLE.iter().find(|row| (row.gpu, row.quality) == (gpu, quality)).expect("a row for each")
    }

    /// The encoder that a run starts from decides its kind.
    fn of_file(&self, mut base: Config, init: &Path) -> Result<Config> {
        let weights = Weights::read(init)?;
        let found = EncoderSource::find(&weights, self.prefix.as_deref(), None, &init.display().to_string())?;
        base.model.backbone = found.backbone.architecture;
        (base.model.width, base.model.stem) = (found.backbone.width, found.backbone.stem);
        Ok(base)
    }
}

/// Bytes of all photos as they are kept, decoded and perhaps scaled down.
fn decoded(config: &Config, survey: &Survey) -> u64 {
    let [short, long] = survey.size.map(|side| side as f64);
    let scale = match config.data.shrink_to {
        0 => 1.0,
        limit => (limit as f64 / short.max(1.0)).min(1.0),
    };
    (survey.photos as f64 * short * long * scale * scale * 3.0) as u64
}

/// Photos below which a person is told that they are few: the built-in ones, which teach something in minutes, are 573.
const FEW: usize = 200;

/// What a run with chosen settings is and why, for a person: six lines.
///
/// `seconds` are those of a step, where it was measured.
pub fn told(
    config: &Config,
    survey: &Survey,
    device: &Device,
    memory: &MemoryPlan,
    seconds: Option<f64>,
) -> String {
    let Config { data, model, train, views, method, .. } = config;
    let Survey { photos, copies, size: [short, long] } = *survey;
    let copies = if copies > 0 { format!("; {copies} are copies of others") } else { String::new() };
    let few = if photos < FEW { "; so few teach little: give some hundreds" } else { "" };
    let judged = match &data.labelled {
        Some(path) => format!("judged by kNN on {}", path.display()),
        None => "no labels found to judge by (--labelled CLASSES)".to_string(),
    };
    let loads = match (model.width, model.stem) {
        (64, Stem::Imagenet) => "torchvision, timm and detectron2 can load it",
        _ => "other programs can load it as ONNX alone",
    };
    let place = data.photos.as_deref().unwrap_or(Path::new("built in")).display();
    let all = config.image_views();
    let shrunk = match data.shrink_to {
        0 => "photos as they are".to_string(),
        limit => format!("photos scaled down to {limit} px once"),
    };
    let decoded = decoded(config, survey);
    let kept = ((data.cache_mib as u64) << 20).min(decoded);
    let share = if kept < decoded { format!(" of {}", readable_bytes(decoded)) } else { String::new() };
    let queue =
        config.whole("queue").filter(|&slots| slots > 0).map(|slots| format!(", a queue of {slots} keys"));
    let why = match method.name() {
        METHOD => "a photo of a scene holds many things, its neighbours tell which",
        _ => "as asked for",
    };
    let minutes = if train.minutes > 0.0 { format!("{} minutes", train.minutes) } else { String::new() };
    let length = match seconds.filter(|_| train.minutes > 0.0) {
        Some(seconds) => {
            let steps = train.minutes * 60.0 / seconds;
            let epochs = steps * train.batch as f64 / photos.max(1) as f64;
            format!("{minutes}: about {steps:.0} steps of {seconds:.2} s, each photo seen {epochs:.0} times")
        }
        None if train.minutes > 0.0 => minutes,
        None if train.steps > 0 => format!("{} steps", train.steps),
        None => format!("{} epochs", train.epochs),
    };
    [
        format!("photos   {photos} ({place}), usually {short} x {long} px{copies}{few}; {judged}"),
        format!("method   {}{}: {why}", method.name(), queue.unwrap_or_default()),
        format!("encoder  {:?}, width {}: {loads}", model.backbone, model.width),
        format!(
            "views    {} of {} px of each of {} photos a step; {shrunk}",
            all.len(),
            views.size,
            train.batch
        ),
        format!("time     {length} on {}", device.name()),
        format!("memory   {memory} and {}{share} of decoded photos", readable_bytes(kept)),
    ]
    .join("\n")
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/choice.rs"]
mod tests;
