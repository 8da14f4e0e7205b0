//! Every op: gradients of the f64 twin against differences, the f32 twin and the shader against the f64 twin,
//! checked and trusted shaders against each other, equal bits in two runs.

use rand::{SeedableRng, rngs::StdRng};
use std::sync::OnceLock;
use vista::engine::autograd::{Observation, Tape};
use vista::engine::device::GpuOptions;
use vista::engine::nn::{ConvNorm, Mode, Module};
use vista::engine::ops::{AnyCase, BatchNorm, Coefficients, Matmul, Op, all_cases, relative_l2, run};
use vista::{Device, Tensor};

fn gpu() -> &'static Device {
    static GPU: OnceLock<Device> = OnceLock::new();
    GPU.get_or_init(|| {
        Device::gpu_named(None, GpuOptions::default()).expect("a Vulkan, Metal or DirectX 12 device")
    })
}

/// Only the ops named in `VISTA_OPS` (all if unset), to work on one op.
fn cases() -> Vec<AnyCase> {
    let only = std::env::var("VISTA_OPS").unwrap_or_default();
    all_cases().into_iter().filter(|c| only.is_empty() || only.split(',').any(|o| o == c.op)).collect()
}

const PRODUCTS: [&str; 4] = ["matmul", "conv2d", "norm_conv2d", "conv_statistics"];

#[test]
fn f64_twins_have_the_gradient_that_differences_show() {
    let device = Device::reference();
    for case in cases() {
        let Some(op) = case.op() else { continue };
        let inputs = case.tensors(&device, 11).expect("inputs");
        for alone in 0..inputs.len() {
            if !case.inputs[alone].differentiable() {
                continue;
            }
            let error = directional_error(op, &inputs, alone, 100 + alone as u64);
            assert!(error < 1e-6, "{} input {alone}: relative error {error:.2e}", case.full_name());
        }
    }
}

/// |analytic - numeric| along one random direction of one input, relative to their size.
fn directional_error(op: &dyn Op, inputs: &[Tensor], alone: usize, seed: u64) -> f64 {
    let device = inputs[0].device().clone();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut normal = |count| -> Vec<f64> {
        vista::engine::tensor::init::normal(&mut rng, count, 1.0).into_iter().map(f64::from).collect()
    };
    let x: Vec<&Tensor> = inputs.iter().collect();
    let (y, saved) = op.forward(&x).expect("forward");
    let dy = normal(y[0].elements());
    let direction = normal(inputs[alone].elements());
    let wants: Vec<bool> = (0..inputs.len()).map(|i| i == alone).collect();
    let dy_tensor = Tensor::from_f64(&device, y[0].shape(), &dy).expect("dy");
    let dx = op.backward(&saved, &dy_tensor, &wants).expect("backward");
    let dx = dx[alone].as_ref().expect("the wanted gradient").to_f64().expect("values");
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let analytic = dot(&dx, &direction);
    let at = inputs[alone].to_f64().expect("values");
    let value = |step: f64| {
        let moved: Vec<f64> = at.iter().zip(&direction).map(|(a, d)| a + step * d).collect();
        let moved = Tensor::from_f64(&device, inputs[alone].shape(), &moved).expect("moved");
        let mut x = x.clone();
        x[alone] = &moved;
        dot(&op.forward(&x).expect("forward").0[0].to_f64().expect("values"), &dy)
    };
    // Fourth-order central difference.
    let h = 1e-4;
    let numeric = (8.0 * (value(h) - value(-h)) - (value(2.0 * h) - value(-2.0 * h))) / (12.0 * h);
    (analytic - numeric).abs() / analytic.abs().max(numeric.abs()).max(1e-3)
}

fn assert_parity(device: &Device) {
    assert_parity_of(device, |_| true);
}

fn assert_parity_of(device: &Device, wanted: impl Fn(&AnyCase) -> bool) {
    let reference = Device::reference();
    for case in cases().into_iter().filter(wanted) {
        let expected = case.evaluate(&reference, 7).expect("reference");
        let got = case.evaluate(device, 7).unwrap_or_else(|e| panic!("{}: {e}", case.full_name()));
        for ((name, got), (_, expected)) in got.iter().zip(&expected) {
            let error = relative_l2(got, expected);
            let bound = match (name.starts_with("grad"), PRODUCTS.contains(&case.op)) {
                (true, _) => 1e-3,
                (false, true) => 1e-4,
                (false, false) => 1e-5,
            };
            println!("{:32} {name:6} {error:.1e}", case.full_name());
            assert!(
                error <= bound,
                "{} {name}: relative L2 {error:.2e} on {}",
                case.full_name(),
                device.name()
            );
        }
    }
}

