//! Whole runs and steps: the same bits for the same seed, no growth of memory, the same losses on both devices,
//! pairs kept together in the queue.

use crate::config;

use rand::{SeedableRng, rngs::StdRng};
use std::path::Path;
use vista::engine::autograd::Tape;
use vista::engine::device::GpuOptions;
use vista::engine::nn::Module;
use vista::engine::ops::{Map, run};
use vista::engine::tensor::init;
use vista::pretrain::encoder::Encoder;
use vista::pretrain::method::KeyViews;
use vista::pretrain::{Batch, Config, Learner, Now, Trainer, methods};
use vista::{Device, Tensor};

fn gpu() -> Device {
    Device::gpu_named(None, GpuOptions::default()).expect("a Vulkan, Metal or DirectX 12 device")
}

fn config(method: &str, settings: &[&str]) -> Config {
    let small = ["model.width=4", "views.size=16", "train.batch=8", "train.minutes=0", "method.views=3"];
    let swav = ["method.small_views=1"];
    config::config(method, small.iter().chain(&swav).chain(settings).copied())
}

/// The losses of a run of some steps, read from its log.
fn losses(config: Config, folder: &Path) -> Vec<f64> {
    Trainer::new(config, folder, None).expect("trainer").run().expect("run");
    let log = std::fs::read_to_string(folder.join("log.jsonl")).expect("log");
    let lines = log.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("JSON"));
    lines.filter(|l| l["kind"] == "step").map(|l| l["loss"].as_f64().expect("a loss")).collect()
}

#[test]
fn a_run_gives_the_same_checkpoint_for_one_and_four_loader_threads() {
    let folder = tempfile::tempdir().expect("folder");
    let run = |threads: usize| {
        let out = folder.path().join(threads.to_string());
        let thread_setting = format!("data.threads={threads}");
        losses(config("mls", &["train.steps=4", &thread_setting]), &out);
        let bytes = std::fs::read(out.join("checkpoint.safetensors")).expect("checkpoint");
        let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
        bytes[8 + header..].to_vec()
    };
    assert!(run(1) == run(4));
}

#[test]
fn ten_steps_give_the_same_losses_on_the_cpu_and_on_a_gpu() {
    let folder = tempfile::tempdir().expect("folder");
    for method in ["s2r2", "mls"] {
        let settings = [
            "train.steps=10",
            "method.tau=0.1",
            "method.queue=64",
            "optimizer.lr=0.0001",
            "train.groups=1",
            "views.size=32",
        ];
        let run = |device: &str| {
            let config = config(method, &settings).with(&format!("device={device}")).expect("device");
            losses(config, &folder.path().join(format!("{method}-{device}")))
        };
        let (cpu, gpu) = (run("cpu"), run("gpu"));
        assert_eq!((cpu.len(), gpu.len()), (10, 10));
        for (step, (a, b)) in cpu.iter().zip(&gpu).enumerate() {
            assert!((a - b).abs() <= 1e-3, "{method} step {step}: {a} and {b}");
        }
    }
}

/// Which views of a method are keys.
fn key_views(method: &str) -> KeyViews {
    Config::preset("demo").expect("preset").with_method(method).expect("method").method.key_views()
}

#[test]
fn every_method_trains_on_both_devices_with_finite_losses_that_agree() {
    let folder = tempfile::tempdir().expect("folder");
    for method in methods::names() {
        let settings = [
            "train.steps=3",
            "train.batch=6",
            "method.queue=64",
            "train.groups=1",
            "optimizer.lr=0.0001",
            "method.hidden=16",
            "method.projection=8",
            "method.prototypes=6",
            "views.size=32",
        ];
        let config = config(method, &settings);
        let run = |device: &str| {
            let config = config.with(&format!("device={device}")).expect("device");
            losses(config, &folder.path().join(format!("{method}-{device}")))
        };
        let (cpu, gpu) = (run("cpu"), run("gpu"));
        assert_eq!((cpu.len(), gpu.len()), (3, 3), "{method}");
        for (step, (a, b)) in cpu.iter().zip(&gpu).enumerate() {
            assert!((a - b).abs() <= 1e-3 * a.abs().max(1.0), "{method} step {step}: {a} and {b}");
        }
    }
}

