//! Whole detectors, and their parts, with parameters computed from integer hashes.

use super::case::{Array, GoldenCase, Outputs, channels_first};
use super::detection::{cells, floats, rects, wholes};
use super::networks::hash_uniform;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use vista::engine::autograd::{Grads, Observation, Tape, Var};
use vista::engine::nn::{Mode, Module, Param, ResNet, ResNetConfig, Stem};
use vista::engine::ops::Over;
use vista::engine::optim::{OptimConfig, SgdConfig};
use vista::photos::Bitmap;
use vista::transfer::detect::{
    AnchorTargets, BoxTargets, Cell, Detector, DetectorConfig, Fpn, Kind, RegionTargets, encode, mask_targets,
};
use vista::{Device, Result, Tensor};

const TRAIN: Mode = Mode::Train { groups: 1 };

/// Our name of a parameter of the golden files.
fn ours(name: &str) -> String {
    let layers =
        name.replace(".conv.weight", ".weight").replace(".conv.bias", ".bias").replace(".bn.", ".norm.");
    let [fpn, rpn] = [name.starts_with("fpn."), name.starts_with("rpn.")];
    match name.split('.').next().expect("a name") {
        "fpn" if fpn => layers.replace("fpn.", "backbone.fpn_"),
        "rpn" if rpn => {
            let head = name.replace("objectness", "objectness_logits").replace("deltas", "anchor_deltas");
            head.replace("rpn.", "proposal_generator.rpn_head.")
        }
        "box_head" => format!("roi_heads.{layers}"),
        "mask_head" => format!("roi_heads.{}", layers.replace("head.conv", "head.mask_fcn")),
        "cls_score" | "bbox_pred" => format!("roi_heads.box_predictor.{name}"),
        "norm" => format!("roi_heads.res5.{name}"),
        _ => name.to_string(),
    }
}

/// Fills the listed parameters; they come back in the list's order, by the file's names, of which `ours` says our own.
fn fill(
    case: &GoldenCase,
    module: &dyn Module,
    device: &Device,
    ours: Naming,
) -> Result<Vec<(String, Param)>> {
    let listed: Vec<(String, Vec<usize>, f64, f64)> =
        serde_json::from_value(case.attrs["parameters"].clone()).expect("a list");
    let state: BTreeMap<String, Param> =
        module.state().into_iter().map(|param| (param.name().to_string(), param)).collect();
    let mut filled = Vec::new();
    for (l, (name, shape, offset, scale)) in listed.into_iter().enumerate() {
        let param = state.get(&ours(&name)).unwrap_or_else(|| panic!("{name}: no {}", ours(&name))).clone();
        let value = |i: usize| f64::from((offset + scale * hash_uniform(l as u64, i as u64)) as f32);
        let count: usize = shape.iter().product();
        let values = (0..count).map(value).collect();
        // A fully connected layer over all cells of a region is a convolution to us.
        let shape = match param.shape()[..] {
            [o, h, w, c] => vec![o, c, h, w],
            _ => shape,
        };
        let shape = if name == "mask_head.deconv.weight" { case_shape(&param) } else { shape };
        param.set(Array { shape, values }.channels_last().tensor(device))?;
        filled.push((name, param));
    }
    Ok(filled)
}

/// `[in, out, kh, kw]` of a transposed convolution's weight, which is `[in, kh, kw, out]` here.
fn case_shape(param: &Param) -> Vec<usize> {
    let [from, h, w, to] = param.shape()[..] else { panic!("four dimensions") };
    vec![from, to, h, w]
}

pub fn resnet(case: &GoldenCase, device: &Device, dilated: usize) -> Result<ResNet> {
    let architecture = serde_json::from_value(case.attrs["arch"].clone()).expect("arch");
    let config = ResNetConfig {
        architecture,
        stem: Stem::Imagenet,
        width: case.whole("width"),
        zero_init: false,
        dilated,
    };
    ResNet::new(device, &mut StdRng::seed_from_u64(0), &config)
}

