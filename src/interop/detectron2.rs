//! Whole detectors for detectron2: its names and layouts, and the program that makes the same network there.

use super::transform::{bytes, filled};
use super::{Array, Library, Weights};
use crate::engine::nn::{ResNetConfig, Stem};
use serde_json::{Value, json};
use std::path::Path;

/// A detector as detectron2 is told of it.
#[derive(Clone, Debug)]
pub struct Detectron2 {
    /// Its backbone.
    pub backbone: ResNetConfig,
    /// Whether its heads look at a feature pyramid; else at C4, through the backbone's last stage.
    pub has_pyramid: bool,
    /// Whether batch norms are trained, also in pyramid and heads or behind the last stage; else those of the backbone are frozen,
    /// and there are no others.
    pub norms: bool,
    /// Side of a box that is looked at on P4.
    pub canonical: f64,
    /// Subtracted from each channel and divided by, values in `[0, 1]`, RGB.
    pub normal: [[f32; 3]; 2],
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Keys of detectron2's configuration and their values, beside those that follow from the above.
    pub settings: Vec<(&'static str, Value)>,
}

impl Detectron2 {
    /// A detector's parameters under detectron2's names, as it lays them out.
    ///
    /// | here | with a pyramid | without |
    /// |---|---|---|
    /// | `layer1.0.conv1.weight` | `backbone.bottom_up.res2.0.conv1.weight` | `backbone.res2.0.conv1.weight` |
    /// | `layer4.0.bn1.bias` | `backbone.bottom_up.res5.0.conv1.norm.bias` | `roi_heads.res5.0.conv1.norm.bias` |
    /// | `roi_heads.box_head.fc1.weight` `[O, C, 7, 7]` | the same, `[O, 49 C]` | |
    ///
    /// All other names are detectron2's here too. The batch norm behind res5 is `roi_heads.res5.norm`, as in MoCo's code for
    /// detectron2, whose own C4 has none.
    ///
    /// # Source
    /// The parameter names of detectron2's `FPN`, `Res5ROIHeads` and `FastRCNNConvFCHead`.
    pub fn weights(&self, weights: Weights) -> Weights {
        let renamed = |(name, Array { shape, values }): (String, Array)| match shape[..] {
            [outputs, ref rest @ ..] if name == FC => {
                (name, Array { shape: vec![outputs, rest.iter().product()], values })
            }
            _ => (self.rename(&name), Array { shape, values }),
        };
        Weights(weights.0.into_iter().map(renamed).collect())
    }

    fn rename(&self, name: &str) -> String {
        let place = match name.split('.').next() {
            Some("backbone" | "proposal_generator" | "roi_heads") => return name.to_string(),
            _ if self.has_pyramid => "backbone.bottom_up",
            Some("layer4") => "roi_heads",
            _ => "backbone",
        };
        format!("{place}.{}", Library::Detectron2.rename(name))
    }

    /// All keys of detectron2's configuration that this detector sets, and their values; the reason if no network of detectron2 is
    /// like it.
    pub fn config(&self) -> Result<Vec<(&'static str, Value)>, String> {
        let ResNetConfig { architecture, width, stem, .. } = self.backbone;
        if stem != Stem::Imagenet {
            return Err("detectron2's stem is a 7x7 convolution, this one is 3x3".into());
        }
        let depth = architecture.to_string().trim_start_matches("resnet").parse::<u32>();
        let norm = if self.norms { "BN" } else { "FrozenBN" };
        let [mean, std] = self.normal.map(bytes);
        let stages: &[&str] = if self.has_pyramid { &["res2", "res3", "res4", "res5"] } else { &["res4"] };
        let (backbone, heads) = (self.backbone_name(), self.heads_name());
        let mut all = vec![
            ("INPUT.FORMAT", json!("RGB")),
            ("MODEL.PIXEL_MEAN", json!(mean)),
            ("MODEL.PIXEL_STD", json!(std)),
            ("MODEL.BACKBONE.NAME", json!(backbone)),
            ("MODEL.BACKBONE.FREEZE_AT", json!(0)),
            ("MODEL.RESNETS.DEPTH", json!(depth.unwrap_or_default())),
            ("MODEL.RESNETS.STEM_OUT_CHANNELS", json!(width)),
            ("MODEL.RESNETS.RES2_OUT_CHANNELS", json!(width * architecture.expansion())),
            ("MODEL.RESNETS.WIDTH_PER_GROUP", json!(width)),
            ("MODEL.RESNETS.STRIDE_IN_1X1", json!(false)),
            ("MODEL.RESNETS.NORM", json!(norm)),
            ("MODEL.RESNETS.OUT_FEATURES", json!(stages)),
            ("MODEL.ROI_HEADS.NAME", json!(heads)),
            ("MODEL.ROI_HEADS.NUM_CLASSES", json!(self.classes.len())),
        ];
        all.extend(self.settings.iter().cloned());
        Ok(all)
    }

