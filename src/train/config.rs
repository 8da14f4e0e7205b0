//! Configuration: plain structs with the papers' names and defaults, printed at the start and kept with the run.
//!
//! A preset is a whole configuration; a TOML file, then the command's flags, then `--set key=value` replace parts
//! of it. An unknown key is an error that names the known ones.

use crate::device::Device;
use crate::encoder::ResNetEncoder;
use crate::error::{Error, Result};
use crate::nn::{Architecture, ResNetConfig, Stem};
use crate::objective::{Dictionaries, Mls, Moco, Objective, S2r2};
use crate::optim::{AdamConfig, OptimConfig, Optimizer, SgdConfig};
use crate::views::ViewConfig;
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use toml::{Table, Value};

/// Everything that decides a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Seed of parameters, order, views and shuffles.
    pub seed: u64,
    /// `auto`, `cpu`, `gpu` or `gpu:NAME`.
    pub device: String,
    /// Photos to learn from and to be judged on.
    pub data: DataConfig,
    /// The encoder.
    pub model: ModelConfig,
    /// What is learned.
    pub objective: ObjectiveConfig,
    /// Length and batch.
    pub train: TrainConfig,
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
    /// Folder of photos, or a csv list (`file,labels[,split]`); the bundled photos if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photos: Option<PathBuf>,
    /// Folder with `train/CLASS/` and `test/CLASS/` to judge by kNN; with bundled photos, the bundled classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labelled: Option<PathBuf>,
    /// Loader threads; 0 for as many as there are processors.
    pub threads: usize,
    /// Decoded photos kept in memory, MiB.
    pub cache_mib: usize,
    /// Scale photos down once so that the short side is at most this; 0 leaves them alone.
    pub shrink_to: usize,
    /// Fraction of photos that may be undecodable before the run stops.
    pub max_broken: f64,
}

/// The encoder.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// `resnet18`, `resnet34` or `resnet50`.
    pub backbone: Architecture,
    /// Channels of the first stage; 64 is usual.
    pub width: usize,
    /// `imagenet` (7x7 and pooling), `cifar` (3x3) or `small` (3x3 and pooling).
    pub stem: Stem,
    /// Start residual branches at zero.
    pub zero_init: bool,
    /// Width of the projections z.
    pub projection: usize,
}

/// Which objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Multi-label self-supervised learning.
    Mls,
    /// InfoNCE with a queue.
    Moco,
    /// Ranking by smooth average precision.
    S2r2,
}

/// What is learned. Keys that a method does not use are ignored by it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// `mls`, `moco` or `s2r2`.
    pub name: Method,
    /// Temperature.
    pub tau: f32,
    /// MLS: pseudo-positives of each query, k.
    pub k: usize,
    /// MLS: weight of the multi-label term, lambda.
    pub lambda: f32,
    /// MLS: `both`, `g_only` or `z_only` (Table 7).
    pub dictionaries: Dictionaries,
    /// MLS, MoCo: slots of the queue, D.
    pub queue: usize,
    /// MLS, MoCo: share of the key encoder that stays at each step, m.
    pub m: f64,
    /// Groups of split batch norm; with the shuffle of keys, what stands for ShuffleBN on one device.
    pub bn_splits: usize,
}

/// Length and batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Images in a batch, B.
    pub batch: usize,
    /// Views of each image, K; MLS and MoCo always use a query and a key view.
    pub views: usize,
    /// Passes over the photos.
    pub epochs: u64,
    /// Stop after this many steps; 0 for no such limit.
    pub steps: u64,
    /// Stop after this many minutes of training; 0 for no such limit.
    pub minutes: f64,
}

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// SGD with momentum.
    Sgd,
    /// Adam with coupled weight decay.
    Adam,
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
    /// `sgd` or `adam`.
    pub name: OptimizerName,
    /// Learning rate.
    pub lr: f64,
    /// `cosine` or `constant`.
    pub schedule: ScheduleName,
    /// Steps of linear warm-up from 0.
    pub warmup_steps: u64,
    /// SGD's momentum.
    pub momentum: f64,
    /// Coupled weight decay, on all parameters.
    pub weight_decay: f64,
}

