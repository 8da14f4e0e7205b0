//! A detector as detectron2 is told of it.

use super::config::{DetectConfig, NormKind};
use super::data::Classes;
use crate::interop::Detectron2;
use serde_json::{Value, json};

impl DetectConfig {
    /// The detector of this configuration for detectron2: the same network, which sees photos and chooses boxes as this one does.
    pub fn detectron2(&self, classes: &Classes) -> Detectron2 {
        let DetectConfig { model, proposals, regions, eval, scenes, .. } = self;
        let (has_pyramid, masks) = (model.kind.is_pyramid(), model.kind.mask_side().is_some());
        let norms = model.norm == NormKind::Batch;
        let norm = if norms { "BN" } else { "" };
        let sizes: Vec<Vec<f64>> = match has_pyramid {
            true => model.sizes.iter().map(|&size| vec![plain(size)]).collect(),
            false => vec![model.sizes.iter().map(|&size| plain(size)).collect()],
        };
        let ratios: Vec<f64> = model.ratios.iter().map(|&ratio| plain(ratio)).collect();
        let ([before, before_test], [after, after_test]) = (proposals.before, proposals.after);
        let mut settings = vec![
            ("INPUT.MIN_SIZE_TRAIN", json!(scenes.shortest)),
            ("INPUT.MAX_SIZE_TRAIN", json!(scenes.longest)),
            ("INPUT.MIN_SIZE_TEST", json!(eval.shortest)),
            ("INPUT.MAX_SIZE_TEST", json!(scenes.longest)),
            ("MODEL.MASK_ON", json!(masks)),
            ("MODEL.ANCHOR_GENERATOR.SIZES", json!(sizes)),
            ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", json!([ratios])),
            ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", json!(proposals.sampled)),
            ("MODEL.RPN.POSITIVE_FRACTION", json!(proposals.objects)),
            ("MODEL.RPN.PRE_NMS_TOPK_TRAIN", json!(before)),
            ("MODEL.RPN.PRE_NMS_TOPK_TEST", json!(before_test)),
            ("MODEL.RPN.POST_NMS_TOPK_TRAIN", json!(after)),
            ("MODEL.RPN.POST_NMS_TOPK_TEST", json!(after_test)),
            ("MODEL.RPN.NMS_THRESH", json!(plain(proposals.overlap))),
            ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", json!(regions.sampled)),
            ("MODEL.ROI_HEADS.POSITIVE_FRACTION", json!(regions.objects)),
            ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", json!(plain(regions.score))),
            ("MODEL.ROI_HEADS.NMS_THRESH_TEST", json!(plain(regions.overlap))),
            ("MODEL.ROI_MASK_HEAD.CONV_DIM", json!(model.convs)),
            ("TEST.DETECTIONS_PER_IMAGE", json!(regions.most)),
        ];
        let pyramid: [(&str, Value); 14] = [
            ("MODEL.FPN.IN_FEATURES", json!(["res2", "res3", "res4", "res5"])),
            ("MODEL.FPN.OUT_CHANNELS", json!(model.pyramid)),
            ("MODEL.FPN.NORM", json!(norm)),
            ("MODEL.RPN.IN_FEATURES", json!(["p2", "p3", "p4", "p5", "p6"])),
            ("MODEL.ROI_HEADS.IN_FEATURES", json!(["p2", "p3", "p4", "p5"])),
            ("MODEL.ROI_BOX_HEAD.NAME", json!("FastRCNNConvFCHead")),
            ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", json!(7)),
            ("MODEL.ROI_BOX_HEAD.NUM_CONV", json!(4)),
            ("MODEL.ROI_BOX_HEAD.CONV_DIM", json!(model.convs)),
            ("MODEL.ROI_BOX_HEAD.NUM_FC", json!(1)),
            ("MODEL.ROI_BOX_HEAD.FC_DIM", json!(model.hidden)),
            ("MODEL.ROI_BOX_HEAD.NORM", json!(norm)),
            ("MODEL.ROI_MASK_HEAD.NUM_CONV", json!(4)),
            ("MODEL.ROI_MASK_HEAD.NORM", json!(norm)),
        ];
        settings.extend(pyramid.into_iter().filter(|_| has_pyramid));
        Detectron2 {
            backbone: self.resnet(),
            has_pyramid,
            norms,
            canonical: model.canonical,
            normal: [scenes.mean, scenes.std],
            classes: classes.names.clone(),
            settings,
        }
    }
}

/// A number as it is written: 0.05, not the binary fraction next to it.
fn plain(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
