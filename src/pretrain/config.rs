//! Configuration: plain structs with the papers' names and defaults, printed at the start and kept with the run.
//!
//! A preset is a whole configuration; a TOML file, then the command's flags, then `--set key=value` replace parts
//! of it. An unknown key is an error that names the known ones.

use super::method::{HalfConfig, KeyViews, MethodConfig};
use crate::engine::nn::{Architecture, ResNetConfig, Stem};
use crate::engine::optim::{AdamConfig, LarsConfig, OptimConfig, Optimizer, SgdConfig};
use crate::photos::views::{Detail, ViewConfig};
use crate::run::{OnNan, Settings};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use toml::Table;

/// Everything that decides a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Seed of parameters, order, views and shuffles.
    pub seed: u64,
    /// `auto`, `cpu`, `gpu`, `gpu:N` or `gpu:NAME`, as `vista devices` lists them.
    pub device: String,
    /// File whose encoder the run starts from: a checkpoint, or another library's weights; random parameters if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// What stands before the names of that encoder, where the file holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_prefix: Option<String>,
    /// Photos to learn from and to be judged on.
    pub data: DataConfig,
    /// The encoder.
    pub model: ModelConfig,
    /// The method.
    pub method: MethodConfig,
    /// Length and batch.
    pub train: TrainConfig,
    /// What is kept as f16.
    pub half: HalfConfig,
    /// How parameters move.
    pub optimizer: OptimizerConfig,
    /// How the encoder is judged on the way.
    pub eval: EvalConfig,
    /// How views are drawn.
    pub views: ViewConfig,
}

/// Photos to learn from and to be judged on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Photos to learn from: a folder, a csv list, or a folder of STL-10, CIFAR-10, Pascal VOC or COCO; the bundled ones if
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photos: Option<PathBuf>,
    /// Labelled photos to judge by kNN: a folder with `train/CLASS/` and `test/CLASS/`, or of STL-10 or CIFAR-10; if absent the
    /// bundled classes with bundled photos, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labelled: Option<PathBuf>,
    /// Take the folders in `photos` for classes: nothing is learned from them, but the log then has the purity of
    /// pseudo-positives.
    pub class_folders: bool,
    /// Follow links and lists that lead out of the folder of photos.
    pub follow_links: bool,
    /// Loader threads; 0 for as many as there are processors.
    pub threads: usize,
    /// Folder in which decoded photos are kept for later epochs and later runs, in a folder `vista-photos` of its own; none if
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// Decoded photos kept in memory, MiB.
    pub cache_mib: usize,
    /// Scale photos down once so that the short side is at most this; 0 leaves them alone.
    pub shrink_to: usize,
    /// Decode JPEGs at a half, a quarter or an eighth of their size where the smallest crop that can be drawn has twice the
    /// pixels of its view even then.
    pub scaled_decode: bool,
    /// Fraction of photos that may be undecodable before the run stops, and of a list's entries that may be unusable before
    /// it is refused.
    pub max_broken: f64,
}

/// The encoder.
///
/// # Source
/// He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, Table 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// `resnet18`, `resnet34` or `resnet50`.
    pub backbone: Architecture,
    /// Channels of the first stage; 64 is usual.
    pub width: usize,
    /// `imagenet` (7x7 and pooling), `cifar` (3x3) or `small` (3x3 and pooling).
    pub stem: Stem,
    /// Start residual branches at zero. Source: Goyal et al. 2017, Sec. 5.1.
    pub zero_init: bool,
}

/// Length and batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Images in a batch, B. Source: MoCo-v2's recipe on COCO.
    pub batch: usize,
    /// Groups of batch norm in the views of one size; with the shuffle of keys, what stands for ShuffleBN on one device.
    /// Source: MoCo, Sec. 3.3, and its eight GPUs.
    pub groups: usize,
    /// Passes over the photos. Source: MLS, Sec. 4.1.
    pub epochs: u64,
    /// Stop after this many steps; 0 for no such limit.
    pub steps: u64,
    /// Stop after this many minutes of training; 0 for no such limit.
    pub minutes: f64,
    /// Views that pass through the encoder at a time (gradient caching); 0 for as many as `memory_mib` holds. Source: Gao et al.
    /// 2021 (GradCache), Sec. 3.
    pub chunk: usize,
    /// Memory for the activations of one pass, MiB, by which chunks are chosen.
    pub memory_mib: usize,
    /// Most memory of all tensors, MiB, beyond which a run is refused before it starts; 0 for what is free, where that
    /// can be known.
    pub memory_limit_mib: usize,
    /// Write a checkpoint every so many minutes; 0 only at the end and when the encoder was judged the best so far.
    pub save_minutes: f64,
    /// Write one every so many steps too; 0 never.
    pub save_steps: u64,
    /// What to do with a step whose loss or gradient is not finite: `stop`, or `skip` it, at most three in a row.
    pub on_nan: OnNan,
}

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// SGD with momentum.
    Sgd,
    /// Adam with coupled weight decay.
    Adam,
    /// SGD with momentum and a rate for each tensor; see `exclude_1d`.
    Lars,
}

/// Course of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleName {
    /// From `lr` to 0 along half a cosine over all steps.
    Cosine,
    /// `lr` all through.
    Constant,
}