/// Norms in the list's order, and the gradients that are asked for.
fn insert_gradients(
    case: &GoldenCase,
    grads: &Grads,
    listed: &[(String, Param)],
    to: &mut Outputs,
) -> Result<()> {
    let mut norms = Vec::new();
    for (name, param) in listed {
        let d = channels_first(grads.of_param(param).unwrap_or_else(|| panic!("{name}: no gradient")))?;
        norms.push(d.iter().map(|v| v * v).sum::<f64>().sqrt());
        if case.attrs["gradients"].as_array().expect("a list").iter().any(|wanted| wanted == name.as_str()) {
            to.insert(format!("out.grad.{name}"), d);
        }
    }
    to.insert("out.grad_norms".into(), norms);
    Ok(())
}

fn insert_statistics(case: &GoldenCase, module: &dyn Module, ours: Naming, to: &mut Outputs) -> Result<()> {
    for name in case.attrs["statistics"].as_array().expect("a list") {
        let name = name.as_str().expect("a name");
        for statistic in ["running_mean", "running_var"] {
            let own = ours(&format!("{name}.{statistic}"));
            let param =
                module.state().into_iter().find(|p| p.name() == own).unwrap_or_else(|| panic!("{own}"));
            to.insert(format!("out.{statistic}.{name}"), param.get().to_f64()?);
        }
    }
    Ok(())
}

/// What a pass gives, by the golden file's names; the loss first.
pub type Named<'t> = Vec<(String, Var<'t>)>;

/// Our name of a parameter, by that of the golden file.
pub type Naming<'a> = &'a dyn Fn(&str) -> String;

/// The first pass with its gradients and statistics and what `then` adds, then plain SGD on the same data.
pub fn train(
    case: &GoldenCase,
    device: &Device,
    module: &dyn Module,
    ours: Naming,
    pass: &dyn for<'t> Fn(&'t Tape) -> Result<Named<'t>>,
    then: &dyn Fn(&mut Outputs) -> Result<()>,
) -> Result<Outputs> {
    let listed = fill(case, module, device, ours)?;
    let params: Vec<Param> = listed.iter().map(|(_, param)| param.clone()).collect();
    let sgd = SgdConfig { momentum: 0.0, weight_decay: 0.0, nesterov: false };
    let mut sgd = OptimConfig::Sgd(sgd).build();
    let (mut outputs, mut losses) = (Outputs::new(), Vec::new());
    for step in 0..=case.whole("steps") {
        let tape = Tape::new(device);
        let values = pass(&tape)?;
        let loss = &values[0].1;
        losses.push(loss.value().to_f64()?[0]);
        let grads = loss.backward()?;
        Observation::apply(&tape.take_observations())?;
        if step == 0 {
            for (name, value) in &values {
                outputs.insert(format!("out.{name}"), channels_first(value.value())?);
            }
            insert_gradients(case, &grads, &listed, &mut outputs)?;
            insert_statistics(case, module, ours, &mut outputs)?;
            then(&mut outputs)?;
        }
        sgd.step(&params, &grads, case.number("lr"))?;
    }
    outputs.insert("out.losses".into(), losses);
    Ok(outputs)
}

pub fn fpn(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let channels: [usize; 4] = serde_json::from_value(case.attrs["channels"].clone()).expect("four");
    let rng = &mut StdRng::seed_from_u64(0);
    let fpn = Fpn::new(device, rng, "backbone.", channels, case.whole("fpn_width"), case.flag("norm"))?;
    let state: BTreeMap<String, Param> = fpn.state().into_iter().map(|p| (p.name().to_string(), p)).collect();
    let of = |name: &str| state[&ours(&format!("fpn.{name}"))].clone();
    let params: Vec<(String, Param)> = case
        .names()
        .filter_map(|name| name.strip_prefix("in.param."))
        .map(|name| (name.to_string(), of(name)))
        .collect();
    for (name, param) in &params {
        param.set(case.input(&format!("param.{name}"), device))?;
    }
    let tape = Tape::new(device);
    let maps = ["c2", "c3", "c4", "c5"].map(|name| tape.leaf(case.input(name, device)));
    let pyramid = fpn.forward(&maps, TRAIN)?;
    let mut outputs = Outputs::new();
    let mut upstream = Vec::new();
    for (i, p) in pyramid.iter().enumerate() {
        outputs.insert(format!("out.p{}", i + 2), channels_first(p.value())?);
        upstream.push((p, case.array(&format!("grad_out.p{}", i + 2)).channels_last().tensor(device)));
    }
    let grads = tape.backward(&upstream)?;
    for (map, name) in maps.iter().zip(["c2", "c3", "c4", "c5"]) {
        outputs.insert(format!("grad_in.{name}"), channels_first(grads.of(map).expect("a gradient"))?);
    }
    for (name, param) in &params {
        let d = channels_first(grads.of_param(param).expect("a gradient"))?;
        outputs.insert(format!("grad_in.param.{name}"), d);
    }
    Ok(outputs)
}