#[test]
fn f32_twins_agree_with_the_f64_twins() {
    assert_parity(&Device::cpu());
}

#[test]
fn shaders_agree_with_the_f64_twins() {
    assert_parity(gpu());
}

/// A software driver takes kernels of its own for products and larger blocks of batch norm; this runs those of a real
/// GPU on it.
#[test]
fn kernels_of_a_real_gpu_agree_with_the_f64_twins() {
    let options = || GpuOptions { as_real: true, ..Default::default() };
    let only =
        |c: &AnyCase| PRODUCTS.contains(&c.op) || ["batch_norm", "coefficients", "normalize"].contains(&c.op);
    assert_parity_of(&Device::gpu_named(None, options()).expect("device"), only);
    let checked = GpuOptions { checked: true, ..options() };
    let checked = Device::gpu_named(None, checked).expect("device");
    assert_parity_of(&checked, |c| {
        only(c)
            && [
                "nt odd",
                "stem",
                "3x3 odd channels",
                "F4, odd",
                "three groups",
                "coefficients, groups",
                "groups of whole tiles",
            ]
            .contains(&c.name)
    });
}

#[test]
fn tensors_over_the_binding_limit_are_cut_into_blocks() {
    let cut = [
        "conv2d/many pixels",
        "conv2d/F2",
        "batch_norm/several tiles and blocks",
        "conv_statistics/groups of whole tiles",
        "conv_statistics/coefficients, groups",
        "norm_conv2d/three groups",
        "half/round before a relu, groups over a block",
    ];
    let limited = |as_real| {
        let options = GpuOptions { max_binding: Some(16_384), as_real, ..Default::default() };
        Device::gpu_named(None, options).expect("device")
    };
    let device = limited(false);
    for device in [&device, &limited(true)] {
        assert_parity_of(device, |c| cut.contains(&c.full_name().as_str()));
    }
    let product = |device: &Device| {
        let values: Vec<f32> = (0..3600).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
        let a = Tensor::new(device, [300, 12], &values).expect("a");
        let b = Tensor::new(device, [12, 16], &values[..192]).expect("b");
        vista::engine::ops::run(&Matmul::NN, &[&a, &b]).expect("product")[0].to_f64().expect("values")
    };
    assert!(relative_l2(&product(&device), &product(&Device::reference())) < 1e-5);
}

#[test]
fn checked_and_trusted_shaders_agree_to_the_bit() {
    let checked =
        Device::gpu_named(None, GpuOptions { checked: true, ..Default::default() }).expect("device");
    for case in cases() {
        let (a, b) =
            (case.evaluate(gpu(), 3).expect("trusted"), case.evaluate(&checked, 3).expect("checked"));
        assert!(a == b, "{}", case.full_name());
    }
}

#[test]
fn two_runs_give_the_same_bits_on_each_device() {
    for device in [&Device::cpu(), gpu()] {
        for case in cases() {
            let run = || case.evaluate(device, 5).expect("run");
            assert!(run() == run(), "{} on {}", case.full_name(), device.name());
        }
    }
}

#[test]
fn one_tensor_may_be_both_mean_and_variance() {
    let op = BatchNorm { by: Coefficients::Given { eps: 1e-5 }, relu: true };
    let of = |device: &Device| {
        let tensor = |shape: &[usize], scale: f32| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i| scale * (i % 7 + 1) as f32).collect();
            Tensor::new(device, shape, &values).expect("tensor")
        };
        let (x, gamma, both) = (tensor(&[3, 4, 8], 0.5), tensor(&[8], -0.3), tensor(&[8], 0.7));
        run(&op, &[&x, &gamma, &gamma, &both, &both]).expect("run")[0].to_f64().expect("values")
    };
    let expected = of(&Device::reference());
    for device in [&Device::cpu(), gpu()] {
        assert!(relative_l2(&of(device), &expected) < 1e-5, "{}", device.name());
    }
}

