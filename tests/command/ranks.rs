//! Several processes under `mpirun`: the same run as one makes, and one word from all when something befalls one of them.

use crate::program::{command, photos};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A run of 12 images a step that ends in seconds; in single groups of batch norm its own, which make steps of any number of ranks alike.
const RUN: [&str; 17] = [
    "pretrain",
    "--data",
    "photos",
    "--method",
    "mls",
    "--image-size",
    "16",
    "--batch",
    "6",
    "--device",
    "cpu",
    "--set",
    "model.width=4",
    "--set",
    "method.queue=12",
    "--set",
    "method.k=3",
];

/// So many ranks of the program with these arguments, the run's before them.
fn ranks(folder: &Path, ranks: usize, more: &[impl AsRef<std::ffi::OsStr>]) -> Command {
    let one = command(folder);
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()]);
    mpirun.arg(one.get_program()).args(RUN).args(more).current_dir(folder).env("RAYON_NUM_THREADS", "1");
    mpirun
}

fn alone(folder: &Path, more: &[impl AsRef<std::ffi::OsStr>]) -> Output {
    command(folder).args(RUN).args(more).output().expect("the program runs")
}

/// Lines of a log of one kind.
fn log(out: &Path, kind: &str) -> Vec<Value> {
    let log = fs::read_to_string(out.join("log.jsonl")).expect("a log");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["kind"] == kind).collect()
}

fn losses(out: &Path) -> Vec<f64> {
    log(out, "step").iter().map(|step| step["loss"].as_f64().expect("a loss")).collect()
}

