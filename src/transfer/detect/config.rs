//! Configuration of a detector's training: what is found in `config.toml` of its run.

use super::anchors::Cell;
use super::model::{DetectorConfig, Kind};
use super::proposals::{Chosen, Found};
use crate::engine::nn::{Architecture, ResNetConfig, Stem};
use crate::engine::optim::{Decay, LrSchedule, OptimConfig, Optimizer, SgdConfig};
use crate::error::{Error, Result};
use crate::photos::views::SceneConfig;
use crate::run::settings;
use crate::transfer::train::{TrainConfig, expect_amount, expect_count, expect_share};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that decides the training of a detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectConfig {
    /// Seed of parameters, order, views and samples.
    pub seed: u64,
    /// `auto`, `cpu`, `gpu`, `gpu:N` or `gpu:NAME`, as `vista devices` lists them.
    pub device: String,
    /// File whose encoder the backbone starts from: a checkpoint, or another library's weights; random parameters if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// What stands before the names of that encoder, where the file holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_prefix: Option<String>,
    /// Photos with boxes to learn from and to be judged on.
    pub data: DetectData,
    /// The detector.
    pub model: DetectModel,
    /// Proposals: boxes worth a look.
    pub proposals: ProposalConfig,
    /// Regions: proposals that are looked at.
    pub regions: RegionConfig,
    /// Length and batch.
    pub train: TrainConfig,
    /// How parameters move.
    pub optimizer: DetectOptimizer,
    /// How the detector is judged on the way.
    pub eval: DetectEval,
    /// How photos are scaled to learn from.
    pub scenes: SceneConfig,
}

/// Photos with boxes to learn from and to be judged on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectData {
    /// A folder of Pascal VOC, COCO or Penn-Fudan, or the folder of the photos that `annotations` are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photos: Option<PathBuf>,
    /// Annotations of the photos to learn from: COCO's JSON, or a folder of PNGs whose pixels are numbers of objects; found in
    /// `photos` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<PathBuf>,
    /// The same of the photos to be judged on; found in `photos` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// The folder of those photos; `photos` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_photos: Option<PathBuf>,
    /// What objects are called where annotations are masks alone.
    pub class: String,
    /// Follow links and lists that lead out of the folder of photos.
    pub follow_links: bool,
    /// Loader threads; 0 for as many as there are processors.
    pub threads: usize,
    /// Decoded photos kept in memory, MiB.
    pub cache_mib: usize,
    /// Fraction of photos that may be undecodable before the run stops, and of annotations that may be unusable before they are
    /// refused.
    pub max_broken: f64,
}

/// How batch norm is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormKind {
    /// All are trained, by the statistics of the batch.
    Batch,
    /// Those of the backbone stay as they are; pyramid and heads have none.
    Frozen,
}

/// The detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectModel {
    /// `faster-rcnn-c4`, `mask-rcnn-c4`, `faster-rcnn-fpn` or `mask-rcnn-fpn`. Source: MLS, Tables 1, 2 and 4.
    pub kind: Kind,
    /// `resnet18`, `resnet34` or `resnet50`; that of `init` if one is given.
    pub backbone: Architecture,
    /// Channels of its first stage; 64 is usual.
    pub width: usize,
    /// `imagenet` (7x7 and pooling), `cifar` (3x3) or `small` (3x3 and pooling).
    pub stem: Stem,
    /// `batch`: all batch norms are trained; `frozen`: for batches of a few photos. Source: MLS, Sec. 4.1, by MoCo's recipe.
    pub norm: NormKind,
    /// Channels of the feature pyramid. Source: FPN, Sec. 3.
    pub pyramid: usize,
    /// Channels of the convolutions in the heads. Source: Mask R-CNN, Fig. 4.
    pub convs: usize,
    /// Width of the box head's fully connected layer on a pyramid. Source: FPN, Sec. 4.2.
    pub hidden: usize,
    /// Roots of the areas of anchors: with a pyramid one for each of its five maps. Source: FPN, Sec. 4.1.
    pub sizes: Vec<f32>,
    /// Their heights over widths. Source: Faster R-CNN, Sec. 3.1.1.
    pub ratios: Vec<f32>,
    /// Side of a box that is looked at on P4. Source: FPN, Eq. 1.
    pub canonical: f64,
}

/// Proposals: boxes worth a look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalConfig {
    /// Anchors of a photo that are learned from. Source: Faster R-CNN, Sec. 3.1.3.
    pub sampled: usize,
    /// The share of them at most that stand for objects.
    pub objects: f64,
    /// The best of each map before suppression, in training and in testing.
    pub before: [usize; 2],
    /// The best of a photo after it, in training and in testing.
    pub after: [usize; 2],
    /// Overlap (IoU) beyond which the worse of two is suppressed. Source: Faster R-CNN, Sec. 3.3.
    pub overlap: f32,
}

