//! The command as a person uses it: bad input gives one clear line and exit code 2, good input does its work.

use crate::program;

use program::vista;
use std::path::Path;
use std::process::Command;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `vista pretrain` with these arguments into a folder of its own and expects a refusal in one line.
fn refused(args: &[&str], parts: &[&str]) {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("run");
    let mut all = vec!["pretrain"];
    if !args.contains(&"--out") {
        all.extend(["--out", out.to_str().expect("a name")]);
    }
    all.extend(args);
    refused_by(&all, parts);
}

/// Runs any command and expects a refusal in one line.
fn refused_by(args: &[&str], parts: &[&str]) {
    let output = vista(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    let errors: Vec<&str> = said.lines().filter(|l| !l.starts_with("warning")).collect();
    assert_eq!(errors.len(), 1, "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in parts {
        assert!(said.contains(part), "{args:?} does not say `{part}`: {said}");
    }
}

fn jpeg(path: &Path, width: u32, height: u32) {
    let image = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(7 * x) as u8, (5 * y) as u8, (x * y) as u8])
    });
    image.save(path).expect("a photo");
}

/// A folder of `count` small photos.
fn photos(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for i in 0..count {
        jpeg(&folder.path().join(format!("{i:03}.jpg")), 40 + i as u32, 30);
    }
    folder
}

#[test]
fn a_topic_is_explained_and_an_error_names_its_own() {
    let list = text(&vista(&["explain"]).stdout);
    assert!(list.lines().count() > 10, "{list}");
    for line in list.lines() {
        let topic = line.split_whitespace().nth(2).expect("vista explain NAME");
        assert!(text(&vista(&["explain", topic]).stdout).len() > 200, "{line}");
    }
    let queue = ["--method", "mls", "--set", "method.queue=8"];
    refused(&queue, &["method.queue", "vista explain queue)"]);
    let mistyped = vista(&["explain", "qeue"]);
    assert!(mistyped.status.code() == Some(2) && text(&mistyped.stderr).contains("'queue'"));
}

const TINY: [&str; 8] = ["--set", "model.width=4", "--image-size", "16", "--batch", "2", "--views", "2"];

#[test]
fn an_empty_folder_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().to_str().expect("a name");
    refused(&["--data", path], &[path]);
}

#[test]
fn a_folder_that_is_not_there_is_refused() {
    refused(&["--data", "/no/such/folder"], &["/no/such/folder"]);
}

#[test]
fn an_unknown_preset_objective_key_or_value_is_refused() {
    refused(&["--preset", "domo"], &["domo", "demo", "mls-coco-r50-400ep"]);
    refused(&["--method", "cutmix"], &["cutmix", "s2r2"]);
    refused(&["--set", "objective.tau=0.1"], &["objective.tau", "method.tau"]);
    refused(&["--method", "mls", "--views", "3"], &["method.views", "mls"]);
    refused(&["--set", "method.tua=0.1"], &["tua", "tau"]);
    refused(&["--set", "train.batch=many"], &["train.batch=many"]);
    refused(&["--backbone", "vgg"], &["vgg", "resnet18"]);
    refused(&["--config", "/no/such/file.toml"], &["/no/such/file.toml"]);
}

#[test]
fn a_method_is_found_by_its_name_in_any_case_and_all_are_listed() {
    for (name, method) in [("MLS", "mls"), ("SimSiam", "simsiam"), ("knn_moco", "mls"), ("kNN-MoCo", "mls")] {
        let output = vista(&[&["pretrain", "--dry-run", "--method", name], &TINY[..6]].concat());
        let said = text(&output.stdout);
        assert!(said.contains(&format!("name = \"{method}\"")), "{name}: {said}{}", text(&output.stderr));
        assert_eq!(said.contains("term = \"knn_softmax\""), name.to_lowercase().starts_with("knn"), "{said}");
    }
    let help = text(&vista(&["pretrain", "--help"]).stdout);
    for name in vista::pretrain::methods::names() {
        assert!(help.contains(name), "{name}: {help}");
    }
}

#[test]
fn sizes_that_no_run_can_have_are_refused() {
    refused(&["--method", "mls", "--set", "method.k=65"], &["65", "method.k"]);
    refused(&["--method", "mls", "--set", "method.queue=64", "--set", "method.k=70"], &["queue of 64"]);
    refused(&["--batch", "1"], &["train.batch"]);
    refused(&["--batch", "5000"], &["573", "5000"]);
    refused(&["--views", "1"], &["method.views"]);
    refused(&["--set", "views.size=0"], &["size"]);
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    refused(&["--device", "gpu:no such gpu"], &["no such gpu"]);
    refused(&["--device", "tpu"], &["tpu", "gpu:NAME"]);
    // Nothing is left behind by it.
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("run");
    refused(&["--device", "gpu:no such gpu", "--out", out.to_str().expect("a name")], &["no such gpu"]);
    assert!(!out.exists());
}