/// Somewhere in a run, at a learning rate.
fn at(lr: f64) -> Now {
    Now { step: 1, lr, base_lr: lr, ..Now::default() }
}

const BATCH: usize = 8;
const SIZE: usize = 32;

/// A tiny learner of a method, and the views of each image that its query encoder sees.
fn learner(device: &Device, method: &str, slots: usize) -> (Learner, usize) {
    learner_with(device, method, slots, &[])
}

/// The same with more settings.
fn learner_with(device: &Device, method: &str, slots: usize, more: &[&str]) -> (Learner, usize) {
    // SGD: what Adam and LARS make of a gradient that is zero but for rounding says nothing.
    let tiny = [
        "method.projection=16",
        "method.hidden=16",
        "method.prototypes=5",
        "method.m=0.9",
        "method.m_cosine=false",
        "method.frozen_steps=0",
        "method.small_views=2",
        "optimizer.name=sgd",
    ];
    let second = key_views(method) == KeyViews::Second;
    let groups = if second { 2 } else { 4 };
    let (queue, groups) = (format!("method.queue={slots}"), format!("train.groups={groups}"));
    let config = config(method, &[&tiny[..], &["seed=1", "method.views=4", &queue, &groups], more].concat());
    let learner = vista::pretrain::learner(&config, device).expect("learner");
    let views = if second { 1 } else { config.image_views().len() };
    (learner, views)
}

/// Random views as a method wants them; SwAV's last two of four are small.
fn batch(device: &Device, seed: u64, method: &str, views: usize) -> Batch {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tensor = |rows: usize, size: usize| {
        let values = init::normal(&mut rng, rows * size * size * 3, 1.0);
        Tensor::new(device, [rows, size, size, 3], &values).expect("views")
    };
    let query = match method {
        // Of crops of half the side, the last batch norm would see one pixel in each of four images: the variance of four
        // values makes much of rounding.
        "swav" => vec![tensor(2 * BATCH, SIZE), tensor(2 * BATCH, SIZE * 3 / 4)],
        _ => vec![tensor(views * BATCH, SIZE)],
    };
    let (key, shuffle) = match key_views(method) {
        KeyViews::Both => (Some(query[0].clone()), Vec::new()),
        KeyViews::None => (None, Vec::new()),
        KeyViews::Second => (Some(tensor(BATCH, SIZE)), vec![3, 1, 7, 0, 5, 2, 6, 4]),
    };
    Batch { query, key, ids: (0..BATCH as u64).map(|i| seed * 100 + i).collect(), shuffle }
}

#[test]
fn bytes_in_use_after_step_5_and_step_50_are_equal() {
    for (device, steps) in [(Device::cpu(), 50), (gpu(), 12)] {
        for (method, chunk) in [("mls", 0), ("s2r2", 0), ("s2r2", 8), ("swav", 0), ("densecl", 4)] {
            let (mut learner, views) = learner(&device, method, 20);
            learner.passes.chunk = chunk;
            let mut after_five = 0;
            for step in 1..=steps {
                learner.step(&batch(&device, step, method, views), &at(0.01)).expect("step");
                if step == 5 {
                    after_five = device.usage().0;
                }
            }
            assert_eq!(device.usage().0, after_five, "{method} in chunks of {chunk} on {}", device.name());
        }
    }
}

/// A read-back makes a GPU run dry: all that the log needs of a step comes in one.
#[test]
fn a_step_of_every_method_reads_back_once_and_little() {
    for device in [Device::cpu(), gpu()] {
        for method in methods::names() {
            let (mut learner, views) = learner(&device, method, 20);
            for step in 1..=4 {
                let views = batch(&device, step, method, views);
                device.start_trace();
                let report = learner.step(&views, &at(0.01)).expect("step");
                let events = device.take_trace().expect("trace");
                device.stop_trace();
                let (reads, ops) = (events.reads, events.ops.len());
                assert!(report.moved && ops > 100, "{method} on {}: {ops} ops", device.name());
                assert!(
                    reads.len() == 1 && reads[0] <= 2000,
                    "{method} on {}: reads {reads:?}",
                    device.name()
                );
            }
        }
    }
}

