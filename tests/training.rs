//! Whole runs and steps: the same bits for the same seed, no growth of memory, the same losses on both devices,
//! pairs kept together in the queue.

use rand::{SeedableRng, rngs::StdRng};
use std::path::Path;
use vista::device::GpuOptions;
use vista::encoder::{ResNetEncoder, copy_state};
use vista::nn::Module;
use vista::queue::Queue;
use vista::tensor::init;
use vista::train::{Batch, Config, Learner, Momentum, Trainer};
use vista::{Device, Tensor};

fn gpu() -> Device {
    Device::gpu_named(None, GpuOptions::default()).expect("a Vulkan, Metal or DirectX 12 device")
}

fn config(method: &str, settings: &[&str]) -> Config {
    let base = Config::preset("demo").expect("preset").with_method(method).expect("method");
    let small = ["model.width=4", "views.size=16", "train.batch=8", "train.views=3", "train.minutes=0"];
    small.iter().chain(settings).fold(base, |config, setting| config.with(setting).expect("setting"))
}

/// The losses of a run of some steps, read from its log.
fn losses(config: Config, folder: &Path) -> Vec<f64> {
    Trainer::new(config, folder).expect("trainer").run().expect("run");
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
            "objective.tau=0.1",
            "objective.queue=64",
            "optimizer.lr=0.0001",
            "objective.bn_splits=1",
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

const BATCH: usize = 8;
const SIZE: usize = 16;

fn learner(device: &Device, method: &str, slots: usize) -> Learner<ResNetEncoder> {
    let config = config(method, &[]);
    let mut rng = StdRng::seed_from_u64(1);
    let mut encoder = || ResNetEncoder::new(device, &mut rng, &config.resnet(), 16).expect("encoder");
    let (query, key) = (encoder(), encoder());
    copy_state(&key, &query).expect("copy");
    let objective = config.objective();
    let widths = [config.resnet().features(), 16];
    let queue = Queue::random(device, &mut rng, slots, widths).expect("queue");
    let momentum = objective.needs().keys.then_some(Momentum { encoder: key, queue, m: 0.9 });
    Learner { encoder: query, momentum, objective, optimizer: config.optimizer(), bn_splits: 2 }
}

fn batch(device: &Device, seed: u64, keys: bool) -> Batch {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut views = || {
        let values = init::normal(&mut rng, BATCH * SIZE * SIZE * 3, 1.0);
        Tensor::new(device, [BATCH, SIZE, SIZE, 3], &values).expect("views")
    };
    let (query, key) = (views(), keys.then(&mut views));
    let ids = if keys { (0..BATCH as u64).map(|i| seed * 100 + i).collect() } else { vec![0; BATCH / 4] };
    Batch { query, key, views: if keys { 1 } else { 4 }, ids, shuffle: vec![3, 1, 7, 0, 5, 2, 6, 4] }
}

#[test]
fn bytes_in_use_after_step_5_and_step_50_are_equal() {
    for (device, steps) in [(Device::cpu(), 50), (gpu(), 12)] {
        for method in ["mls", "s2r2"] {
            let mut learner = learner(&device, method, 20);
            let mut after_five = 0;
            for step in 1..=steps {
                learner.step(&batch(&device, step, method == "mls"), 0.01).expect("step");
                if step == 5 {
                    after_five = device.usage().0;
                }
            }
            assert_eq!(device.usage().0, after_five, "{method} on {}", device.name());
        }
    }
}

/// Slot j of both rings and of the ids is the same image: re-embedding image i with the key encoder of its step gives
/// the keys in the slots that carry its number.
#[test]
fn slots_of_both_queues_hold_the_keys_of_the_image_they_are_numbered_with() {
    let device = Device::cpu();
    let slots = 20; // not a multiple of the batch: the ring wraps
    let mut learner = learner(&device, "mls", slots);
    for step in 1..=4 {
        let views = batch(&device, step, true);
        learner.step(&views, 0.01).expect("step");
        let momentum = learner.momentum.as_ref().expect("momentum");
        let (g, z) = (momentum.queue.g.to_vec().expect("g"), momentum.queue.z.to_vec().expect("z"));
        // The key encoder has not moved since the pass: its parameters are those that made the keys.
        let tape = vista::autograd::Tape::inert(&device);
        let order: Vec<f32> = views.shuffle.iter().map(|&i| i as f32).collect();
        let order = Tensor::new(&device, [BATCH], &order).expect("order");
        let shuffled = vista::ops::run(&vista::ops::GatherRows, &[views.key.as_ref().expect("keys"), &order]);
        let images = tape.constant(shuffled.expect("gather").swap_remove(0));
        let mode = vista::nn::Mode::Train { splits: 2 };
        let again = vista::encoder::Encoder::embed(&momentum.encoder, &images, mode).expect("embed");
        for (values, keys) in [(&g, &again.g), (&z, &again.z)] {
            let width = values.len() / slots;
            let keys = keys.l2_normalize().expect("normalised").value().to_vec().expect("keys");
            for (row, &image) in views.shuffle.iter().enumerate() {
                let slot =
                    momentum.queue.ids.iter().position(|id| *id == Some(views.ids[image])).expect("a slot");
                let distance = (0..width).map(|c| (values[slot * width + c] - keys[row * width + c]).abs());
                assert!(distance.fold(0.0, f32::max) < 1e-5, "step {step}, image {image}, slot {slot}");
            }
        }
    }
}

#[test]
fn an_average_that_keeps_everything_freezes_the_key_encoder() {
    let device = Device::cpu();
    let mut learner = learner(&device, "mls", 20);
    learner.momentum.as_mut().expect("momentum").m = 1.0;
    let trained = |l: &Learner<ResNetEncoder>| -> Vec<Vec<f32>> {
        let params = l.momentum.as_ref().expect("momentum").encoder.trained();
        params.iter().map(|p| p.get().to_vec().expect("values")).collect()
    };
    let before = trained(&learner);
    for step in 1..=3 {
        learner.step(&batch(&device, step, true), 0.1).expect("step");
    }
    assert!(before == trained(&learner));
}
