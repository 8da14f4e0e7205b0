//! Whole ResNets with parameters computed from integer hashes.

use super::case::{Array, GoldenCase, Outputs, channels_first};
use rand::{SeedableRng, rngs::StdRng};
use vista::engine::autograd::{Grads, Observation, Tape, Var};
use vista::engine::nn::{Mode, Module, Param, ResNet, ResNetConfig};
use vista::engine::ops::Over;
use vista::engine::optim::{OptimConfig, SgdConfig};
use vista::{Device, Result, Tensor};

pub fn hash_uniform(tensor: u64, index: u64) -> f64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    const MIX1: u64 = 0xBF58_476D_1CE4_E5B9;
    const MIX2: u64 = 0x94D0_49BB_1331_11EB;
    let mut x = (tensor + 1).wrapping_mul(GOLDEN).wrapping_add((index + 1).wrapping_mul(MIX1));
    x = (x ^ (x >> 30)).wrapping_mul(MIX1);
    x = (x ^ (x >> 27)).wrapping_mul(MIX2);
    x ^= x >> 31;
    2.0 * ((x >> 11) as f64 * 2f64.powi(-53)) - 1.0
}

/// The golden network: built by us, filled by hash, its parameter list compared with the file's.
fn build(case: &GoldenCase, device: &Device) -> Result<ResNet> {
    let parse = |key: &str| serde_json::from_value(case.attrs[key].clone());
    let config = ResNetConfig {
        architecture: parse("arch").expect("arch"),
        stem: serde_json::from_value(case.attrs["stem"].clone()).expect("stem"),
        width: case.whole("width"),
        zero_init: false,
        dilated: 0,
    };
    let net = ResNet::new(device, &mut StdRng::seed_from_u64(0), &config)?;
    let bottleneck = case.attrs["arch"] == "resnet50";
    let listed: Vec<(String, Vec<usize>)> =
        serde_json::from_value(case.attrs["parameters"].clone()).expect("list");
    let params = net.trained();
    assert_eq!(params.len(), listed.len(), "number of parameters");
    for (l, (param, (name, shape))) in params.iter().zip(listed).enumerate() {
        assert_eq!(param.name(), name);
        let last_bn = name.ends_with(if bottleneck { "bn3.weight" } else { "bn2.weight" });
        let value = |u: f64| match shape.len() {
            4 => (6.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt() * u,
            _ if name.ends_with("bias") => 0.1 * u,
            _ => (if last_bn { 0.25 } else { 1.0 }) * (1.0 + 0.1 * u),
        };
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| f64::from(value(hash_uniform(l as u64, i as u64)) as f32)).collect();
        param.set(Array { shape, values }.channels_last().tensor(device))?;
    }
    Ok(net)
}

/// `mean(features^2)`, the loss of all network cases.
fn loss<'t>(features: &Var<'t>) -> Result<Var<'t>> {
    features.mul(features)?.mean(Over::All)
}

fn train_pass(net: &ResNet, x: &Tensor) -> Result<(Tensor, f64, Grads)> {
    let tape = Tape::new(x.device());
    let features = net.forward(&tape.constant(x.clone()), Mode::Train { groups: 1 })?;
    let loss = loss(&features)?;
    let grads = loss.backward()?;
    Observation::apply(&tape.take_observations())?;
    Ok((features.value().clone(), loss.value().to_f64()?[0], grads))
}

fn by_name(params: &[Param], name: &str) -> Param {
    params.iter().find(|p| p.name() == name).unwrap_or_else(|| panic!("parameter {name}")).clone()
}

pub fn network(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let net = build(case, device)?;
    let x = case.input("x", device);
    let (features, loss, grads) = train_pass(&net, &x)?;
    let mut outputs = Outputs::new();
    outputs.insert("out.features".into(), features.to_f64()?);
    outputs.insert("out.loss".into(), vec![loss]);
    let mut norms = Vec::new();
    for param in net.trained() {
        let d = channels_first(grads.of_param(&param).expect("a gradient"))?;
        norms.push(d.iter().map(|v| v * v).sum::<f64>().sqrt());
        outputs.insert(format!("out.grad.{}", param.name()), d);
    }
    outputs.insert("out.grad_norms".into(), norms);
    for statistic in ["running_mean", "running_var"] {
        let param = by_name(&net.state(), &format!("bn1.{statistic}"));
        outputs.insert(format!("out.{statistic}.bn1"), param.get().to_f64()?);
    }
    let tape = Tape::inert(device);
    let features = net.forward(&tape.constant(x), Mode::Eval)?;
    outputs.insert("out.features_eval".into(), features.value().to_f64()?);
    Ok(outputs)
}

pub fn trajectory(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let net = build(case, device)?;
    let x = case.input("x", device);
    let [momentum, weight_decay] = ["momentum", "weight_decay"].map(|key| case.number(key));
    let mut sgd = OptimConfig::Sgd(SgdConfig { momentum, weight_decay, nesterov: false }).build();
    let mut losses = Vec::new();
    for step in 0..=case.whole("steps") {
        let (_, loss, grads) = train_pass(&net, &x)?;
        losses.push(loss);
        if step < case.whole("steps") {
            sgd.step(&net.trained(), &grads, case.number("lr"))?;
        }
    }
    Ok(Outputs::from([("out.losses".into(), losses)]))
}