#[test]
fn a_run_reads_back_once_a_step_beside_its_checkpoints() {
    let folder = tempfile::tempdir().expect("folder");
    let reads = |steps: usize| {
        let config = config("mls", &["device=cpu", "method.queue=64", &format!("train.steps={steps}")]);
        let trainer = Trainer::new(config, &folder.path().join(steps.to_string()), None).expect("trainer");
        let device = trainer.device().clone();
        device.start_trace();
        trainer.run().expect("run");
        device.take_trace().expect("trace").reads.len()
    };
    assert_eq!(reads(9) - reads(3), 6);
}

/// A bind group costs the host time when it is made, and memory while it is kept.
#[test]
fn a_step_on_a_gpu_gets_the_buffers_of_the_steps_before_and_makes_no_bind_groups_for_them() {
    for (method, chunk) in [("mls", 0), ("s2r2", 8), ("swav", 0), ("densecl", 4)] {
        let device = gpu();
        let Device::Gpu(gpu) = &device else { panic!("a GPU") };
        let (mut learner, views) = learner(&device, method, 20);
        learner.passes.chunk = chunk;
        let mut made = vec![0];
        for step in 1..=16 {
            learner.step(&batch(&device, step, method, views), &at(0.01)).expect("step");
            made.push(gpu.bind_groups()[1]);
        }
        println!("{method} in chunks of {chunk}: {made:?}");
        assert_eq!(made[16], made[8], "{method} in chunks of {chunk}: {made:?}");
    }
}

#[test]
fn bind_groups_are_bounded_whatever_is_bound() {
    let device = gpu();
    let Device::Gpu(gpu) = &device else { panic!("a GPU") };
    // All are held, so that each is a buffer of its own.
    let mut held = vec![Tensor::full(&device, [64], 1.0).expect("a tensor")];
    for _ in 0..20_000 {
        let next = run(&Map::Scale(-1.0), &[&held[held.len() - 1]]).expect("a product");
        held.extend(next);
        assert!(gpu.bind_groups()[0] <= 16_384, "{} are kept", gpu.bind_groups()[0]);
    }
    assert_eq!(gpu.bind_groups()[1], 20_000);
    assert_eq!(held[20_000].to_vec().expect("values"), [1.0; 64]);
}

/// Everything that training changes, by name, and the losses on the way.
fn after(
    device: &Device,
    method: &str,
    chunk: usize,
    steps: u64,
    lr: f64,
) -> (Vec<f64>, Vec<(String, Vec<f64>)>) {
    let (mut learner, views) = learner(device, method, 20);
    learner.passes.chunk = chunk;
    let mut step = |n: u64| learner.step(&batch(device, n, method, views), &at(lr)).expect("step").loss;
    let losses: Vec<f64> = (1..=steps).map(&mut step).collect();
    let keys = learner.method.target.as_ref().map(Module::state).unwrap_or_default();
    let params: Vec<_> = learner.state().into_iter().chain(keys).collect();
    let mut values: Vec<_> =
        params.iter().map(|p| (p.name().to_string(), p.get().to_f64().expect("values"))).collect();
    for (_, ring) in learner.method.queue.iter().flat_map(|queue| queue.keys.iter()) {
        values.push(("queue".into(), ring.values().and_then(|keys| keys.to_f64()).expect("keys")));
    }
    (losses, values)
}

