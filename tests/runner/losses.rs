//! Losses: the value, its gradients, and that nothing else gets one.

use super::case::{GoldenCase, Outputs};
use vista::autograd::Tape;
use vista::objective::{Dictionaries, Embeddings, Keys, Mls, Objective, S2r2, pseudo_labels};
use vista::queue::Queue;
use vista::{Device, Result, Tensor, ops};

pub fn softmax_cross_entropy(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let labels = case.input("labels", device);
    case.differentiate(device, &["logits"], |_, x| Ok(vec![("loss", x[0].cross_entropy(&labels)?)]))
}

pub fn bce_with_logits(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let targets = case.input("targets", device);
    case.differentiate(device, &["logits"], |_, x| Ok(vec![("loss", x[0].bce_with_logits(&targets)?)]))
}

pub fn top_k(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let op = ops::TopK { k: case.whole("k"), labels: false };
    let y = ops::run(&op, &[&case.input("x", device)])?;
    let named = [("out.values", &y[0]), ("out.indices", &y[1])].into_iter();
    named.map(|(name, y)| Ok((name.to_string(), y.to_f64()?))).collect()
}

fn normalized(x: &Tensor) -> Result<Tensor> {
    Ok(ops::run(&ops::L2Normalize, &[x])?.swap_remove(0))
}

pub fn info_nce(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (k, queue) = (normalized(&case.input("k", device))?, case.input("queue", device));
    let tau = case.number("tau") as f32;
    case.differentiate(device, &["q"], |_, x| {
        let (loss, logits) = vista::objective::info_nce(&x[0], &k, &queue, tau)?;
        Ok(vec![("loss", loss), ("logits", logits)])
    })
}

/// The objective on the case's tensors: terms by name, gradients of g1 and z1 for the sum over terms of
/// `weights[name]` times the term.
fn objective(case: &GoldenCase, device: &Device, mls: &Mls, weight: impl Fn(&str) -> f32) -> Result<Outputs> {
    let tape = Tape::new(device);
    let pick = |names: [&str; 2]| {
        let name = names.into_iter().find(|n| case.find(&format!("in.{n}")).is_some()).expect("features");
        case.input(name, device)
    };
    // A case that uses one dictionary has only that one: the other stands in for it and must get no gradient.
    let (g, z) = (tape.leaf(pick(["g1", "z1"])), tape.leaf(pick(["z1", "g1"])));
    let queue =
        Queue { g: pick(["queue_g", "queue_z"]), z: pick(["queue_z", "queue_g"]), ids: Vec::new(), ptr: 0 };
    let own = match case.find("in.z2") {
        Some(z2) => normalized(&z2.tensor(device))?,
        None => normalized(z.value())?,
    };
    let keys = Some(Keys { z: &own, queue: &queue });
    let terms = mls.loss(&Embeddings { g: g.clone(), z: z.clone(), views: 1, keys })?;
    let mut outputs = Outputs::new();
    let (mut roots, mut total) = (Vec::new(), 0.0);
    for term in &terms {
        let value = term.value.value().to_f64()?[0];
        total += f64::from(weight(term.name)) * value;
        outputs.insert(format!("out.{}", term.name), vec![value]);
        roots.push((&term.value, Tensor::full(device, [], weight(term.name))?));
    }
    outputs.insert("out.loss".into(), vec![total]);
    let grads = tape.backward(&roots)?;
    for (name, leaf) in [("g1", &g), ("z1", &z)] {
        let dx = grads.of(leaf).map_or_else(|| Ok(vec![0.0; leaf.value().elements()]), Tensor::to_f64)?;
        outputs.insert(format!("grad_in.{name}"), dx);
    }
    Ok(outputs)
}

pub fn mls_bce(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let dictionaries = match (case.attrs["labels_from"].as_str(), case.attrs["logits_from"].as_str()) {
        (Some("g"), Some("z")) => Dictionaries::Both,
        (Some("g"), Some("g")) => Dictionaries::GOnly,
        (Some("z"), Some("z")) => Dictionaries::ZOnly,
        other => panic!("dictionaries {other:?}"),
    };
    let k = case.whole("k");
    let mls = Mls { tau: case.number("tau") as f32, k, lambda: 1.0, dictionaries };
    // InfoNCE needs features of z's width, which a one-dictionary case lacks; only the other term is asked for.
    let mut outputs = objective(case, device, &mls, |name| if name == "loss_ml" { 1.0 } else { 0.0 })?;
    let source = case.attrs["labels_from"].as_str().expect("a source");
    let (x, queue) =
        (case.input(&format!("{source}1"), device), case.input(&format!("queue_{source}"), device));
    outputs.insert("out.labels".into(), pseudo_labels(&x, &queue, k)?.to_f64()?);
    Ok(outputs)
}

pub fn mls_total(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let lambda = case.number("lambda") as f32;
    let mls =
        Mls { tau: case.number("tau") as f32, k: case.whole("k"), lambda, dictionaries: Dictionaries::Both };
    objective(case, device, &mls, |name| if name == "loss_ml" { lambda } else { 1.0 })
}

pub fn smooth_ap(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (views, tau) = (case.whole("k"), case.number("tau") as f32);
    let mut outputs = case.differentiate(device, &["reps"], |_, x| {
        let e = Embeddings { g: x[0].clone(), z: x[0].clone(), views, keys: None };
        let term = S2r2 { tau }.loss(&e)?.swap_remove(0);
        Ok(vec![("loss", term.value)])
    })?;
    let z = normalized(&case.input("reps", device))?;
    let similarities = ops::run(&ops::Matmul::NT, &[&z, &z])?.swap_remove(0);
    let ap = ops::run(&ops::SmoothAp { views, tau }, &[&similarities])?.swap_remove(1);
    outputs.insert("out.ap".into(), ap.to_f64()?);
    Ok(outputs)
}

pub fn exact_ap(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let views = case.whole("k");
    let z = normalized(&case.input("reps", device))?;
    let similarities = ops::run(&ops::Matmul::NT, &[&z, &z])?.swap_remove(0);
    let rows = similarities.shape()[0];
    let ap = ops::smooth_ap::exact_ap(&similarities.to_vec()?, rows, views)?;
    let ap: Vec<f64> = ap.into_iter().map(f64::from).collect();
    let mean = ap.iter().sum::<f64>() / ap.len() as f64;
    Ok(Outputs::from([("out.ap".into(), ap), ("out.mean_ap".into(), vec![mean])]))
}
