//! Long runs among shells, limits and full disks: signals, waits, streams that can't be written, threads that can't be
//! started.
#![cfg(unix)]

use crate::program;

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use vista::pretrain::Found;
use vista::rng::KeyedRng;

const TINY: &str = "--device cpu --set model.width=4 --image-size 16 --batch 4 --views 2 --data photos";

/// A working folder with photos.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    program::photos(folder.path());
    folder
}

/// A run of so many steps that saves at each.
fn pretrain(folder: &Path, steps: u32) -> Command {
    let mut command = program::command(folder);
    command.arg("pretrain").args(TINY.split(' ')).args(["--out", "run", "--set", "train.save_steps=1"]);
    command.args(["--steps", &steps.to_string(), "--epochs", "1000000"]);
    command
}

/// The same, which ends by signals alone.
fn endless(folder: &Path) -> Command {
    pretrain(folder, 1_000_000)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SIGNALS: [(&str, i32); 3] = [("HUP", libc::SIGHUP), ("INT", libc::SIGINT), ("TERM", libc::SIGTERM)];

/// Whatever the tests themselves were started by: each of the three signals is ignored or not.
fn with_ignored(command: &mut Command, ignored: [bool; 3]) -> &mut Command {
    // SAFETY: `signal` may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for ((_, signal), ignored) in SIGNALS.into_iter().zip(ignored) {
                libc::signal(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
            }
            Ok(())
        })
    }
}

fn send(run: &Child, signal: i32) {
    // SAFETY: our own child, which was not waited for yet.
    assert_eq!(unsafe { libc::kill(run.id() as i32, signal) }, 0);
}

fn steps_logged(folder: &Path) -> u64 {
    let log = fs::read_to_string(folder.join("run/log.jsonl")).unwrap_or_default();
    log.lines().filter(|line| line.contains("\"kind\":\"step\"")).count() as u64
}

