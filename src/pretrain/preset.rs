//! Presets: the settings of the papers by name, and the demo.

use super::config::{
    Config, DataConfig, EvalConfig, HalfConfig, Method, ModelConfig, ObjectiveConfig, OnNan, OptimizerConfig,
    OptimizerName, ScheduleName, SmallViews, Stabilization, TrainConfig,
};
use crate::engine::nn::{Architecture, Stem};
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::pretrain::objective::{Dictionaries, LossTerm, Normalizer};

/// Names of the presets with what each is.
pub const PRESETS: [(&str, &str); 28] = [
    ("demo", "the bundled photos, S2R2, a small ResNet-18: minutes on two CPU cores"),
    ("s2r2-stl10-r18", "S2R2, Table 1, STL10: ResNet-18, 64 images x 20 views, 96 px"),
    ("s2r2-coco-train-r18", "S2R2, Table 1, COCO-Train: the same"),
    ("s2r2-coco-val-r18", "S2R2, Table 1, COCO-Val: ResNet-18, 8 images x 10 views, 96 px"),
    ("s2r2-stl10-r50", "S2R2, Table 2, STL10: ResNet-50, 32 images x 20 views, 96 px"),
    ("s2r2-coco-train-r50", "S2R2, Table 2, COCO-Train: the same"),
    ("s2r2-coco-val-r50", "S2R2, Table 2, COCO-Val: ResNet-50, 16 images x 20 views, 96 px"),
    ("simclr-stl10-r18", "S2R2, Table 1's baseline SimCLR, STL10: ResNet-18, 256 images x 2 views, 96 px"),
    ("simclr-coco-train-r18", "S2R2, Table 1's SimCLR, COCO-Train: the same"),
    ("simclr-coco-val-r18", "S2R2, Table 1's SimCLR, COCO-Val: ResNet-18, 64 images x 2 views, 96 px"),
    ("simclr-stl10-r50", "S2R2, Table 2's SimCLR, STL10: ResNet-50, 256 images x 2 views, 96 px"),
    ("simclr-coco-train-r50", "S2R2, Table 2's SimCLR, COCO-Train: the same"),
    ("simclr-coco-val-r50", "S2R2, Table 2's SimCLR, COCO-Val: the same"),
    ("swav-stl10-r18", "S2R2, Table 1's baseline SwAV, STL10: ResNet-18, 256 images x 8 views, 96 and 48 px"),
    ("swav-coco-train-r18", "S2R2, Table 1's SwAV, COCO-Train: 128 images x 6 views"),
    ("swav-coco-val-r18", "S2R2, Table 1's SwAV, COCO-Val: 32 images x 40 views"),
    ("mls-coco-r50-400ep", "MLS, Tables 1-3 and 5: ResNet-50, 400 epochs of COCO train2017, 224 px"),
    ("mls-coco-r50-800ep", "MLS, Tables 1 and 4: the same for 800 epochs"),
    ("mls-coco-r50-baseline", "MLS, Table 6's baseline: MLS's recipe without the multi-label term"),
    ("mls-coco-r50-knn", "MLS, Table 6, +kNN: kNN softmax for the multi-label term (kNN-MoCo)"),
    ("mls-coco-r50-bce-pos", "MLS, Table 6, +BCE-pos: the multi-label term without negatives"),
    ("mls-coco-r50-g-only", "MLS, Table 7: backbone features for labels and logits"),
    ("mls-coco-r50-z-only", "MLS, Table 7: projections for labels and logits"),
    (
        "moco-v2-coco-r50",
        "MLS, Table 5's baseline: MoCo-v2 with its own numbers, ResNet-50, 400 epochs of COCO",
    ),
    (
        "densecl-coco-r50-400ep",
        "MLS, Tables 2 and 5's baseline: DenseCL, ResNet-50, 400 epochs of COCO, 224 px",
    ),
    ("densecl-coco-r50-800ep", "MLS, Table 1's DenseCL: the same for 800 epochs"),
    ("byol-coco-r50-400ep", "MLS, Tables 2 and 3's baseline: BYOL, ResNet-50, 400 epochs of COCO, 224 px"),
    ("byol-coco-r50-800ep", "MLS, Tables 1 and 4's BYOL: the same for 800 epochs"),
];

/// Epochs of S2R2's Table 1 (ResNet-18) and Table 2 (ResNet-50).
const EPOCHS_R18: u64 = 1000;
const EPOCHS_R50: u64 = 200;

/// More steps than any run has.
const ALWAYS: u64 = 1_000_000_000;