/// The arrays of a checkpoint as they lie in the file.
fn arrays(out: &Path) -> Vec<u8> {
    let bytes = fs::read(out.join("checkpoint.safetensors")).expect("a checkpoint");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    bytes[8 + header..].to_vec()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Our own lines of an error among the launcher's.
fn errors(output: &Output) -> Vec<String> {
    text(output).lines().filter(|line| line.starts_with("error: ")).map(String::from).collect()
}

/// Waits for an end, at most so long.
fn end(mut child: Child, most: Duration) -> Output {
    let began = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if began.elapsed() > most {
            let _ = child.kill();
            panic!("it hangs: {}", text(&child.wait_with_output().expect("output")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("output")
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("mpirun runs")
}

/// Processes of the ranks of a run: those whose command line names its folder.
fn processes(out: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_rank = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
        words.first().is_some_and(|program| program.ends_with(b"vista")) && words.contains(&out.as_bytes())
    };
    pids.filter(is_rank).collect()
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what} never comes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn ranks_make_the_run_that_one_process_makes_and_it_goes_on_with_any_number_of_them() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    photos(path);
    // A photo that only one rank meets: all know of it.
    fs::write(path.join("photos/9.png"), b"no picture").expect("written");
    let more = ["--steps", "8", "--set", "train.groups=1", "--set", "data.max_broken=0.5", "--out"];
    let with =
        |out: &str| more.iter().map(|word| word.to_string()).chain([out.to_string()]).collect::<Vec<_>>();
    assert!(alone(path, &with("one")).status.success());
    for count in [2, 3] {
        let out = format!("of {count}");
        let done = ranks(path, count, &with(&out)).output().expect("mpirun runs");
        assert!(done.status.success(), "{}", text(&done));
        let printed = String::from_utf8_lossy(&done.stdout);
        assert_eq!(printed.matches("8 steps done").count(), 1, "one speaks for all: {printed}");
        let [one, of_ranks] = ["one", &out].map(|out| losses(&path.join(out)));
        assert_eq!(of_ranks.len(), 8);
        assert!((one[0] - of_ranks[0]).abs() < 1e-6, "{one:?} {of_ranks:?}");
        let gradient = |out| log(&path.join(out), "step")[0]["gradient_norm"].as_f64().expect("a norm");
        let [one, of_ranks] = ["one", &out].map(gradient);
        assert!((one / of_ranks - 1.0).abs() < 1e-4, "{one} {of_ranks}");
        let [one, of_ranks] = ["one", &out].map(|out| log(&path.join(out), "replaced"));
        assert_eq!(one, of_ranks, "all know what one could not read");
        let step = log(&path.join(&out), "step").pop().expect("a step");
        assert_eq!(step["ranks"].as_array().expect("the ranks").len(), count);
    }
    // The same ranks twice: the same bits.
    assert!(ranks(path, 2, &with("again")).output().expect("mpirun runs").status.success());
    assert!(arrays(&path.join("of 2")) == arrays(&path.join("again")), "the same bits");
    // It goes on with one, or three.
    assert!(alone(path, &["--resume", "--out", "again", "--steps", "10"]).status.success());
    let done =
        ranks(path, 3, &["--resume", "--out", "again", "--steps", "12"]).output().expect("mpirun runs");
    assert!(done.status.success() && losses(&path.join("again")).len() == 12, "{}", text(&done));
}

#[test]
fn what_one_rank_cannot_do_ends_all_with_one_line() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    photos(path);
    let ends = |more: &[&str], words: &[&str]| {
        let output = end(spawn(ranks(path, 2, more)), Duration::from_secs(60));
        assert!(!output.status.success());
        let errors = errors(&output);
        assert_eq!(errors.len(), 1, "{}", text(&output));
        words.iter().for_each(|word| assert!(errors[0].contains(word), "no {word}: {}", errors[0]));
    };
    ends(&["--out", "a", "--set", "train.groups=1", "--set", "train.batch=5"], &["batch of 5", "2 ranks"]);
    ends(&["--out", "b", "--set", "train.groups=3"], &["3 groups", "train.groups"]);
    let diverges = ["--out", "c", "--steps", "50", "--set", "train.groups=1", "--set", "optimizer.lr=1e30"];
    ends(&diverges, &["the loss is", "optimizer.lr"]);
    fs::write(path.join("photos/9.png"), b"no picture").expect("written");
    ends(
        &["--out", "d", "--steps", "50", "--set", "train.groups=1", "--set", "data.max_broken=0"],
        &["9.png"],
    );
    // Of the commands that processes can't share.
    let mut mpirun = Command::new("mpirun");
    mpirun.args(["--allow-run-as-root", "--oversubscribe", "-n", "2"]);
    mpirun.arg(command(path).get_program()).args(["knn", "--checkpoint", "a"]).current_dir(path);
    let output = end(spawn(mpirun), Duration::from_secs(60));
    assert!(errors(&output).len() == 1 && text(&output).contains("start it by itself"), "{}", text(&output));
}

/// Ranks that are killed: 2, or as `VISTA_RANK_KILLS` says.
fn kills() -> u64 {
    std::env::var("VISTA_RANK_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

#[test]
fn a_rank_that_is_killed_ends_the_others_and_the_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    photos(path);
    let with = |out: &str| {
        let words = ["--steps", "40", "--set", "train.groups=1", "--set", "train.save_steps=1", "--out", out];
        words.map(String::from)
    };
    assert!(ranks(path, 2, &with("whole")).output().expect("mpirun runs").status.success());
    for seed in 0..kills() {
        let out = format!("killed {seed}");
        let child = spawn(ranks(path, 2, &with(&out)));
        wait_for("a checkpoint", || path.join(&out).join("checkpoint.safetensors").exists());
        std::thread::sleep(Duration::from_millis(37 * seed % 400));
        let ranks_of = processes(&out);
        let Some(&victim) = ranks_of.get(seed as usize % 2) else {
            assert!(end(child, Duration::from_secs(60)).status.success(), "it was done before");
            continue;
        };
        // SAFETY: ends a process of this test's own.
        unsafe { libc::kill(victim as i32, libc::SIGKILL) };
        let output = end(child, Duration::from_secs(30));
        assert!(!output.status.success());
        let errors = errors(&output);
        assert!(errors.len() <= 1, "{}", text(&output));
        assert!(
            errors.iter().all(|line| line.contains(&victim.to_string()) && line.contains("--resume")),
            "{errors:?}"
        );
        wait_for("the end of all", || processes(&out).is_empty());
        let resumed = ["--resume", "--out", &out];
        let done = ranks(path, 2, &resumed).output().expect("mpirun runs");
        assert!(done.status.success(), "{}", text(&done));
        assert!(arrays(&path.join("whole")) == arrays(&path.join(&out)), "kill {seed}: the same bits");
    }
}

#[test]
fn a_signal_to_the_launcher_saves_and_stops_all() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    photos(path);
    let child = spawn(ranks(path, 2, &["--steps", "100000", "--set", "train.groups=1", "--out", "run"]));
    wait_for("a step", || fs::metadata(path.join("run/log.jsonl")).is_ok_and(|log| log.len() > 4000));
    // SAFETY: a signal to a process of this test's own.
    unsafe { libc::kill(child.id() as i32, libc::SIGUSR1) };
    let output = end(child, Duration::from_secs(60));
    let told = text(&output);
    assert!(told.matches("which is saved").count() == 1 && told.contains("--resume"), "{told}");
    assert!(path.join("run/checkpoint.safetensors").exists());
}
