//! Runs that stop and go on: the same bits as if they had never stopped, whatever stopped them.

use crate::program;

use crate::config;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use safetensors::SafeTensors;
use serde_json::Value;
use vista::Error;
use vista::pretrain::{Config, Found, Trainer};
use vista::rng::KeyedRng;

/// Two steps are less than an epoch, ten wrap the queue.
const SMALL: [&str; 9] = [
    "model.width=4",
    "method.projection=16",
    "views.size=16",
    "train.batch=12",
    "method.views=3",
    "train.minutes=0",
    "method.queue=40",
    "train.groups=1",
    "eval.every_steps=4",
];

/// What judges a run of this configuration.
fn judge(config: &Config) -> Option<Box<dyn vista::run::Judge>> {
    vista::cli::judge_of(config).expect("labelled photos")
}

fn config(method: &str, settings: &[&str]) -> Config {
    config::config(method, SMALL.iter().chain(settings).copied())
}

/// Everything a run has left: arrays to the bit, texts, and the log; without times.
type Left = (BTreeMap<String, Vec<u8>>, BTreeMap<String, Value>, Vec<Value>);

fn left(folder: &Path) -> Left {
    let bytes = fs::read(folder.join("checkpoint.safetensors")).expect("checkpoint");
    let file = SafeTensors::deserialize(&bytes).expect("sound");
    let arrays = file.iter().map(|(name, view)| (name.to_string(), view.data().to_vec())).collect();
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("header");
    let mut texts = BTreeMap::new();
    for (key, text) in header.metadata().as_ref().expect("texts") {
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
        texts.insert(key.clone(), value);
    }
    let run = texts.get_mut("run").and_then(Value::as_object_mut).expect("a run");
    run.remove("seconds");
    run.remove("log_bytes");
    run.remove("events");
    let judged = run["judged"]["at"].as_array_mut().expect("judged");
    judged.truncate(1);
    for key in ["checksum", "config", "provenance"] {
        texts.remove(key);
    }
    let log = fs::read_to_string(folder.join("log.jsonl")).expect("log");
    // Where a run started and went on is told, and is another for each.
    let records = log.lines().filter(|line| !line.contains("\"kind\":\"start\"")).map(|line| {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        let fields = record.as_object_mut().expect("a record");
        fields.remove("seconds");
        fields.remove("images_per_second");
        fields.remove("decoding");
        fields.remove("augmenting");
        fields.remove("waiting");
        record
    });
    (arrays, texts, records.collect())
}

#[track_caller]
fn assert_same(a: &Left, b: &Left) {
    assert_eq!(a.0.keys().collect::<Vec<_>>(), b.0.keys().collect::<Vec<_>>());
    let other: Vec<&String> =
        a.0.iter().filter(|(name, bytes)| b.0[*name] != **bytes).map(|(n, _)| n).collect();
    assert!(other.is_empty(), "{} arrays differ: {other:?}", other.len());
    assert_eq!(a.1, b.1);
    for (one, two) in a.2.iter().zip(&b.2) {
        assert_eq!(one, two);
    }
    assert_eq!(a.2.len(), b.2.len());
}

fn steps_logged(folder: &Path) -> usize {
    let log = fs::read_to_string(folder.join("log.jsonl")).unwrap_or_default();
    log.lines().filter(|line| line.contains("\"kind\":\"step\"")).count()
}

