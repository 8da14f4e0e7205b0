//! Memory: planned before the first step, refused where it can't fit, and the same at step 5 and at step 1,000.

use crate::config;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use vista::pretrain::{Config, Trainer};

/// A run without anything to judge by, whose steps are all that takes memory.
fn config(method: &str, settings: &[&str]) -> Config {
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/photos");
    let photos = format!("data.photos={}", photos.display());
    let always = [photos.as_str(), "train.minutes=0", "train.epochs=1000", "model.width=16"];
    config::config(method, always.iter().chain(settings).copied())
}

#[test]
fn the_plan_is_within_five_per_cent_of_what_the_pool_measures() {
    let folder = tempfile::tempdir().expect("folder");
    for device in ["device=cpu", "device=gpu"] {
        let mut runs = vec![
            ("s2r2", vec!["train.batch=12", "method.views=6"]),
            ("mls", vec!["train.batch=48", "method.queue=512"]),
        ];
        if device == "device=cpu" {
            let resnet50 = ["model.backbone=resnet50", "train.batch=16", "method.queue=4096"];
            runs.push(("mls", [&resnet50[..], &["half.activations=true", "half.queue=true"]].concat()));
            runs.push(("mls", resnet50.to_vec()));
            runs.push(("byol", vec!["train.batch=32", "optimizer.name=adam"]));
            runs.push(("swav", vec!["train.batch=24", "train.chunk=24"]));
        }
        for (method, mut settings) in runs {
            settings.extend([device, "train.steps=3"]);
            let out = folder.path().join(format!("{method}{}", settings.concat().len()));
            let trainer = Trainer::overwriting(config(method, &settings), &out, None).expect("trainer");
            let (plan, device) = (*trainer.memory(), trainer.device().clone());
            trainer.run().expect("run");
            let measured = device.usage().1;
            let ratio = plan.peak as f64 / measured as f64;
            println!("{method} {settings:?}: {plan}; measured {measured}, ratio {ratio:.3}");
            assert!((0.95..=1.05).contains(&ratio), "{method} {settings:?}: {plan}, measured {measured}");
            let parts =
                [plan.parameters, plan.optimizer, plan.queues, plan.views, plan.activations, plan.workspace];
            assert_eq!(parts.iter().sum::<u64>(), plan.peak);
        }
    }
}

#[test]
fn a_run_that_cannot_fit_is_refused_with_the_largest_batch_that_would() {
    let folder = tempfile::tempdir().expect("folder");
    let open = |batch: usize| {
        let batch = format!("train.batch={batch}");
        let settings = ["device=cpu", "train.memory_limit_mib=60", "train.steps=1", &batch];
        Trainer::overwriting(config("s2r2", &settings), folder.path(), None)
    };
    let error = open(400).err().expect("refused");
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    let largest = message.split("--batch ").nth(1).and_then(|rest| rest.split(' ').next());
    let largest: usize = largest.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{message}"));
    assert!((2..400).contains(&largest), "{message}");
    open(largest).expect("it fits");
    assert!(open(largest + 1).is_err(), "one more does not");
}

/// A pretraining in a process that may have so many MiB of addresses, and needs more; what it says, and its exit code.
#[cfg(target_os = "linux")]
fn within(mib: u64, device: &str) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().expect("folder");
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/photos");
    let limited = format!("ulimit -v {}; exec \"$0\" \"$@\"", mib << 10);
    let mut command = Command::new("sh");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_vista"), "pretrain", "--device", device]);
    command.args(["--steps", "1", "--batch", "128", "--views", "4", "--set", "model.width=64"]);
    command.args(["--memory-limit", "100000", "--set", "data.threads=1", "--data"]).arg(photos);
    // Threads reserve addresses that they do not use.
    let few = ["RAYON_NUM_THREADS", "LP_NUM_THREADS", "MALLOC_ARENA_MAX"].map(|name| (name, "1"));
    command.envs(few).env("XDG_RUNTIME_DIR", std::env::temp_dir()).arg("--out").arg(folder.path());
    command.current_dir(folder.path());
    let output = command.output().expect("sh");
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}

#[cfg(target_os = "linux")]
#[test]
fn memory_that_is_really_full_is_one_line_on_both_devices() {
    for (device, mib, whose) in
        [("gpu", 900, "its memory is full"), ("cpu", 600, "the computer's memory is full")]
    {
        let (said, code) = within(mib, device);
        let errors: Vec<&str> = said.lines().filter(|line| !line.starts_with("warning")).collect();
        assert!(errors.len() == 1 && errors[0].contains(whose), "{device}: {code:?} {said}");
        assert!(errors[0].contains("--batch") && code == Some(2), "{device}: {code:?} {said}");
    }
}

/// Bytes in use in the log after so many steps.
fn bytes_in_use(folder: &Path) -> Vec<u64> {
    let log = std::fs::read_to_string(folder.join("log.jsonl")).unwrap_or_default();
    let records = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    records.filter_map(|record| record["bytes_in_use"].as_u64()).collect()
}

/// Resident bytes of a process, without those of files that the system may drop and read again; 0 where it does not tell.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Resident bytes of a pretraining in a process of its own when it has made so many steps, the last shortly before its end.
fn held(method: &str, settings: &[&str], marks: [usize; 3]) -> [u64; 3] {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("config.toml");
    let steps = marks[2] + 20;
    let steps_set = format!("train.steps={steps}");
    // Decoded photos are not kept: that cache fills up in the first epoch.
    let always = [steps_set.as_str(), "train.batch=16", "views.size=16", "data.cache_mib=0"];
    std::fs::write(&file, config(method, &[&always[..], settings].concat()).to_toml()).expect("written");
    let out = folder.path().join("run");
    let mut run = Command::new(env!("CARGO_BIN_EXE_vista"))
        .args(["pretrain", "--minutes", "0", "--config"])
        .args([&file, Path::new("--out"), &out])
        .current_dir(folder.path())
        // A heap that keeps large free blocks in pieces grows by up to a MiB, as threads happen to meet on a busy machine.
        // With mappings of their own, which go back when they are freed, what is left is what the run holds.
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("vista");
    let held = marks.map(|step| {
        while bytes_in_use(&out).len() < step {
            assert!(run.try_wait().expect("status").is_none(), "the run ended before step {step}");
            std::thread::sleep(Duration::from_millis(2));
        }
        resident(run.id())
    });
    assert!(run.wait().expect("ended").success());
    let bytes = bytes_in_use(&out);
    assert_eq!((bytes.len(), bytes[4]), (steps, bytes[steps - 1]));
    println!("{method} {settings:?}: resident at steps {marks:?}: {held:?}");
    held
}

#[test]
fn memory_is_the_same_at_step_5_and_at_step_1000() {
    let held = held("mls", &["device=cpu", "method.queue=64"], [5, 50, 980]);
    assert!(held[2] <= held[0] + (1 << 20), "{held:?}");
}

#[test]
fn memory_of_a_gpu_is_the_same_at_step_20_and_at_step_500() {
    // Neither driver nor queue of commands may keep anything of a step.
    let held =
        held("s2r2", &["device=gpu", "train.batch=8", "method.views=4", "model.width=8"], [20, 50, 480]);
    assert!(held[2] <= held[0] + (1 << 20), "{held:?}");
}