/// How the encoder is judged on the way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Neighbours of the weighted kNN classifier.
    pub knn_k: usize,
    /// Its temperature.
    pub knn_tau: f64,
    /// Judge every so many epochs; 0 only before and after.
    pub every_epochs: u64,
    /// Judge every so many minutes of training too; 0 never.
    pub every_minutes: f64,
}

impl Config {
    /// This configuration with the keys of a TOML text replaced.
    ///
    /// # Errors
    /// [`Error::Input`] naming the place (a file or an argument) if a key is unknown or a value does not fit.
    pub fn merged(&self, text: &str, place: &str) -> Result<Config> {
        let bad = |e: &dyn std::fmt::Display| {
            let message = e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            Error::input("bad configuration", place, message)
        };
        let changes: Table = toml::from_str(text).map_err(|e: toml::de::Error| bad(&e.message()))?;
        let mut table = Table::try_from(self).map_err(|e| bad(&e))?;
        merge(&mut table, changes);
        table.try_into().map_err(|e: toml::de::Error| bad(&e.message()))
    }

    /// This configuration with one `key=value` replaced, the key dotted as in `objective.tau=0.1`.
    ///
    /// # Errors
    /// As [`Config::merged`].
    pub fn with(&self, setting: &str) -> Result<Config> {
        let place = format!("--set {setting}");
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Error::input("no `=`", place, "write --set key=value"));
        };
        // A bare word is a string.
        let value = value.trim();
        let literal = match toml::from_str::<Table>(&format!("x = {value}")) {
            Ok(_) => value.to_string(),
            Err(_) => Value::String(value.into()).to_string(),
        };
        self.merged(&format!("{} = {literal}", key.trim()), &place)
    }

    /// Refuses values that no run can have.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first key that does not fit and why.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, what: &str, advice: &str| Err(Error::input(what, key, advice));
        let (train, objective) = (&self.train, &self.objective);
        let keys = objective.name != Method::S2r2;
        if train.batch < 2 {
            return refuse(
                "train.batch",
                "a batch of less than 2 has no negatives and no batch statistics",
                "raise --batch",
            );
        }
        if !keys && train.views < 2 {
            return refuse("train.views", "S2R2 needs at least 2 views of each image", "raise --views");
        }
        if objective.tau.is_nan() || objective.tau <= 0.0 {
            return refuse(
                "objective.tau",
                "the temperature must be above 0",
                "set it to 0.2 (MLS, MoCo) or 0.05 (S2R2)",
            );
        }
        if objective.bn_splits == 0 || train.batch % objective.bn_splits != 0 {
            let what = format!("{} groups do not divide a batch of {}", objective.bn_splits, train.batch);
            return refuse("objective.bn_splits", &what, "choose a divisor of the batch");
        }
        if keys && objective.queue < train.batch {
            let what = format!("a queue of {} is smaller than the batch of {}", objective.queue, train.batch);
            return refuse("objective.queue", &what, "raise it or lower --batch");
        }
        if objective.name == Method::Mls && (objective.k == 0 || objective.k > objective.queue.min(64)) {
            let what = format!("k = {} pseudo-positives of a queue of {}", objective.k, objective.queue);
            return refuse("objective.k", &what, "choose k from 1 to the smaller of 64 and the queue");
        }
        if keys && !(0.0..=1.0).contains(&objective.m) {
            return refuse("objective.m", "the share that stays must be from 0 to 1", "set it to 0.995");
        }
        if self.model.width == 0 || self.model.projection == 0 {
            return refuse("model", "a width of 0", "set model.width to 64 and model.projection to 128");
        }
        if self.optimizer.lr.is_nan() || self.optimizer.lr < 0.0 {
            return refuse("optimizer.lr", "the learning rate must not be negative", "set it to 0.001");
        }
        if self.eval.knn_k == 0 || self.eval.knn_tau.is_nan() || self.eval.knn_tau <= 0.0 {
            return refuse(
                "eval",
                "kNN needs at least one neighbour and a temperature above 0",
                "set knn_k = 20, knn_tau = 0.07",
            );
        }
        self.views.check()
    }

    /// The encoder's backbone.
    pub fn resnet(&self) -> ResNetConfig {
        let ModelConfig { backbone: architecture, width, stem, zero_init, .. } = self.model;
        ResNetConfig { architecture, width, stem, zero_init }
    }

    /// The encoder with which a run of this configuration starts: its parameters are drawn by the seed.
    ///
    /// # Errors
    /// The device's.
    pub fn encoder(&self, device: &Device) -> Result<ResNetEncoder> {
        let mut rng = StdRng::seed_from_u64(self.seed);
        ResNetEncoder::new(device, &mut rng, &self.resnet(), self.model.projection)
    }

    /// The objective.
    pub fn objective(&self) -> Box<dyn Objective> {
        let ObjectiveConfig { name, tau, k, lambda, dictionaries, .. } = self.objective;
        match name {
            Method::Mls => Box::new(Mls { tau, k, lambda, dictionaries }),
            Method::Moco => Box::new(Moco { tau }),
            Method::S2r2 => Box::new(S2r2 { tau }),
        }
    }

    /// The optimiser.
    pub fn optimizer(&self) -> Box<dyn Optimizer> {
        let OptimizerConfig { name, momentum, weight_decay, .. } = self.optimizer;
        let config = match name {
            OptimizerName::Sgd => OptimConfig::Sgd(SgdConfig { momentum, weight_decay, nesterov: false }),
            OptimizerName::Adam => OptimConfig::Adam(AdamConfig { weight_decay, ..AdamConfig::default() }),
        };
        config.build()
    }

    /// The whole configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration of plain values")
    }
}

