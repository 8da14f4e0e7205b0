//! Half storage: the same f16 on every device, and what it costs a network, a queue and a run.

use crate::config;

use half::f16;
use rand::{SeedableRng, rngs::StdRng};
use std::path::Path;
use vista::engine::autograd::Tape;
use vista::engine::device::GpuOptions;
use vista::engine::nn::{Architecture, Mode, Module, ResNet, ResNetConfig, Stem};
use vista::engine::ops::{Half, Matmul, Packed, relative_l2, run};
use vista::engine::tensor::init;
use vista::pretrain::Trainer;
use vista::pretrain::named::Named;
use vista::pretrain::queue::{Queue, Ring};
use vista::{Device, Tensor};

fn devices() -> [Device; 3] {
    let gpu = Device::gpu_named(None, GpuOptions::default()).expect("a Vulkan, Metal or DirectX 12 device");
    [Device::reference(), Device::cpu(), gpu]
}

fn random(device: &Device, seed: u64, shape: &[usize]) -> Tensor {
    let values = init::normal(&mut StdRng::seed_from_u64(seed), shape.iter().product(), 1.0);
    Tensor::new(device, shape, &values).expect("a tensor")
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.to_vec().expect("values").into_iter().map(f32::to_bits).collect()
}

/// What a value is kept as, by the crate `half` and the rule for what f16 cannot hold.
fn kept(x: f32) -> f32 {
    let nearest = f16::from_f32(x);
    if x.is_finite() && nearest.is_infinite() {
        return f16::MAX.to_f32().copysign(x);
    }
    if x != 0.0 && nearest == f16::ZERO {
        return 2f32.powi(-24).copysign(x);
    }
    nearest.to_f32()
}

/// Every f16, the middle between it and the next and what lies just beside that, and what f16 cannot hold.
fn inputs() -> Vec<f32> {
    let every = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32());
    let between = (0..0x7c00u16).flat_map(|bits| {
        // The one after the largest is infinite: 65,536 is where it would be.
        let [a, b] = [bits, bits + 1].map(|bits| f16::from_bits(bits).to_f32().min(65_536.0));
        let middle = (a + b) / 2.0;
        let beside = [middle.next_down(), middle, middle.next_up()];
        beside.into_iter().flat_map(|v| [v, -v])
    });
    let extremes =
        [65_519.0, 65_520.0, 65_535.0, 1e10, f32::MAX, 1e-7, 2e-8, 1e-20, f32::MIN_POSITIVE, 1e-40, 1e-45];
    let odd_nan = f32::from_bits(0x7f80_0001);
    every
        .chain(between)
        .chain(extremes.into_iter().flat_map(|v| [v, -v]))
        .chain([odd_nan, -odd_nan])
        .collect()
}

#[test]
fn every_f16_and_every_rounding_has_the_same_bits_on_every_device() {
    let inputs = inputs();
    let expected: Vec<f32> = inputs.iter().map(|&v| kept(v)).collect();
    for device in devices() {
        let x = Tensor::new(&device, [inputs.len()], &inputs).expect("inputs");
        let round = run(&Half::Round, &[&x]).expect("rounded").swap_remove(0);
        let unpacked = Packed::new(&x).and_then(|packed| packed.unpack()).expect("unpacked");
        for got in [round, unpacked] {
            for ((x, expected), got) in inputs.iter().zip(&expected).zip(got.to_vec().expect("values")) {
                // NaNs pass through f64 on the reference device, which may change their digits.
                let same = expected.to_bits() == got.to_bits() || (expected.is_nan() && got.is_nan());
                assert!(same, "{x:e} is kept as {got:e}, not {expected:e}, on {}", device.name());
                assert_eq!((*x > 0.0, x.is_sign_negative()), (got > 0.0, got.is_sign_negative()), "{x:e}");
            }
        }
    }
}

#[test]
fn rows_are_written_and_read_alone_and_odd_ones_are_refused() {
    for device in devices() {
        let (all, rows) = (random(&device, 1, &[9, 6]), random(&device, 2, &[3, 6]));
        let mut packed = Packed::new(&all).expect("packed");
        let before = packed.clone();
        packed.write_rows(4, &rows).expect("written");
        let mut expected = all.clone();
        expected.write_rows(4, &rows).expect("written");
        let rounded = |x: &Tensor| bits(&run(&Half::Round, &[x]).expect("rounded")[0]);
        assert_eq!(bits(&packed.unpack().expect("unpacked")), rounded(&expected));
        assert_eq!(
            bits(&packed.unpack_rows(3..6).expect("rows")),
            rounded(&expected.rows(3..6).expect("rows"))
        );
        assert_eq!(bits(&before.unpack().expect("unpacked")), rounded(&all), "a clone stays as it was");
        let message =
            Packed::new(&random(&device, 1, &[4, 3])).expect("packed").unpack_rows(0..1).unwrap_err();
        assert!(message.to_string().contains("even width"), "{message}");
    }
}

