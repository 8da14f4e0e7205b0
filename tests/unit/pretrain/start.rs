//! ResNets as other libraries name and change them.

use super::*;
use crate::interop::{Array, Library};

fn encoder(seed: u64, setting: &str) -> (ResNetEncoder, Config) {
    let method = if setting.contains("projector_norm") { "method.name=simclr" } else { "method.queue=8" };
    let config = Config::preset("moco-v2-coco-r50").expect("preset").with(method).expect("method");
    let config = ["model.backbone=resnet18", "model.width=4", setting]
        .iter()
        .fold(config, |config, setting| config.with(setting).expect("set"));
    let made = Config { seed, ..config.clone() }.encoder(&Device::cpu());
    (made.expect("encoder"), config)
}

/// The arrays of an encoder under other names.
fn renamed(encoder: &ResNetEncoder, rename: impl Fn(&str) -> String) -> Weights {
    let own = Weights::of(encoder).expect("weights").0;
    Weights(own.into_iter().map(|(name, array)| (rename(&name), array)).collect())
}

fn modules(encoder: &ResNetEncoder) -> [&dyn Module; 2] {
    [&encoder.backbone, &encoder.method]
}

fn equal(a: &dyn Module, b: &dyn Module) -> bool {
    let values = |m: &dyn Module| m.state().iter().map(|p| p.get().to_vec().expect("v")).collect::<Vec<_>>();
    values(a) == values(b)
}

#[test]
fn a_query_encoder_is_found_among_others_with_its_head_under_each_convention() {
    let (theirs, _) = encoder(1, "seed=1");
    let moco = |name: &str| format!("module.encoder_q.{}", name.replace("projector", "fc"));
    let densecl = |name: &str| match name.strip_prefix("projector.") {
        Some(rest) => format!("encoder_q.1.mlp.{rest}"),
        None => format!("encoder_q.0.{name}"),
    };
    let detectron2 = |name: &str| match name.starts_with("projector") {
        true => name.to_string(),
        false => Library::Detectron2.rename(name),
    };
    type Rename<'a> = &'a dyn Fn(&str) -> String;
    let cases: [(&str, Rename); 3] =
        [("module.encoder_q.", &moco), ("encoder_q.0.", &densecl), ("", &detectron2)];
    for (prefix, rename) in cases {
        let mut weights = renamed(&theirs, rename);
        let copy = renamed(&encoder(2, "seed=1").0, |n| rename(n).replace("encoder_q", "encoder_k"));
        copy.0.into_iter().for_each(|(name, array)| _ = weights.0.entry(name).or_insert(array));
        let source = Source::find(&weights, None, None, "file").expect("found");
        assert_eq!((source.prefix.as_str(), source.backbone.width), (prefix, 4));
        let (ours, _) = encoder(3, "seed=1");
        source.load(&weights, modules(&ours), "file").expect("loaded");
        assert!(equal(&ours, &theirs), "{prefix}");
    }
}

#[test]
fn a_backbone_without_a_head_leaves_the_projector_as_it_was() {
    let (theirs, _) = encoder(1, "seed=1");
    let mut weights = renamed(&theirs, str::to_string);
    weights.0.retain(|name, _| !name.starts_with("projector"));
    let (ours, untouched) = (encoder(3, "seed=1").0, encoder(3, "seed=1").0);
    Source::find(&weights, None, None, "file")
        .expect("found")
        .load(&weights, modules(&ours), "f")
        .expect("loaded");
    assert!(equal(&ours.backbone, &theirs.backbone) && equal(&ours.method, &untouched.method));
}

#[test]
fn what_is_missing_misshapen_ambiguous_or_unknown_is_named() {
    let (theirs, _) = encoder(1, "seed=1");
    let refusal = |weights: &Weights, prefix: Option<&str>| {
        let found = Source::find(weights, prefix, None, "file");
        found.and_then(|s| s.load(weights, modules(&encoder(2, "seed=1").0), "file")).unwrap_err().to_string()
    };
    let mut two = renamed(&theirs, |n| format!("a.{n}"));
    two.0.extend(renamed(&theirs, |n| format!("b.{n}")).0);
    assert!(refusal(&two, None).contains("`a.`, `b.`"), "{}", refusal(&two, None));
    assert!(refusal(&two, Some("c.")).contains("`c.`"));
    assert!(refusal(&Weights::default(), None).contains("no ResNet"));
    let mut cut = renamed(&theirs, str::to_string);
    cut.0.remove("layer3.1.bn2.bias");
    assert!(refusal(&cut, None).contains("layer3.1.bn2.bias is missing"));
    cut.0.insert("layer3.1.bn2.bias".into(), Array { shape: vec![3], values: vec![0.0; 3] });
    assert!(refusal(&cut, None).contains("is [3], not [16]"));
    cut.0.remove("layer4.1.conv1.weight");
    assert!(refusal(&cut, None).contains("[2, 2, 2, 1] basic blocks"));
    let (wide, _) = encoder(1, "model.width=8");
    let message = refusal(&renamed(&wide, str::to_string), None);
    assert!(message.contains("conv1.weight is [8, 3, 7, 7], not [4, 3, 7, 7]"), "{message}");
}