#[test]
fn the_next_commands_of_a_run_can_be_run_as_they_are_printed() {
    let folder = tempfile::tempdir().expect("folder");
    let run = [&["pretrain", "--steps", "2"], &TINY[..]].concat();
    let output = program::command(folder.path()).args(run).output().expect("the program runs");
    let said = text(&output.stdout);
    let (_, next) = said.split_once("next:\n").expect("what is next");
    let commands: Vec<&str> = next.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    assert_eq!(commands.len(), 3, "{next}");
    for command in commands {
        let output = program::shell(folder.path(), command).output().expect("sh");
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    }
}

#[test]
fn an_output_folder_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("a file");
    let out = file.join("run");
    refused(&["--out", out.to_str().expect("a name")], &["file"]);
}

#[test]
fn a_folder_without_one_good_photo_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    for i in 0..4 {
        std::fs::write(folder.path().join(format!("{i}.jpg")), "not a photo").expect("a file");
    }
    let mut args = TINY.to_vec();
    args.extend(["--data", folder.path().to_str().expect("a name"), "--steps", "1"]);
    refused(&args, &["decoded"]);
}

#[test]
fn a_text_file_a_truncated_and_a_one_pixel_photo_among_good_ones_are_counted_and_named() {
    let folder = photos(20);
    std::fs::write(folder.path().join("text.jpg"), "not a photo").expect("a file");
    let whole = std::fs::read(folder.path().join("019.jpg")).expect("a photo");
    std::fs::write(folder.path().join("cut.jpg"), &whole[..whole.len() / 3]).expect("a file");
    jpeg(&folder.path().join("pixel.jpg"), 1, 1);
    let run = tempfile::tempdir().expect("folder");
    let mut args = vec!["pretrain"];
    args.extend(TINY);
    args.extend(["--data", folder.path().to_str().expect("a name"), "--epochs", "1"]);
    args.extend(["--set", "data.max_broken=0.2", "--out", run.path().to_str().expect("a name")]);
    let output = vista(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let log = std::fs::read_to_string(run.path().join("log.jsonl")).expect("the log");
    let replaced: Vec<&str> = log.lines().filter(|l| l.contains("\"replaced\"")).collect();
    assert!(replaced.iter().any(|l| l.contains("\"photo\":\"text.jpg\"")), "{log}");
    assert!(!log.contains("\"photo\":\"pixel.jpg\""), "a photo of one pixel is a photo: {log}");
    // With the usual limit of 1 % the same folder ends the run, with the names.
    let again = ["--overwrite", "--out", run.path().to_str().expect("a name")];
    let output = vista(&[&args[..args.len() - 4], &again].concat());
    assert!(!output.status.success() && text(&output.stderr).contains(".jpg"), "{}", text(&output.stderr));
}

#[test]
fn a_checkpoint_can_be_judged_and_a_file_that_is_none_is_refused() {
    let run = tempfile::tempdir().expect("folder");
    let out = run.path().to_str().expect("a name");
    let mut args = vec!["pretrain"];
    args.extend(TINY);
    args.extend(["--steps", "2", "--out", out]);
    let output = vista(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for part in ["checkpoint.safetensors", "log.jsonl", "next:", "untrained", "colour alone"] {
        assert!(said.contains(part), "{said}");
    }
    let checkpoint = run.path().join("checkpoint.safetensors");
    let checkpoint = checkpoint.to_str().expect("a name");
    for args in
        [&["knn", "--checkpoint", checkpoint][..], &["probe", "--epochs", "3", "--checkpoint", checkpoint]]
    {
        let output = vista(args);
        assert!(
            output.status.success() && text(&output.stdout).contains("top-1"),
            "{}",
            text(&output.stderr)
        );
    }
    let log = run.path().join("log.jsonl");
    let output = vista(&["knn", "--checkpoint", log.to_str().expect("a name")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("log.jsonl"));
}

/// STL-10's binaries with `count` images of noise in each part.
fn stl10(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (part, labelled) in [("unlabeled", false), ("train", true), ("test", true)] {
        let images: Vec<u8> = (0..count * 3 * 96 * 96).map(|i| (i * i / 7) as u8).collect();
        std::fs::write(folder.path().join(format!("{part}_X.bin")), images).expect("images");
        if labelled {
            let labels: Vec<u8> = (0..count).map(|i| i as u8 % 2 + 1).collect();
            std::fs::write(folder.path().join(format!("{part}_y.bin")), labels).expect("labels");
        }
    }
    folder
}

#[test]
fn stl10_serves_to_pretrain_and_to_judge_and_is_refused_when_cut_off() {
    let (folder, run) = (stl10(4), tempfile::tempdir().expect("folder"));
    let path = folder.path().to_str().expect("a name");
    let mut args = TINY.to_vec();
    args.extend(["--data", path, "--labelled", path, "--steps", "1", "--set", "eval.knn_k=2"]);
    let whole = [&["pretrain"], &args[..], &["--out", run.path().to_str().expect("a name")]].concat();
    let output = vista(&whole);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("photos   8 (") && said.contains("trained"), "{said}");
    let images = folder.path().join("train_X.bin");
    let bytes = std::fs::read(&images).expect("images");
    std::fs::write(&images, &bytes[..100_000]).expect("images");
    refused(&args, &["end in the middle of number 3", "train_X.bin at byte 82944 of 100000", "download"]);
}

#[test]
fn photos_with_several_labels_do_not_judge_by_knn() {
    let folder = photos(4);
    let list = folder.path().join("list.csv");
    let lines = "file,split,labels\n000.jpg,train,a;b\n001.jpg,train,b\n002.jpg,test,a\n003.jpg,test,b\n";
    std::fs::write(&list, lines).expect("a list");
    refused(&["--labelled", list.to_str().expect("a name")], &["000.jpg has 2 labels", "one label a photo"]);
}

#[test]
fn bench_times_work_by_name_and_writes_its_figures() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("bench.json");
    let json = file.to_str().expect("a name");
    let tests =
        ["--test", "matmul:16", "--test", "resnet18:2,32", "--test", "views:40x30,16", "--test", "sgd:9"];
    let rest = ["--device", "cpu", "--warmup", "0", "--repeats", "2", "--json", json];
    let output = vista(&[&["bench"], &tests[..], &rest].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for part in ["matmul:16", "GFLOP/s", "views per second and core"] {
        assert!(said.contains(part), "{said}");
    }
    let figures: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("figures")).expect("JSON");
    assert_eq!(
        (&figures["command"], &figures["tests"][1]["test"]),
        (&"bench".into(), &"resnet18:2,32".into())
    );
    let rows = figures["tests"].as_array().expect("a list");
    for (row, [has_rate, makes_views]) in
        rows.iter().zip([[true, false], [true, false], [false, true], [false; 2]])
    {
        let timing = &row["timing"];
        let [least, median, most] =
            ["least_ms", "median_ms", "most_ms"].map(|key| timing[key].as_f64().expect(key));
        assert!(0.0 < least && least <= median && median <= most && timing["repeats"] == 2, "{row}");
        assert_eq!(row["gflops"].is_f64(), has_rate, "{row}");
        assert_eq!(row["views_per_second_and_core"].is_f64(), makes_views, "{row}");
        assert_eq!(row["peak_resident_bytes"].is_u64(), cfg!(target_os = "linux"), "{row}");
    }
}

#[test]
fn bench_shows_a_step_by_op_and_plans_one_without_a_gpu() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("bench.json");
    let json = file.to_str().expect("a name");
    let figures = |args: &[&str]| -> serde_json::Value {
        let output =
            vista(&[&["bench", "--batch", "2", "--image-size", "32", "--json", json], args].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&std::fs::read(&file).expect("figures")).expect("JSON")
    };
    let step = figures(&["--model", "resnet18", "--device", "cpu", "--warmup", "0", "--repeats", "1"]);
    let step = &step["steps"][0];
    assert!(
        step["images_per_second"].is_f64() && step["gflops"].is_f64() && step["peak_tensor_bytes"].is_u64()
    );
    let ops = step["ops"].as_array().expect("ops");
    let conv = ops.iter().find(|op| op["op"] == "conv2d backward").expect("conv2d backward");
    assert!(conv["calls"] == 12.0 && conv["share"].is_f64() && conv["milliseconds"].is_f64(), "{conv}");
    let plan = figures(&["--plan", "resnet18"]);
    let phases = plan["plan"]["phases"].as_array().expect("phases");
    let total = phases.last().expect("total");
    assert!(phases.len() == 6 && total["phase"] == "total", "{plan}");
    for key in ["dispatches", "least_bytes", "moved_bytes", "flops"] {
        assert!(total[key].as_u64().is_some_and(|count| count > 0), "{key}: {total}");
    }
    assert!(phases[0]["ops"][0]["kernels"][0]["kernel"].is_string());
}