/// The most groups of whole views that hold 64 rows or more each.
fn bn_splits(images: usize, views: usize) -> usize {
    (1..=views)
        .rev()
        .find(|&groups| views.is_multiple_of(groups) && images * views / groups >= 64)
        .unwrap_or(1)
}

impl Config {
    /// A preset by name.
    ///
    /// # Errors
    /// [`Error::Input`] naming the presets if there is no such one.
    pub fn preset(name: &str) -> Result<Config> {
        let term = |term| Config::mls(400).with_objective(|o| o.term = term);
        let dictionaries = |which| Config::mls(400).with_objective(|o| o.dictionaries = which);
        Ok(match name {
            "demo" => Config::demo(),
            "s2r2-stl10-r18" | "s2r2-coco-train-r18" => Config::s2r2(64, 20),
            "s2r2-coco-val-r18" => Config::s2r2(8, 10),
            "s2r2-stl10-r50" | "s2r2-coco-train-r50" => Config::s2r2(32, 20).resnet50(),
            "s2r2-coco-val-r50" => Config::s2r2(16, 20).resnet50(),
            "simclr-stl10-r18" | "simclr-coco-train-r18" => Config::simclr(256),
            "simclr-coco-val-r18" => Config::simclr(64),
            "simclr-stl10-r50" | "simclr-coco-train-r50" | "simclr-coco-val-r50" => {
                Config::simclr(256).resnet50()
            }
            "swav-stl10-r18" => Config::swav(256, 8),
            "swav-coco-train-r18" => Config::swav(128, 6),
            "swav-coco-val-r18" => Config::swav(32, 40),
            "mls-coco-r50-400ep" => Config::mls(400),
            "mls-coco-r50-800ep" => Config::mls(800),
            "mls-coco-r50-baseline" => term(LossTerm::None),
            "mls-coco-r50-knn" => term(LossTerm::KnnSoftmax),
            "mls-coco-r50-bce-pos" => term(LossTerm::BcePos),
            "mls-coco-r50-g-only" => dictionaries(Dictionaries::GOnly),
            "mls-coco-r50-z-only" => dictionaries(Dictionaries::ZOnly),
            "moco-v2-coco-r50" => Config::moco(),
            "densecl-coco-r50-400ep" => Config::densecl(400),
            "densecl-coco-r50-800ep" => Config::densecl(800),
            "byol-coco-r50-400ep" => Config::byol(400),
            "byol-coco-r50-800ep" => Config::byol(800),
            _ => {
                let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
                let advice = format!("use one of {}", names.join(", "));
                return Err(Error::input("unknown preset", format!("--preset {name}"), advice));
            }
        })
    }

    fn with_objective(mut self, change: impl FnOnce(&mut ObjectiveConfig)) -> Config {
        change(&mut self.objective);
        self
    }

    /// S2R2's Table 2: the same settings with a ResNet-50 for fewer epochs.
    fn resnet50(mut self) -> Config {
        self.model.backbone = Architecture::Resnet50;
        self.train.epochs = EPOCHS_R50;
        self
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
            init: None,
            init_prefix: None,
            data: DataConfig {
                photos: None,
                labelled: None,
                class_folders: false,
                follow_links: false,
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
                hidden: 0,
                projector_norm: false,
                prototypes: 512,
                dense_grid: 0,
            },
            objective: ObjectiveConfig {
                name: Method::Mls,
                tau: 0.2,
                k: 20,
                lambda: 0.5,
                dictionaries: Dictionaries::Both,
                term: LossTerm::Bce,
                normalizer: Normalizer::D,
                stabilization: Stabilization::Combined,
                warmup_epochs: 10,
                queue: 4096,
                m: 0.995,
                m_cosine: false,
                bn_splits: 8,
                sinkhorn_eps: 0.05,
                sinkhorn_iterations: 3,
                frozen_steps: 313,
            },
            train: TrainConfig {
                batch: 256,
                views: 2,
                epochs,
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
            second_view: None,
            small_views: None,
        }
    }

    /// MoCo-v2 on COCO with its own numbers.
    ///
    /// # Source
    /// MoCo-v2: K 65536, m 0.999, dim 128, tau 0.2, lr 0.03; length as MLS, Sec. 4.1.
    fn moco() -> Config {
        let mut config = Config::mls(400);
        config.model.projection = 128;
        config.objective =
            ObjectiveConfig { name: Method::Moco, queue: 65_536, m: 0.999, ..config.objective };
        config.optimizer.lr = 0.03;
        config
    }