fn array(shape: &[usize]) -> Array {
    Array { shape: shape.to_vec(), values: vec![0.5; shape.iter().product()] }
}

fn loaded(weights: &Weights) -> Result<(Source, Vec<String>, ResNetEncoder)> {
    let (ours, _) = encoder(2, "seed=1");
    let source = Source::find(weights, None, None, "file")?;
    let used = source.load(weights, modules(&ours), "file")?;
    Ok((source, used, ours))
}

#[test]
fn an_array_of_the_backbone_that_would_stay_unused_is_refused_by_name_and_one_of_a_head_is_not() {
    let (theirs, _) = encoder(1, "seed=1");
    type Rename<'a> = &'a dyn Fn(&str) -> String;
    let plain: Rename = &|name| format!("backbone.{name}");
    let detectron2: Rename = &|name| Library::Detectron2.rename(name);
    let numbered: Rename = &|name| match name.starts_with("projector") {
        true => name.to_string(),
        false => Library::Numbered(4).rename(name),
    };
    for (rename, names) in [
        (
            plain,
            &["backbone.layer1.0.se.fc1.weight", "backbone.layer4.1.conv2.bias", "backbone.conv1.bias"][..],
        ),
        (plain, &["backbone.conv2.weight", "backbone.bn3.running_mean", "backbone.layer2.2.conv1.weight"]),
        (plain, &["backbone.layer5.0.bias", "backbone.layer3.0.downsample.2.weight"]),
        (detectron2, &["res2.0.se.fc1.weight", "stem.conv1.bias", "stem.conv2.weight", "res4.1.conv2.bias"]),
        (numbered, &["4.0.se.fc1.weight", "0.bias", "2.weight", "7.1.conv2.bias"]),
    ] {
        let mut weights = renamed(&theirs, rename);
        weights.0.retain(|name, _| !name.contains("projector"));
        for name in names {
            weights.0.insert(name.to_string(), array(&[3]));
            let message = loaded(&weights).map(|_| ()).expect_err(name).to_string();
            assert!(message.starts_with(name) || message.contains("a ResNet of"), "{name}: {message}");
            weights.0.remove(*name);
        }
        let others = [
            "fc.weight",
            "attnpool.weight",
            "layer_norm.weight",
            "layer1.0.bn1.num_batches_tracked",
            "8.weight",
        ];
        for name in others {
            let name =
                if rename("x") == "backbone.x" { format!("backbone.{name}") } else { name.to_string() };
            weights.0.insert(name.clone(), array(&[1]));
            loaded(&weights).map(|_| ()).expect(&name);
        }
    }
}

#[test]
fn a_stem_of_another_shape_is_named() {
    let (theirs, _) = encoder(1, "seed=1");
    let mut weights = renamed(&theirs, str::to_string);
    for shape in [&[4, 1, 7, 7][..], &[4, 3, 5, 5], &[4, 12, 4, 4], &[4, 3, 7], &[]] {
        weights.0.insert("conv1.weight".into(), array(shape));
        let message = loaded(&weights).map(|_| ()).expect_err("refused").to_string();
        assert!(message.contains(&format!("conv1.weight is {shape:?}")), "{message}");
    }
    weights.0.remove("conv1.weight");
    assert!(loaded(&weights).map(|_| ()).unwrap_err().to_string().contains("conv1.weight is missing"));
}

#[test]
fn a_head_is_told_of_only_if_all_of_it_was_loaded() {
    for norm in ["method.projector_norm=false", "method.projector_norm=true"] {
        let (theirs, config) = encoder(1, norm);
        let whole = renamed(&theirs, str::to_string);
        let ours = || config.encoder(&Device::cpu()).expect("encoder");
        let head: Vec<String> =
            whole.0.keys().filter(|name| name.starts_with("projector")).cloned().collect();
        let check = |weights: &Weights, what: &str, is_loaded: bool| {
            let (ours, untouched) = (ours(), ours());
            let source = Source::find(weights, None, None, "file").expect(what);
            let used = source.load(weights, modules(&ours), "file").expect(what);
            assert_eq!(used.iter().any(|name| name.starts_with("projector")), is_loaded, "{what}");
            assert_eq!(matches!(source.head, Ok(Some(_))), is_loaded, "{what}");
            assert_eq!(equal(&ours.method, &untouched.method), !is_loaded, "{what}");
            assert!(equal(&ours.backbone, &theirs.backbone), "{what}");
            source.head.err()
        };
        check(&whole, "the whole head", true);
        for name in &head {
            let mut weights = whole.clone();
            weights.0.remove(name);
            let other = check(&weights, name, false);
            // Without its first weight there is no head that could be told of.
            assert_eq!(other.is_some(), name != "projector.0.weight", "{name}");
        }
        for more in ["projector.4.running_mean", "projector.6.weight"] {
            let mut weights = whole.clone();
            weights.0.insert(more.into(), array(&[4]));
            let other = check(&weights, more, false);
            assert!(other.expect("another form").contains(more.trim_start_matches("projector.")));
        }
        let mut weights = whole.clone();
        weights.0.retain(|name, _| !(name.starts_with("projector") && name.ends_with("bias")));
        weights.0.extend(
            whole.0.get("projector.1.bias").map(|bias| ("projector.1.bias".to_string(), bias.clone())),
        );
        assert!(check(&weights, "biases", false).expect("another form").contains("no biases"));
    }
}

