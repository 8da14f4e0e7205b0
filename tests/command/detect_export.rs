//! Detectors that leave for detectron2, and what is said of a checkpoint of the other kind.

use crate::detect::{DATA, TINY, done, folder, text};
use crate::program;

use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;
use vista::pretrain::Config;
use vista::pretrain::checkpoint::{self, Progress};
use vista::{Device, engine::nn::Module};

fn vista(folder: &Path, args: &[&str]) -> Output {
    program::command(folder).args(args).output().expect("the program runs")
}

/// A detector of a kind that has made a step, in `run`.
fn trained(folder: &Path, more: &[&str]) {
    let args =
        [&["detect"], &DATA[..4], &TINY, more, &["--steps", "1", "--out", "run", "--overwrite"]].concat();
    done(&vista(folder, &args));
}

/// Shapes and bytes of the arrays of a file, but for what an optimiser remembers.
fn arrays(path: &Path) -> std::collections::BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(path).expect("the file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let own = file.tensors().into_iter().filter(|(name, _)| !name.starts_with("optimizer."));
    own.map(|(name, view)| (name, (view.shape().to_vec(), view.data().to_vec()))).collect()
}

#[test]
fn a_detector_leaves_for_detectron2_with_its_names_and_layout() {
    let folder = folder();
    let run = folder.path().join("run");
    let pyramid = [
        ("conv1.weight", "backbone.bottom_up.stem.conv1.weight", &[4, 3, 7, 7][..]),
        ("layer2.0.downsample.1.running_var", "backbone.bottom_up.res3.0.shortcut.norm.running_var", &[8]),
        ("layer4.1.conv2.weight", "backbone.bottom_up.res5.1.conv2.weight", &[32, 32, 3, 3]),
        ("backbone.fpn_lateral5.norm.running_mean", "backbone.fpn_lateral5.norm.running_mean", &[8]),
        ("backbone.fpn_output2.weight", "backbone.fpn_output2.weight", &[8, 8, 3, 3]),
        (
            "proposal_generator.rpn_head.anchor_deltas.weight",
            "proposal_generator.rpn_head.anchor_deltas.weight",
            &[12, 8, 1, 1],
        ),
        ("roi_heads.box_head.conv4.norm.weight", "roi_heads.box_head.conv4.norm.weight", &[8]),
        ("roi_heads.box_head.fc1.weight", "roi_heads.box_head.fc1.weight", &[16, 8 * 7 * 7]),
        ("roi_heads.box_predictor.cls_score.weight", "roi_heads.box_predictor.cls_score.weight", &[3, 16]),
        ("roi_heads.box_predictor.bbox_pred.weight", "roi_heads.box_predictor.bbox_pred.weight", &[8, 16]),
        ("roi_heads.mask_head.deconv.weight", "roi_heads.mask_head.deconv.weight", &[8, 8, 2, 2]),
        ("roi_heads.mask_head.predictor.weight", "roi_heads.mask_head.predictor.weight", &[2, 8, 1, 1]),
    ];
    let plain = [
        ("layer3.0.conv1.weight", "backbone.res4.0.conv1.weight", &[16, 8, 3, 3][..]),
        ("layer4.0.bn1.bias", "roi_heads.res5.0.conv1.norm.bias", &[32]),
        ("roi_heads.res5.norm.running_var", "roi_heads.res5.norm.running_var", &[32]),
        (
            "proposal_generator.rpn_head.objectness_logits.weight",
            "proposal_generator.rpn_head.objectness_logits.weight",
            &[15, 16, 1, 1],
        ),
        ("roi_heads.mask_head.deconv.weight", "roi_heads.mask_head.deconv.weight", &[32, 8, 2, 2]),
    ];
    for (kind, names, lines) in [
        (
            "mask-rcnn-fpn",
            &pyramid[..],
            ["build_narrow_backbone", "FPN.NORM = \"BN\"", "ANCHOR_GENERATOR.SIZES = [[8.0], [16.0],"],
        ),
        (
            "mask-rcnn-c4",
            &plain,
            [
                "Res5ROIHeadsExtraNorm",
                "RESNETS.OUT_FEATURES = [\"res4\"]",
                "ANCHOR_GENERATOR.SIZES = [[8.0, 16.0,",
            ],
        ),
    ] {
        trained(folder.path(), &["--model", kind]);
        let told = done(&vista(folder.path(), &["export", "--checkpoint", "run", "--format", "detectron2"]));
        let common = [
            "INPUT.FORMAT = \"RGB\"",
            "NUM_CLASSES = 2",
            "PIXEL_MEAN = [123.675, 116.28, 103.53]",
            "FREEZE_AT = 0",
            "detector-detectron2.safetensors",
        ];
        for part in lines.iter().chain(&common) {
            assert!(told.contains(part), "{kind}: no `{part}` in {told}");
        }
        let file = run.join("detector-detectron2.safetensors");
        let (ours, theirs) = (arrays(&run.join("checkpoint.safetensors")), arrays(&file));
        assert_eq!(ours.len(), theirs.len());
        for (name, renamed, shape) in names {
            // Both are laid out as torch's: the layer over all cells is flattened channels first.
            let (found, values) = &theirs[*renamed];
            assert_eq!((&found[..], values), (*shape, &ours[*name].1), "{kind} {renamed}");
        }
        let text = fs::read(&file).expect("the file");
        let (_, header) = SafeTensors::read_metadata(&text).expect("safetensors");
        let facts = header.metadata().clone().expect("metadata");
        assert_eq!((&*facts["classes"], &*facts["channels"]), ("[\"red\",\"blue\"]", "RGB"));
        let flat: Vec<Value> = serde_json::from_str(&facts["detectron2"]).expect("a list");
        assert!(
            flat.len() > 40
                && flat.as_chunks::<2>().0.iter().all(|pair| told.contains(pair[0].as_str().expect("a key")))
        );
        fs::remove_file(file).expect("removed");
    }
}