    /// Whether the backbone is one that detectron2's own builder refuses: of basic blocks, and not 64 wide.
    fn is_narrow(&self) -> bool {
        self.backbone.width != 64 && self.backbone.architecture.expansion() == 1
    }

    fn backbone_name(&self) -> &'static str {
        match (self.is_narrow(), self.has_pyramid) {
            (true, _) => "build_narrow_backbone",
            (false, true) => "build_resnet_fpn_backbone",
            (false, false) => "build_padded_backbone",
        }
    }

    fn heads_name(&self) -> &'static str {
        let is_basic = self.backbone.architecture.expansion() == 1;
        match self.has_pyramid {
            true if self.canonical == CANONICAL => "StandardROIHeads",
            true => "ScaledROIHeads",
            false if self.norms => "Res5ROIHeadsExtraNorm",
            false if is_basic => "BasicRes5ROIHeads",
            false => "Res5ROIHeads",
        }
    }

    /// The Python that makes the network, reads the `file` that was written for it, and finds the objects of `photo.jpg`; the reason if
    /// no network of detectron2 is like it.
    pub fn python(&self, file: &Path) -> Result<String, String> {
        let set = |(key, value): (&str, Value)| format!("cfg.{key} = {}\n", literal(&value));
        let config: String = self.config()?.into_iter().map(set).collect();
        let (architecture, width) = (self.backbone.architecture, self.backbone.width);
        let depths = architecture.depths();
        let net = "FPN(net, cfg.MODEL.FPN.IN_FEATURES, cfg.MODEL.FPN.OUT_CHANNELS, cfg.MODEL.FPN.NORM, LastLevelMaxPool())";
        let (block, more) = match architecture.expansion() {
            1 => ("BasicBlock", ""),
            _ => ("BottleneckBlock", ", \"bottleneck_channels\": 8 * cfg.MODEL.RESNETS.WIDTH_PER_GROUP"),
        };
        let extra = "        res5.add_module(\"norm\", get_norm(norm, channels))  # as in MoCo's code\n";
        let padded = (!self.has_pyramid).then_some(include_str!("python/detectron2_padded.py"));
        let narrow = self.is_narrow().then_some(include_str!("python/detectron2_narrow.py"));
        let heads = match self.heads_name() {
            "StandardROIHeads" | "Res5ROIHeads" => None,
            "ScaledROIHeads" => Some(include_str!("python/detectron2_levels.py")),
            _ => Some(include_str!("python/detectron2_res5.py")),
        };
        let parts = [padded, narrow, heads].into_iter().flatten().map(|part| format!("{part}\n"));
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
        // A text of JSON is one of Python.
        let values = [
            ("parts", parts.collect::<String>()),
            ("net", if self.has_pyramid { net } else { "padded(net)" }.into()),
            ("block", block.into()),
            ("more", more.into()),
            ("extra", if self.norms { extra } else { "" }.into()),
            ("heads", self.heads_name().into()),
            ("width", width.to_string()),
            ("depths", format!("{depths:?}")),
            ("depth", depths[3].to_string()),
            ("canonical", format!("{:?}", self.canonical)),
            ("config", config),
            ("classes", literal(&json!(self.classes)).replace("{{", "{\\u007b")),
            ("file", json!(file.to_string_lossy()).to_string()),
        ];
        Ok(filled(include_str!("python/detectron2_detector.py"), &values))
    }
}

/// The box head's layer over all cells of a region: a convolution here.
const FC: &str = "roi_heads.box_head.fc1.weight";
/// Side of a box that detectron2 looks at on P4, of which its configuration has no key.
const CANONICAL: f64 = 224.0;

/// A value as Python writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Array(all) => format!("[{}]", all.iter().map(literal).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "../../tests/unit/interop/detectron2.rs"]
mod tests;
