//! Configuration of a segmenter's training: what is found in `config.toml` of its run.

use super::model::{Context, SegmenterConfig};
use crate::engine::nn::{Architecture, ResNetConfig, Stem};
use crate::engine::optim::{Decay, LrSchedule, OptimConfig, Optimizer, SgdConfig};
use crate::error::{Error, Result};
use crate::photos::views::CropConfig;
use crate::run::settings;
use crate::transfer::train::{TrainConfig, encoder_kind, expect_amount, expect_count, expect_share};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that decides the training of a segmenter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentConfig {
    /// Seed of parameters, order, crops and dropped channels.
    pub seed: u64,
    /// `auto`, `cpu`, `gpu`, `gpu:N` or `gpu:NAME`, as `vista devices` lists them.
    pub device: String,
    /// File whose encoder the backbone starts from: a checkpoint, or another library's weights; random parameters if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// What stands before the names of that encoder, where the file holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_prefix: Option<String>,
    /// Photos with label maps to learn from and to be judged on.
    pub data: SegmentData,
    /// The segmenter.
    pub segmenter: SegmentModel,
    /// Length and batch.
    pub train: TrainConfig,
    /// How parameters move.
    pub optimizer: SegmentOptimizer,
    /// How whole photos are segmented, and when the segmenter is judged.
    pub eval: SegmentEval,
    /// Crops of photos that are learned from.
    pub crops: CropConfig,
}

/// Photos with label maps to learn from and to be judged on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentData {
    /// A folder of Cityscapes, Pascal VOC, COCO, or of pairs (`images/train`, `labels/train`, the same of test); or the folder of the
    /// photos that `labels` are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photos: Option<PathBuf>,
    /// The folder of their label maps: PNGs, indexed or grey; found in `photos` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// The folder of the photos to be judged on, where `labels` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_photos: Option<PathBuf>,
    /// The folder of their label maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<PathBuf>,
    /// The list of classes, one a line: a number, a name, perhaps a colour; that of the set, or the numbers that occur, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<PathBuf>,
    /// Follow links that lead out of these folders.
    pub follow_links: bool,
    /// Loader threads; 0 for as many as there are processors.
    pub threads: usize,
    /// Decoded photos kept in memory, MiB.
    pub cache_mib: usize,
    /// Fraction of photos that may be undecodable before the run stops, and of photos whose label maps may be unusable.
    pub max_broken: f64,
}

/// How the cells of a map are told of the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentKind {
    /// Means over grids of several sizes. Source: PSPNet (Zhao et al. 2017).
    PspNet,
    /// Attention between all pairs of cells. Source: PSANet (Zhao et al. 2018).
    PsaNet,
}

impl std::fmt::Display for SegmentKind {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(if *self == SegmentKind::PspNet { "pspnet" } else { "psanet" })
    }
}

/// The segmenter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentModel {
    /// `pspnet` or `psanet`. Source: MLS, Table 3.
    pub kind: SegmentKind,
    /// `resnet18`, `resnet34` or `resnet50`; that of `init` if one is given.
    pub backbone: Architecture,
    /// Channels of its first stage; 64 is usual.
    pub width: usize,
    /// `imagenet` (7x7 and pooling), `cifar` (3x3) or `small` (3x3 and pooling).
    pub stem: Stem,
    /// Bins along a side of each level of a PSPNet's pyramid. Source: PSPNet, Sec. 3.2.
    pub bins: Vec<usize>,
    /// A PSANet's attention is on maps so many times smaller. Source: PSANet, Sec. 4.1.
    pub shrink: usize,
    /// Probability that a channel before the last layer of a classifier is dropped. Source: PSPNet's code.
    pub dropout: f64,
}

/// How parameters move: SGD with momentum, the rate falling as `lr (1 - t / T)^power`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentOptimizer {
    /// Learning rate of the backbone. Source: PSPNet, Sec. 5.1.
    pub lr: f64,
    /// What it is multiplied by for the layers behind the backbone. Source: PSPNet's code.
    pub new_layers: f64,
    /// The exponent. Source: PSPNet, Sec. 5.1.
    pub power: f64,
    /// Momentum.
    pub momentum: f64,
    /// Coupled weight decay, of all parameters.
    pub weight_decay: f64,
}

/// How whole photos are segmented, and when the segmenter is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentEval {
    /// What a photo's size is multiplied by: the probabilities of several are averaged. Source: PSPNet, Sec. 5.1 (one, or several).
    pub scales: Vec<f64>,
    /// Average with the mirrored photo's probabilities.
    pub flip: bool,
    /// Windows of the crop's size lie so many of its sides apart. Source: PSPNet's code.
    pub stride: f64,
    /// Judge every so many steps; 0 only at the end.
    pub every_steps: u64,
    /// Judge on so many photos on the way, spread evenly; 0 for all. At the end all are judged on.
    pub photos: usize,
}