/// How parameters move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// `sgd`, `adam` or `lars`.
    pub name: OptimizerName,
    /// Learning rate. Source: MLS, Sec. 4.1.
    pub lr: f64,
    /// `cosine`, to 0 over the run, or `constant`. Source: MoCo-v2, Sec. 2.
    pub schedule: ScheduleName,
    /// Steps of linear warm-up from 0.
    pub warmup_steps: u64,
    /// The same as a share of the run, whether steps, epochs or minutes end it: one of both is 0.
    pub warmup_share: f64,
    /// Momentum of SGD and LARS. Source: MoCo, Sec. 3.3.
    pub momentum: f64,
    /// Coupled weight decay, on all parameters that are not excluded. Source: MLS, Sec. 4.1.
    pub weight_decay: f64,
    /// LARS: trust coefficient. Source: You, Gitman and Ginsburg 2017 (LARS), Sec. 5.
    pub trust: f64,
    /// LARS: leave vectors (biases, batch norm) to plain momentum SGD without decay, as BYOL does and SwAV does not.
    pub exclude_1d: bool,
}

/// How the encoder is judged on the way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Neighbours of the weighted kNN classifier.
    pub knn_k: usize,
    /// Its temperature. Source: Wu, Xiong, Yu and Lin 2018 (instance discrimination), Sec. 3.4.
    pub knn_tau: f64,
    /// Judge every so many epochs; 0 only before and after.
    pub every_epochs: u64,
    /// Judge every so many minutes of training too; 0 never.
    pub every_minutes: f64,
    /// Judge every so many steps too; 0 never.
    pub every_steps: u64,
    /// Warn of a collapse after so many steps of it in a row; 0 never.
    pub collapse_steps: u64,
}

impl Config {
    /// The recipe that most methods here begin from.
    ///
    /// # Source
    /// MLS, Sec. 4.1: 400 epochs of COCO with a ResNet-50, lr 0.3, weight decay 1e-4. Batch 256, momentum 0.9, cosine to 0,
    /// views and eight groups of batch norm: MoCo-v2's recipe on COCO.
    pub fn base(method: impl Into<MethodConfig>) -> Config {
        Config {
            seed: 0,
            device: "auto".into(),
            init: None,
            init_prefix: None,
            data: DataConfig {
                photos: None,
                labelled: None,
                class_folders: false,
                follow_links: false,
                threads: 0,
                cache_dir: None,
                cache_mib: 1024,
                shrink_to: 0,
                scaled_decode: true,
                max_broken: 0.01,
            },
            model: ModelConfig {
                backbone: Architecture::Resnet50,
                width: 64,
                stem: Stem::Imagenet,
                zero_init: false,
            },
            method: method.into(),
            train: TrainConfig {
                batch: 256,
                groups: 8,
                epochs: 400,
                steps: 0,
                minutes: 0.0,
                chunk: 0,
                memory_mib: 4096,
                memory_limit_mib: 0,
                save_minutes: 5.0,
                save_steps: 0,
                on_nan: OnNan::Stop,
            },
            half: HalfConfig::default(),
            optimizer: OptimizerConfig {
                name: OptimizerName::Sgd,
                lr: 0.3,
                schedule: ScheduleName::Cosine,
                warmup_steps: 0,
                warmup_share: 0.0,
                momentum: 0.9,
                weight_decay: 1e-4,
                trust: 1e-3,
                exclude_1d: true,
            },
            eval: EvalConfig {
                knn_k: 20,
                knn_tau: 0.07,
                every_epochs: 1,
                every_minutes: 0.0,
                every_steps: 0,
                collapse_steps: 200,
            },
            views: ViewConfig::moco_v2(224),
        }
    }

    /// A whole number of the method, by its key; `None` where it has none.
    pub fn whole(&self, key: &str) -> Option<usize> {
        self.method.table().get(key)?.as_integer()?.try_into().ok()
    }

    /// The encoder's backbone.
    pub fn resnet(&self) -> ResNetConfig {
        let ModelConfig { backbone: architecture, width, stem, zero_init } = self.model;
        ResNetConfig { architecture, width, stem, zero_init, dilated: 0 }
    }

    /// How each view of an image is drawn, in order.
    pub fn image_views(&self) -> Vec<ViewConfig> {
        self.method.views(&self.views)
    }

    /// How finely photos must be decoded for its views; `None` for all pixels.
    pub fn detail(&self) -> Option<Detail> {
        Detail::of(&self.image_views()).filter(|_| self.data.scaled_decode)
    }

    /// Rows of a query pass that are normalised together or in groups: all views of the first size that one encoder sees.
    pub(super) fn query_rows(&self) -> usize {
        let first = self.image_views().iter().take_while(|view| view.size == self.views.size).count();
        self.train.batch * if self.method.key_views() == KeyViews::Second { 1 } else { first }
    }

    /// The optimiser.
    pub fn optimizer(&self) -> Optimizer {
        let OptimizerConfig { name, momentum, weight_decay, trust, exclude_1d, .. } = self.optimizer;
        let config = match name {
            OptimizerName::Sgd => OptimConfig::Sgd(SgdConfig { momentum, weight_decay, nesterov: false }),
            OptimizerName::Adam => OptimConfig::Adam(AdamConfig { weight_decay, ..AdamConfig::default() }),
            OptimizerName::Lars => OptimConfig::Lars(LarsConfig {
                momentum,
                weight_decay,
                trust,
                exclude_1d,
                ..LarsConfig::default()
            }),
        };
        config.build()
    }

    /// The same with absolute paths, so that it says the same in every working folder.
    pub fn absolute(self) -> Config {
        Settings::absolute(self)
    }

    /// The whole configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration of plain values")
    }

    /// All of it as a table, in which an f32 has its own digits and no more.
    pub(super) fn values(&self) -> Table {
        toml::from_str(&self.to_toml()).expect("TOML")
    }
}