/// Runs until so many steps are in the log, or a few more.
fn run_until(step: usize, mut trainer: Trainer, folder: &Path) {
    let stop = Arc::new(AtomicBool::new(false));
    trainer.stop_when(stop.clone());
    let folder = folder.to_path_buf();
    let watcher = std::thread::spawn(move || {
        while steps_logged(&folder) < step {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let ended = trainer.run();
    assert!(matches!(&ended, Err(e @ Error::Interrupted(_)) if e.exit_code() == 130), "{ended:?}");
    watcher.join().expect("watcher");
}

fn resume(config: &Config, folder: &Path) -> Trainer {
    let found = Found::newest(folder).expect("sound").expect("a checkpoint");
    Trainer::resume(config.clone(), folder, judge(config), found).expect("resumed")
}

fn goes_on_as_if_it_had_never_stopped(device: &str, steps: usize) {
    let device = format!("device={device}");
    for (method, setting) in [
        ("mls", "half.queue=false"),
        ("mls", "half.queue=true"),
        ("s2r2", "seed=3"),
        ("swav", "method.prototypes=8"),
        ("byol", "seed=4"),
    ] {
        let folder = tempfile::tempdir().expect("folder");
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
        let length = format!("train.steps={steps}");
        let mut settings = vec![device.as_str(), setting, &length, "train.epochs=100", "data.threads=1"];
        if method == "swav" {
            settings.extend([
                "method.small_views=1",
                "method.small_side=0.75",
                "method.views=3",
                "method.frozen_steps=3",
            ]);
        }
        if method == "byol" {
            settings.push("method.second_view.blur_p=0.3");
        }
        let config = config(method, &settings);
        Trainer::new(config.clone(), &whole, judge(&config)).expect("trainer").run().expect("run");
        run_until(steps / 4, Trainer::new(config.clone(), &parts, judge(&config)).expect("trainer"), &parts);
        let threads = config.with("data.threads=3").expect("threads");
        run_until(steps / 2, resume(&threads, &parts), &parts);
        resume(&config, &parts).run().expect("run");
        assert_same(&left(&whole), &left(&parts));
    }
}

#[test]
fn a_run_on_the_cpu_goes_on_as_if_it_had_never_stopped() {
    goes_on_as_if_it_had_never_stopped("cpu", 40);
}

#[test]
fn a_run_on_a_gpu_goes_on_as_if_it_had_never_stopped() {
    goes_on_as_if_it_had_never_stopped("gpu", 12);
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path();
    let config = config("mls", &["device=cpu", "train.steps=9", "train.save_steps=2", "eval.every_steps=3"]);
    Trainer::new(config.clone(), out, judge(&config)).expect("trainer").run().expect("run");
    let undisturbed = left(out);
    let newest = out.join("checkpoint.safetensors");
    let mut bytes = fs::read(&newest).expect("bytes");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&newest, &bytes).expect("damaged");
    let found = Found::newest(out).expect("one is sound").expect("a checkpoint");
    assert_eq!(found.step(), 8);
    assert!(
        found.skipped.len() == 1 && found.skipped[0].contains("checkpoint.safetensors"),
        "{:?}",
        found.skipped
    );
    Trainer::resume(config.clone(), out, judge(&config), found).expect("resumed").run().expect("run");
    assert_same(&undisturbed, &left(out));
    // Nothing sound at all: each is named, nothing is lost.
    for name in ["checkpoint.safetensors", "previous.safetensors", "best.safetensors"] {
        fs::write(out.join(name), b"nothing").expect("damaged");
    }
    let message = Found::newest(out).unwrap_err().to_string();
    assert!(["checkpoint.s", "previous.s", "best.s"].iter().all(|name| message.contains(name)), "{message}");
}

#[test]
fn a_changed_configuration_is_refused_key_by_key_and_a_folder_in_use_too() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path();
    let first = config("s2r2", &["device=cpu", "train.steps=2"]);
    Trainer::new(first.clone(), out, judge(&first)).expect("trainer").run().expect("run");
    let refused = |config: Config| {
        let found = Found::newest(out).expect("sound").expect("a checkpoint");
        let error = Trainer::resume(config.clone(), out, judge(&config), found).err().expect("refused");
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let message = refused(first.with("method.tau=0.7").expect("set").with("train.batch=14").expect("set"));
    assert!(
        message.contains("method.tau was 0.0") && message.contains("train.batch was 12, not 14"),
        "{message}"
    );
    assert!(message.contains("train.epochs"), "says what may change: {message}");
    let message = Trainer::new(first.clone(), out, judge(&first)).err().expect("refused").to_string();
    assert!(message.contains("--resume"), "{message}");
    let longer = first.with("train.steps=4").expect("set").with("data.threads=2").expect("set");
    let running = resume(&longer, out);
    let found = Found::newest(out).expect("sound").expect("a checkpoint");
    let message =
        Trainer::resume(longer.clone(), out, judge(&longer), found).err().expect("refused").to_string();
    assert!(message.contains("another run is at work"), "{message}");
    assert_eq!(running.run().expect("run").steps, 4);
}

#[test]
fn numbers_that_are_not_finite_move_nothing_and_name_the_photos() {
    let folder = tempfile::tempdir().expect("folder");
    for (policy, skipped) in [("stop", 1), ("skip", 4)] {
        let out = folder.path().join(policy);
        let on_nan = format!("train.on_nan={policy}");
        let settings = [
            "device=cpu",
            "train.steps=60",
            "train.save_steps=1",
            "optimizer.lr=1e30",
            "eval.every_steps=0",
            &on_nan,
        ];
        let config = config("mls", &settings);
        let trainer = Trainer::new(config.clone(), &out, judge(&config)).expect("trainer");
        let error = trainer.run().expect_err("an error");
        let message = error.to_string();
        assert_eq!(error.exit_code(), 1);
        assert!(message.contains("the loss is") && message.contains("checkpoint.safetensors"), "{message}");
        let (arrays, _, log) = left(&out);
        let kinds: Vec<&str> = log.iter().map(|record| record["kind"].as_str().expect("kind")).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "skipped").count(), skipped);
        let [.., last, end] = &log[..] else { panic!("{} records", log.len()) };
        assert_eq!(last["photos"].as_array().expect("photos").len(), 12);
        assert_eq!((&end["kind"], &end["how"]), (&Value::from("end"), &Value::from("failed")));
        let finite = |bytes: &Vec<u8>| {
            bytes.chunks_exact(4).all(|b| f32::from_le_bytes(b.try_into().expect("four")).is_finite())
        };
        let bad: Vec<&String> =
            arrays.iter().filter(|(k, v)| *k != "queue.ids" && !finite(v)).map(|(k, _)| k).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
}

/// Runs in which the device is lost: 3, or as `VISTA_LOSSES` says.
fn losses() -> u64 {
    std::env::var("VISTA_LOSSES").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

/// A run on a GPU that is lost so many steps after the start, and after each time that it was opened again.
fn lost_after(moments: Vec<u64>, seed: u64, config: &Config, out: &Path) -> (vista::Result<u64>, usize) {
    let mut trainer = Trainer::new(config.clone(), out, judge(config)).expect("trainer");
    trainer.back_off(&[Duration::from_millis(50); 3]);
    let mut rng = KeyedRng::new("lost", seed, [1, 0, 0]);
    let (mut moments, mut steps) = (moments.into_iter().peekable(), 0);
    if moments.next_if_eq(&0).is_some() {
        trainer.device().destroy();
    }
    let lost = Arc::new(AtomicUsize::new(0));
    let count = lost.clone();
    trainer.after_step(move |_, device| {
        steps += 1;
        if moments.next_if(|&moment| moment <= steps).is_some() {
            (steps, _) = (0, count.fetch_add(1, Ordering::Relaxed));
            // Before what follows the step, or somewhere in the next.
            let (device, wait) = (device.clone(), Duration::from_micros(rng.below(20_000)));
            match rng.chance(0.5) {
                true => device.destroy(),
                false => drop(std::thread::spawn(move || {
                    std::thread::sleep(wait);
                    device.destroy();
                })),
            }
        }
    });
    (trainer.run().map(|summary| summary.steps), lost.load(Ordering::Relaxed))
}

#[test]
fn a_device_that_is_lost_at_any_step_is_opened_again_and_the_run_ends_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().expect("folder");
    let whole = folder.path().join("whole");
    let config = config("mls", &["device=gpu", "train.steps=18", "train.save_steps=3", "eval.every_steps=9"]);
    Trainer::new(config.clone(), &whole, judge(&config)).expect("trainer").run().expect("run");
    let whole = left(&whole);
    for seed in 0..losses() {
        let mut rng = KeyedRng::new("lost", seed, [0; 3]);
        // At most five steps each, so that all come before the end; the first run's before there is a checkpoint.
        let mut moments: Vec<u64> = (0..=seed % 3).map(|_| 1 + rng.below(5)).collect();
        moments[0] = if seed == 0 { 1 } else { rng.below(6) };
        println!("seed {seed}: the device is lost after {moments:?} steps");
        let out = folder.path().join(seed.to_string());
        let times = moments.iter().filter(|&&moment| moment > 0).count();
        let (ended, lost) = lost_after(moments, seed, &config, &out);
        assert_eq!((ended.expect("run"), lost), (18, times));
        assert_same(&whole, &left(&out));
    }
    // Once more than it is opened again: one line, and nothing is lost.
    let out = folder.path().join("too often");
    let (ended, lost) = lost_after(vec![4, 5, 1, 1], 0, &config, &out);
    let error = ended.expect_err("the device is gone");
    let message = error.to_string();
    assert_eq!((error.exit_code(), lost), (1, 4));
    assert!(
        message.contains("lost") && message.contains("--resume") && message.lines().count() == 1,
        "{message}"
    );
    resume(&config, &out).run().expect("run");
    assert_same(&whole, &left(&out));
}

#[test]
fn a_checkpoint_that_cannot_be_written_does_not_end_the_run() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path();
    let config = config("s2r2", &["device=cpu", "train.steps=6", "train.save_steps=1"]);
    let trainer = Trainer::new(config.clone(), out, judge(&config)).expect("trainer");
    let in_the_way = out.join(".next.safetensors.part");
    fs::create_dir(&in_the_way).expect("in the way");
    let folder = out.to_path_buf();
    let remover = std::thread::spawn(move || {
        while steps_logged(&folder) < 3 {
            std::thread::sleep(Duration::from_millis(1));
        }
        fs::remove_dir(&in_the_way).expect("removed");
    });
    assert_eq!(trainer.run().expect("run").steps, 6);
    remover.join().expect("remover");
    assert_eq!(Found::newest(out).expect("sound").expect("a checkpoint").step(), 6);
}