/// Waits until something is true of a process that is still there.
#[track_caller]
fn until(run: &mut Child, what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        if let Some(status) = run.try_wait().expect("status") {
            panic!("{status} before {what}");
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no {what} in a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Exit code and stderr of a process that must end within so many seconds.
#[track_caller]
fn ends(mut run: Child, seconds: u64) -> (Option<i32>, String) {
    let began = Instant::now();
    while run.try_wait().expect("status").is_none() {
        if began.elapsed() > Duration::from_secs(seconds) {
            run.kill().expect("killed");
            panic!("still there after {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    if let Some(mut stderr) = run.stderr.take() {
        stderr.read_to_string(&mut said).expect("text");
    }
    (run.wait().expect("status").code(), said)
}

/// Whether a process listens to a signal; true where that can't be seen.
fn listens(run: u32, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{run}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask >> (signal - 1) & 1 == 1)
}

/// What is saved is all that was done.
#[track_caller]
fn assert_nothing_is_lost(folder: &Path) {
    let saved = Found::newest(&folder.join("run")).expect("sound").map_or(0, |found| found.step());
    assert_eq!(saved, steps_logged(folder));
}

/// How many states of signals to try: 10, or as `VISTA_SIGNALS` says.
fn count() -> u64 {
    std::env::var("VISTA_SIGNALS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

#[test]
fn a_stop_at_any_moment_ends_a_run_with_130_and_all_saved_and_a_signal_that_was_ignored_stays_so() {
    let mut home = folder();
    for seed in 0..count() {
        let mut rng = KeyedRng::new("signals", seed, [0; 3]);
        let ignored = [(); 3].map(|()| rng.chance(0.5));
        let which = rng.below(3) as usize;
        let (name, signal) = SIGNALS[which];
        // From while it starts until many steps are done.
        let moment = Duration::from_micros(10f64.powf(3.0 + 3.2 * rng.below(1000) as f64 / 1000.0) as u64);
        println!("seed {seed}: ignored {ignored:?}, {name} after {moment:?}");
        let mut command = endless(home.path());
        command.args(home.path().join("run/checkpoint.safetensors").exists().then_some("--resume"));
        with_ignored(&mut command, ignored).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut run = command.spawn().expect("vista");
        if !ignored[which] {
            let id = run.id();
            until(&mut run, "a handler", || listens(id, signal));
        }
        std::thread::sleep(moment);
        send(&run, signal);
        if ignored[which] {
            let before = steps_logged(home.path());
            until(&mut run, "three more steps", || steps_logged(home.path()) >= before + 3);
            match (0..3).find(|&i| !ignored[i]) {
                Some(other) => send(&run, SIGNALS[other].1),
                None => run.kill().expect("killed"),
            }
        }
        let (code, said) = ends(run, 30);
        if ignored == [true; 3] {
            home = folder(); // it was killed: what came after the last checkpoint is lost
            continue;
        }
        assert_eq!(code, Some(130), "{said}");
        assert_nothing_is_lost(home.path());
    }
}

/// Puts something in the way of every checkpoint of a run that has begun, as a full disk would be.
fn block(run: &mut Child, folder: &Path) -> std::path::PathBuf {
    let path = folder.join("run/.next.safetensors.part");
    until(run, "something in the way", || fs::create_dir(&path).is_ok());
    path
}

#[test]
fn a_run_that_waits_for_room_hears_a_stop_at_once_and_says_how_often_it_tried_and_what_there_is() {
    for (_, signal) in SIGNALS {
        let folder = folder();
        let mut command = pretrain(folder.path(), 2);
        let said = fs::File::create(folder.path().join("said")).expect("a file");
        with_ignored(&mut command, [false; 3]).stdout(Stdio::null()).stderr(said);
        let mut run = command.spawn().expect("vista");
        block(&mut run, folder.path());
        let said = || fs::read_to_string(folder.path().join("said")).expect("text");
        until(&mut run, "wait", || said().contains("can't be saved"));
        send(&run, signal);
        assert_eq!(ends(run, 3).0, Some(130), "{}", said());
        let said = said();
        let last = said.lines().last().expect("a line");
        for part in
            ["interrupted after step 2", "tried 2 times", ".next.safetensors.part", "no checkpoint is there"]
        {
            assert!(last.contains(part), "no {part}: {said}");
        }
    }
}

#[test]
fn a_stop_while_nothing_can_be_saved_ends_the_run_and_names_the_checkpoint_that_there_is() {
    let folder = folder();
    let mut command = endless(folder.path());
    with_ignored(&mut command, [false; 3]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = command.spawn().expect("vista");
    let newest = folder.path().join("run/checkpoint.safetensors");
    until(&mut run, "a checkpoint", || newest.exists());
    // Between two saves it can be put in the way.
    until(&mut run, "something in the way", || {
        fs::create_dir(folder.path().join("run/.next.safetensors.part")).is_ok()
    });
    let before = steps_logged(folder.path());
    until(&mut run, "steps without a checkpoint", || steps_logged(folder.path()) > before + 2);
    send(&run, libc::SIGTERM);
    let (code, said) = ends(run, 5);
    assert_eq!(code, Some(130), "{said}");
    let step = Found::newest(&folder.path().join("run")).expect("sound").expect("a checkpoint").step();
    let last = said.lines().last().expect("a line");
    assert!(last.contains("tried 1 time)") && last.contains(&format!("goes on from step {step}")), "{said}");
}

#[test]
fn a_run_that_waits_for_room_is_saved_when_there_is_some() {
    let folder = folder();
    let mut command = pretrain(folder.path(), 2);
    let said = fs::File::create(folder.path().join("said")).expect("a file");
    let mut run = command.stdout(Stdio::null()).stderr(said).spawn().expect("vista");
    let in_the_way = block(&mut run, folder.path());
    let said = || fs::read_to_string(folder.path().join("said")).expect("text");
    until(&mut run, "wait", || said().contains("can't be saved"));
    fs::remove_dir(in_the_way).expect("removed");
    assert_eq!(ends(run, 300).0, Some(0), "{}", said());
    assert_nothing_is_lost(folder.path());
}

#[test]
fn a_limit_of_file_size_is_as_a_full_disk() {
    let folder = folder();
    let line = format!("ulimit -f 20; exec vista pretrain {TINY} --steps 2 --out run");
    let mut command = program::shell(folder.path(), &line);
    with_ignored(&mut command, [false; 3]).stdout(Stdio::null()).stderr(Stdio::piped());
    let run = command.spawn().expect("sh");
    let (sender, seconds) = (run.id() as i32, Instant::now());
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(8));
        // SAFETY: our own child; the test waits longer for it.
        unsafe { libc::kill(sender, libc::SIGTERM) }
    });
    let (code, said) = ends(run, 30);
    assert_eq!(code, Some(130), "{said}");
    assert!(seconds.elapsed() > Duration::from_secs(7) && said.contains("File too large"), "{said}");
    let names = fs::read_dir(folder.path().join("run")).expect("folder").flatten();
    let left: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains("tmp")), "{left:?}");
}

/// Where what is printed can't be written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Full,
    Gone,
    Closed,
}

