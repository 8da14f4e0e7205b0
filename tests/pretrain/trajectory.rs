//! Twenty steps in f64 give the losses that version 0.1 gave: no rebuilding may move them.
//!
//! `fixtures/trajectory.json` was written by version 0.1's tree with `VISTA_WRITE=1 cargo test --test pretrain trajectory`; writing
//! it again means that the numbers of a method have been changed on purpose.

use rand::{SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use vista::engine::tensor::init;
use vista::pretrain::{Batch, Config, Now, learner};
use vista::{Device, Tensor};

const STEPS: u64 = 20;
const IMAGES: usize = 8;

/// Views drawn by a seed; of S2R2's and SwAV's four, SwAV's last two are small.
fn batch(device: &Device, method: &str, seed: u64) -> Batch {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut views = |rows: usize, size: usize| {
        let values = init::normal(&mut rng, rows * size * size * 3, 1.0);
        Tensor::new(device, [rows, size, size, 3], &values).expect("views")
    };
    let query = match method {
        "s2r2" => vec![views(4 * IMAGES, 32)],
        "swav" => vec![views(2 * IMAGES, 32), views(2 * IMAGES, 24)],
        _ => vec![views(IMAGES, 32)],
    };
    let (key, shuffle) = match method {
        "mls" => (Some(views(IMAGES, 32)), vec![3, 1, 7, 0, 5, 2, 6, 4]),
        _ => (None, Vec::new()),
    };
    let ids = (0..IMAGES as u64).map(|i| 100 * seed + i).collect();
    Batch { query, key, ids, shuffle }
}

/// Losses of a small ResNet-18 with the method's own optimiser, heads and queue.
fn losses(method: &str) -> Vec<f64> {
    let device = Device::reference();
    let settings = [
        "seed=1",
        "model.width=4",
        "method.projection=16",
        "method.hidden=16",
        "train.batch=8",
        "views.size=32",
        "train.groups=2",
    ];
    let own = match method {
        "mls" => "method.queue=20",
        "swav" => "method={ views = 4, small_views = 2, prototypes = 5, frozen_steps = 0, queue = 20 }",
        _ => "method.views=4",
    };
    let demo = Config::preset("demo").expect("preset").with_method(method).expect("method");
    let config =
        settings.iter().chain([&own]).fold(demo, |config, setting| config.with(setting).expect("setting"));
    let mut learner = learner(&config, &device).expect("learner");
    let step = |n| {
        learner
            .step(&batch(&device, method, n), &Now { step: n, lr: 1e-3, ..Now::default() })
            .expect("step")
            .loss
    };
    (1..=STEPS).map(step).collect()
}

#[test]
fn twenty_steps_give_the_losses_of_version_0_1() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/trajectory.json");
    let now: BTreeMap<&str, Vec<f64>> = ["s2r2", "mls", "swav"].map(|m| (m, losses(m))).into();
    if std::env::var_os("VISTA_WRITE").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&now).expect("JSON") + "\n").expect("written");
    }
    let then: BTreeMap<String, Vec<f64>> =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the fixture")).expect("JSON");
    for (method, then) in then {
        let now = &now[method.as_str()];
        assert_eq!(now.len(), then.len());
        for (step, (now, then)) in now.iter().zip(&then).enumerate() {
            assert!((now - then).abs() <= 1e-10, "{method}, step {step}: {now}, and {then} in 0.1");
        }
        assert!(then[0] != then[19], "{method} moves");
    }
}