/// Regions: proposals that are looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionConfig {
    /// Regions of a photo that are learned from. Source: FPN, Sec. 4.2.
    pub sampled: usize,
    /// The share of them at most that show objects. Source: Fast R-CNN, Sec. 2.3.
    pub objects: f64,
    /// Least score of a detection.
    pub score: f32,
    /// Overlap (IoU) beyond which the worse of two detections of a class is suppressed.
    pub overlap: f32,
    /// Most detections of a photo. Source: COCO.
    pub most: usize,
}

/// How parameters move: SGD with momentum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectOptimizer {
    /// Learning rate after the warm-up.
    pub lr: f64,
    /// Shares of the run at which it falls to a tenth.
    pub falls: Vec<f64>,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Share of `lr` that the warm-up begins with.
    pub warmup_from: f64,
    /// Momentum.
    pub momentum: f64,
    /// Coupled weight decay, of all but batch norms.
    pub weight_decay: f64,
}

/// By which measure boxes are judged; masks are by COCO's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// COCO's: areas below curves of 101 points.
    Coco,
    /// Pascal VOC's, by 11 points, over the IoUs of COCO; objects marked as difficult do not count.
    Voc,
}

/// How the detector is judged on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectEval {
    /// By which measure: `coco`, or `voc` (Pascal VOC's by 11 points, at the IoUs of COCO). Source: MLS, Tables 1 and 4.
    pub metric: Metric,
    /// Side to which the shortest one of a photo is scaled; the longest is bounded as in training.
    pub shortest: usize,
    /// Batches whose statistics batch norm takes before it is judged; 0 leaves those that ran along. Source: Wu and Johnson 2021,
    /// Sec. 3.
    pub statistics: usize,
    /// Judge every so many steps; 0 only at the end.
    pub every_steps: u64,
    /// Judge on so many photos on the way, spread evenly; 0 for all. At the end all are judged on.
    pub photos: usize,
}

/// Side of a box that is looked at on P4, and P4.
const CANONICAL_LEVEL: f64 = 4.0;
/// LIMIT: of a side, as that of a scene.
const MOST_PIXELS: usize = 8192;
/// Maps of a pyramid.
const MAPS: usize = 5;
/// Weights of the differences of a region from its object. Source: Fast R-CNN's code; detectron2.
pub(super) const REGION_WEIGHTS: [f32; 4] = [10.0, 10.0, 5.0, 5.0];

impl DetectConfig {
    /// This configuration with the keys of a TOML text replaced.
    ///
    /// # Errors
    /// [`Error::Input`] naming the place (a file or an argument) if a key is unknown or a value does not fit.
    pub fn merged(&self, text: &str, place: &str) -> Result<DetectConfig> {
        settings::merged(self, text, place)
    }

    /// This configuration with one `key=value` replaced, the key dotted as in `train.batch=4`.
    ///
    /// # Errors
    /// As [`DetectConfig::merged`].
    pub fn with(&self, setting: &str) -> Result<DetectConfig> {
        settings::with(self, setting)
    }

    /// The backbone.
    pub fn resnet(&self) -> ResNetConfig {
        let DetectModel { backbone: architecture, width, stem, .. } = self.model;
        ResNetConfig { architecture, width, stem, zero_init: false, dilated: 0 }
    }

    /// Pixels from one cell of each of the backbone's maps C2 to C5 to the next.
    fn strides(&self) -> [usize; 4] {
        [1, 2, 4, 8].map(|times| self.model.stem.stride() * times)
    }

    /// What the sides of a batch divide by.
    pub fn stride(&self) -> usize {
        let [.., c4, c5] = self.strides();
        if self.model.kind.is_pyramid() { c5 } else { c4 }
    }

    /// The detector of these classes.
    pub fn detector(&self, classes: usize) -> DetectorConfig {
        let DetectModel { kind, norm, pyramid, convs, hidden, sizes, ratios, canonical, .. } = &self.model;
        let cell =
            |stride: usize, sizes: &[f32]| Cell { stride, sizes: sizes.to_vec(), ratios: ratios.clone() };
        let [c2, c3, c4, c5] = self.strides();
        let cells = match kind.is_pyramid() {
            true => {
                let strides = [c2, c3, c4, c5, 2 * c5];
                strides.into_iter().zip(sizes.chunks(1)).map(|(stride, size)| cell(stride, size)).collect()
            }
            false => vec![cell(c4, sizes)],
        };
        DetectorConfig {
            kind: *kind,
            classes,
            cells,
            widths: [*pyramid, *convs, *hidden],
            norms: *norm == NormKind::Batch,
            canonical: (*canonical, CANONICAL_LEVEL),
        }
    }

