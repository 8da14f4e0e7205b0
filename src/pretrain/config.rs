//! Configuration: plain structs with the papers' names and defaults, printed at the start and kept with the run.
//!
//! A preset is a whole configuration; a TOML file, then the command's flags, then `--set key=value` replace parts
//! of it. An unknown key is an error that names the known ones.

use super::keys;
use crate::engine::nn::{Architecture, Stem};
use crate::error::{Error, Result};
use crate::files;
use crate::photos::views::ViewConfig;
use crate::pretrain::objective::{Dictionaries, LossTerm, Normalizer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// LIMIT: bytes of a configuration; a whole one has 2 KiB. Reading TOML takes 100 bytes for each.
pub(crate) const MAX_TEXT: usize = 1 << 18;

/// Everything that decides a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Seed of parameters, order, views and shuffles.
    pub seed: u64,
    /// `auto`, `cpu`, `gpu`, `gpu:N` or `gpu:NAME`.
    pub device: String,
    /// File whose encoder the run starts from: a checkpoint, or another library's weights
    /// ([`start_from`](crate::interop::start_from)); random parameters if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// What stands before the names of that encoder, where the file holds several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_prefix: Option<String>,
    /// Photos to learn from and to be judged on.
    pub data: DataConfig,
    /// The encoder.
    pub model: ModelConfig,
    /// What is learned.
    pub objective: ObjectiveConfig,
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
    /// How the second view of each image is drawn, where it differs (BYOL).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_view: Option<ViewConfig>,
    /// Small crops beside the full ones (SwAV).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub small_views: Option<SmallViews>,
}

/// Small crops of each image, drawn as `views` but for these.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmallViews {
    /// How many; they are part of `train.views`.
    pub count: usize,
    /// Side in pixels.
    pub size: usize,
    /// Share of the photo's area that a crop covers, from and to.
    pub crop_scale: [f64; 2],
}

/// Photos to learn from and to be judged on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Photos, by any path that [`Photos::open`](crate::photos::Photos::open) knows; the bundled ones if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photos: Option<PathBuf>,
    /// Labelled photos to judge by kNN, by any path that [`labelled_split`](crate::photos::labelled_split) knows; with
    /// bundled photos, the bundled classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labelled: Option<PathBuf>,
    /// Take the folders in `photos` for classes: nothing is learned from them, but the log then has the purity of
    /// pseudo-positives.
    pub class_folders: bool,
    /// Follow links and lists that lead out of the folder of photos.
    pub follow_links: bool,
    /// Loader threads; 0 for as many as there are processors.
    pub threads: usize,
    /// Decoded photos kept in memory, MiB.
    pub cache_mib: usize,
    /// Scale photos down once so that the short side is at most this; 0 leaves them alone.
    pub shrink_to: usize,
    /// Fraction of photos that may be undecodable before the run stops, and of a list's entries that may be unusable before
    /// it is refused.
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
    /// Hidden width of projector and predictor; 0 for the width of the features.
    pub hidden: usize,
    /// Batch norm in the hidden layer of projector and predictor.
    pub projector_norm: bool,
    /// SwAV: number of prototypes.
    pub prototypes: usize,
    /// DenseCL: cells in a row of the grid; 0 for as many as the backbone's map has.
    pub dense_grid: usize,
}

/// Which objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Multi-label self-supervised learning; with `term = "knn_softmax"` kNN-MoCo.
    Mls,
    /// InfoNCE with a queue.
    Moco,
    /// Ranking by smooth average precision.
    S2r2,
    /// NT-Xent within the batch.
    Simclr,
    /// Codes of one view predicted from the others.
    Swav,
    /// Projections of the key encoder predicted from the other view.
    Byol,
    /// InfoNCE of views and of their cells.
    Densecl,
}

/// How MLS is kept stable (Sec. 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stabilization {
    /// `L_nce + lambda L_ml` throughout, Eq. 10: the method.
    Combined,
    /// `L_nce` alone for `warmup_epochs`, then `L_ml` alone.
    Warmup,
    /// `L_ml` alone: known to be unstable.
    None,
}

