//! How each kind of golden case is run.

pub mod case;
mod detection;
mod detectors;
mod found;
mod images;
mod layers;
mod losses;
mod metrics;
mod networks;
mod optimisers;
mod segmenters;
mod steps;

use case::{GoldenCase, Outputs};
use vista::{Device, Result};

/// Runs a case on a device: the values under the names of the expected tensors.
pub type Run = fn(&GoldenCase, &Device) -> Result<Outputs>;

/// The runner of an op; `None` if there is none.
pub fn runner_of(op: &str) -> Option<Run> {
    Some(match op {
        "matmul" => layers::matmul,
        "linear" => layers::linear,
        "conv2d" => layers::conv2d,
        "batch_norm_train" | "split_batch_norm" => layers::batch_norm_train,
        "batch_norm_eval" => layers::batch_norm_eval,
        "max_pool2d" => layers::max_pool2d,
        "global_avg_pool" => layers::global_avg_pool,
        "relu" => layers::relu,
        "sigmoid" => layers::sigmoid,
        "add_relu" => layers::add_relu,
        "l2_normalize" => layers::l2_normalize,
        "log_softmax" => layers::log_softmax,
        "bilinear_resize" | "bilinear_resize_align_corners" => layers::bilinear_resize,
        "adaptive_avg_pool2d" => layers::adaptive_avg_pool2d,
        "dropout" => layers::dropout,
        "psa_mask" => layers::psa_mask,
        "concat" => layers::concat,
        "roi_align" => layers::roi_align,
        "conv_transpose2d" => layers::conv_transpose2d,
        "nearest_upsample2x" => layers::nearest_upsample2x,
        "smooth_l1" => detection::smooth_l1,
        "rpn_loss" => detection::rpn_loss,
        "mask_targets" => detection::mask_targets,
        "paste_mask" => detection::paste_mask,
        "fpn" => detectors::fpn,
        "fpn_network" => detectors::fpn_network,
        "res5_head" => detectors::res5_head,
        "faster_rcnn_c4_step" | "mask_rcnn_fpn_step" => detectors::detector_step,
        "pspnet_step" | "psanet_step" => segmenters::segmenter_step,
        "fast_rcnn_loss" => detection::fast_rcnn_loss,
        "mask_loss" => detection::mask_loss,
        "anchors" => detection::anchors,
        "anchor_match" => detection::anchor_match,
        "box_encode" => detection::box_encode,
        "box_decode" => detection::box_decode,
        "box_iou" => detection::box_iou,
        "nms" | "batched_nms" => detection::nms,
        "fpn_level_assignment" => detection::fpn_level_assignment,
        "rpn_proposals" => detection::rpn_proposals,
        "fast_rcnn_inference" => detection::fast_rcnn_inference,
        "softmax_cross_entropy" => losses::softmax_cross_entropy,
        "pixel_cross_entropy" => losses::pixel_cross_entropy,
        "bce_with_logits" => losses::bce_with_logits,
        "top_k" => losses::top_k,
        "info_nce" => losses::info_nce,
        "mls_bce" | "bce_pos" | "knn_softmax" => losses::multi_label,
        "mls_total" => losses::mls_total,
        "smooth_ap" => losses::smooth_ap,
        "exact_ap" => losses::exact_ap,
        "nt_xent" => losses::nt_xent,
        "sinkhorn" => losses::sinkhorn,
        "swav_loss" => losses::swav_loss,
        "byol_loss" => losses::byol_loss,
        "densecl_loss" => losses::densecl_loss,
        "simsiam_loss" => losses::simsiam_loss,
        "nnclr_loss" => losses::nnclr_loss,
        "sgd" | "adam" | "lars" => optimisers::optimiser,
        "ema_update" => optimisers::ema_update_case,
        "cosine_schedule" => optimisers::cosine_schedule,
        "poly_schedule" => optimisers::poly_schedule,
        "warmup_step_schedule" => optimisers::warmup_step_schedule,
        "network" => networks::network,
        "trajectory" => networks::trajectory,
        "moco_step" | "mls_step" => steps::momentum_step,
        "s2r2_step" => steps::s2r2_step,
        "voc_ap" => metrics::voc_ap,
        "mean_ap" => metrics::mean_ap,
        "accuracy" => metrics::accuracy,
        "mean_iou" => metrics::mean_iou,
        "coco_box_ap" | "coco_segm_ap" => found::coco_ap,
        "voc_box_ap" => found::voc_box_ap,
        "rle" => found::rle,
        "rle_polygon" => found::rle_polygon,
        "knn_classifier" => images::knn_classifier,
        "adjust_brightness" | "adjust_contrast" | "adjust_saturation" | "adjust_hue" => images::adjust,
        "adjust_brightness_float"
        | "adjust_contrast_float"
        | "adjust_saturation_float"
        | "adjust_hue_float" => images::adjust_float,
        "grayscale" => images::grayscale,
        "horizontal_flip" => images::horizontal_flip,
        "gaussian_blur" => images::gaussian_blur,
        "resized_crop" => images::resized_crop,
        "normalize_image" => images::normalize_image,
        _ => return None,
    })
}
