//! Whole training steps through `train::Learner`, with the golden files' tiny encoder.

use super::case::{Array, GoldenCase, Outputs, channels_first};
use rand::{SeedableRng, rngs::StdRng};
use std::rc::Rc;
use std::sync::Arc;
use vista::engine::autograd::Var;
use vista::engine::exchange::Alone;
use vista::engine::nn::{Backbone, BatchNorm, Conv2d, Mode, Module, Param};
use vista::engine::ops::{GatherRows, run};
use vista::engine::optim::{AdamConfig, OptimConfig, SgdConfig};
use vista::pretrain::method::Method;
use vista::pretrain::methods::mls::{Mls, pseudo_labels};
use vista::pretrain::methods::moco::Moco;
use vista::pretrain::methods::s2r2::S2r2;
use vista::pretrain::momentum::copy_state;
use vista::pretrain::passes::Passes;
use vista::pretrain::queue::{Queue, Ring};
use vista::pretrain::training::Training;
use vista::pretrain::{Batch, Learner, Now};
use vista::{Device, Result, Tensor};

/// Three times [3x3 stride 2 convolution, batch norm, relu].
#[derive(Debug)]
struct TinyNet {
    /// Channels before and behind each convolution.
    channels: Vec<[usize; 2]>,
    layers: Vec<(Conv2d, BatchNorm)>,
}

impl TinyNet {
    fn new(channels: Vec<[usize; 2]>, device: &Device, rng: &mut StdRng) -> Result<TinyNet> {
        let layer = |(i, &channels): (usize, &[usize; 2])| {
            let conv = Conv2d::new(device, rng, &format!("conv{}", i + 1), channels, 3, 2)?;
            Ok((conv, BatchNorm::new(device, &format!("bn{}", i + 1), channels[1], 1.0)?))
        };
        let layers = channels.iter().enumerate().map(layer).collect::<Result<_>>()?;
        Ok(TinyNet { channels, layers })
    }
}

impl Module for TinyNet {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        for (conv, bn) in &self.layers {
            conv.visit(f);
            bn.visit(f);
        }
    }
}

impl Backbone for TinyNet {
    fn map<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let mut x = images.clone();
        for (conv, bn) in &self.layers {
            x = bn.forward_relu(&conv.forward(&x)?, mode)?;
        }
        Ok(x)
    }

    fn features(&self) -> usize {
        self.channels[self.channels.len() - 1][1]
    }

    fn another(&self, device: &Device, rng: &mut StdRng) -> Result<Box<dyn Backbone>> {
        Ok(Box::new(TinyNet::new(self.channels.clone(), device, rng)?))
    }
}

/// A file's name of a parameter: its two linear layers are the projector.
fn name_in_file(param: &Param) -> String {
    param.name().replace("projector.0", "fc1").replace("projector.2", "fc2")
}

/// A learner with the file's encoder, by a method with these widths of the projector.
fn learner(
    case: &GoldenCase,
    device: &Device,
    optimizer: OptimConfig,
    method: impl FnOnce([usize; 2]) -> Arc<dyn Method>,
) -> Result<Learner<TinyNet>> {
    let shape = |name: &str| case.find(&format!("in.param.{name}.weight")).map(|array| array.shape.clone());
    let channels =
        (1..).map_while(|i| shape(&format!("conv{i}"))).map(|shape| [shape[1], shape[0]]).collect();
    let widths = ["fc1", "fc2"].map(|name| shape(name).expect("a linear layer")[0]);
    let rng = &mut StdRng::seed_from_u64(0);
    let net = TinyNet::new(channels, device, rng)?;
    let method = Training::new(method(widths), &net, device, rng, 0, false)?;
    let passes = Passes { groups: case.whole("num_splits"), chunk: 0, over_ranks: false };
    let learner = Learner {
        net,
        method,
        optimizer: optimizer.build(),
        passes,
        half: false,
        exchange: Rc::new(Alone),
        norm: Rc::new(Alone),
    };
    for param in learner.trained() {
        param.set(case.input(&format!("param.{}", name_in_file(&param)), device))?;
    }
    if let Some(target) = &learner.method.target {
        copy_state(target, &learner)?;
    }
    Ok(learner)
}