/// Gradient caching: whatever the chunk, as long as it cuts no group of batch norm, a step moves every parameter,
/// statistic and key to the same place.
#[test]
fn a_step_in_chunks_equals_a_step_in_one_pass() {
    let (f64s, f32s) = (Device::reference(), Device::cpu());
    for method in methods::names() {
        let group = if method == "s2r2" { BATCH } else { BATCH / 2 }; // rows, by `learner`'s splits
        for chunk in [group, 2 * group] {
            // The second step sees what the first did to statistics and keys. Batch norm, and SwAV's exp(score / 0.05),
            // raise the rounding of f64 to 5e-11.
            let ((losses, whole), (chunked_losses, chunked)) =
                (after(&f64s, method, 0, 2, 0.05), after(&f64s, method, chunk, 2, 0.05));
            for (a, b) in losses.iter().zip(&chunked_losses) {
                assert!((a - b).abs() < 1e-9, "{method} in chunks of {chunk}: loss {a} and {b}");
            }
            for ((name, a), (_, b)) in whole.iter().zip(&chunked) {
                let error = vista::engine::ops::relative_l2(b, a);
                assert!(error <= 1e-9, "{method} in chunks of {chunk}: {name} is off by {error:.1e}");
            }
            // In f32 the gradient as a whole, since single biases are small sums of large terms; at this rate what is left
            // of the parameters does not round it.
            let movement = |device: &Device, chunk: usize| -> Vec<f64> {
                let before = after(device, method, 0, 0, 0.0).1;
                let after = after(device, method, chunk, 1, 1e4).1;
                before
                    .iter()
                    .zip(&after)
                    .flat_map(|(a, b)| b.1.iter().zip(&a.1).map(|(b, a)| b - a))
                    .collect()
            };
            let whole = movement(&f32s, 0);
            let rounding = vista::engine::ops::relative_l2(&whole, &movement(&f64s, 0));
            let error = vista::engine::ops::relative_l2(&movement(&f32s, chunk), &whole);
            println!("{method} in chunks of {chunk}: off by {error:.1e}, f32 itself by {rounding:.1e}");
            // NNCLR's own f32 gradient is 3e-4 off that in f64 (norms of four rows, a softmax at tau 0.1): what chunks add must be
            // small beside it.
            assert!(
                error <= f64::max(1e-5, 0.1 * rounding),
                "{method} in chunks of {chunk}: the f32 gradient is off by {error:.1e}"
            );
        }
    }
}

/// Slot j of all rings and of the ids is the same image: re-embedding image i with the key encoder of its step gives
/// the keys in the slots that carry its number.
#[test]
fn slots_of_both_queues_hold_the_keys_of_the_image_they_are_numbered_with() {
    let device = Device::cpu();
    let slots = 20; // not a multiple of the batch: the ring wraps
    let (mut learner, _) = learner(&device, "mls", slots);
    for step in 1..=4 {
        let views = batch(&device, step, "mls", 1);
        learner.step(&views, &at(0.01)).expect("step");
        let (target, queue) =
            (learner.method.target.as_ref().expect("keys"), learner.method.queue.as_ref().expect("queue"));
        let values = queue.keys.try_map(|ring| ring.values()?.to_vec()).expect("values");
        // The key encoder has not moved since the pass: its parameters are those that made the keys.
        let tape = Tape::inert(&device);
        let order: Vec<f32> = views.shuffle.iter().map(|&i| i as f32).collect();
        let order = Tensor::new(&device, [BATCH], &order).expect("order");
        let shuffled = vista::engine::ops::run(
            &vista::engine::ops::GatherRows,
            &[views.key.as_ref().expect("keys"), &order],
        );
        let images = tape.constant(shuffled.expect("gather").swap_remove(0));
        let mode = vista::engine::nn::Mode::Train { groups: 2 };
        let again = target.embed(&images, mode).expect("embed");
        for (name, values) in values.iter() {
            let keys = again.get(name).expect("an embedding");
            let width = values.len() / slots;
            let keys = keys.l2_normalize().expect("normalised").value().to_vec().expect("keys");
            for (row, &image) in views.shuffle.iter().enumerate() {
                let slot = queue.ids.iter().position(|id| *id == Some(views.ids[image])).expect("a slot");
                let distance = (0..width).map(|c| (values[slot * width + c] - keys[row * width + c]).abs());
                assert!(
                    distance.fold(0.0, |m: f32, e: f32| if e > m || e.is_nan() { e } else { m }) < 1e-5,
                    "step {step}, image {image}, slot {slot}"
                );
            }
        }
    }
}

