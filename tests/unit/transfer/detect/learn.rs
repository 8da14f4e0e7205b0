use super::*;
use crate::photos::Bitmap;
use crate::photos::views::SceneObject;
use std::collections::BTreeMap;

/// A detector so small that a step takes a moment.
fn tiny(kind: &str) -> DetectConfig {
    let settings = ["model.width=4", "model.pyramid=8", "model.convs=8", "model.hidden=16"];
    let kind = format!("model.kind={kind}");
    let config = DetectConfig::preset("detect-small").expect("a preset");
    settings.iter().chain([&&*kind]).fold(config, |config, setting| config.with(setting).expect("a key"))
}

/// A scene of noise, with an object and its mask in it or without.
fn scene(has_object: bool) -> Scene {
    let size = [64, 96];
    let pixels = (0..3 * 64 * 96).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
    let mask = Bitmap { size, pixels: (0..64 * 96).map(|i| u8::from(i % 96 < 40)).collect() };
    let object = SceneObject {
        class: 0,
        rect: [8.0, 8.0, 40.0, 48.0],
        crowd: false,
        difficult: false,
        area: 1280.0,
        mask: Some(mask),
    };
    Scene {
        pixels,
        size,
        own: size,
        objects: has_object.then_some(object).into_iter().collect(),
        left_out: Vec::new(),
    }
}

#[test]
fn in_a_step_without_a_mask_decay_and_momentum_move_the_mask_head() {
    for kind in ["mask-rcnn-fpn", "mask-rcnn-c4"] {
        let config = tiny(kind);
        let mut learner = DetectLearner::new(&config, 1, &Device::cpu(), false).expect("a learner");
        let scenes = |has_object| vec![scene(has_object), scene(false)];
        let now = |step| Now { step, lr: 0.1, base_lr: 0.1, ..Now::default() };
        let values = |learner: &DetectLearner| -> BTreeMap<String, Vec<f32>> {
            let of = |param: &Param| (param.name().to_string(), param.get().to_vec().expect("values"));
            learner.net.trained().iter().map(of).collect()
        };
        let momentum = |learner: &DetectLearner| -> BTreeMap<String, Vec<f32>> {
            let state = learner.optimizer.state().expect("state");
            state.into_iter().map(|(name, x)| (name, x.to_vec().expect("values"))).collect()
        };
        let is_head = |name: &str| name.contains("mask_head");
        let report = learner.step(&scenes(true), &now(0)).expect("a step");
        assert!(report.terms[4].1 > 0.0, "{report:?}");
        let (before, buffers) = (values(&learner), momentum(&learner));
        let report = learner.step(&scenes(false), &now(1)).expect("a step");
        assert_eq!(report.terms[4].1, 0.0);
        let after = values(&learner);
        let heads: Vec<&String> = before.keys().filter(|name| is_head(name)).collect();
        assert!(!heads.is_empty());
        for name in heads {
            let is_norm = name.contains(".norm.");
            let decay = if is_norm { 0.0 } else { config.optimizer.weight_decay };
            let buffer = &buffers[&format!("{name}.momentum_buffer")];
            for ((p, b), moved) in before[name].iter().zip(buffer).zip(&after[name]) {
                let wanted = f64::from(*p) - 0.1 * (0.9 * f64::from(*b) + decay * f64::from(*p));
                assert!((wanted - f64::from(*moved)).abs() < 1e-6, "{kind} {name}: {p} {b} {moved}");
            }
            assert!(before[name] != after[name] || buffer.iter().all(|b| *b == 0.0), "{name} did not move");
        }
        // From its first step on: what remembers nothing begins with its decay.
        let mut learner = DetectLearner::new(&config, 1, &Device::cpu(), false).expect("a learner");
        learner.step(&scenes(false), &now(0)).expect("a step");
        assert!(momentum(&learner).keys().any(|name| is_head(name)));
    }
}
