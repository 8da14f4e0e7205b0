//! Whole configurations of detectors by name: the papers' settings, and one that learns in minutes.

use super::config::{
    DetectConfig, DetectData, DetectEval, DetectModel, DetectOptimizer, Metric, NormKind, ProposalConfig,
    RegionConfig,
};
use super::model::Kind;
use crate::engine::nn::{Architecture, Stem};
use crate::error::{Error, Result};
use crate::photos::views::SceneConfig;
use crate::run::OnNan;
use crate::transfer::TrainConfig;

/// A preset: a whole configuration and what it is for.
pub struct DetectPreset {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// It.
    pub config: fn() -> DetectConfig,
}

/// All presets.
pub const PRESETS: [DetectPreset; 4] = [
    DetectPreset {
        name: "detect-small",
        about: "ResNet-18 with a narrow pyramid, on photos of 160 px: ten minutes on one core",
        config: small,
    },
    DetectPreset {
        name: "mask-rcnn-fpn-coco-90k",
        about: "MLS, Table 1: Mask R-CNN R50-FPN on COCO",
        config: fpn,
    },
    DetectPreset {
        name: "mask-rcnn-c4-coco-90k",
        about: "MLS, Table 2: Mask R-CNN R50-C4 on COCO",
        config: c4,
    },
    DetectPreset {
        name: "faster-rcnn-c4-voc-24k",
        about: "MLS, Table 4: Faster R-CNN R50-C4 on VOC 2007 and 2012",
        config: voc,
    },
];

/// Mask R-CNN R50-FPN on COCO.
///
/// # Source
/// MLS, Sec. 4.2, by the configurations of MoCo and DenseCL for detectron2; He, Girshick and Dollár 2018, "Rethinking ImageNet
/// pre-training", Sec. 3 (batch norm in pyramid and heads).
pub(super) fn fpn() -> DetectConfig {
    DetectConfig {
        seed: 0,
        device: "auto".into(),
        init: None,
        init_prefix: None,
        data: DetectData {
            photos: None,
            annotations: None,
            test: None,
            test_photos: None,
            class: "object".into(),
            follow_links: false,
            threads: 0,
            cache_mib: 1024,
            max_broken: 0.01,
        },
        model: DetectModel {
            kind: Kind::MaskRcnnFpn,
            backbone: Architecture::Resnet50,
            width: 64,
            stem: Stem::Imagenet,
            norm: NormKind::Batch,
            pyramid: 256,
            convs: 256,
            hidden: 1024,
            sizes: vec![32.0, 64.0, 128.0, 256.0, 512.0],
            ratios: vec![0.5, 1.0, 2.0],
            canonical: 224.0,
        },
        proposals: ProposalConfig {
            sampled: 256,
            objects: 0.5,
            before: [2000, 1000],
            after: [1000, 1000],
            overlap: 0.7,
        },
        regions: RegionConfig { sampled: 512, objects: 0.25, score: 0.05, overlap: 0.5, most: 100 },
        train: TrainConfig {
            batch: 16,
            steps: 90_000,
            epochs: 100_000,
            minutes: 0.0,
            memory_limit_mib: 0,
            save_minutes: 5.0,
            save_steps: 0,
            on_nan: OnNan::Stop,
        },
        optimizer: DetectOptimizer {
            lr: 0.02,
            falls: vec![2.0 / 3.0, 8.0 / 9.0],
            warmup_steps: 1000,
            warmup_from: 0.001,
            momentum: 0.9,
            weight_decay: 1e-4,
        },
        eval: DetectEval {
            metric: Metric::Coco,
            shortest: 800,
            statistics: 200,
            every_steps: 0,
            photos: 500,
        },
        scenes: SceneConfig::default(),
    }
}

/// Mask R-CNN R50-C4 on COCO: one map, the last stage as the heads' trunk.
///
/// # Source
/// MLS, Table 2, by MoCo's configuration for detectron2.
fn c4() -> DetectConfig {
    let base = fpn();
    DetectConfig {
        model: DetectModel { kind: Kind::MaskRcnnC4, ..base.model },
        proposals: ProposalConfig { before: [12_000, 6000], after: [2000, 1000], ..base.proposals },
        ..base
    }
}

/// Faster R-CNN R50-C4 on VOC.
///
/// # Source
/// MLS, Sec. 4.3 and Table 4, by MoCo's configuration for detectron2.
fn voc() -> DetectConfig {
    let base = c4();
    DetectConfig {
        model: DetectModel { kind: Kind::FasterRcnnC4, ..base.model },
        train: TrainConfig { steps: 24_000, ..base.train },
        optimizer: DetectOptimizer { falls: vec![0.75, 11.0 / 12.0], warmup_steps: 100, ..base.optimizer },
        eval: DetectEval { metric: Metric::Voc, ..base.eval },
        scenes: SceneConfig { shortest: (480..=800).step_by(32).collect(), ..base.scenes },
        ..base
    }
}

/// A pyramid on ResNet-18 that learns in minutes.
fn small() -> DetectConfig {
    let base = fpn();
    DetectConfig {
        model: DetectModel {
            backbone: Architecture::Resnet18,
            pyramid: 64,
            convs: 64,
            hidden: 256,
            // Photos are a fifth of the size for which the published ones are.
            sizes: vec![8.0, 16.0, 32.0, 64.0, 128.0],
            canonical: 56.0,
            ..base.model
        },
        proposals: ProposalConfig { before: [500, 500], after: [250, 250], ..base.proposals },
        regions: RegionConfig { sampled: 64, ..base.regions },
        train: TrainConfig { batch: 4, steps: 1000, ..base.train },
        // The best of 0.01 to 0.16 on photos that no table reports: docs/RESULTS.md.
        optimizer: DetectOptimizer { lr: 0.08, warmup_steps: 100, ..base.optimizer },
        eval: DetectEval { metric: Metric::Coco, shortest: 160, statistics: 50, every_steps: 0, photos: 0 },
        scenes: SceneConfig { shortest: (128..=192).step_by(16).collect(), longest: 320, ..base.scenes },
        ..base
    }
}

impl DetectConfig {
    /// A preset by name.
    ///
    /// # Errors
    /// [`Error::Input`] naming the presets if there is no such one.
    pub fn preset(name: &str) -> Result<DetectConfig> {
        match PRESETS.iter().find(|preset| preset.name == name) {
            Some(preset) => Ok((preset.config)()),
            None => {
                let names = PRESETS.map(|preset| preset.name).join(", ");
                Err(Error::input("unknown preset", format!("--preset {name}"), format!("use one of {names}")))
            }
        }
    }
}