#[test]
fn numbered_children_are_those_of_a_resnet_wherever_its_stages_begin() {
    let (theirs, _) = encoder(1, "seed=1");
    for (first, prefix) in [(4, "backbone."), (4, ""), (3, "module.backbone."), (2, "net.")] {
        let mut weights = renamed(&theirs, |name| match name.starts_with("projector") {
            true => name.to_string(),
            false => format!("{prefix}{}", Library::Numbered(first).rename(name)),
        });
        weights.0.retain(|name, _| !name.starts_with("projector"));
        let (source, used, ours) = loaded(&weights).expect("loaded");
        assert_eq!((source.prefix.as_str(), source.library), (prefix, Library::Numbered(first)));
        assert_eq!(used.len(), theirs.backbone.state().len());
        assert!(equal(&ours.backbone, &theirs.backbone), "{first}");
    }
}

#[test]
fn a_copy_that_follows_the_encoder_is_second_choice() {
    let [theirs, copy] = [1, 2].map(|seed| encoder(seed, "seed=1").0);
    for [own, other] in [
        ["backbone.", "momentum_backbone."],
        ["backbone.", "backbone_momentum."],
        ["model.", "ema_model."],
        ["model.", "model_ema.module."],
        ["student.backbone.", "teacher.backbone."],
        ["online_network.", "target_network."],
        ["net.", "target_net."],
        ["module.encoder_q.", "module.encoder_k."],
        ["", "key."],
    ] {
        let mut weights = renamed(&theirs, |name| format!("{own}{name}"));
        weights.0.extend(renamed(&copy, |name| format!("{other}{name}")).0);
        let (source, _, ours) = loaded(&weights).expect(other);
        assert_eq!(source.prefix, own);
        assert!(equal(&ours.backbone, &theirs.backbone), "{own}");
        // Where there is no other it is what is meant.
        let alone = renamed(&copy, |name| format!("{other}{name}"));
        assert_eq!(loaded(&alone).expect(other).0.prefix, other);
    }
    let both = [renamed(&theirs, |n| format!("ema_a.{n}")), renamed(&copy, |n| format!("ema_b.{n}"))];
    let both = Weights(both.into_iter().flat_map(|weights| weights.0).collect());
    let message = loaded(&both).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("--prefix: `ema_a.`, `ema_b.`"), "{message}");
}

#[test]
fn what_is_not_finite_is_refused_where_it_is_used_and_left_out_where_it_is_not() {
    let (theirs, _) = encoder(1, "seed=1");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for name in ["conv1.weight", "layer3.0.bn2.running_var", "projector.2.bias"] {
            let mut weights = renamed(&theirs, str::to_string);
            weights.0.get_mut(name).expect("there").values[0] = bad;
            let message = loaded(&weights).map(|_| ()).expect_err(name).to_string();
            assert!(message.starts_with(&format!("{name} is not finite")), "{message}");
        }
        let mut weights = renamed(&theirs, str::to_string);
        weights.0.insert("queue".into(), Array { shape: vec![1], values: vec![bad] });
        assert!(equal(&loaded(&weights).expect("loaded").2, &theirs));
    }
}

#[test]
fn a_run_of_another_kind_than_its_file_is_told_what_to_set_and_takes_the_one_of_several_that_it_names() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("two.safetensors");
    let (one, config) = encoder(1, "seed=1");
    let two = encoder(2, "seed=1").0;
    let mut weights = renamed(&one, |name| format!("a.{name}"));
    weights.0.extend(renamed(&two, |name| format!("b.{name}")).0);
    weights.write(&path, Default::default()).expect("written");
    let start = |setting: &str| {
        let config = config.with(setting).expect("set");
        let ours = config.encoder(&Device::cpu()).expect("encoder");
        start_from(&ours, &config, &path).map(|_| ours)
    };
    assert!(start("seed=5").map(|_| ()).unwrap_err().to_string().contains("--prefix: `a.`, `b.`"));
    assert!(equal(&start("init_prefix=b.").expect("loaded").backbone, &two.backbone));
    let wide = config.with("model.width=8").expect("set").with("init_prefix=a.").expect("set");
    let message =
        start_from(&wide.encoder(&Device::cpu()).expect("encoder"), &wide, &path).unwrap_err().to_string();
    assert!(message.contains("of width 4") && message.contains("of width 8"), "{message}");
    assert!(message.contains("set --backbone, model.width"), "{message}");
}
