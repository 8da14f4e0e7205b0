//! Layers: values and gradients for a random upstream gradient.

use super::case::{GoldenCase, Outputs};
use vista::engine::autograd::{Observation, Tape};
use vista::engine::nn::{BatchNorm, Mode};
use vista::engine::ops;
use vista::{Device, Result};

pub fn matmul(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let op = match case.attrs["trans"].as_str() {
        Some("nn") => ops::Matmul::NN,
        Some("nt") => ops::Matmul::NT,
        Some("tn") => ops::Matmul::TN,
        other => panic!("trans {other:?}"),
    };
    case.differentiate(device, &["a", "b"], |tape, x| Ok(vec![("y", tape.apply(op, &[&x[0], &x[1]])?.0)]))
}

pub fn linear(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    case.differentiate(device, &["x", "weight", "bias"], |_, x| Ok(vec![("y", x[0].linear(&x[1], &x[2])?)]))
}

pub fn conv2d(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let op = ops::Conv2d {
        stride: case.pair("stride"),
        padding: case.pair("padding"),
        dilation: case.pair("dilation"),
        algorithm: None,
    };
    let inputs: &[&str] = if case.flag("bias") { &["x", "weight", "bias"] } else { &["x", "weight"] };
    case.differentiate(device, inputs, |tape, x| {
        Ok(vec![("y", tape.apply(op, &x.iter().collect::<Vec<_>>())?.0)])
    })
}

fn layer(case: &GoldenCase, device: &Device) -> Result<BatchNorm> {
    let channels = case.array("in.weight").shape[0];
    let bn = BatchNorm::new(device, "bn", channels, 1.0)?;
    bn.running.mean.set(case.input("running_mean", device))?;
    bn.running.var.set(case.input("running_var", device))?;
    Ok(bn)
}

pub fn batch_norm_train(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let bn = layer(case, device)?;
    let groups = if case.attrs["num_splits"].is_null() { 1 } else { case.whole("num_splits") };
    let mut outputs = batch_norm(case, device, &bn, Mode::Train { groups })?;
    outputs.insert("out.running_mean".into(), bn.running.mean.get().to_f64()?);
    outputs.insert("out.running_var".into(), bn.running.var.get().to_f64()?);
    Ok(outputs)
}

pub fn batch_norm_eval(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    batch_norm(case, device, &layer(case, device)?, Mode::Eval)
}

/// Through the module, so that its parameters and observations are covered too.
fn batch_norm(case: &GoldenCase, device: &Device, bn: &BatchNorm, mode: Mode) -> Result<Outputs> {
    bn.weight.set(case.input("weight", device))?;
    bn.bias.set(case.input("bias", device))?;
    let tape = Tape::new(device);
    let x = tape.leaf(case.input("x", device));
    let y = bn.forward(&x, mode)?;
    let dy = case.array("grad_out.y").channels_last().tensor(device);
    let grads = tape.backward(&[(&y, dy)])?;
    Observation::apply(&tape.take_observations())?;
    let missing = || vista::Error::Run("a gradient is missing".into());
    let mut outputs = Outputs::new();
    outputs.insert("out.y".into(), super::case::channels_first(y.value())?);
    outputs.insert("grad_in.x".into(), super::case::channels_first(grads.of(&x).ok_or_else(missing)?)?);
    for (name, param) in [("weight", &bn.weight), ("bias", &bn.bias)] {
        outputs.insert(format!("grad_in.{name}"), grads.of_param(param).ok_or_else(missing)?.to_f64()?);
    }
    Ok(outputs)
}

pub fn max_pool2d(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let [kernel, stride, padding] = ["kernel", "stride", "padding"].map(|key| case.whole(key));
    case.differentiate(device, &["x"], |_, x| Ok(vec![("y", x[0].max_pool(kernel, stride, padding)?)]))
}

pub fn global_avg_pool(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    case.differentiate(device, &["x"], |_, x| Ok(vec![("y", x[0].global_avg_pool()?)]))
}

pub fn relu(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    case.differentiate(device, &["x"], |_, x| Ok(vec![("y", x[0].relu()?)]))
}

pub fn sigmoid(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    case.differentiate(device, &["x"], |_, x| Ok(vec![("y", x[0].sigmoid()?)]))
}

