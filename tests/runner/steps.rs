//! Whole training steps through `train::Learner`, with the golden files' tiny encoder.

use super::case::{Array, GoldenCase, Outputs, channels_first};
use rand::{SeedableRng, rngs::StdRng};
use vista::engine::autograd::Var;
use vista::engine::nn::{BatchNorm, Conv2d, Linear, Mode, Module, Param};
use vista::engine::ops::{GatherRows, run};
use vista::engine::optim::{Adam, AdamConfig, Sgd, SgdConfig};
use vista::pretrain::encoder::{Embedding, Encoder, Outputs as Heads};
use vista::pretrain::objective::{
    Dictionaries, LossTerm, Mls, Moco, Normalizer, Objective, S2r2, pseudo_labels,
};
use vista::pretrain::queue::{Queue, Ring, Rings};
use vista::pretrain::{Batch, Learner, Target};
use vista::{Device, Result, Tensor};

/// Three times [3x3 stride 2 convolution, batch norm, relu], global average pool, two linear layers.
#[derive(Debug)]
struct TinyEncoder {
    layers: Vec<(Conv2d, BatchNorm)>,
    fc1: Linear,
    fc2: Linear,
}

impl TinyEncoder {
    fn new(case: &GoldenCase, device: &Device) -> Result<TinyEncoder> {
        let rng = &mut StdRng::seed_from_u64(0);
        let width = |name: &str| case.array(&format!("in.param.{name}.weight")).shape.clone();
        let mut layers = Vec::new();
        for i in 1.. {
            if case.find(&format!("in.param.conv{i}.weight")).is_none() {
                break;
            }
            let shape = width(&format!("conv{i}"));
            let conv = Conv2d::new(device, rng, &format!("conv{i}"), [shape[1], shape[0]], shape[2], 2)?;
            layers.push((conv, BatchNorm::new(device, &format!("bn{i}"), shape[0], 1.0)?));
        }
        let [fc1, fc2] =
            ["fc1", "fc2"].map(|name| Linear::new(device, rng, name, [width(name)[1], width(name)[0]]));
        let encoder = TinyEncoder { layers, fc1: fc1?, fc2: fc2? };
        for param in encoder.trained() {
            param.set(case.input(&format!("param.{}", param.name()), device))?;
        }
        Ok(encoder)
    }

    fn outputs(&self, trained: &str, statistics: &str, outputs: &mut Outputs) -> Result<()> {
        self.state().iter().try_for_each(|p| {
            let prefix = if p.is_trained() { trained } else { statistics };
            outputs.insert(format!("out.{prefix}.{}", p.name()), channels_first(&p.get())?);
            Ok(())
        })
    }
}

impl Module for TinyEncoder {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        for (conv, bn) in &self.layers {
            conv.visit(f);
            bn.visit(f);
        }
        self.fc1.visit(f);
        self.fc2.visit(f);
    }
}

impl Encoder for TinyEncoder {
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        let mut x = images.clone();
        for (conv, bn) in &self.layers {
            x = bn.forward_relu(&conv.forward(&x)?, mode)?;
        }
        let g = x.global_avg_pool()?;
        let z = self.fc2.forward(&self.fc1.forward(&g)?.relu()?)?;
        Ok(Heads::plain(g, z))
    }
}

/// Step t of an array `[steps, N, 3, H, W]`, channels last.
fn images(case: &GoldenCase, name: &str, t: usize, device: &Device) -> Tensor {
    let all = case.array(&format!("in.{name}"));
    let shape = all.shape[1..].to_vec();
    let count: usize = shape.iter().product();
    Array { values: all.values[t * count..][..count].to_vec(), shape }.channels_last().tensor(device)
}