    /// DenseCL on COCO.
    ///
    /// # Source
    /// DenseCL, Sec. 4.1: COCO with lr 0.3, batch 256, queue 16,384 there; lambda 0.5, tau 0.2, 128 wide, K 65536, m 0.999.
    fn densecl(epochs: u64) -> Config {
        let mut config = Config::moco();
        config.objective =
            ObjectiveConfig { name: Method::Densecl, lambda: 0.5, queue: 16_384, ..config.objective };
        config.optimizer.lr = 0.3;
        config.train.epochs = epochs;
        config
    }

    /// BYOL on COCO.
    ///
    /// # Source
    /// BYOL, Sec. 3.3 and App. B: hidden 4096 with batch norm, 256 wide, m from 0.99 to 1 by cosine, LARS at 0.2 for
    /// a batch of 256, weight decay 1.5e-6, ten epochs of warm-up; view 1 always blurred, view 2 blurred with p 0.1 and
    /// solarised with p 0.2. Batch norm normalises each view on its own.
    fn byol(epochs: u64) -> Config {
        const COCO_STEPS_PER_EPOCH: u64 = 118_287 / 256;
        let mut config = Config::mls(epochs);
        config.model = ModelConfig { projection: 256, hidden: 4096, projector_norm: true, ..config.model };
        config.objective =
            ObjectiveConfig { name: Method::Byol, m: 0.99, m_cosine: true, bn_splits: 2, ..config.objective };
        config.optimizer = OptimizerConfig {
            name: OptimizerName::Lars,
            lr: 0.2,
            warmup_steps: 10 * COCO_STEPS_PER_EPOCH,
            weight_decay: 1.5e-6,
            ..config.optimizer
        };
        config.views = ViewConfig::byol(224, 0);
        config.second_view = Some(ViewConfig::byol(224, 1));
        config
    }

