//! Losses: the value, its gradients, and that nothing else gets one.

use super::case::{GoldenCase, Outputs, channels_first};
use rand::{SeedableRng, rngs::StdRng};
use vista::engine::autograd::{Tape, Var};
use vista::engine::nn::{After, Mlp, Mode, Module, Param};
use vista::engine::ops;
use vista::pretrain::method::Loss;
use vista::pretrain::methods::densecl::{DenseCl, match_cells};
use vista::pretrain::methods::mls::{Dictionaries, LossTerm, Mls, pseudo_labels};
use vista::pretrain::methods::swav::{Swav, sinkhorn as sinkhorn_codes};
use vista::pretrain::methods::{byol, moco, nnclr, s2r2, simclr, simsiam};
use vista::pretrain::named::Named;
use vista::pretrain::queue::Queue;
use vista::{Device, Result, Tensor};

pub fn pixel_cross_entropy(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (labels, ignore) = (case.input("labels", device), case.whole("ignore"));
    case.differentiate(device, &["logits"], |_, x| {
        Ok(vec![("loss", x[0].cross_entropy_ignoring(&labels, ignore)?)])
    })
}

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
        let (loss, logits) = moco::info_nce(&x[0], &k, &queue.clone().into(), tau)?;
        Ok(vec![("loss", loss), ("logits", logits)])
    })
}

fn queue_of<const N: usize>(keys: [(&'static str, Tensor); N]) -> Queue {
    let keys = Named::from(keys).try_map(|keys| Ok(keys.clone().into())).expect("rings");
    Queue { keys, ids: Vec::new(), ptr: 0 }
}

/// Values of the terms and of the loss, and the gradients of the named leaves.
fn evaluate(tape: &Tape, loss: &Loss, leaves: &[(&str, &Var)]) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    let (mut roots, mut total) = (Vec::new(), 0.0);
    for term in &loss.terms {
        let value = term.value.value().to_f64()?[0];
        total += f64::from(term.weight) * value;
        outputs.insert(format!("out.{}", term.name), vec![value]);
        roots.push((&term.value, Tensor::full(tape.device(), [], term.weight)?));
    }
    outputs.insert("out.loss".into(), vec![total]);
    let grads = tape.backward(&roots)?;
    for (name, leaf) in leaves {
        let zero = || Ok(vec![0.0; leaf.value().elements()]);
        outputs.insert(format!("grad_in.{name}"), grads.of(leaf).map_or_else(zero, channels_first)?);
    }
    Ok(outputs)
}

/// MLS on the case's tensors, with these weights of the two terms.
fn mls_loss(case: &GoldenCase, device: &Device, mls: &Mls, weights: [f32; 2]) -> Result<Outputs> {
    let tape = Tape::new(device);
    let pick = |names: [&str; 2]| {
        let name = names.into_iter().find(|n| case.find(&format!("in.{n}")).is_some()).expect("features");
        case.input(name, device)
    };
    // A case that uses one dictionary has only that one: the other stands in for it and must get no gradient.
    let (g, z) = (tape.leaf(pick(["g1", "z1"])), tape.leaf(pick(["z1", "g1"])));
    let queue = queue_of([("g", pick(["queue_g", "queue_z"])), ("z", pick(["queue_z", "queue_g"]))]);
    let own = case.find("in.z2").map_or_else(|| z.value().clone(), |z2| z2.tensor(device));
    evaluate(&tape, &mls.loss_of([&g, &z], &own, &queue, weights)?, &[("g1", &g), ("z1", &z)])
}

/// `mls_bce`, `bce_pos` and `knn_softmax`: the multi-label term alone.
pub fn multi_label(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let dictionaries = match (case.attrs["labels_from"].as_str(), case.attrs["logits_from"].as_str()) {
        (Some("g"), Some("z")) => Dictionaries::Both,
        (Some("g"), Some("g")) => Dictionaries::GOnly,
        (Some("z"), Some("z")) => Dictionaries::ZOnly,
        other => panic!("dictionaries {other:?}"),
    };
    let term = match (case.op.as_str(), case.attrs["terms"].as_str()) {
        ("knn_softmax", _) => LossTerm::KnnSoftmax,
        (_, Some("pos")) => LossTerm::BcePos,
        _ => LossTerm::Bce,
    };
    let (k, tau) = (case.whole("k"), case.number("tau") as f32);
    let mls = Mls { tau, k, dictionaries, term, ..Mls::default() };
    let mut outputs = mls_loss(case, device, &mls, [0.0, 1.0])?;
    let source = case.attrs["labels_from"].as_str().expect("a source");
    let (x, queue) =
        (case.input(&format!("{source}1"), device), case.input(&format!("queue_{source}"), device));
    outputs.insert("out.labels".into(), pseudo_labels(&x, &queue.into(), k)?[0].to_f64()?);
    Ok(outputs)
}

pub fn mls_total(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (tau, k, lambda) = (case.number("tau") as f32, case.whole("k"), case.number("lambda") as f32);
    let mls = Mls { tau, k, lambda, ..Mls::default() };
    mls_loss(case, device, &mls, mls.weights(0))
}

/// Rows whose views of an image are adjacent, view-major: row `k B + b` is row `b K + k`.
fn view_major<'t>(x: &Var<'t>, views: usize) -> Result<Var<'t>> {
    let images = x.shape()[0] / views;
    let order: Vec<f32> =
        (0..images * views).map(|row| (row % images * views + row / images) as f32).collect();
    x.gather_rows(&Tensor::new(x.tape().device(), [order.len()], &order)?)
}