#[test]
fn positives_are_the_images_that_their_slots_held_before_the_step() {
    let device = Device::cpu();
    let (mut learner, _) = learner(&device, "mls", 20);
    for step in 1..=5 {
        let report = learner.step(&batch(&device, step, "mls", 1), &at(0.01)).expect("step");
        assert_eq!(report.neighbours.len() % BATCH, 0);
        let newest = |id: &&u64| **id >= step * 100;
        assert_eq!(report.neighbours.iter().flatten().filter(newest).count(), 0, "a key of the step itself");
        assert!(step < 4 || report.neighbours.iter().all(Option::is_some), "the random start is gone");
    }
}

#[test]
fn frozen_prototypes_stay_and_moved_ones_have_unit_length_in_the_next_pass() {
    let device = Device::cpu();
    let (mut learner, views) = learner_with(&device, "swav", 0, &["method.frozen_steps=2"]);
    let prototypes = |l: &Learner| {
        let all = l.method.state();
        all.iter()
            .find(|p| p.name() == "prototypes.weight")
            .expect("prototypes")
            .get()
            .to_vec()
            .expect("values")
    };
    let before = prototypes(&learner);
    let later = |step| Now { step, ..at(0.5) };
    learner.step(&batch(&device, 1, "swav", views), &later(1)).expect("step");
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(&before, &prototypes(&learner)));
    learner.step(&batch(&device, 2, "swav", views), &later(2)).expect("step");
    let moved = prototypes(&learner);
    assert!(!close(&before, &moved));
    learner.method.before(&learner.net, &later(3)).expect("before a step");
    for row in prototypes(&learner).chunks(16) {
        assert!((row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn an_average_that_keeps_everything_freezes_the_key_encoder() {
    let device = Device::cpu();
    let (mut learner, _) = learner_with(&device, "mls", 20, &["method.m=1"]);
    let trained = |l: &Learner| -> Vec<Vec<f32>> {
        let params = l.method.target.as_ref().expect("key encoder").trained();
        params.iter().map(|p| p.get().to_vec().expect("values")).collect()
    };
    let before = trained(&learner);
    for step in 1..=3 {
        learner.step(&batch(&device, step, "mls", 1), &at(0.1)).expect("step");
    }
    assert!(before == trained(&learner));
}

#[test]
fn the_plan_of_activations_is_what_a_pass_keeps() {
    for (backbone, stem) in [("resnet18", "imagenet"), ("resnet50", "small"), ("resnet34", "cifar")] {
        for half in [false, true] {
            let device = Device::cpu();
            let settings =
                ["model.width=8".into(), format!("model.backbone={backbone}"), format!("model.stem={stem}")];
            let base = Config::preset("demo").expect("preset");
            let config = settings.iter().fold(base, |config, setting| config.with(setting).expect("setting"));
            let encoder = vista::pretrain::learner(&config, &device).expect("learner").net;
            // Enough rows that no activation is too small to be kept in half.
            let (rows, size) = (24, 48);
            let views = Tensor::full(&device, [rows, size, size, 3], 0.5).expect("views");
            let before = device.usage().0;
            let tape = if half { Tape::half(&device) } else { Tape::new(&device) };
            let mode = vista::engine::nn::Mode::Train { groups: 1 };
            let kept = encoder.forward(&tape.constant(views), mode).expect("a pass");
            let measured = (device.usage().0 - before) as f64 / rows as f64;
            let planned = vista::pretrain::activation_bytes(&config.resnet(), size, half) as f64;
            assert!(
                (measured / planned - 1.0).abs() < 0.15,
                "{backbone} {stem}, half {half}: {planned} planned, {measured} kept"
            );
            drop(kept);
        }
    }
}
