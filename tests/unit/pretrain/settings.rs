//! Presets, methods and settings of configurations.

use super::*;
use crate::pretrain::config::OptimizerName;

fn demo() -> Config {
    Config::preset("demo").expect("preset")
}

#[test]
fn every_preset_is_valid_and_survives_toml() {
    for preset in methods::presets() {
        let config = (preset.config)();
        config.check().expect("valid");
        let again = demo().merged(&config.to_toml(), "test").expect("parsed");
        assert_eq!(config, again, "{}", preset.name);
    }
}

#[test]
fn every_method_has_a_valid_recipe_for_the_built_in_photos_and_for_others() {
    for name in methods::names() {
        let small = demo().with_method(name).expect("method");
        small.check().unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = demo().merged(&small.to_toml(), "test").expect("parsed");
        assert_eq!(small, again, "{name}");
        let other = demo().with("train.epochs=3").expect("set").with_method(name).expect("method");
        assert_eq!((other.train.batch, other.train.epochs), (16, 3), "{name}: lengths stay");
    }
}

#[test]
fn settings_replace_one_key_and_unknown_ones_are_named() {
    let config = demo().with("method.name=mls").expect("set").with("train.batch = 32").expect("set");
    assert_eq!((config.method.name(), config.train.batch), ("mls", 32));
    for (setting, part) in [("method.tua=1", "tua"), ("nothing", "key=value"), ("train.batch=many", "many")] {
        let message = config.with(setting).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(setting), "{message}");
    }
    let message = config.with("method.name=mocov9").unwrap_err().to_string();
    assert!(message.contains("densecl"), "{message}");
}

#[test]
fn views_are_those_that_a_method_wants_in_the_order_of_its_sizes() {
    let sizes = |preset: &str| -> Vec<usize> {
        Config::preset(preset).expect("preset").image_views().iter().map(|view| view.size).collect()
    };
    assert_eq!(sizes("mls-coco-r50-400ep"), [224; 2]);
    assert_eq!(sizes("s2r2-stl10-r18"), [96; 20]);
    assert_eq!(sizes("swav-stl10-r18"), [[96; 2].as_slice(), &[48; 6]].concat());
    let byol = Config::preset("byol-coco-r50-400ep").expect("preset");
    let of =
        |config: &Config| config.image_views().iter().map(|v| (v.blur_p, v.solarize_p)).collect::<Vec<_>>();
    assert_eq!(of(&byol), [(1.0, 0.0), (0.1, 0.2)]);
    assert_eq!(of(&byol.with("method.second_view.blur_p=0.3").expect("set"))[1], (0.3, 0.2));
}

#[test]
fn swav_of_the_paper_is_as_published_and_that_of_short_runs_leaves_its_value_of_collapse() {
    for name in ["swav-stl10-r18", "swav-coco-train-r18", "swav-coco-val-r18"] {
        let paper = Config::preset(name).expect("preset");
        let numbers = paper.to_toml();
        for line in ["sinkhorn_eps = 0.05", "tau = 0.1", "prototypes = 512", "frozen_steps = 313"] {
            assert!(numbers.contains(line), "{name}: {line} in {numbers}");
        }
        assert_eq!((paper.optimizer.name, paper.optimizer.lr), (OptimizerName::Lars, 1.0), "{name}");
        assert!(format!("{:?}", paper.optimizer()).contains("exclude_1d: false"), "{name}");
    }
    let byol = Config::preset("byol-coco-r50-400ep").expect("preset");
    assert!(format!("{:?}", byol.optimizer()).contains("exclude_1d: true"));
    let short = demo().with_method("swav").expect("method");
    assert_eq!((short.optimizer.name, short.optimizer.lr), (OptimizerName::Adam, 1e-3));
    assert_eq!(short.image_views().iter().map(|v| v.size).collect::<Vec<_>>(), [32, 32, 16, 16, 16, 16]);
    for line in ["sinkhorn_eps = 0.01", "prototypes = 64", "frozen_steps = 1000000000"] {
        assert!(short.to_toml().contains(line), "{line} in {}", short.to_toml());
    }
}

use crate::run::settings::{Difference, differences};

#[test]
fn a_mistyped_key_is_answered_with_the_one_that_was_meant() {
    let demo = Config::preset("demo").expect("preset");
    for (setting, meant) in [
        ("method.tua=1", "method.tau"),
        ("tau=1", "method.tau"),
        ("train.bacth=8", "train.batch"),
        ("optimiser.lr=1", "optimizer.lr"),
        ("views.sise=32", "views.size"),
    ] {
        let message = demo.with(setting).unwrap_err().to_string();
        assert!(message.contains(&format!("did you mean `{meant}`?")), "{message}");
    }
    assert!(demo.with("zzz=1").unwrap_err().to_string().contains("prints all keys"));
    demo.with("data.labelled=x").expect("an optional key");
    demo.with("init=x").expect("an optional key");
}

#[test]
fn changes_are_told_key_by_key() {
    let demo = Config::preset("demo").expect("preset");
    let other = demo.with("train.batch=4").expect("set").with("data.photos=x").expect("set");
    let changed = differences(&demo, &other).iter().map(Difference::to_string).collect::<Vec<_>>();
    assert_eq!(changed, ["data.photos was absent, is \"x\"", "train.batch was 16, is 4"]);
    let known = crate::run::settings::known(&demo);
    assert!(Config::MAY_CHANGE.iter().all(|key| known.iter().any(|k| k == key)));
}

#[test]
fn a_configuration_that_0_1_kept_is_todays() {
    let read = |name: &str| {
        let path = format!("{}/tests/fixtures/configurations-0.1/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        Config::read(Path::new(&path)).expect(name)
    };
    // Photos were decoded whole then.
    let cpu = |config: Config| config.with("device=cpu").and_then(|c| c.with("data.scaled_decode=false"));
    let cpu = |config: Config| cpu(config).expect("keys");
    assert_eq!(read("demo-swav"), cpu(demo().with_method("swav").expect("method")));
    for preset in ["byol-coco-r50-400ep", "densecl-coco-r50-400ep", "demo"] {
        let today = Config::preset(preset).expect("preset").with("train.batch=16").expect("batch");
        assert_eq!(read(preset), cpu(today));
    }
    for (old, new) in
        [("objective.tau", "method.tau"), ("train.views", "method.views"), ("model.hidden", "method.hidden")]
    {
        let message = demo().with(&format!("{old}=2")).unwrap_err().to_string();
        assert!(message.contains(&format!("since 0.2 it is `{new}`")), "{message}");
    }
}