#[test]
fn gradients_are_added_to_what_is_there() {
    let as_real = |checked| {
        let options = GpuOptions { as_real: true, checked, ..Default::default() };
        Device::gpu_named(None, options).expect("device")
    };
    for device in [&Device::reference(), &Device::cpu(), gpu(), &as_real(false), &as_real(true)] {
        for case in cases().into_iter().filter(|case| case.inputs[0].differentiable()) {
            let Some(op) = case.op() else { continue };
            let inputs = case.tensors(device, 7).expect("inputs");
            let (y, saved) = op.forward(&inputs.iter().collect::<Vec<_>>()).expect("forward");
            let rng = &mut StdRng::seed_from_u64(8);
            let mut normal = |shape: &[usize]| {
                let values = vista::engine::tensor::init::normal(rng, shape.iter().product(), 1.0);
                Tensor::new(device, shape, &values).expect("tensor")
            };
            let (dy, sum) = (normal(y[0].shape()), normal(inputs[0].shape()));
            let wants: Vec<bool> = case.inputs.iter().map(|input| input.differentiable()).collect();
            let values = |dx: Vec<Option<Tensor>>| -> Vec<Vec<f64>> {
                dx.into_iter().flatten().map(|d| d.to_f64().expect("values")).collect()
            };
            let mut expected = values(op.backward(&saved, &dy, &wants).expect("backward"));
            for (d, sum) in expected[0].iter_mut().zip(sum.to_f64().expect("values")) {
                *d += sum;
            }
            // Once where others hold the sum too, once where no one does.
            let shared = op.backward_onto(&saved, &dy, &wants, Some(sum.clone())).expect("backward");
            let alone = op.backward_onto(&saved, &dy, &wants, Some(sum)).expect("backward");
            for got in [values(shared), values(alone)] {
                assert_eq!(got.len(), expected.len());
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let error = relative_l2(got, expected);
                    assert!(error < 1e-5, "{} input {i}: {error:.1e} on {}", case.full_name(), device.name());
                }
            }
        }
    }
}

/// Value, gradients and running statistics of three layers with a residual, for random input and upstream gradient.
fn chain_results(device: &Device, groups: usize, fused: bool) -> Vec<Vec<f64>> {
    let rng = &mut StdRng::seed_from_u64(3);
    let layers = [([8, 12], [3, 1]), ([12, 16], [1, 1]), ([16, 20], [3, 2])].map(|(channels, kernel)| {
        ConvNorm::new(device, rng, ["conv", "norm"], channels, kernel, 1.0).expect("layer")
    });
    let mut normal = |shape: [usize; 4]| {
        let values = vista::engine::tensor::init::normal(rng, shape.iter().product(), 1.0);
        Tensor::new(device, shape, &values).expect("tensor")
    };
    let (x, residual, dy) = (normal([4, 8, 8, 8]), normal([4, 4, 4, 20]), normal([4, 4, 4, 20]));
    for layer in &layers {
        // Neither 1 nor 0, so that no factor is missed.
        let channels = layer.norm.bias.get().elements();
        for param in [&layer.norm.weight, &layer.norm.bias] {
            param.set(normal([1, 1, 1, channels]).reshape([channels]).expect("vector")).expect("set");
        }
    }
    let tape = Tape::new(device);
    let (x, residual) = (tape.leaf(x), tape.leaf(residual));
    let mode = Mode::Train { groups };
    let y = match fused {
        true => ConvNorm::chain(&layers, &x, mode, true, Some(&residual)),
        false => layers[..2]
            .iter()
            .try_fold(x.clone(), |x, layer| layer.norm.forward_relu(&layer.conv.forward(&x)?, mode))
            .and_then(|x| layers[2].conv.forward(&x))
            .and_then(|x| layers[2].norm.forward_add_relu(&x, &residual, mode)),
    };
    let y = y.expect("forward");
    let grads = y.backward_with(dy).expect("backward");
    Observation::apply(&tape.take_observations()).expect("statistics");
    let mut all = vec![y.value().clone()];
    all.extend([&x, &residual].map(|leaf| grads.of(leaf).expect("a gradient").clone()));
    for layer in &layers {
        all.extend(layer.trained().iter().map(|p| grads.of_param(p).expect("a gradient").clone()));
        all.extend([&layer.norm.running.mean, &layer.norm.running.var].map(|p| p.get()));
    }
    all.iter().map(|t| t.to_f64().expect("values")).collect()
}

#[test]
fn fused_layers_are_their_convolutions_and_norms() {
    let real = Device::gpu_named(None, GpuOptions { as_real: true, ..Default::default() }).expect("device");
    for groups in [1, 2] {
        let expected = chain_results(&Device::reference(), groups, false);
        for device in [&Device::reference(), &Device::cpu(), gpu(), &real] {
            let got = chain_results(device, groups, true);
            assert_eq!(got.len(), 18);
            for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let error = relative_l2(got, expected);
                assert!(error < 1e-4, "{}, {groups} groups: result {i} off by {error:.1e}", device.name());
            }
        }
    }
}