#[test]
fn what_waits_before_a_relu_keeps_its_side() {
    let (rows, channels) = (6000, 12);
    for device in devices() {
        let x = random(&device, 1, &[rows, channels]);
        let coefficients = random(&device, 2, &[4, 2, channels]);
        let [values, factors] = [&x, &coefficients].map(|t| t.to_f64().expect("values"));
        let open = |values: &[f64]| -> Vec<bool> {
            let z = |(i, &v): (usize, &f64)| {
                let at = |list: usize| factors[(2 * list + 2 * i / values.len()) * channels + i % channels];
                (v - at(0)) * at(2) + at(3) > 0.0
            };
            values.iter().enumerate().map(z).collect()
        };
        let differ = |inputs: &[&Tensor]| {
            let kept = run(&Half::Round, inputs).expect("rounded")[0].to_f64().expect("values");
            open(&kept).iter().zip(open(&values)).filter(|(a, b)| **a != *b).count()
        };
        assert!(differ(&[&x]) > 0, "no value lies close enough to the kink for this to show anything");
        assert_eq!(differ(&[&x, &coefficients]), 0, "on {}", device.name());
        let packed = Packed::before_relu(&x, Some(&coefficients)).and_then(|packed| packed.unpack());
        let packed = packed.expect("unpacked").to_f64().expect("values");
        assert_eq!(open(&packed), open(&values), "on {}", device.name());
    }
}

#[test]
fn products_with_a_ring_in_half_are_those_of_its_rounded_keys_in_f32() {
    let slots = 2500; // three blocks, the last one short
    for device in devices() {
        let (keys, q) = (random(&device, 1, &[slots, 10]), random(&device, 2, &[7, 10]));
        let dy = random(&device, 3, &[7, slots]);
        let rounded = run(&Half::Round, &[&keys]).expect("rounded").swap_remove(0);
        let ring = Ring::Half(Packed::new(&keys).expect("packed"));
        let tape = Tape::new(&device);
        let leaf = tape.leaf(q.clone());
        let y = ring.products(&leaf).expect("products");
        let got = [y.value().to_f64().expect("y"), {
            let grads = tape.backward(&[(&y, dy.clone())]).expect("backward");
            grads.of(&leaf).expect("dq").to_f64().expect("values")
        }];
        let expected = [(Matmul::NT, &q), (Matmul::NN, &dy)]
            .map(|(op, a)| run(&op, &[a, &rounded]).expect("product")[0].to_f64().expect("values"));
        for (got, expected) in got.iter().zip(&expected) {
            assert!(relative_l2(got, expected) < 1e-6, "on {}", device.name());
        }
    }
}

#[test]
fn a_queue_in_half_wraps_as_one_in_f32() {
    for device in devices() {
        let queue = |half| {
            let rings = [("g", 6), ("z", 4)];
            Queue::random(&device, &mut StdRng::seed_from_u64(1), 7, rings, half).expect("queue")
        };
        let (mut whole, mut half) = (queue(false), queue(true));
        for step in 0..4 {
            let keys = Named::from([("g", 6), ("z", 4)]);
            let keys = keys.try_map(|&width| Ok(random(&device, step, &[3, width]))).expect("keys");
            for queue in [&mut whole, &mut half] {
                queue.enqueue(&keys, &[3 * step, 3 * step + 1, 3 * step + 2]).expect("enqueue");
            }
        }
        assert_eq!((whole.ptr, &whole.ids), (half.ptr, &half.ids));
        for ((_, whole), (_, half)) in whole.keys.iter().zip(half.keys.iter()) {
            let [whole, half] = [whole, half].map(|ring| ring.values().expect("keys"));
            assert_eq!(bits(&run(&Half::Round, &[&whole]).expect("rounded")[0]), bits(&half));
        }
    }
}

/// Gradients of every parameter of a ResNet for random upstream gradients, and the most bytes in use on the way beyond
/// those in use before.
fn gradients(
    device: &Device,
    config: ResNetConfig,
    [rows, size]: [usize; 2],
    half: bool,
) -> (Vec<(String, Vec<f64>)>, u64) {
    let net = ResNet::new(device, &mut StdRng::seed_from_u64(3), &config).expect("network");
    let x = random(device, 4, &[rows, size, size, 3]);
    let tape = if half { Tape::half(device) } else { Tape::new(device) };
    let y = net.forward(&tape.constant(x), Mode::Train { groups: 1 }).expect("forward");
    let dy = random(device, 5, y.shape());
    let grads = y.backward_with(dy).expect("backward");
    let of = |p: &vista::engine::nn::Param| {
        Some((p.name().to_string(), grads.of_param(p)?.to_f64().expect("gradient")))
    };
    (net.trained().iter().filter_map(of).collect(), device.usage().1)
}