pub fn res5_head(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let kind = Kind::FasterRcnnC4;
    let net = detector(case, device, kind, vec![Cell { stride: 16, sizes: vec![32.0], ratios: vec![1.0] }])?;
    let listed = fill(case, &net, device, &ours)?;
    let tape = Tape::new(device);
    let x = tape.leaf(case.input("x", device));
    let features = net.res5(&x, TRAIN)?.global_avg_pool()?;
    let loss = features.square()?.mean(Over::All)?;
    let grads = loss.backward()?;
    let mut outputs = Outputs::from([
        ("out.features".into(), features.value().to_f64()?),
        ("out.loss".into(), loss.value().to_f64()?),
        ("out.grad.x".into(), channels_first(grads.of(&x).expect("a gradient"))?),
    ]);
    insert_gradients(case, &grads, &listed, &mut outputs)?;
    Ok(outputs)
}

fn detector(case: &GoldenCase, device: &Device, kind: Kind, cells: Vec<Cell>) -> Result<Detector> {
    let or = |key: &str, other: usize| case.attrs[key].as_u64().map_or(other, |v| v as usize);
    let flag = |key: &str| case.attrs[key].as_bool().unwrap_or(false);
    let pyramid = or("fpn_width", 8);
    let config = DetectorConfig {
        kind,
        classes: or("classes", 2),
        cells,
        widths: [pyramid, or("conv_width", pyramid), or("fc_width", 8)],
        norms: flag("fpn_norm") || flag("extra_norm"),
        canonical: (or("canonical_size", 224) as f64, or("canonical_level", 4) as f64),
    };
    Detector::new(device, &mut StdRng::seed_from_u64(0), config, resnet(case, device, 0)?)
}

pub fn fpn_network(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let cells = [4, 8, 16, 32, 64].map(|stride| Cell { stride, sizes: vec![32.0], ratios: vec![1.0] });
    let net = detector(case, device, Kind::MaskRcnnFpn, cells.to_vec())?;
    let x = case.input("x", device);
    train(
        case,
        device,
        &net,
        &ours,
        &|tape| {
            let pyramid = net.maps(&tape.constant(x.clone()), TRAIN)?;
            let mut losses = pyramid.iter().map(|p| p.square()?.mean(Over::All));
            let first = losses.next().expect("maps")?;
            let loss = losses.try_fold(first, |sum, loss| sum.add(&loss?))?;
            let maps = pyramid.into_iter().enumerate().map(|(i, p)| (format!("p{}", i + 2), p));
            Ok([("loss".to_string(), loss)].into_iter().chain(maps).collect())
        },
        &|_| Ok(()),
    )
}

fn tensor(device: &Device, shape: &[usize], values: Vec<f32>) -> Result<Tensor> {
    Tensor::new(device, shape.to_vec(), &values)
}