pub fn smooth_ap(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (views, tau) = (case.whole("k"), case.number("tau") as f32);
    let mut outputs = case.differentiate(device, &["reps"], |_, x| {
        let z = view_major(&x[0], views)?;
        let loss = s2r2::loss(&z, z.shape()[0] / views, views, tau)?;
        Ok(vec![("loss", loss.terms[0].value.clone())])
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
    let ap = ops::fused::smooth_ap::exact_ap(&similarities.to_vec()?, rows, views)?;
    let ap: Vec<f64> = ap.into_iter().map(f64::from).collect();
    let mean = ap.iter().sum::<f64>() / ap.len() as f64;
    Ok(Outputs::from([("out.ap".into(), ap), ("out.mean_ap".into(), vec![mean])]))
}

pub fn nt_xent(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let tau = case.number("tau") as f32;
    case.differentiate(device, &["z"], |_, x| {
        let z = view_major(&x[0], 2)?;
        let loss = simclr::loss(&z, tau)?;
        Ok(vec![("loss", loss.terms[0].value.clone())])
    })
}

pub fn sinkhorn(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let codes = sinkhorn_codes(&case.input("scores", device), case.number("eps"), case.whole("iterations"))?;
    Ok(Outputs::from([("out.q".into(), codes.to_f64()?)]))
}

pub fn swav_loss(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (tau, eps, iterations) = (case.number("tau") as f32, case.number("eps"), case.whole("iterations"));
    let (full, views) = (case.whole("n_full"), case.whole("n_full") + case.whole("n_small"));
    let mut outputs = case.differentiate(device, &["scores"], |_, x| {
        let swav = Swav { tau, sinkhorn_eps: eps as f32, sinkhorn_iterations: iterations, ..Swav::default() };
        let loss = swav.loss_of(&x[0], x[0].shape()[0] / views, None)?;
        Ok(vec![("loss", loss.terms[0].value.clone())])
    })?;
    let (scores, images) = (case.input("scores", device), case.whole("b"));
    let codes =
        |crop| sinkhorn_codes(&scores.rows(crop * images..(crop + 1) * images)?, eps, iterations)?.to_f64();
    let codes = (0..full).map(codes).collect::<Result<Vec<_>>>()?;
    outputs.insert("out.q".into(), codes.concat());
    Ok(outputs)
}

/// The two views of two inputs, first above second.
fn both(case: &GoldenCase, device: &Device, names: [&str; 2]) -> Result<Tensor> {
    let [first, second] = names.map(|name| case.input(name, device));
    Tensor::stack_rows(&[&first, &second])
}

/// Gives the gradient of two stacked views the names of each.
fn split_gradient(outputs: &mut Outputs, stacked: &str, names: [&str; 2]) {
    let mut first = outputs.remove(&format!("grad_in.{stacked}")).expect("the gradient of both");
    let second = first.split_off(first.len() / 2);
    outputs.extend([(format!("grad_in.{}", names[0]), first), (format!("grad_in.{}", names[1]), second)]);
}

pub fn byol_loss(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let tape = Tape::new(device);
    let (p, z) = (tape.leaf(both(case, device, ["p1", "p2"])?), both(case, device, ["z1", "z2"])?);
    let mut outputs = evaluate(&tape, &byol::loss(&p, &z)?, &[("p", &p)])?;
    split_gradient(&mut outputs, "p", ["p1", "p2"]);
    Ok(outputs)
}

pub fn densecl_loss(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (tau, lambda) = (case.number("tau") as f32, case.number("lambda") as f32);
    let [k, k_dense, f1, f2] = ["k", "k_dense", "f1", "f2"].map(|name| case.input(name, device));
    let queue = queue_of([("z", case.input("queue", device)), ("dense", case.input("queue_dense", device))]);
    let tape = Tape::new(device);
    let [q, q_dense] = ["q", "q_dense"].map(|name| tape.leaf(case.input(name, device)));
    let map = tape.leaf(f1.clone());
    let densecl = DenseCl { tau, lambda, ..DenseCl::default() };
    let loss = densecl.loss_of([&q, &map, &q_dense], [&k, &f2, &k_dense], &queue)?;
    let mut outputs = evaluate(&tape, &loss, &[("q", &q), ("q_dense", &q_dense), ("f1", &map)])?;
    let cells = f1.shape()[1] * f1.shape()[2];
    let rows = match_cells(&f1, &f2)?.to_f64()?;
    outputs.insert("out.match".into(), rows.into_iter().map(|row| row % cells as f64).collect());
    Ok(outputs)
}

pub fn simsiam_loss(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let tape = Tape::new(device);
    let z = tape.leaf(both(case, device, ["z1", "z2"])?);
    let mut outputs;
    if case.flag("predictor") {
        let shape = case.array("in.param.w1").shape.clone(); // [hidden, d]
        let layers = [(shape[0], After::PlainNormRelu), (shape[1], After::Bias)];
        let predictor = Mlp::new(device, &mut StdRng::seed_from_u64(0), "p", shape[1], &layers)?;
        let names = [
            ("0.weight", "w1"),
            ("1.weight", "gamma"),
            ("1.bias", "beta"),
            ("3.weight", "w2"),
            ("3.bias", "b2"),
        ];
        let params: Vec<(Param, &str)> = predictor
            .trained()
            .into_iter()
            .map(|param| {
                let (_, name) =
                    names.iter().find(|(ours, _)| param.name() == format!("p.{ours}")).expect("a name");
                (param, *name)
            })
            .collect();
        for (param, name) in &params {
            param.set(case.input(&format!("param.{name}"), device))?;
        }
        let loss = simsiam::loss(&predictor.forward(&z, Mode::Train { groups: 2 })?, z.value())?;
        let grads = loss.terms[0].value.backward()?;
        outputs = Outputs::from([
            ("out.loss".to_string(), loss.terms[0].value.value().to_f64()?),
            ("grad_in.z".into(), grads.of(&z).expect("of z").to_f64()?),
        ]);
        for (param, name) in params {
            outputs.insert(format!("grad_in.param.{name}"), grads.of_param(&param).expect("of it").to_f64()?);
        }
        split_gradient(&mut outputs, "z", ["z1", "z2"]);
    } else {
        let p = tape.leaf(both(case, device, ["p1", "p2"])?);
        let loss = simsiam::loss(&p, z.value())?;
        outputs = evaluate(&tape, &loss, &[("p", &p)])?;
        split_gradient(&mut outputs, "p", ["p1", "p2"]);
    }
    outputs.insert("out.z_std".into(), simsiam::z_std(&case.input("z1", device))?.to_f64()?);
    for (name, z) in [("out.target1", "z1"), ("out.target2", "z2")] {
        outputs.insert(name.into(), normalized(&case.input(z, device))?.to_f64()?);
    }
    Ok(outputs)
}

pub fn nnclr_loss(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let tape = Tape::new(device);
    let (p, z) = (tape.leaf(both(case, device, ["p1", "p2"])?), both(case, device, ["z1", "z2"])?);
    let mut queue = queue_of([("z", case.input("queue", device))]);
    let loss = nnclr::loss(&p, &z, queue.ring("z")?, case.number("tau") as f32)?;
    let mut outputs = evaluate(&tape, &loss, &[("p", &p)])?;
    split_gradient(&mut outputs, "p", ["p1", "p2"]);
    for (name, z) in [("out.nn1", "z1"), ("out.nn2", "z2")] {
        outputs.insert(name.into(), nnclr::nearest(&case.input(z, device), queue.ring("z")?)?.to_f64()?);
    }
    let ids: Vec<u64> = (0..z.shape()[0] as u64 / 2).collect();
    (queue.ids, queue.ptr) = (vec![None; case.array("in.queue").shape[0]], case.whole("ptr"));
    queue.enqueue(&[("z", z)].into(), &ids)?;
    outputs.insert("out.queue".into(), queue.ring("z")?.values()?.to_f64()?);
    Ok(outputs)
}