/// Replaces values of `into` by those of `from`, section by section. `objective = "mls"` stands for its `name`.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::PRESETS;

    #[test]
    fn every_preset_is_valid_and_survives_toml() {
        for (name, _) in PRESETS {
            let config = Config::preset(name).expect("preset");
            config.check().expect("valid");
            let again =
                Config::preset("demo").expect("preset").merged(&config.to_toml(), "test").expect("parsed");
            assert_eq!(config, again, "{name}");
        }
    }

    #[test]
    fn settings_replace_one_key_and_unknown_ones_are_named() {
        let config = Config::preset("demo")
            .expect("preset")
            .with("objective.name=mls")
            .expect("set")
            .with("train.batch = 32")
            .expect("set");
        assert_eq!((config.objective.name, config.train.batch), (Method::Mls, 32));
        for (setting, part) in
            [("objective.tua=1", "tua"), ("nothing", "key=value"), ("train.batch=many", "many")]
        {
            let message = config.with(setting).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains(setting), "{message}");
        }
    }

    #[test]
    fn impossible_values_are_refused_with_advice() {
        for setting in ["train.batch=1", "train.views=1", "objective.tau=0", "eval.knn_k=0", "model.width=0"]
        {
            let message = Config::preset("demo")
                .expect("preset")
                .with(setting)
                .expect("parsed")
                .check()
                .unwrap_err()
                .to_string();
            assert!(message.matches(": ").count() >= 2, "{message}");
        }
        let mls = Config::preset("demo").expect("preset").with("objective.name=mls").expect("set");
        for setting in ["objective.k=300", "objective.k=65", "objective.queue=8", "objective.bn_splits=3"] {
            assert!(mls.with(setting).expect("parsed").check().is_err(), "{setting}");
        }
    }
}