impl Stream {
    /// Calls the program with standard output or error like this.
    fn call(self, folder: &Path, args: &[&str], error: bool) -> Output {
        let mut command = program::command(folder);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let number = 1 + i32::from(error);
        let stdio = match self {
            Stream::Full => {
                fs::File::options().write(true).open("/dev/full").map(Stdio::from).expect("Linux")
            }
            Stream::Gone => {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                drop(reader);
                writer.into()
            }
            Stream::Closed => {
                // SAFETY: `close` may be called between fork and exec.
                unsafe {
                    command.pre_exec(move || {
                        libc::close(number);
                        Ok(())
                    });
                }
                Stdio::inherit()
            }
        };
        if error {
            command.stderr(stdio)
        } else {
            command.stdout(stdio)
        };
        command.output().expect("the program runs")
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_printed_to_a_stream_that_is_full_or_closed_neither_panics_nor_ends_anything() {
    let folder = folder();
    let tiny: Vec<&str> = TINY.split(' ').collect();
    let run = |out| [&["pretrain", "--steps", "2", "--overwrite", "--out", out], &tiny[..]].concat();
    let commands = [
        (vec!["devices"], false),
        (vec!["explain", "queue"], false),
        (vec!["completions", "bash"], false),
        (run("run"), true),
    ];
    for (args, is_run) in &commands {
        for stream in [Stream::Full, Stream::Gone, Stream::Closed] {
            for error in [false, true] {
                let output = stream.call(folder.path(), args, error);
                let said = text(&output.stderr);
                // What a command prints is its product, but for a run, whose product is in its folder.
                let lost = stream == Stream::Full && !error;
                let expected = i32::from(lost && !is_run);
                assert_eq!(output.status.code(), Some(expected), "{args:?} {stream:?} {error}: {said}");
                assert!(!said.contains("panicked"), "{args:?} {stream:?} {error}: {said}");
                assert_eq!(said.contains("standard output could not be written"), lost, "{args:?}: {said}");
                if args.contains(&"--out") {
                    let saved =
                        Found::newest(&folder.path().join("run")).expect("sound").expect("a checkpoint");
                    assert_eq!(saved.step(), 2, "{stream:?} {error}");
                }
            }
        }
    }
    // An error's exit code is the same where nobody can read it.
    let output = Stream::Full.call(folder.path(), &["knn", "--checkpoint", "none"], true);
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_be_started_are_one_line() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("permissions");
    // The limit holds for a user's processes, but not for root's.
    let user = "setpriv --reuid=65531 --regid=65531 --clear-groups";
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let user = if is_root { user } else { "" };
    if !program::shell(folder.path(), &format!("{user} vista explain"))
        .output()
        .is_ok_and(|o| o.status.success())
    {
        println!("not tested: the program can't be called with a limit as a user other than root");
        return;
    }
    for limit in 1..=4 {
        let line =
            format!("exec {user} prlimit --nproc={limit} vista pretrain {TINY} --steps 1 --out run{limit}");
        let mut command = program::shell(folder.path(), &line);
        let output = command.env("RAYON_NUM_THREADS", "1").output().expect("sh");
        let said = text(&output.stderr);
        let errors: Vec<&str> = said.lines().filter(|line| !line.starts_with("warning")).collect();
        if output.status.success() && limit > 2 {
            continue;
        }
        assert!(errors.len() == 1 && errors[0].contains("no thread can be started"), "{limit}: {said}");
        assert_eq!(output.status.code(), Some(1), "{limit}: {said}");
    }
}