    /// S2R2 with a ResNet-18 at 96 pixels.
    ///
    /// # Source
    /// S2R2, Sec. 3 and Table 1: Adam, fixed lr 1e-4, views as SimCLR's. tau and weight decay are ours, and so are the
    /// groups of batch norm: one or more views of all images, so that a batch gives the same gradient in chunks.
    fn s2r2(images: usize, views: usize) -> Config {
        let mut config = Config::mls(EPOCHS_R18);
        config.model = ModelConfig { backbone: Architecture::Resnet18, projection: 128, ..config.model };
        config.objective = ObjectiveConfig {
            name: Method::S2r2,
            tau: 0.05,
            bn_splits: bn_splits(images, views),
            ..config.objective
        };
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

    /// SimCLR as S2R2's baseline.
    ///
    /// # Source
    /// S2R2, Sec. 3: Adam, lr 3e-4, cosine. SimCLR, App. B.9: tau 0.5 for small photos; projector with batch norm.
    fn simclr(images: usize) -> Config {
        let mut config = Config::s2r2(images, 2);
        config.model.projector_norm = true;
        config.objective =
            ObjectiveConfig { name: Method::Simclr, tau: 0.5, bn_splits: 1, ..config.objective };
        config.optimizer = OptimizerConfig { lr: 3e-4, schedule: ScheduleName::Cosine, ..config.optimizer };
        config
    }

    /// SwAV as S2R2's baseline: two full crops, the rest small.
    ///
    /// # Source
    /// S2R2, Sec. 3 and Table 1: LARS, lr 1, cosine; views per image. SwAV: tau 0.1, Sinkhorn with epsilon 0.05 and
    /// 3 iterations, crop scales 0.14-1 and 0.05-0.14, weight decay 1e-6, prototypes fixed for 313 steps; LARS on every
    /// parameter, vectors too, as in its code. 512 prototypes, small crops of half the side and no queue are ours.
    fn swav(images: usize, views: usize) -> Config {
        let mut config = Config::s2r2(images, views);
        config.model = ModelConfig { projector_norm: true, ..config.model };
        config.objective =
            ObjectiveConfig { name: Method::Swav, tau: 0.1, queue: 0, bn_splits: 1, ..config.objective };
        config.optimizer = OptimizerConfig {
            name: OptimizerName::Lars,
            lr: 1.0,
            exclude_1d: false,
            schedule: ScheduleName::Cosine,
            ..config.optimizer
        };
        config.views.crop_scale = [0.14, 1.0];
        config.small_views = Some(SmallViews { count: views - 2, size: 48, crop_scale: [0.05, 0.14] });
        config
    }

    /// The bundled photos in minutes: S2R2 at 32 pixels with a ResNet-18 of half width.
    fn demo() -> Config {
        let mut config = Config::s2r2(16, 8);
        config.model = ModelConfig { width: 32, stem: Stem::Small, ..config.model };
        config.objective = ObjectiveConfig { queue: 256, bn_splits: 1, ..config.objective };
        config.train = TrainConfig { epochs: 1000, minutes: 5.0, ..config.train };
        config.optimizer = OptimizerConfig { lr: 1e-3, warmup_steps: 50, ..config.optimizer };
        config.eval = EvalConfig { every_epochs: 0, every_minutes: 1.0, ..config.eval };
        config.views = ViewConfig { blur_p: 0.0, hue: 0.0, ..ViewConfig::simclr(32) };
        config
    }

    /// This configuration with views of another side in pixels; small views have half of it.
    pub fn with_size(mut self, size: usize) -> Config {
        self.views.size = size;
        if let Some(second) = &mut self.second_view {
            second.size = size;
        }
        if let Some(small) = &mut self.small_views {
            small.size = size / 2;
        }
        self
    }

    /// This configuration for another method: its objective, optimiser, heads and colour of views replaced by those of
    /// the method's own preset, sizes and lengths kept. `knn-moco` is MLS with the kNN softmax. On the built-in photos
    /// queue, batch and rates are cut to their number.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such method.
    pub fn with_method(&self, name: &str) -> Result<Config> {
        let (base, term) =
            if name == "knn-moco" { ("mls", Some(LossTerm::KnnSoftmax)) } else { (name, None) };
        let renamed = self.merged(
            &format!("objective.name = {}", toml::Value::String(base.into())),
            &format!("--objective {name}"),
        )?;
        let method = renamed.objective.name;
        if method == self.objective.name {
            return Ok(term.map_or(renamed.clone(), |term| renamed.with_objective(|o| o.term = term)));
        }
        let own = match method {
            Method::Mls => Config::mls(self.train.epochs),
            Method::Moco => Config::moco(),
            Method::S2r2 => Config::s2r2(self.train.batch, 8),
            Method::Simclr => Config::simclr(self.train.batch),
            Method::Swav => Config::swav(self.train.batch, 8),
            Method::Byol => Config::byol(self.train.epochs),
            Method::Densecl => Config::densecl(self.train.epochs),
        };
        let size = self.views.size;
        let mut config = Config { objective: own.objective, optimizer: own.optimizer, ..self.clone() };
        config.views = own.views;
        (config.second_view, config.small_views) = (own.second_view, own.small_views);
        config = config.with_size(size);
        config.train.views = own.train.views;
        let ModelConfig { projection, hidden, projector_norm, prototypes, .. } = own.model;
        config.model = ModelConfig { projection, hidden, projector_norm, prototypes, ..config.model };
        if *self == Config::demo() && method != Method::S2r2 {
            config.fit_demo();
        }
        Ok(term.map_or(config.clone(), |term| config.with_objective(|o| o.term = term)))
    }

    /// Cuts a method to the 573 built-in photos and to minutes: a queue of 256 holds no image's own older key; rates are
    /// the papers', scaled from their batch of 256.
    ///
    /// For the methods with a queue tau, m, lambda, lr and the groups of batch norm are those of the one of 13 short runs
    /// on 9,469 photos that rose soonest (README, Results), not the papers'. The warm-up is long so that the first steps do
    /// not magnify rounding; what it does to learning here has not been measured. SwAV has Adam, codes of less entropy and
    /// prototypes that stay as they are: with the paper's it does not leave `ln(prototypes)` in minutes.
    fn fit_demo(&mut self) {
        let method = self.objective.name;
        self.train.batch = 64;
        self.objective.k = 5;
        self.objective.frozen_steps = 50;
        self.model.hidden = if method == Method::Byol { 512 } else { 0 };
        self.model.prototypes = 64;
        if self.optimizer.name != OptimizerName::Adam {
            self.optimizer.lr *= self.train.batch as f64 / 256.0;
        }
        self.optimizer.warmup_steps = 50;
        if self.objective.queue > 0 {
            self.objective.queue = 256;
        }
        if matches!(method, Method::Mls | Method::Moco | Method::Densecl) {
            self.objective = ObjectiveConfig { tau: 0.1, m: 0.996, bn_splits: 1, ..self.objective };
            self.optimizer.lr = 0.03;
            self.optimizer.warmup_steps = 1000;
        }
        if method == Method::Mls {
            self.objective.lambda = 0.1;
        }
        if method == Method::Swav {
            self.objective = ObjectiveConfig { sinkhorn_eps: 0.01, frozen_steps: ALWAYS, ..self.objective };
            self.optimizer = OptimizerConfig {
                name: OptimizerName::Adam,
                lr: 1e-3,
                schedule: ScheduleName::Constant,
                ..self.optimizer
            };
            self.train.views = 6;
            self.small_views = self.small_views.map(|small| SmallViews { count: 4, ..small });
        }
    }
}