/// Parameters and statistics under the file's names.
fn insert_state(module: &dyn Module, [trained, statistics]: [&str; 2], outputs: &mut Outputs) -> Result<()> {
    module.state().iter().try_for_each(|p| {
        let prefix = if p.is_trained() { trained } else { statistics };
        outputs.insert(format!("out.{prefix}.{}", name_in_file(p)), channels_first(&p.get())?);
        Ok(())
    })
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
    let (tau, m) = (case.number("tau") as f32, case.number("m"));
    let queue_z = case.input("queue_z", device);
    let (slots, k) = (queue_z.shape()[0], if is_mls { case.whole("k") } else { 0 });
    let [momentum, weight_decay] = ["momentum", "weight_decay"].map(|name| case.number(name));
    let sgd = OptimConfig::Sgd(SgdConfig { momentum, weight_decay, nesterov: case.flag("nesterov") });
    let mut learner = learner(case, device, sgd, |[hidden, projection]| match is_mls {
        true => {
            let lambda = case.number("lambda") as f32;
            Arc::new(Mls { tau, k, lambda, queue: slots, m, projection, hidden, ..Mls::default() })
        }
        false => Arc::new(Moco { tau, queue: slots, m, projection, hidden }),
    })?;
    let rings = [("g", "queue_g"), ("z", "queue_z")].into_iter().filter(|(ring, _)| is_mls || *ring == "z");
    let keys = rings.clone().map(|(ring, name)| (ring, Ring::from(case.input(name, device)))).collect();
    learner.method.queue = Some(Queue { keys, ids: vec![None; slots], ptr: 0 });
    let now = Now { lr: case.number("lr"), ..Now::default() };
    let (steps, batch) = (case.array("in.x1").shape[0], case.array("in.x1").shape[1]);
    let mut outputs = Outputs::new();
    for t in 0..steps {
        let shuffle =
            case.array("in.perm").values[t * batch..][..batch].iter().map(|&i| i as usize).collect();
        let views = Batch {
            query: vec![images(case, "x1", t, device)],
            key: Some(images(case, "x2", t, device)),
            ids: (0..batch as u64).map(|i| (t * batch) as u64 + i).collect(),
            shuffle,
        };
        if is_mls {
            let positives = positives(&learner, &views, k)?;
            outputs.entry("out.positives".into()).or_default().extend(positives);
        }
        let report = learner.step(&views, &now)?;
        outputs.entry("out.loss".into()).or_default().push(report.loss);
        for term in report.terms {
            outputs.entry(format!("out.{}", term.name)).or_default().push(term.value.into());
        }
    }
    let queue = learner.method.queue.as_ref().expect("a queue");
    for (ring, name) in rings {
        outputs.insert(format!("out.{name}"), queue.ring(ring)?.values()?.to_f64()?);
    }
    outputs.insert("out.ptr".into(), vec![queue.ptr as f64]);
    insert_state(&learner, ["param_q", "stats_q"], &mut outputs)?;
    let target = learner.method.target.as_ref().expect("a key encoder");
    insert_state(target, ["param_k", "stats_k"], &mut outputs)?;
    Ok(outputs)
}

/// Slots of the pseudo-labels that the coming step will use, ascending in each row.
fn positives(learner: &Learner<TinyNet>, views: &Batch, k: usize) -> Result<Vec<f64>> {
    let tape = vista::engine::autograd::Tape::inert(views.query[0].device());
    let mode = Mode::Train { groups: learner.passes.groups };
    let embedding = learner.method.embed(&learner.net, &tape.constant(views.query[0].clone()), mode)?;
    let queue = learner.method.queue.as_ref().expect("a queue");
    let labels = pseudo_labels(embedding.get("g")?.value(), queue.ring("g")?, k)?[0].to_f64()?;
    let slots = queue.slots();
    Ok(labels.iter().enumerate().filter(|(_, y)| **y == 1.0).map(|(i, _)| (i % slots) as f64).collect())
}

pub fn s2r2_step(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let [beta1, beta2, eps, weight_decay] =
        ["beta1", "beta2", "eps", "weight_decay"].map(|key| case.number(key));
    let adam = OptimConfig::Adam(AdamConfig { beta1, beta2, eps, weight_decay });
    let tau = case.number("tau") as f32;
    let mut learner = learner(case, device, adam, |[hidden, projection]| {
        Arc::new(S2r2 { tau, views: case.whole("k"), projection, hidden })
    })?;
    let now = Now { lr: case.number("lr"), ..Now::default() };
    let mut outputs = Outputs::new();
    for t in 0..case.array("in.x").shape[0] {
        // The file holds the views of an image next to each other; a batch holds them view by view.
        let (count, views) = (case.whole("b"), case.whole("k"));
        let order: Vec<f32> = (0..count * views).map(|r| (r % count * views + r / count) as f32).collect();
        let order = Tensor::new(device, [order.len()], &order)?;
        let query = vec![run(&GatherRows, &[&images(case, "x", t, device), &order])?.swap_remove(0)];
        let ids = (0..count as u64).collect();
        let batch = Batch { query, key: None, ids, shuffle: Vec::new() };
        let report = learner.step(&batch, &now)?;
        outputs.entry("out.loss".into()).or_default().push(report.loss);
    }
    insert_state(&learner, ["param", "stats"], &mut outputs)?;
    Ok(outputs)
}