impl SegmentConfig {
    /// This configuration with the keys of a TOML text replaced.
    ///
    /// # Errors
    /// [`Error::Input`] naming the place (a file or an argument) if a key is unknown or a value does not fit.
    pub fn merged(&self, text: &str, place: &str) -> Result<SegmentConfig> {
        settings::merged(self, text, place)
    }

    /// This configuration with one `key=value` replaced, the key dotted as in `train.batch=4`.
    ///
    /// # Errors
    /// As [`SegmentConfig::merged`].
    pub fn with(&self, setting: &str) -> Result<SegmentConfig> {
        settings::with(self, setting)
    }

    /// The same with a backbone of the kind that the file `init` holds.
    ///
    /// # Errors
    /// [`Error::Input`] if the file holds no encoder.
    pub fn like_init(mut self) -> Result<SegmentConfig> {
        if let Some(init) = &self.init {
            let found = encoder_kind(init, self.init_prefix.as_deref())?;
            let model = &mut self.segmenter;
            (model.backbone, model.width, model.stem) = (found.architecture, found.width, found.stem);
        }
        Ok(self)
    }

    /// The backbone: its last two stages dilated.
    pub fn resnet(&self) -> ResNetConfig {
        let SegmentModel { backbone: architecture, width, stem, .. } = self.segmenter;
        ResNetConfig { architecture, width, stem, zero_init: false, dilated: 2 }
    }

    /// The segmenter of these classes.
    pub fn segmenter(&self, classes: usize) -> SegmenterConfig {
        let SegmentModel { kind, ref bins, shrink, dropout, .. } = self.segmenter;
        let context = match kind {
            SegmentKind::PspNet => Context::Pyramid { bins: bins.clone() },
            SegmentKind::PsaNet => {
                // Offsets between all positions of the map of a crop, once it is smaller.
                let side = (self.crops.size - 1) / (self.resnet().stride() * shrink) + 1;
                Context::Attention { mask: [2 * side - 1; 2], shrink }
            }
        };
        SegmenterConfig { context, classes, dropout }
    }

    /// The optimiser.
    pub fn optimizer(&self) -> Optimizer {
        let SegmentOptimizer { momentum, weight_decay, .. } = self.optimizer;
        OptimConfig::Sgd(SgdConfig { momentum, weight_decay, nesterov: false }).build()
    }

    /// The learning rate over so many steps.
    pub fn schedule(&self, total: u64) -> LrSchedule {
        let SegmentOptimizer { lr, power, .. } = self.optimizer;
        LrSchedule { base: lr, start: 0.0, warmup: 0, total, decay: Decay::Poly { power } }
    }

    /// Refuses what no segmenter can be trained with.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key.
    pub fn check(&self) -> Result<()> {
        let bad = |key: &str, what: String, advice: &str| {
            Err(Error::input(format!("{key} is {what}"), "configuration", advice))
        };
        let SegmentModel { bins, shrink, width, dropout, .. } = &self.segmenter;
        expect_count("segmenter.width", *width)?;
        expect_count("segmenter.shrink", *shrink)?;
        if bins.is_empty() || bins.iter().any(|bins| !(1..=64).contains(bins)) {
            return bad("segmenter.bins", format!("{bins:?}"), "give numbers from 1 to 64");
        }
        if self.segmenter.kind == SegmentKind::PspNet && bins.contains(&1) && self.train.batch < 2 {
            let advice = "of the whole map in one bin it takes the variance over photos: give 2 or more";
            return bad("train.batch", self.train.batch.to_string(), advice);
        }
        if !(0.0..1.0).contains(dropout) {
            return bad("segmenter.dropout", dropout.to_string(), "give a probability from 0 to below 1");
        }
        let SegmentOptimizer { lr, new_layers, power, momentum, weight_decay } = self.optimizer;
        for (key, value) in [
            ("optimizer.lr", lr),
            ("optimizer.new_layers", new_layers),
            ("optimizer.power", power),
            ("optimizer.momentum", momentum),
            ("optimizer.weight_decay", weight_decay),
        ] {
            expect_amount(key, value)?;
        }
        let SegmentEval { scales, stride, .. } = &self.eval;
        if scales.is_empty() || scales.iter().any(|scale| !(0.05..=20.0).contains(scale)) {
            return bad("eval.scales", format!("{scales:?}"), "give numbers from 0.05 to 20");
        }
        if !(0.05..=1.0).contains(stride) {
            return bad("eval.stride", stride.to_string(), "give a share of the crop's side from 0.05 to 1");
        }
        expect_share("data.max_broken", self.data.max_broken)?;
        self.train.check()?;
        self.crops.check()
    }
}
