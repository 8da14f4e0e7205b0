//! Presets: the settings of the papers by name, and the demo.

use super::config::{
    Config, DataConfig, EvalConfig, Method, ModelConfig, ObjectiveConfig, OptimizerConfig, OptimizerName,
    ScheduleName, TrainConfig,
};
use crate::error::{Error, Result};
use crate::nn::{Architecture, Stem};
use crate::objective::Dictionaries;
use crate::views::ViewConfig;

/// Names of the presets with what each is.
pub const PRESETS: [(&str, &str); 6] = [
    ("demo", "the bundled photos, S2R2, a small ResNet-18: minutes on two CPU cores"),
    ("s2r2-stl10-r18", "S2R2, Table 1, STL10: ResNet-18, 64 images x 20 views, 96 px"),
    ("s2r2-coco-val-r18", "S2R2, Table 1, COCO-Val: ResNet-18, 8 images x 10 views, 96 px"),
    ("mls-coco-r50-400ep", "MLS, Tables 1-3 and 5: ResNet-50, 400 epochs of COCO train2017, 224 px"),
    ("mls-coco-r50-800ep", "MLS, Tables 1 and 4: the same for 800 epochs"),
    ("moco-v2-coco-r50", "MLS, Table 5's baseline: MoCo-v2, ResNet-50, 400 epochs of COCO, 224 px"),
];

impl Config {
    /// A preset by name.
    ///
    /// # Errors
    /// [`Error::Input`] naming the presets if there is no such one.
    pub fn preset(name: &str) -> Result<Config> {
        match name {
            "demo" => Ok(Config::demo()),
            "s2r2-stl10-r18" => Ok(Config::s2r2(64, 20)),
            "s2r2-coco-val-r18" => Ok(Config::s2r2(8, 10)),
            "mls-coco-r50-400ep" => Ok(Config::mls(400)),
            "mls-coco-r50-800ep" => Ok(Config::mls(800)),
            "moco-v2-coco-r50" => Ok(Config::moco()),
            _ => {
                let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
                Err(Error::input(
                    "unknown preset",
                    format!("--preset {name}"),
                    format!("use one of {}", names.join(", ")),
                ))
            }
        }
    }

    /// MLS on COCO with a ResNet-50.
    ///
    /// # Source
    /// MLS, Sec. 4.1: lr 0.3, weight decay 1e-4, D 4096, tau 0.2, 2048 and 256 wide, lambda 0.5, k 20 (Table 8), m 0.995.
    /// Batch 256, momentum 0.9, cosine to 0: MoCo-v2's recipe on COCO.
    fn mls(epochs: u64) -> Config {
        Config {
            seed: 0,
            device: "auto".into(),
            data: DataConfig {
                photos: None,
                labelled: None,
                threads: 0,
                cache_mib: 1024,
                shrink_to: 0,
                max_broken: 0.01,
            },
            model: ModelConfig {
                backbone: Architecture::Resnet50,
                width: 64,
                stem: Stem::Imagenet,
                zero_init: false,
                projection: 256,
            },
            objective: ObjectiveConfig {
                name: Method::Mls,
                tau: 0.2,
                k: 20,
                lambda: 0.5,
                dictionaries: Dictionaries::Both,
                queue: 4096,
                m: 0.995,
                bn_splits: 8,
            },
            train: TrainConfig { batch: 256, views: 2, epochs, steps: 0, minutes: 0.0 },
            optimizer: OptimizerConfig {
                name: OptimizerName::Sgd,
                lr: 0.3,
                schedule: ScheduleName::Cosine,
                warmup_steps: 0,
                momentum: 0.9,
                weight_decay: 1e-4,
            },
            eval: EvalConfig { knn_k: 20, knn_tau: 0.07, every_epochs: 1, every_minutes: 0.0 },
            views: ViewConfig::moco_v2(224),
        }
    }

    /// MoCo-v2 on COCO: its own queue, momentum and width, the recipe of the MLS paper's baseline.
    ///
    /// # Source
    /// MoCo-v2: K 65536, m 0.999, dim 128, tau 0.2; learning rate and length as MLS, Sec. 4.1.
    fn moco() -> Config {
        let mut config = Config::mls(400);
        config.model.projection = 128;
        config.objective =
            ObjectiveConfig { name: Method::Moco, queue: 65_536, m: 0.999, ..config.objective };
        config
    }

    /// S2R2 with a ResNet-18 at 96 pixels.
    ///
    /// # Source
    /// S2R2, Sec. 3 and Table 1: Adam, fixed lr 1e-4, views as SimCLR's. tau and weight decay are ours.
    fn s2r2(images: usize, views: usize) -> Config {
        let mut config = Config::mls(1000);
        config.model = ModelConfig { backbone: Architecture::Resnet18, projection: 128, ..config.model };
        config.objective =
            ObjectiveConfig { name: Method::S2r2, tau: 0.05, bn_splits: 1, ..config.objective };
        config.train = TrainConfig { batch: images, views, ..config.train };
        config.optimizer = OptimizerConfig {
            name: OptimizerName::Adam,
            lr: 1e-4,
            schedule: ScheduleName::Constant,
            weight_decay: 1e-6,
            ..config.optimizer
        };
        config.views = ViewConfig::simclr(96);
        config
    }

    /// The bundled photos in minutes: S2R2 at 32 pixels with a ResNet-18 of half width.
    fn demo() -> Config {
        let mut config = Config::s2r2(16, 8);
        config.model = ModelConfig { width: 32, stem: Stem::Small, ..config.model };
        config.objective.queue = 256;
        config.train = TrainConfig { epochs: 1000, minutes: 5.0, ..config.train };
        config.optimizer = OptimizerConfig { lr: 1e-3, warmup_steps: 50, ..config.optimizer };
        config.eval = EvalConfig { every_epochs: 0, every_minutes: 1.0, ..config.eval };
        config.views = ViewConfig { blur_p: 0.0, hue: 0.0, ..ViewConfig::simclr(32) };
        config
    }

    /// This configuration for another method: its objective, optimiser and colour of views replaced by those of the
    /// method's own preset, sizes and lengths kept. A queue is cut to a quarter of a small built-in set.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such method.
    pub fn with_method(&self, name: &str) -> Result<Config> {
        let renamed = self.merged(
            &format!("objective.name = {}", toml::Value::String(name.into())),
            &format!("--objective {name}"),
        )?;
        let method = renamed.objective.name;
        if method == self.objective.name {
            return Ok(renamed);
        }
        let own = match method {
            Method::Mls => Config::mls(self.train.epochs),
            Method::Moco => Config::moco(),
            Method::S2r2 => Config::s2r2(self.train.batch, 8),
        };
        let mut config = Config { objective: own.objective, optimizer: own.optimizer, ..self.clone() };
        config.views = ViewConfig { size: self.views.size, ..own.views };
        config.model.projection = own.model.projection;
        if *self == Config::demo() && method != Method::S2r2 {
            // 573 photos: a queue of 256 holds no image's own older key; the learning rate is the paper's,
            // scaled from its batch of 256.
            config.train.batch = 64;
            config.objective =
                ObjectiveConfig { queue: 256, k: 5, m: 0.99, bn_splits: 4, ..config.objective };
            config.optimizer.lr = 0.3 * 64.0 / 256.0;
            config.optimizer.warmup_steps = 50;
        }
        Ok(config)
    }
}