/// What is learned. Keys that a method does not use are ignored by it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// `mls`, `moco`, `s2r2`, `simclr`, `swav`, `byol` or `densecl`.
    pub name: Method,
    /// Temperature.
    pub tau: f32,
    /// MLS: pseudo-positives of each query, k.
    pub k: usize,
    /// MLS: weight of the multi-label term; DenseCL: share of the dense term; lambda.
    pub lambda: f32,
    /// MLS: `both`, `g_only` or `z_only` (Table 7).
    pub dictionaries: Dictionaries,
    /// MLS: `bce`, `bce_pos`, `knn_softmax` or `none` (Table 6).
    pub term: LossTerm,
    /// MLS: what Eq. 9 is divided by, `d`, `k` or `one`.
    pub normalizer: Normalizer,
    /// MLS: `combined`, `warmup` or `none` (Sec. 3.3).
    pub stabilization: Stabilization,
    /// MLS: epochs of InfoNCE alone, for `stabilization = "warmup"`.
    pub warmup_epochs: u64,
    /// MLS, MoCo, DenseCL: slots of the queue, D; SwAV: the same, 0 for none.
    pub queue: usize,
    /// Share of the key encoder that stays at each step, m.
    pub m: f64,
    /// Whether m rises to 1 along half a cosine over the run (BYOL).
    pub m_cosine: bool,
    /// Groups of split batch norm; with the shuffle of keys, what stands for ShuffleBN on one device.
    pub bn_splits: usize,
    /// SwAV: entropy of the codes, epsilon.
    pub sinkhorn_eps: f32,
    /// SwAV: iterations of Sinkhorn and Knopp's algorithm.
    pub sinkhorn_iterations: usize,
    /// SwAV: first steps in which the prototypes stay as they are; a number beyond the run's for all of it.
    pub frozen_steps: u64,
}

/// Length and batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Images in a batch, B.
    pub batch: usize,
    /// Views of each image, K (S2R2, SwAV); the other methods always use two.
    pub views: usize,
    /// Passes over the photos.
    pub epochs: u64,
    /// Stop after this many steps; 0 for no such limit.
    pub steps: u64,
    /// Stop after this many minutes of training; 0 for no such limit.
    pub minutes: f64,
    /// Views that pass through the encoder at a time (gradient caching); 0 for as many as `memory_mib` holds.
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
    /// What to do with a step whose loss or gradient is not finite.
    pub on_nan: OnNan,
}

/// What to do with a step whose loss or gradient is not finite. It moves nothing in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNan {
    /// End the run.
    #[default]
    Stop,
    /// Go on with the next batch, at most three times in a row.
    Skip,
}

/// What is kept as f16 ([`crate::engine::ops::half`]) instead of f32. Arithmetic is f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfConfig {
    /// Activations that wait for their backward.
    pub activations: bool,
    /// Keys in the queue; `model.projection` must then be even.
    pub queue: bool,
    /// Weights in checkpoints; biases and batch norm stay f32.
    pub checkpoint: bool,
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
    /// Learning rate.
    pub lr: f64,
    /// `cosine` or `constant`.
    pub schedule: ScheduleName,
    /// Steps of linear warm-up from 0.
    pub warmup_steps: u64,
    /// Momentum of SGD and LARS.
    pub momentum: f64,
    /// Coupled weight decay, on all parameters that are not excluded.
    pub weight_decay: f64,
    /// LARS: trust coefficient.
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
    /// Its temperature.
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
    /// The configuration that lies in a run's folder.
    ///
    /// # Errors
    /// [`Error::Input`] if the file can't be read, and as [`Config::merged`].
    pub fn read(path: &Path) -> Result<Config> {
        let text = files::read_text(path, MAX_TEXT as u64)?;
        Config::preset("demo")?.merged(&text, &path.display().to_string())
    }

    /// This configuration with the keys of a TOML text replaced.
    ///
    /// # Errors
    /// [`Error::Input`] naming the place (a file or an argument) if a key is unknown or a value does not fit.
    pub fn merged(&self, text: &str, place: &str) -> Result<Config> {
        let bad = |e: &dyn std::fmt::Display| {
            let message = e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            Error::input("bad configuration", place, message)
        };
        if text.len() > MAX_TEXT {
            let what = format!("a configuration of {} bytes, more than {MAX_TEXT}", text.len());
            return Err(Error::input(what, place, "give a TOML file with keys to replace"));
        }
        let changes: Table = toml::from_str(text).map_err(|e: toml::de::Error| bad(&e.message()))?;
        keys::check(&changes, place)?;
        let mut table = Table::try_from(self).map_err(|e| bad(&e))?;
        // A second view that is only partly given is otherwise as the first.
        if changes.contains_key("second_view")
            && let (false, Some(views)) = (table.contains_key("second_view"), table.get("views").cloned())
        {
            table.insert("second_view".into(), views);
        }
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

    /// The same with absolute paths, so that it says the same in every working folder.
    pub fn absolute(mut self) -> Config {
        for path in [&mut self.init, &mut self.data.photos, &mut self.data.labelled].into_iter().flatten() {
            // TOML is UTF-8: in a working folder whose name is not, a relative path is the one that can be written.
            if let Some(absolute) = std::path::absolute(&path).ok().filter(|path| path.to_str().is_some()) {
                *path = absolute;
            }
        }
        self
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
    use crate::pretrain::PRESETS;

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
}