/// A run in a process of its own that saves at every step.
fn spawn(out: &Path, more: &[&str]) -> Child {
    let mut command = program::command(out.parent().expect("a folder"));
    command
        .args(["pretrain", "--device", "cpu", "--method", "mls", "--steps", "100000", "--epochs", "1000000"]);
    for setting in SMALL
        .iter()
        .filter(|s| !s.starts_with("train.minutes") && !s.starts_with("method.views"))
        .chain(&["train.save_steps=1", "eval.every_steps=0"])
    {
        command.args(["--set", setting]);
    }
    command.arg("--out").arg(out).args(more).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("vista")
}

/// How often to kill: 10 times, or as `VISTA_KILLS` says.
fn kills() -> u64 {
    std::env::var("VISTA_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

#[test]
fn a_run_that_is_killed_while_it_saves_leaves_a_whole_checkpoint() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path();
    let left_over = out.join(".tmpAb12Cd");
    let mut last = 0;
    for kill in 0..kills() {
        fs::write(&left_over, "half a checkpoint").expect("written");
        // Wide enough for a file of 35 MB: most of the run's time goes by in saving.
        let wide = ["--set", "model.width=32", "--resume"];
        let mut run = spawn(out, if kill == 0 { &wide[..2] } else { &wide });
        let newest = out.join("checkpoint.safetensors");
        let modified = || fs::metadata(&newest).and_then(|m| m.modified()).ok();
        let before = modified();
        while modified() == before {
            assert!(run.try_wait().expect("status").is_none(), "the run ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!left_over.exists(), "swept at the next save");
        // Somewhere in the saves that follow; the golden ratio spreads the moments evenly.
        let moment = (kill as f64 * 0.618_034).fract();
        std::thread::sleep(Duration::from_micros((moment * 60_000.0) as u64));
        run.kill().expect("killed");
        run.wait().expect("ended");
        let found = Found::newest(out).expect("sound").expect("a checkpoint");
        assert!(found.skipped.is_empty(), "{:?}", found.skipped);
        assert!(found.step() > last, "step {} after {last}", found.step());
        last = found.step();
    }
}