fn anchor_targets(case: &GoldenCase, device: &Device, cells: &[Cell]) -> Result<AnchorTargets> {
    let grids: Vec<[usize; 2]> = serde_json::from_value(case.attrs["grids"].clone()).expect("grids");
    let anchors: Vec<_> = cells.iter().zip(grids).flat_map(|(cell, grid)| cell.over(grid)).collect();
    let labels = case.array("in.rpn_labels");
    let (matched, objects) = (wholes(case.array("in.rpn_matched")), rects(case.array("in.gt_boxes")));
    let &[images, count] = &labels.shape[..] else { panic!("two dimensions") };
    let each = case.array("in.gt_boxes").shape[1];
    let is = |f: &dyn Fn(f64) -> bool| {
        labels.values.iter().map(|&l| f32::from(u8::from(f(l)))).collect::<Vec<_>>()
    };
    let delta = |i: usize| match labels.values[i] == 1.0 {
        true => encode(&anchors[i % count], &objects[i / count * each + matched[i]], [1.0; 4]),
        false => [0.0; 4],
    };
    let positive = is(&|l| l == 1.0);
    Ok(AnchorTargets {
        boxes: BoxTargets {
            deltas: tensor(device, &[images, 4 * count], (0..images * count).flat_map(delta).collect())?,
            counts: tensor(device, &[images, 4 * count], positive.iter().flat_map(|&v| [v; 4]).collect())?,
        },
        objects: tensor(device, &[images, count], positive)?,
        sampled: tensor(device, &[images, count], is(&|l| l >= 0.0))?,
        divisor: (images * case.whole("rpn_batch_size")) as f32,
    })
}

fn region_targets(case: &GoldenCase, device: &Device) -> Result<RegionTargets> {
    let (proposals, objects) = (rects(case.array("in.proposals")), rects(case.array("in.gt_boxes")));
    let [image, matched, classes] =
        ["image", "matched", "classes"].map(|name| wholes(case.array(&format!("in.proposal_{name}"))));
    let each = case.array("in.gt_boxes").shape[1];
    let of = |i: usize| image[i] * each + matched[i];
    let of_objects: Vec<_> = (0..proposals.len()).map(|i| objects[of(i)]).collect();
    let weights: [f32; 4] = serde_json::from_value(case.attrs["box_weights"].clone()).expect("four");
    let count = case.whole("classes");
    let (mut masks, mut masked) = (Vec::new(), Vec::new());
    if let Some(all) = case.find("in.gt_masks") {
        let &[_, _, height, width] = &all.shape[..] else { panic!("four dimensions") };
        let pixels = floats(all);
        for i in (0..proposals.len()).filter(|&i| classes[i] < count) {
            let own = &pixels[of(i) * height * width..][..height * width];
            let object = Bitmap { size: [height, width], pixels: own.iter().map(|&p| p as u8).collect() };
            masks.extend(mask_targets(&object, &proposals[i..=i], 28)?);
            masked.push(i);
        }
    }
    Ok(RegionTargets {
        boxes: BoxTargets::of_classes(device, &proposals, &of_objects, &classes, count, weights)?,
        regions: image.into_iter().zip(proposals).collect(),
        classes,
        masked,
        masks,
    })
}

pub fn detector_step(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let kind = match case.attrs["network"].as_str() {
        Some("faster_rcnn_c4") => Kind::FasterRcnnC4,
        Some("mask_rcnn_fpn") => Kind::MaskRcnnFpn,
        other => panic!("network {other:?}"),
    };
    let cells = cells(case);
    let net = detector(case, device, kind, cells.clone())?;
    let (anchors, regions) = (anchor_targets(case, device, &cells)?, region_targets(case, device)?);
    let x = case.input("x", device);
    train(
        case,
        device,
        &net,
        &ours,
        &|tape| {
            let maps = net.maps(&tape.constant(x.clone()), TRAIN)?;
            let said = net.anchors(&maps)?;
            let losses = net.losses(&maps, &said, &anchors, &regions, TRAIN)?;
            let mut all = vec![
                ("loss".to_string(), losses.total()?),
                ("loss_rpn_cls".to_string(), losses.rpn_class),
                ("loss_rpn_loc".to_string(), losses.rpn_box),
                ("loss_cls".to_string(), losses.class),
                ("loss_box".to_string(), losses.rect),
            ];
            all.extend(losses.mask.map(|mask| ("loss_mask".to_string(), mask)));
            Ok(all)
        },
        &|_| Ok(()),
    )
}