#[test]
fn gradients_of_a_resnet_with_half_storage_stay_within_one_percent() {
    for (architecture, stem) in
        [(Architecture::Resnet18, Stem::Small), (Architecture::Resnet50, Stem::Imagenet)]
    {
        let config = ResNetConfig { architecture, width: 8, stem, zero_init: false, dilated: 0 };
        for device in &devices()[1..] {
            let of = |half| gradients(device, config, [8, 32], half).0;
            let (whole, half) = (of(false), of(true));
            assert!(whole != half, "nothing was kept in half");
            let all =
                |grads: &[(String, Vec<f64>)]| grads.iter().flat_map(|(_, g)| g.clone()).collect::<Vec<_>>();
            let error = relative_l2(&all(&half), &all(&whole));
            println!("{architecture:?} on {}: {error:.1e}", device.name());
            assert!(error < 1e-2, "{architecture:?} on {}: relative L2 {error:.1e}", device.name());
        }
    }
}

/// ResNet-50, narrow so that activations and not parameters are what memory is for.
#[test]
fn a_step_of_resnet50_needs_at_most_six_tenths_of_the_memory_in_half() {
    let config = ResNetConfig {
        architecture: Architecture::Resnet50,
        width: 8,
        stem: Stem::Imagenet,
        zero_init: false,
        dilated: 0,
    };
    let [whole, half] = [false, true].map(|half| gradients(&Device::cpu(), config, [32, 96], half).1 as f64);
    println!(
        "peak {:.1} MiB in f32, {:.1} MiB in half: {:.3}",
        whole / 1048576.0,
        half / 1048576.0,
        half / whole
    );
    assert!(half <= 0.6 * whole, "{half} of {whole} bytes");
}

/// The losses of a run, read from its log.
fn losses(method: &str, settings: &[&str], folder: &Path) -> Vec<f64> {
    let small = [
        "model.width=8",
        "views.size=32",
        "train.batch=16",
        "method.views=4",
        "train.minutes=0",
        "device=cpu",
    ];
    let config = config::config(method, small.iter().chain(settings).copied());
    Trainer::new(config, folder, None).expect("trainer").run().expect("run");
    let log = std::fs::read_to_string(folder.join("log.jsonl")).expect("log");
    let lines = log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("JSON"));
    lines.filter(|l| l["kind"] == "step").map(|l| l["loss"].as_f64().expect("a loss")).collect()
}

/// Single losses say nothing after some steps: f32 against f32 at a learning rate a millionth higher differs as much.
/// Means over 50 steps of several runs do.
#[test]
fn mean_losses_in_half_stay_within_one_percent_of_those_in_f32_over_200_steps() {
    const RUNS: usize = 4;
    let folder = tempfile::tempdir().expect("folder");
    for (method, lr, optimizer) in [("s2r2", "1e-4", "adam"), ("mls", "0.03", "sgd")] {
        let means = |half: bool| {
            let keys = ["activations", "queue", "checkpoint"].map(|key| format!("half.{key}={half}"));
            let (lr, name) = (format!("optimizer.lr={lr}"), format!("optimizer.name={optimizer}"));
            let length = ["train.steps=200", "train.epochs=1000", "method.queue=256", &lr, &name];
            let settings: Vec<&str> = length.into_iter().chain(keys.iter().map(String::as_str)).collect();
            let mut sums = vec![0.0; 4];
            for seed in 0..RUNS {
                let seed_setting = format!("seed={seed}");
                let settings = [&settings[..], &[&seed_setting]].concat();
                let losses =
                    losses(method, &settings, &folder.path().join(format!("{method}-{half}-{seed}")));
                assert_eq!(losses.len(), 200);
                sums.iter_mut()
                    .zip(losses.chunks(50))
                    .for_each(|(sum, part)| *sum += part.iter().sum::<f64>());
            }
            sums.into_iter().map(|sum| sum / (50 * RUNS) as f64).collect::<Vec<f64>>()
        };
        let (whole, half) = (means(false), means(true));
        assert!(whole != half, "nothing was kept in half");
        for (a, b) in whole.iter().zip(&half) {
            println!("{method}: mean of 50 losses {a:.4} in f32, {b:.4} in half");
            assert!((a - b).abs() < 0.01 * a, "{method}: {a} in f32, {b} in half");
        }
    }
}

/// Gradient caching on tapes with half storage: the same step as in one pass, but for roundings that fall otherwise.
#[test]
fn a_step_in_chunks_with_half_storage_equals_one_in_one_pass() {
    let folder = tempfile::tempdir().expect("folder");
    let run = |chunk: usize| {
        let chunk_key = format!("train.chunk={chunk}");
        let settings = ["train.steps=5", "train.groups=4", "half.activations=true", &chunk_key];
        losses("s2r2", &settings, &folder.path().join(chunk.to_string()))
    };
    for (a, b) in run(64).iter().zip(run(16)) {
        assert!((a - b).abs() < 1e-4 * a.abs(), "{a} in one pass, {b} in chunks");
    }
}
