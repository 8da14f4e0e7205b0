use super::*;
use crate::engine::nn::Architecture;

fn detector(architecture: Architecture, width: usize, has_pyramid: bool) -> Detectron2 {
    Detectron2 {
        backbone: ResNetConfig { architecture, width, stem: Stem::Imagenet, zero_init: false, dilated: 0 },
        has_pyramid,
        norms: true,
        canonical: CANONICAL,
        normal: [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]],
        classes: vec!["heron \"grey\"".into(), "{{file}}".into()],
        settings: vec![("MODEL.MASK_ON", json!(true))],
    }
}

#[test]
fn names_and_layouts_are_those_of_detectron2() {
    let values: Vec<f32> = (0..2 * 3 * 4).map(|i| i as f32).collect();
    for (ours, pyramid, plain) in [
        ("conv1.weight", "backbone.bottom_up.stem.conv1.weight", "backbone.stem.conv1.weight"),
        (
            "bn1.running_var",
            "backbone.bottom_up.stem.conv1.norm.running_var",
            "backbone.stem.conv1.norm.running_var",
        ),
        (
            "layer1.1.bn2.weight",
            "backbone.bottom_up.res2.1.conv2.norm.weight",
            "backbone.res2.1.conv2.norm.weight",
        ),
        (
            "layer3.0.downsample.1.bias",
            "backbone.bottom_up.res4.0.shortcut.norm.bias",
            "backbone.res4.0.shortcut.norm.bias",
        ),
        (
            "layer4.0.downsample.0.weight",
            "backbone.bottom_up.res5.0.shortcut.weight",
            "roi_heads.res5.0.shortcut.weight",
        ),
        ("backbone.fpn_lateral2.norm.weight", "backbone.fpn_lateral2.norm.weight", ""),
        ("roi_heads.res5.norm.bias", "", "roi_heads.res5.norm.bias"),
        ("roi_heads.mask_head.mask_fcn1.norm.bias", "roi_heads.mask_head.mask_fcn1.norm.bias", ""),
        (
            "proposal_generator.rpn_head.conv.bias",
            "proposal_generator.rpn_head.conv.bias",
            "proposal_generator.rpn_head.conv.bias",
        ),
    ] {
        for (has_pyramid, theirs) in
            [(true, pyramid), (false, plain)].into_iter().filter(|(_, name)| !name.is_empty())
        {
            let array = Array { shape: vec![2, 3, 2, 2], values: values.clone() };
            let weights = Weights([(ours.to_string(), array.clone())].into());
            let renamed = detector(Architecture::Resnet50, 64, has_pyramid).weights(weights);
            assert_eq!(renamed.0, [(theirs.to_string(), array)].into());
        }
    }
    let fc = Array { shape: vec![2, 3, 2, 2], values: values.clone() };
    let renamed = detector(Architecture::Resnet50, 64, true).weights(Weights([(FC.to_string(), fc)].into()));
    assert_eq!(renamed.0[FC], Array { shape: vec![2, 12], values });
}

#[test]
fn a_program_defines_what_detectron2_has_not_and_nothing_else() {
    let program = |architecture, width, has_pyramid, change: fn(&mut Detectron2)| {
        let mut detector = detector(architecture, width, has_pyramid);
        change(&mut detector);
        detector.python(Path::new("/d.safetensors")).expect("a program")
    };
    let own = [
        "build_narrow_backbone(cfg",
        "class ScaledROIHeads",
        "class Res5ROIHeadsExtraNorm",
        "add_module(\"norm\"",
        "class BasicRes5ROIHeads",
        "class PaddedResNet",
    ];
    let with = |text: String| {
        assert!(!text.contains("{{"), "{text}");
        own.map(|part| text.contains(part))
    };
    use Architecture::{Resnet18, Resnet50};
    let same: fn(&mut Detectron2) = |_| ();
    let frozen: fn(&mut Detectron2) = |detector| detector.norms = false;
    let small: fn(&mut Detectron2) = |detector| detector.canonical = 56.0;
    assert_eq!(with(program(Resnet50, 64, true, same)), [false; 6]);
    assert_eq!(with(program(Resnet50, 32, true, frozen)), [false; 6]);
    assert_eq!(with(program(Resnet50, 64, false, frozen)), [false, false, false, false, false, true]);
    assert_eq!(with(program(Resnet18, 64, true, small)), [false, true, false, false, false, false]);
    assert_eq!(with(program(Resnet18, 32, true, same)), [true, false, false, false, false, false]);
    assert_eq!(with(program(Resnet50, 64, false, same)), [false, false, true, true, false, true]);
    assert_eq!(with(program(Resnet18, 32, false, frozen)), [true, false, false, false, true, true]);
    let text = program(Resnet50, 64, true, same);
    for line in [
        "cfg.MODEL.RESNETS.STRIDE_IN_1X1 = False",
        "cfg.MODEL.MASK_ON = True",
        "cfg.MODEL.PIXEL_MEAN = [123.675, 116.28, 103.53]",
        "cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 256",
        "cfg.MODEL.RESNETS.NORM = \"BN\"",
        "load_file(\"/d.safetensors\")",
        "classes = [\"heron \\\"grey\\\"\", \"{\\u007bfile}}\"]",
    ] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
}

#[test]
fn a_stem_that_detectron2_has_not_is_refused() {
    let mut detector = detector(Architecture::Resnet18, 64, true);
    detector.backbone.stem = Stem::Small;
    assert!(detector.config().expect_err("refused").contains("7x7"));
    assert!(detector.python(Path::new("d")).is_err());
}