#[test]
fn bench_refuses_what_it_does_not_know_and_says_what_it_does() {
    refused_by(&["bench", "--test", "lenet:1,28"], &["lenet", "resnet18:batch,size", "views:WxH,size"]);
    refused_by(
        &["bench", "--test", "conv:1,2"],
        &["conv:1,2", "conv:batch,in,height,width,out,kernel,stride,padding"],
    );
    refused_by(
        &["bench", "--test", "conv:1,3,4,4,8,7,1,0", "--device", "cpu"],
        &["conv:1,3,4,4", "choose other sizes"],
    );
    refused_by(&["bench", "--test", "matmul:-1"], &["matmul:-1", "whole numbers"]);
    refused_by(&["bench", "--model", "vgg"], &["vgg", "resnet50"]);
    refused_by(&["bench", "--plan", "vgg"], &["vgg", "resnet50"]);
    refused_by(&["bench", "--test", "matmul:4", "--device", "tpu"], &["tpu", "gpu:NAME"]);
    refused_by(
        &["bench", "--test", "matmul:4", "--device", "cpu", "--json", "/no/such/x.json"],
        &["/no/such"],
    );
}

#[test]
fn devices_and_presets_are_listed() {
    let devices = text(&vista(&["devices"]).stdout);
    assert!(devices.contains("cpu") && devices.contains("auto"), "{devices}");
    let presets = text(&vista(&["pretrain", "--presets"]).stdout);
    assert!(
        presets.lines().count() == vista::pretrain::methods::presets().count()
            && presets.contains("mls-coco-r50-800ep"),
        "{presets}"
    );
}