    /// How proposals are chosen in training, or in testing.
    pub fn chosen(&self, training: bool) -> Chosen {
        let ProposalConfig { before, after, overlap, .. } = self.proposals;
        let of = |both: [usize; 2]| both[usize::from(!training)];
        Chosen { before: of(before), after: of(after), overlap, least_side: 0.0 }
    }

    /// How detections are chosen.
    pub fn found(&self) -> Found {
        let RegionConfig { score, overlap, most, .. } = self.regions;
        Found { score, overlap, most, weights: REGION_WEIGHTS }
    }

    /// The optimiser.
    pub fn optimizer(&self) -> Optimizer {
        let DetectOptimizer { momentum, weight_decay, .. } = self.optimizer;
        OptimConfig::Sgd(SgdConfig { momentum, weight_decay, nesterov: false }).build()
    }

    /// The learning rate over so many steps.
    pub fn schedule(&self, total: u64) -> LrSchedule {
        let DetectOptimizer { lr, falls, warmup_steps, warmup_from, .. } = &self.optimizer;
        let at = falls.iter().map(|share| (share * total as f64).round() as u64).collect();
        LrSchedule {
            base: *lr,
            start: warmup_from * lr,
            warmup: *warmup_steps,
            total,
            decay: Decay::Steps { at, factor: 0.1 },
        }
    }

    /// Refuses what no detector can be trained with.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key.
    pub fn check(&self) -> Result<()> {
        let bad = |key: &str, what: String, advice: &str| {
            Err(Error::input(format!("{key} is {what}"), "configuration", advice))
        };
        let DetectModel { kind, sizes, ratios, width, pyramid, convs, hidden, .. } = &self.model;
        let positive = |all: &[f32]| !all.is_empty() && all.iter().all(|v| v.is_finite() && *v > 0.0);
        if !positive(sizes) {
            return bad("model.sizes", format!("{sizes:?}"), "give sizes in pixels above 0");
        }
        if kind.is_pyramid() && sizes.len() != MAPS {
            return bad(
                "model.sizes",
                format!("{} sizes", sizes.len()),
                "a pyramid has five maps: give one for each",
            );
        }
        if !positive(ratios) {
            return bad("model.ratios", format!("{ratios:?}"), "give heights over widths above 0");
        }
        let ProposalConfig { sampled, before, after, overlap, .. } = &self.proposals;
        for (key, value) in [
            ("proposals.before", before[0]),
            ("proposals.before", before[1]),
            ("proposals.after", after[0]),
            ("proposals.after", after[1]),
            ("model.width", *width),
            ("model.pyramid", *pyramid),
            ("model.convs", *convs),
            ("model.hidden", *hidden),
            ("proposals.sampled", *sampled),
            ("regions.sampled", self.regions.sampled),
            ("regions.most", self.regions.most),
            ("eval.shortest", self.eval.shortest),
        ] {
            expect_count(key, value)?;
        }
        for (key, share) in [
            ("proposals.objects", self.proposals.objects),
            ("regions.objects", self.regions.objects),
            ("data.max_broken", self.data.max_broken),
            ("proposals.overlap", f64::from(*overlap)),
            ("regions.overlap", f64::from(self.regions.overlap)),
            ("regions.score", f64::from(self.regions.score)),
        ] {
            expect_share(key, share)?;
        }
        let DetectOptimizer { lr, falls, warmup_from, momentum, weight_decay, .. } = &self.optimizer;
        for (key, value) in [
            ("optimizer.lr", *lr),
            ("optimizer.warmup_from", *warmup_from),
            ("optimizer.momentum", *momentum),
            ("optimizer.weight_decay", *weight_decay),
        ] {
            expect_amount(key, value)?;
        }
        if !falls.iter().all(|share| (0.0..=1.0).contains(share)) {
            return bad("optimizer.falls", format!("{falls:?}"), "give shares of the run from 0 to 1");
        }
        if !(self.model.canonical.is_finite() && self.model.canonical > 0.0) {
            return bad("model.canonical", self.model.canonical.to_string(), "give a side in pixels above 0");
        }
        if self.eval.shortest > MOST_PIXELS {
            return bad("eval.shortest", self.eval.shortest.to_string(), "give a side from 1 to 8,192");
        }
        self.train.check()?;
        self.scenes.check()
    }
}
