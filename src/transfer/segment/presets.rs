//! Whole configurations of segmenters by name: the papers' settings, and one that learns in minutes.

use super::config::{SegmentConfig, SegmentData, SegmentEval, SegmentKind, SegmentModel, SegmentOptimizer};
use crate::engine::nn::{Architecture, Stem};
use crate::error::{Error, Result};
use crate::photos::views::CropConfig;
use crate::run::OnNan;
use crate::transfer::TrainConfig;

/// A preset: a whole configuration and what it is for.
pub struct SegmentPreset {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// It.
    pub config: fn() -> SegmentConfig,
}

/// All presets.
pub const PRESETS: [SegmentPreset; 3] = [
    SegmentPreset {
        name: "segment-small",
        about: "PSPNet on ResNet-18, on crops of 161 px: minutes on one core",
        config: small,
    },
    SegmentPreset {
        name: "pspnet-cityscapes-40k",
        about: "MLS, Table 3: PSPNet R50 on Cityscapes",
        config: pspnet,
    },
    SegmentPreset {
        name: "psanet-cityscapes-40k",
        about: "MLS, Table 3: PSANet R50 on Cityscapes",
        config: psanet,
    },
];

/// PSPNet R50 on Cityscapes.
///
/// # Source
/// MLS, Sec. 4.3 and Table 3, by the configurations of semseg.
pub(super) fn pspnet() -> SegmentConfig {
    SegmentConfig {
        seed: 0,
        device: "auto".into(),
        init: None,
        init_prefix: None,
        data: SegmentData {
            photos: None,
            labels: None,
            test_photos: None,
            test_labels: None,
            classes: None,
            follow_links: false,
            threads: 0,
            cache_mib: 1024,
            max_broken: 0.01,
        },
        segmenter: SegmentModel {
            kind: SegmentKind::PspNet,
            backbone: Architecture::Resnet50,
            width: 64,
            stem: Stem::Imagenet,
            bins: vec![1, 2, 3, 6],
            shrink: 2,
            dropout: 0.1,
        },
        train: TrainConfig {
            batch: 16,
            steps: 40_000,
            epochs: 100_000,
            minutes: 0.0,
            memory_limit_mib: 0,
            save_minutes: 5.0,
            save_steps: 0,
            on_nan: OnNan::Stop,
        },
        optimizer: SegmentOptimizer {
            lr: 0.01,
            new_layers: 10.0,
            power: 0.9,
            momentum: 0.9,
            weight_decay: 1e-4,
        },
        eval: SegmentEval { scales: vec![1.0], flip: true, stride: 2.0 / 3.0, every_steps: 0, photos: 100 },
        crops: CropConfig::default(),
    }
}

/// PSANet R50 on Cityscapes.
///
/// # Source
/// As [`pspnet`]; PSANet, Sec. 4.1.
fn psanet() -> SegmentConfig {
    let base = pspnet();
    SegmentConfig {
        segmenter: SegmentModel { kind: SegmentKind::PsaNet, ..base.segmenter },
        crops: CropConfig { size: 705, ..base.crops },
        ..base
    }
}

/// PSPNet on ResNet-18 that learns in minutes.
fn small() -> SegmentConfig {
    let base = pspnet();
    SegmentConfig {
        segmenter: SegmentModel { backbone: Architecture::Resnet18, ..base.segmenter },
        train: TrainConfig { batch: 8, steps: 1000, ..base.train },
        eval: SegmentEval { photos: 0, ..base.eval },
        crops: CropConfig { size: 161, scale: [0.5, 1.5], ..base.crops },
        ..base
    }
}

impl SegmentConfig {
    /// A preset by name.
    ///
    /// # Errors
    /// [`Error::Input`] naming the presets if there is no such one.
    pub fn preset(name: &str) -> Result<SegmentConfig> {
        match PRESETS.iter().find(|preset| preset.name == name) {
            Some(preset) => Ok((preset.config)()),
            None => {
                let names = PRESETS.map(|preset| preset.name).join(", ");
                Err(Error::input("unknown preset", format!("--preset {name}"), format!("use one of {names}")))
            }
        }
    }
}