#[test]
fn a_checkpoint_of_the_other_kind_is_told_in_a_line_with_what_can_be_done_with_it() {
    let folder = folder();
    trained(folder.path(), &[]);
    let refused = |args: &[&str], parts: &[&str]| {
        let output = vista(folder.path(), args);
        let said = text(&output.stderr);
        let errors = said.lines().filter(|line| !line.starts_with("warning")).count();
        assert_eq!((output.status.code(), errors), (Some(2), 1), "{args:?}: {said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "{args:?} does not say `{part}`: {said}"));
    };
    let detector = ["a detector of `", "not an encoder", "detect --checkpoint", "export --format detectron2"];
    for command in [
        &["embed", "photos", "--out", "f.csv"][..],
        &["export", "--format", "torchvision"],
        &["export", "--format", "onnx"],
        &["knn"],
        &["probe"],
        &["finetune"],
        &["figures"],
    ] {
        refused(&[command, &["--checkpoint", "run"]].concat(), &detector);
    }
    refused(&["pretrain", "--resume", "--out", "run"], &detector);
    refused(
        &["export", "--checkpoint", "run", "--format", "detectron2", "--image-size", "64"],
        &["--image-size"],
    );

    let config = Config::preset("demo").and_then(|demo| demo.with("model.width=4")).expect("a configuration");
    let encoder = config.encoder(&Device::cpu()).expect("an encoder");
    assert!(encoder.count() > 0);
    fs::create_dir(folder.path().join("encoder")).expect("folder");
    let path = folder.path().join("encoder/checkpoint.safetensors");
    checkpoint::save(&path, &encoder, &config, Progress { epoch: 0, step: 0 }).expect("saved");
    let told = ["an encoder of `", "not a detector", "detect --init", "pretrain --resume"];
    refused(&["detect", "--checkpoint", "encoder", "--eval-only"], &told);
    refused(&["detect", "--checkpoint", "encoder", "--photos", "photos"], &told);
    refused(&["detect", "--resume", "--out", "encoder"], &told);
}
