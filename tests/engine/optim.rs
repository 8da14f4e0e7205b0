//! Optimisers over several steps: parameters without gradients, resuming, EMA pairing.

use vista::engine::autograd::{Grads, Tape};
use vista::engine::nn::{Module, Param};
use vista::engine::optim::{
    AdamConfig, LarsConfig, OptimConfig, Optimizer, Rate, SgdConfig, ema_update, groups,
};
use vista::{Device, Tensor};

struct Two(Vec<Param>);

impl Module for Two {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.0.iter().for_each(f);
    }
}

fn param(device: &Device, name: &str, values: &[f32]) -> Param {
    Param::new(name, Tensor::new(device, [values.len()], values).expect("param"))
}

fn values(param: &Param) -> Vec<f32> {
    param.get().to_vec().expect("values")
}

/// Gradients of `sum(g * p)`: g itself.
fn grads(param: &Param, g: &[f32]) -> Grads {
    let device = param.get().device().clone();
    let tape = Tape::new(&device);
    let p = tape.param(param);
    let g = Tensor::new(&device, [g.len()], g).expect("g");
    p.scale(1.0).and_then(|y| y.backward_with(g)).expect("backward")
}

fn configs() -> [OptimConfig; 4] {
    [
        OptimConfig::Sgd(SgdConfig { momentum: 0.9, weight_decay: 0.1, nesterov: true }),
        OptimConfig::Adam(AdamConfig { weight_decay: 0.1, ..Default::default() }),
        OptimConfig::Lars(LarsConfig {
            weight_decay: 0.1,
            trust: 0.3,
            exclude_1d: false,
            ..Default::default()
        }),
        OptimConfig::Lars(LarsConfig::default()),
    ]
}

#[test]
fn a_parameter_without_a_gradient_is_left_alone() {
    let device = Device::cpu();
    for config in configs() {
        let (moved, idle) = (param(&device, "moved", &[1.0, 2.0]), param(&device, "idle", &[3.0]));
        let mut optimizer = config.build();
        for _ in 0..2 {
            let grads = grads(&moved, &[0.5, -0.5]);
            optimizer.step(&[moved.clone(), idle.clone()], &grads, 0.1).expect("step");
        }
        assert_eq!(values(&idle), [3.0]);
        assert!(values(&moved)[0] < 1.0 && values(&moved)[1] != 2.0);
        assert!(optimizer.state().expect("state").iter().all(|(name, _)| name.starts_with("moved.")));
    }
}

#[test]
fn a_resumed_optimizer_continues_bit_for_bit() {
    let device = Device::cpu();
    let gradient = |step: usize| [0.3 + step as f32, -0.1, 0.7 * step as f32];
    let run = |p: &Param, optimizer: &mut Optimizer, steps: std::ops::Range<usize>| {
        for step in steps {
            optimizer.step(std::slice::from_ref(p), &grads(p, &gradient(step)), 0.05).expect("step");
        }
    };
    for config in configs() {
        let whole = param(&device, "w", &[1.0, -2.0, 0.5]);
        run(&whole, &mut config.build(), 0..6);
        let first = param(&device, "w", &[1.0, -2.0, 0.5]);
        let mut optimizer = config.build();
        run(&first, &mut optimizer, 0..3);
        let second = param(&device, "w", &values(&first));
        let mut resumed = config.build();
        let state = optimizer.state().expect("state");
        resumed.load(std::slice::from_ref(&second), &state).expect("load");
        run(&second, &mut resumed, 3..6);
        assert_eq!(values(&whole), values(&second));
    }
}