pub fn add_relu(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    case.differentiate(device, &["a", "b"], |_, x| Ok(vec![("y", x[0].add(&x[1])?.relu()?)]))
}

pub fn l2_normalize(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    case.differentiate(device, &["x"], |_, x| Ok(vec![("y", x[0].l2_normalize()?)]))
}

pub fn log_softmax(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    case.differentiate(device, &["x"], |_, x| Ok(vec![("y", x[0].log_softmax()?)]))
}

pub fn bilinear_resize(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let size = case.pair("size");
    let coordinates = match case.op.as_str() {
        "bilinear_resize" => ops::Coordinates::HalfPixel,
        _ => ops::Coordinates::AlignCorners,
    };
    case.differentiate(device, &["x"], |_, x| Ok(vec![("y", x[0].bilinear_resize(size, coordinates)?)]))
}

pub fn adaptive_avg_pool2d(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let bins = case.pair("size");
    case.differentiate(device, &["x"], |_, x| Ok(vec![("y", x[0].adaptive_avg_pool(bins)?)]))
}

/// The file's mask is any; that of the op, which draws its own, is tested beside it to be a mask by which this multiplies.
pub fn dropout(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let kept = 1.0 / (1.0 - case.number("p")) as f32;
    let mask = case.input("mask", device);
    case.differentiate(device, &["x"], |tape, x| {
        Ok(vec![("y", x[0].mul(&tape.constant(mask.clone()))?.scale(kept)?)])
    })
}

/// The file's `y` is `[n, columns, h, w]` of lines (h, w).
pub fn psa_mask(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let collect = match case.attrs["kind"].as_str() {
        Some(kind @ ("collect" | "distribute")) => kind == "collect",
        other => panic!("kind {other:?}"),
    };
    let op = ops::PsaMask { mask: [case.whole("mask_h"), case.whole("mask_w")], collect };
    case.differentiate(device, &["x"], |tape, x| {
        let y = tape.apply(op, &[&x[0]])?.0;
        let &[n, h, w, _] = &x[0].shape()[..] else { panic!("four dimensions") };
        Ok(vec![("y", y.reshape([n, h, w, h * w])?)])
    })
}

pub fn concat(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let names: Vec<String> = (0..)
        .map(|i| format!("x{i}"))
        .take_while(|name| case.find(&format!("in.{name}")).is_some())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    case.differentiate(device, &names, |_, x| {
        Ok(vec![("y", x[1..].iter().try_fold(x[0].clone(), |y, x| y.concat(x))?)])
    })
}

pub fn roi_align(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let (boxes, image) = (case.array("in.boxes"), case.array("in.image"));
    let row = |(rect, image): (&[f64], &f64)| [*image, rect[0], rect[1], rect[2], rect[3]];
    let rois: Vec<f64> = boxes.values.chunks(4).zip(&image.values).flat_map(row).collect();
    let rois = vista::Tensor::from_f64(device, [image.values.len(), 5], &rois)?;
    let op = ops::RoiAlign {
        bins: case.pair("output"),
        scale: case.number("spatial_scale") as f32,
        samples: case.whole("sampling_ratio"),
    };
    case.differentiate(device, &["x"], |tape, x| {
        Ok(vec![("y", tape.apply(op, &[&x[0], &tape.constant(rois.clone())])?.0)])
    })
}

/// The file's weight is `[in, out, kh, kw]`, which channels last are `[in, kh, kw, out]`.
pub fn conv_transpose2d(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let op = ops::ConvTranspose2d { stride: case.whole("stride"), padding: case.whole("padding") };
    let inputs: &[&str] =
        if case.find("in.bias").is_some() { &["x", "weight", "bias"] } else { &["x", "weight"] };
    case.differentiate(device, inputs, |tape, x| {
        let y = tape.apply(op, &[&x[0], &x[1]])?.0;
        Ok(vec![("y", if let Some(bias) = x.get(2) { y.add(bias)? } else { y })])
    })
}

pub fn nearest_upsample2x(case: &GoldenCase, device: &Device) -> Result<Outputs> {
    let op = ops::Nearest { factor: 2 };
    case.differentiate(device, &["x"], |tape, x| Ok(vec![("y", tape.apply(op, &[&x[0]])?.0)]))
}