#[cfg(unix)]
#[test]
fn an_unreadable_folder_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = photos(2);
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o000)).expect("permissions");
    // Root reads every folder, so there is nothing to refuse.
    if std::fs::read_dir(folder.path()).is_err() {
        refused(
            &["--data", folder.path().to_str().expect("a name")],
            &[folder.path().to_str().expect("a name")],
        );
    }
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).expect("permissions");
}

#[test]
fn the_readme_shows_the_commands_that_there_are() {
    let readme = include_str!("../../README.md");
    for command in [
        "pretrain",
        "knn",
        "probe",
        "voc",
        "finetune",
        "worth",
        "figures",
        "sweep",
        "bench",
        "devices",
        "doctor",
        "tune",
        "export",
        "import",
        "embed",
        "search",
        "report",
        "watch",
        "man",
        "completions",
    ] {
        assert!(readme.contains(&format!("vista {command}")), "README does not show `vista {command}`");
        assert!(vista(&[command, "--help"]).status.success(), "vista {command} --help");
    }
    assert!(readme.contains("cargo install --path .") && readme.contains("./check"));
}

#[test]
fn a_dry_run_tells_all_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("run");
    let mut args = vec!["pretrain", "--dry-run", "--out", out.to_str().expect("a name")];
    args.extend(TINY);
    let output = vista(&args);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["[method]", "memory   ", "parameters", "three steps took", "nothing was written"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!out.exists());
}

#[test]
fn a_run_is_silent_or_speaks_json_if_asked_to() {
    let folder = tempfile::tempdir().expect("folder");
    let run = |how: &[&'static str]| {
        let out = folder.path().to_str().expect("a name");
        let mut args = vec!["pretrain", "--steps", "1", "--overwrite", "--out", out];
        args.extend(how.iter().copied().chain(TINY));
        let output = vista(&args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        [text(&output.stdout), text(&output.stderr)].map(String::from)
    };
    assert_eq!(run(&["--quiet"]), ["", ""]);
    let [said, _] = run(&["--quiet", "--json", "-"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["steps"], 1);
    assert!(said["checkpoint"].as_str().expect("a path").ends_with("checkpoint.safetensors"));
}

#[test]
fn man_pages_and_completions_are_written() {
    let folder = tempfile::tempdir().expect("folder");
    assert!(vista(&["man", "--out", folder.path().to_str().expect("a name")]).status.success());
    let page = std::fs::read_to_string(folder.path().join("vista-pretrain.1")).expect("a page");
    assert!(page.contains("resume") && folder.path().join("vista.1").exists());
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = vista(&["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("pretrain"), "{shell}");
    }
}

/// A text without what moves a terminal's cursor or sets its colour.
#[cfg(target_os = "linux")]
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |all, part| {
        all + part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest)
    })
}

#[cfg(target_os = "linux")]
#[test]
fn progress_is_one_line_of_a_narrow_terminal() {
    let (photos, out) = (photos(20), tempfile::tempdir().expect("folder"));
    let command = format!(
        "stty rows 24 cols 40; exec {} pretrain --device cpu --steps 300 {} --data {} --out {}",
        env!("CARGO_BIN_EXE_vista"),
        TINY.join(" "),
        photos.path().display(),
        out.path().display()
    );
    let Ok(output) = Command::new("script").args(["-qec", &command, "/dev/null"]).current_dir(&out).output()
    else {
        println!("not tested: script(1), which makes a terminal, is not here");
        return;
    };
    let said = plain(&text(&output.stdout));
    let drawn: Vec<&str> = said.split(['\r', '\n']).filter(|line| line.contains('%')).collect();
    assert!(drawn.iter().any(|line| line.contains("step ") && line.contains("loss")), "{said}");
    assert!(drawn.iter().all(|line| line.chars().count() <= 40), "{drawn:?}");
}