#[test]
fn rates_give_each_parameter_its_own_step() {
    let gpu = Device::gpu_named(None, Default::default()).expect("a device");
    for device in [Device::cpu(), gpu] {
        let names = ["backbone.w", "head.w", "head.b", "predictor.w"];
        let params = names.map(|name| match name {
            "head.b" => param(&device, name, &[1.0]),
            _ => Param::new(name, Tensor::full(&device, [1, 1], 1.0).expect("param")),
        });
        let rates = [
            Rate::frozen("backbone."),
            Rate { lr: 0.5, scheduled: false, ..Rate::of("predictor.") },
            Rate { decay: 0.0, vectors: true, ..Rate::of("") },
            Rate { lr: 10.0, ..Rate::of("head.") },
        ];
        let mut optimizer =
            OptimConfig::Sgd(SgdConfig { momentum: 0.0, weight_decay: 1.0, nesterov: false }).build();
        let groups = groups(&params, &rates, 0.01);
        let tape = Tape::new(&device);
        let leaves = params.each_ref().map(|p| tape.param(p));
        let ones = params.each_ref().map(|p| Tensor::full(&device, p.shape(), 1.0).expect("ones"));
        let outputs: Vec<_> = leaves.iter().zip(ones).collect();
        let grads = tape.backward(&outputs).expect("backward");
        optimizer.step_groups(&groups, &grads).expect("step");
        // The gradient 1 and the decay of 1 times 1, at rates 0, 0.1, 0.01 without decay, 0.5.
        for (param, expected) in params.iter().zip([1.0, 0.8, 0.99, 0.0]) {
            let value = values(param)[0];
            assert!((value - expected).abs() < 1e-6, "{}: {value} on {}", param.name(), device.name());
        }
        assert!(optimizer.state().expect("state").iter().all(|(name, _)| !name.starts_with("backbone.")));
    }
}

#[test]
fn state_of_another_network_is_refused_by_name() {
    let device = Device::cpu();
    for config in configs() {
        let p = param(&device, "w", &[1.0]);
        let mut optimizer = config.build();
        optimizer.step(std::slice::from_ref(&p), &grads(&p, &[1.0]), 0.1).expect("step");
        let state = optimizer.state().expect("state");
        let renamed = optimizer.load(&[param(&device, "other", &[1.0])], &state).expect_err("name");
        assert!(renamed.to_string().contains("w."), "{renamed}");
        let reshaped = optimizer.load(&[param(&device, "w", &[1.0, 2.0])], &state).expect_err("shape");
        assert!(reshaped.to_string().contains("[2]"), "{reshaped}");
    }
}

#[test]
fn lars_scales_a_step_to_the_parameter_and_leaves_vectors_to_plain_sgd() {
    let gpu = Device::gpu_named(None, Default::default()).expect("a device");
    for device in [Device::cpu(), gpu] {
        // The factor is 0.5 * 5 / (1 + 0.1 * 5 + 1) = 1.
        let config = LarsConfig { momentum: 0.0, weight_decay: 0.1, trust: 0.5, eps: 1.0, exclude_1d: false };
        for (exclude_1d, expected) in [(false, [2.7f32, 2.6]), (true, [3.0, 3.0])] {
            let p = param(&device, "w", &[3.0, 4.0]);
            let mut optimizer = OptimConfig::Lars(LarsConfig { exclude_1d, ..config.clone() }).build();
            optimizer.step(std::slice::from_ref(&p), &grads(&p, &[0.0, 1.0]), 1.0).expect("step");
            for (got, expected) in values(&p).iter().zip(expected) {
                assert!((got - expected).abs() < 1e-6, "{got}, not {expected}, on {}", device.name());
            }
        }
    }
}

#[test]
fn ema_moves_trained_parameters_only_and_refuses_other_names() {
    let device = Device::cpu();
    let statistic = |v| Param::statistic("mean", Tensor::full(&device, [1], v).expect("mean"));
    let key = Two(vec![param(&device, "w", &[1.0]), statistic(5.0)]);
    let query = Two(vec![param(&device, "w", &[2.0]), statistic(7.0)]);
    ema_update(&key, &query, 0.75).expect("ema");
    assert_eq!((values(&key.0[0])[0], values(&key.0[1])[0]), (1.25, 5.0));
    let other = Two(vec![param(&device, "v", &[2.0])]);
    let error = ema_update(&key, &other, 0.75).expect_err("names").to_string();
    assert!(error.contains("w is not in the query encoder"), "{error}");
    // A query encoder may have more than its copy: a predictor.
    let more = Two(vec![param(&device, "v", &[2.0]), param(&device, "w", &[2.25])]);
    ema_update(&key, &more, 0.75).expect("ema");
    assert_eq!(values(&key.0[0])[0], 1.5);
    assert!(ema_update(&key, &Two(vec![]), 0.75).is_err());
}