/// `mls_step` and, without the backbone queue, `moco_step`.
pub fn momentum_step(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let is_mls = case.find("in.queue_g").is_some();
    let tau = case.number("tau") as f32;
    let k = if is_mls { case.whole("k") } else { 0 };
    let objective: Box<dyn Objective> = if is_mls {
        let lambda = case.number("lambda") as f32;
        let (dictionaries, term, normalizer) = (Dictionaries::Both, LossTerm::Bce, Normalizer::D);
        Box::new(Mls { tau, k, nce_weight: 1.0, lambda, dictionaries, term, normalizer })
    } else {
        Box::new(Moco { tau })
    };
    let queue_z = case.input("queue_z", device);
    let slots = queue_z.shape()[0];
    let encoder = TinyEncoder::new(case, device)?;
    let queue_g = is_mls.then(|| case.input("queue_g", device));
    let keys = Rings { g: queue_g.map(Ring::from), z: Some(queue_z.into()), dense: None };
    let queue = Queue { keys, ids: vec![None; slots], ptr: 0 };
    let key = TinyEncoder::new(case, device)?;
    let [momentum, weight_decay] = ["momentum", "weight_decay"].map(|name| case.number(name));
    let nesterov = case.flag("nesterov");
    let mut learner = Learner {
        encoder,
        target: Some(Target { encoder: key, m: case.number("m") }),
        queue: Some(queue),
        objective,
        optimizer: Box::new(Sgd::new(SgdConfig { momentum, weight_decay, nesterov })),
        bn_splits: case.whole("num_splits"),
        chunk: 0,
        half: false,
        frozen: None,
    };
    let (steps, batch) = (case.array("in.x1").shape[0], case.array("in.x1").shape[1]);
    let mut outputs = Outputs::new();
    for t in 0..steps {
        let shuffle =
            case.array("in.perm").values[t * batch..][..batch].iter().map(|&i| i as usize).collect();
        let views = Batch {
            query: vec![images(case, "x1", t, device)],
            key: Some(images(case, "x2", t, device)),
            views: 1,
            ids: (0..batch as u64).map(|i| (t * batch) as u64 + i).collect(),
            shuffle,
        };
        if is_mls {
            let positives = positives(&learner, &views, k)?;
            outputs.entry("out.positives".into()).or_default().extend(positives);
        }
        let report = learner.step(&views, case.number("lr"))?;
        outputs.entry("out.loss".into()).or_default().push(report.loss.into());
        for term in report.terms {
            outputs.entry(format!("out.{}", term.name)).or_default().push(term.value.into());
        }
    }
    let queue = learner.queue.as_ref().expect("a queue");
    for (name, keys) in [("out.queue_z", &queue.keys.z), ("out.queue_g", &queue.keys.g)] {
        if let Some(keys) = keys {
            outputs.insert(name.into(), keys.values()?.to_f64()?);
        }
    }
    outputs.insert("out.ptr".into(), vec![queue.ptr as f64]);
    learner.encoder.outputs("param_q", "stats_q", &mut outputs)?;
    learner.target.as_ref().expect("a key encoder").encoder.outputs("param_k", "stats_k", &mut outputs)?;
    Ok(outputs)
}

/// Slots of the pseudo-labels that the coming step will use, ascending in each row.
fn positives(learner: &Learner<TinyEncoder>, views: &Batch, k: usize) -> Result<Vec<f64>> {
    let tape = vista::engine::autograd::Tape::inert(views.query[0].device());
    let mode = Mode::Train { groups: learner.bn_splits };
    let g = learner.encoder.embed(&tape.constant(views.query[0].clone()), mode)?.g;
    let queue = learner.queue.as_ref().expect("a queue");
    let labels = pseudo_labels(g.value(), queue.keys.g.as_ref().expect("Q_g"), k)?[0].to_f64()?;
    let slots = queue.slots();
    Ok(labels.iter().enumerate().filter(|(_, y)| **y == 1.0).map(|(i, _)| (i % slots) as f64).collect())
}

pub fn s2r2_step(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let [beta1, beta2, eps, weight_decay] =
        ["beta1", "beta2", "eps", "weight_decay"].map(|key| case.number(key));
    let mut learner = Learner {
        encoder: TinyEncoder::new(case, device)?,
        target: None,
        queue: None,
        objective: Box::new(S2r2 { tau: case.number("tau") as f32 }),
        optimizer: Box::new(Adam::new(AdamConfig { beta1, beta2, eps, weight_decay })),
        bn_splits: case.whole("num_splits"),
        chunk: 0,
        half: false,
        frozen: None,
    };
    let mut outputs = Outputs::new();
    for t in 0..case.array("in.x").shape[0] {
        // The file holds the views of an image next to each other; a batch holds them view by view.
        let (count, views) = (case.whole("b"), case.whole("k"));
        let order: Vec<f32> = (0..count * views).map(|r| (r % count * views + r / count) as f32).collect();
        let order = Tensor::new(device, [order.len()], &order)?;
        let query = vec![run(&GatherRows, &[&images(case, "x", t, device), &order])?.swap_remove(0)];
        let ids = (0..count as u64).collect();
        let batch = Batch { query, key: None, views, ids, shuffle: Vec::new() };
        let report = learner.step(&batch, case.number("lr"))?;
        outputs.entry("out.loss".into()).or_default().push(report.loss.into());
    }
    learner.encoder.outputs("param", "stats", &mut outputs)?;
    Ok(outputs)
}
