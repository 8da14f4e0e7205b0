//! The judging commands as a person uses them: figures on the terminal and in a JSON, bad input in one clear line.

use crate::program;

use program::vista;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn name(path: &Path) -> &str {
    path.to_str().expect("a name")
}

/// A photo whose left half is of one colour, the right half of another, both with a pattern.
fn photo(path: &Path, i: usize, halves: [[u8; 3]; 2]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let image = image::RgbImage::from_fn(24, 20, |x, y| {
        let noise = ((x as usize * 5 + y as usize * 3 + i * 11) % 31) as u8;
        image::Rgb(halves[usize::from(x >= 12)].map(|c| c.saturating_add(noise)))
    });
    image.save(path).expect("a photo");
}

const RED: [u8; 3] = [200, 20, 20];
const BLUE: [u8; 3] = [20, 40, 200];

/// `train/` and `test/` with a folder for each colour.
fn colour_folder(folder: &Path, colours: &[(&str, [u8; 3])]) -> PathBuf {
    let root = folder.join(format!("colours{}", colours.len()));
    for (part, count) in [("train", 12), ("test", 5)] {
        for (class, colour) in colours {
            for i in 0..count {
                photo(&root.join(part).join(class).join(format!("{i}.png")), i, [*colour; 2]);
            }
        }
    }
    root
}

/// A list of photos that show red, blue, both or neither.
fn colour_list(folder: &Path) -> PathBuf {
    let mut lines = String::from("file,labels,split\n");
    for i in 0..48 {
        let green = [20, 160, 40];
        let (halves, labels) = match i % 4 {
            0 => ([RED, green], "red"),
            1 => ([green, BLUE], "blue"),
            2 => ([RED, BLUE], "red;blue"),
            _ => ([green, green], "green"),
        };
        photo(&folder.join("list").join(format!("{i}.png")), i, halves);
        lines += &format!("{i}.png,{labels},{}\n", if i < 32 { "train" } else { "test" });
    }
    let path = folder.join("list").join("labels.csv");
    std::fs::write(&path, lines).expect("a list");
    path
}

/// A checkpoint of one step.
fn checkpoint(folder: &Path) -> PathBuf {
    let out = folder.join("run");
    let tiny =
        ["--set", "model.width=4", "--image-size", "16", "--batch", "2", "--views", "2", "--steps", "1"];
    let output = vista(&[&["pretrain", "--device", "cpu", "--out", name(&out)][..], &tiny[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    out.join("checkpoint.safetensors")
}

/// Runs a command that must succeed; what it printed, and its JSON, in this file or by any name in this folder.
fn judged(args: &[&str], json: &Path) -> (String, Value) {
    let output = vista(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    let said = text(&output.stdout);
    let told = said.lines().find_map(|line| line.strip_prefix("figures  ")).map(Path::new);
    // A file that was asked for needs no word.
    let figures = if json.is_dir() { told.expect("a file") } else { json };
    assert!(!json.is_dir() || figures.parent() == Some(json), "{said}");
    let written = std::fs::read_to_string(figures).unwrap_or_else(|e| panic!("{}: {e}", figures.display()));
    let all: Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(all["command"], args[0]);
    assert_eq!(all["checkpoint"], args[2]);
    assert!(all["encoder"]["image_size"] == 16 && all["seconds"].as_f64().is_some(), "{all}");
    (said, all)
}

/// Runs a command that must be refused with exit code 2, in one line that says all `parts`.
fn refused(args: &[&str], parts: &[&str]) {
    let output = vista(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert!(said.lines().count() == 1 && !said.contains("panicked"), "{args:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{args:?} does not say `{part}`: {said}");
    }
}

#[test]
fn single_label_judges_report_and_write_their_protocol_seeds_and_figures() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = checkpoint(folder.path());
    let photos = colour_folder(folder.path(), &[("red", RED), ("blue", BLUE)]);
    let run = |command: &str, more: &[&str]| {
        let args =
            [command, "--checkpoint", name(&checkpoint), "--labelled", name(&photos), "--device", "cpu"];
        judged(&[&args[..], more].concat(), checkpoint.parent().expect("a folder"))
    };
    let (said, knn) = run("knn", &["--k", "3"]);
    assert!(said.contains("top-1"), "{said}");
    assert!(knn["protocol"]["k"] == 3 && knn["dataset"]["train_photos"] == 24, "{knn}");
    assert_eq!(knn["dataset"]["classes"], serde_json::json!(["blue", "red"]));
    for protocol in ["adam", "sgd"] {
        let (said, probe) =
            run("probe", &["--protocol", protocol, "--epochs", "3", "--seed", "7", "--floor"]);
        assert!(said.contains("best on test") && said.contains("untrained: top-1"), "{said}");
        assert!(probe["floors"]["untrained"]["top1"].as_f64().is_some(), "{probe}");
        assert_eq!(probe["protocol"]["name"], protocol);
        assert_eq!(probe["protocol"]["constants"]["seed"], 7);
        let figure = |key: &str| probe["results"][key].as_f64().expect("a figure");
        assert!(figure("best_on_test") >= figure("top1"), "{probe}");
    }
    let encoder = folder.path().join("tuned.safetensors");
    // Of an encoder this narrow a rounding decides the first dozen epochs; after 16 any order of sums ends at the same.
    let recipe = ["--epochs", "16", "--batch", "8", "--lr", "0.02", "--out", name(&encoder)];
    let (said, tuned) = run("finetune", &recipe);
    assert!(said.contains("mean per class") && said.contains("red"), "{said}");
    assert_eq!(tuned["results"]["top1"], 1.0, "{tuned}");
    assert!(tuned["protocol"]["epochs"] == 16 && tuned["random_init"] == false, "{tuned}");
    // The fine-tuned encoder is a checkpoint like any other, and another file may hold the figures.
    let json = folder.path().join("mine.json");
    let args = ["knn", "--checkpoint", name(&encoder), "--labelled", name(&photos), "--k", "3"];
    let (_, again) = judged(&[&args[..], &["--device", "cpu", "--json", name(&json)]].concat(), &json);
    assert_eq!(again["results"]["top1"], 1.0, "{again}");
}

/// Figures and features of a command by both devices.
#[test]
fn every_judge_and_the_features_by_a_gpu_are_those_by_the_cpu() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = checkpoint(folder.path());
    let photos = colour_folder(folder.path(), &[("red", RED), ("blue", BLUE)]);
    let list = colour_list(folder.path());
    let by = |device: &str, command: &str, more: &[&str]| {
        let json = folder.path().join(format!("{command}.json"));
        let args = [command, "--checkpoint", name(&checkpoint), "--device", device, "--json", name(&json)];
        judged(&[&args[..], more].concat(), &json).1
    };
    for (command, figure, more) in [
        ("knn", "top1", &["--labelled", name(&photos), "--k", "3"][..]),
        ("probe", "top1", &["--labelled", name(&photos), "--epochs", "3"]),
        ("voc", "map_area", &["--labelled", name(&list), "--costs", "0.1"]),
    ] {
        let [cpu, gpu] = ["cpu", "gpu"].map(|device| by(device, command, more));
        let [expected, found] = [&cpu, &gpu].map(|all| all["results"][figure].as_f64().expect("a figure"));
        assert!((expected - found).abs() < 1e-6, "{command}: {expected} and {found}");
        assert_ne!(cpu["encoder"]["device"], gpu["encoder"]["device"]);
    }
    let features = |device: &str| -> Vec<f64> {
        let out = folder.path().join(format!("{device}.csv"));
        let args = ["embed", name(&photos), "--checkpoint", name(&checkpoint), "--device", device, "--out"];
        let output = vista(&[&args[..], &[name(&out)]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let table = std::fs::read_to_string(out).expect("a table");
        let cells = table.lines().skip(1).flat_map(|line| line.split(',').skip(1));
        cells.map(|cell| cell.parse().expect("a number")).collect()
    };
    let (cpu, gpu) = (features("cpu"), features("gpu"));
    assert!(cpu.len() == gpu.len() && cpu.len() > 1000);
    let off = cpu
        .iter()
        .zip(&gpu)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |m: f64, e: f64| if e > m || e.is_nan() { e } else { m });
    assert!(off < 1e-4, "features are {off} apart");
}

#[test]
fn multi_label_figures_come_with_their_floors_and_restrict_to_the_classes_asked_for() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = checkpoint(folder.path());
    let list = colour_list(folder.path());
    let args = ["voc", "--checkpoint", name(&checkpoint), "--labelled", name(&list), "--costs", "0.1,1,10"];
    let args = [&args[..], &["--device", "cpu"]].concat();
    let json = checkpoint.parent().expect("a folder");
    let (said, all) = judged(&[&args[..], &["--floor"]].concat(), json);
    for part in ["red", "blue", "green", "11-point", "untrained", "hand-made", "random ranking"] {
        assert!(said.contains(part), "{said}");
    }
    let results = &all["results"];
    assert_eq!(results["classes"].as_object().expect("classes").len(), 3);
    let red = &results["classes"]["red"];
    assert!(red["train_positives"] == 16 && red["test_positives"] == 8, "{red}");
    // 8, 8 and 4 of 16 test photos.
    assert!((results["random_ranking"].as_f64().expect("a figure") - 1.25 / 3.0).abs() < 1e-9, "{results}");
    assert_eq!(all["floors"]["hand-made"]["map_area"], 1.0, "colours alone tell these apart: {all}");
    assert!(all["floors"]["untrained"]["map_11point"].as_f64().is_some());
    assert_eq!(all["protocol"]["folds"], 3);
    let names = folder.path().join("names.csv");
    std::fs::write(&names, "word,frequent\nred,1\nblue,1\ngreen,0\n").expect("a list");
    let (_, some) = judged(&[&args[..], &["--classes", name(&names), "--min-train", "16"]].concat(), json);
    let classes = some["results"]["classes"].as_object().expect("classes");
    assert_eq!(classes.keys().collect::<Vec<_>>(), ["blue", "red"]);
    std::fs::write(&names, "red\npurple\n").expect("a list");
    refused(&[&args[..], &["--classes", name(&names)]].concat(), &["purple", "names.csv"]);
    refused(&[&args[..], &["--min-train", "99"]].concat(), &["99", "--min-train"]);
}

#[test]
fn what_cannot_be_judged_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = checkpoint(folder.path());
    let missing = folder.path().join("no.safetensors");
    let one = colour_folder(folder.path(), &[("red", RED)]);
    let two = colour_folder(folder.path(), &[("red", RED), ("blue", BLUE)]);
    for command in ["knn", "probe", "finetune"] {
        refused(&[command, "--checkpoint", name(&missing)], &["no.safetensors"]);
        let args = [command, "--checkpoint", name(&checkpoint), "--labelled"];
        refused(&[&args[..], &[name(&one)]].concat(), &["1 class", "at least two"]);
        refused(&[&args[..], &["/no/such/folder"]].concat(), &["/no/such/folder"]);
        refused(&[&args[..], &[name(&two), "--image-size", "0"]].concat(), &["size"]);
        refused(
            &[&args[..], &[name(&two), "--json", "/no/such/folder/x.json"]].concat(),
            &["/no/such/folder", "--json"],
        );
    }
    let labelled = ["--checkpoint", name(&checkpoint), "--labelled", name(&two)];
    let with = |command, more: &[&'static str]| [&[command][..], &labelled[..], more].concat();
    refused(&with("knn", &["--k", "25"]), &["25 neighbours of 24", "from 1 to 24"]);
    refused(&with("probe", &["--epochs", "0"]), &["at least 1"]);
    refused(&with("probe", &["--lr", "0"]), &["--lr", "not above 0"]);
    refused(&with("finetune", &["--batch", "1"]), &["--batch"]);
    refused(&["voc", "--checkpoint", name(&checkpoint), "--labelled", "/no/list.csv"], &["/no/list.csv"]);
}

#[test]
fn every_command_names_what_is_left_out_and_counts_what_is_used() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = checkpoint(folder.path());
    let set = colour_folder(folder.path(), &[("red", RED), ("blue", BLUE)]);
    for name in ["test/red/0.png", "test/red/1.png", "train/blue/3.png"] {
        std::fs::write(set.join(name), "text").expect("a file");
    }
    for name in ["train/red/x.heic", "test/green/x.heic", "train/green/x.heic"] {
        std::fs::create_dir_all(set.join(name).parent().expect("a folder")).expect("a folder");
        std::fs::write(set.join(name), "another format").expect("a file");
    }
    let all = [
        "red/0.png: left out",
        "red/1.png: left out",
        "blue/3.png: left out",
        "2 files of ending .heic are left out",
        "class folder green holds no photo",
    ];
    let told = |args: &[&str], words: &[&str]| -> String {
        let output = vista(args);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        for word in words {
            let lines =
                said.lines().filter(|line| line.starts_with("warning: ") && line.contains(word)).count();
            assert_eq!(lines, if word.contains("green") { 2 } else { 1 }, "{args:?} on {word:?}: {said}");
        }
        text(&output.stdout)
    };
    for more in [
        &["knn", "--k", "3"][..],
        &["probe", "--epochs", "1"],
        &["probe", "--epochs", "1", "--protocol", "sgd"],
        &["finetune", "--epochs", "1", "--batch", "8"],
    ] {
        let json = folder.path().join(more[0]).with_extension("json");
        let args = [
            "--checkpoint",
            name(&checkpoint),
            "--labelled",
            name(&set),
            "--device",
            "cpu",
            "--json",
            name(&json),
        ];
        let said = told(&[more, &args[..]].concat(), &all);
        assert!(said.contains("23 train and 8 test photos"), "{said}");
        let report: Value =
            serde_json::from_str(&std::fs::read_to_string(&json).expect("a file")).expect("JSON");
        let set = &report["dataset"];
        assert!(set["train_photos"] == 23 && set["test_photos"] == 8 && set["undecodable"] == 3, "{set}");
        let warnings = set["warnings"].to_string();
        assert!(all.iter().all(|word| warnings.contains(word)), "{warnings}");
    }
    let features = folder.path().join("f.safetensors");
    let shared = ["--checkpoint", name(&checkpoint), "--device", "cpu"];
    let train = set.join("train");
    let some = &["blue/3.png: left out", "2 files of ending .heic are left out"];
    told(&[&["embed", name(&train), "--out", name(&features)], &shared[..]].concat(), some);
    let metadata = std::fs::read(&features).expect("a file");
    assert!(String::from_utf8_lossy(&metadata).contains("blue/3.png: left out"));
    let query = set.join("test/red/3.png");
    told(&[&["search", name(&train), "--photo", name(&query)], &shared[..]].concat(), some);
    let out = folder.path().join("drawn");
    let args = [
        "figures",
        "--checkpoint",
        name(&checkpoint),
        "--data",
        name(&train),
        "--out",
        name(&out),
        "--slots",
        "23",
    ];
    told(&[&args[..], &["--device", "cpu"]].concat(), some);
    let drawn = std::fs::read_to_string(out.join("fig3_scores.json")).expect("a file");
    assert!(drawn.contains("blue/3.png: left out"), "{drawn}");
    // A run that is judged on them says so too.
    let run = folder.path().join("judged");
    let args = [
        "pretrain",
        "--data",
        name(&train),
        "--labelled",
        name(&set),
        "--device",
        "cpu",
        "--out",
        name(&run),
    ];
    let tiny =
        ["--set", "model.width=4", "--image-size", "16", "--batch", "2", "--views", "2", "--steps", "1"];
    told(&[&args[..], &tiny[..], &["--set", "eval.knn_k=3"]].concat(), &all[..3]);
    // A class that can't be judged any more.
    for i in 0..5 {
        std::fs::write(set.join(format!("test/red/{i}.png")), "text").expect("a file");
    }
    let json = folder.path().join("knn.json");
    let args = ["knn", "--k", "3", "--labelled", name(&set), "--json", name(&json)];
    told(&[&args[..], &shared[..]].concat(), &["no photo of class red can be decoded"]);
}

#[test]
fn a_multi_label_list_names_what_is_left_out() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = checkpoint(folder.path());
    let list = colour_list(folder.path());
    std::fs::write(list.with_file_name("40.png"), "text").expect("a file");
    let lines = std::fs::read_to_string(&list).expect("a list");
    std::fs::write(&list, lines + "gone.png,red,test\n3.png,red,holdout\n").expect("a list");
    let args = [
        "voc",
        "--checkpoint",
        name(&checkpoint),
        "--labelled",
        name(&list),
        "--costs",
        "1",
        "--device",
        "cpu",
    ];
    let json = folder.path().join("voc.json");
    let output = vista(&[&args[..], &["--json", name(&json)]].concat());
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let words = ["40.png: left out", "gone.png: left out", "unknown split \"holdout\""];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
    assert!(text(&output.stdout).contains("32 train and 15 test photos"), "{}", text(&output.stdout));
    let json = std::fs::read_to_string(json).expect("a file");
    let set = &serde_json::from_str::<Value>(&json).expect("JSON")["dataset"];
    assert!(set["test_photos"] == 15 && set["undecodable"] == 2, "{set}");
    assert!(set["warnings"].to_string().contains("holdout"), "{set}");
}

/// Records of one kind in a run's log.
fn records(log: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(log).expect("a log");
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.filter(|record| record["kind"] == kind).collect()
}

/// A tiny run; what it printed.
fn run(out: &Path, more: &[&str]) -> String {
    let tiny =
        ["pretrain", "--device", "cpu", "--set", "model.width=4", "--image-size", "16", "--batch", "8"];
    let args = [&tiny[..], &["--views", "2", "--steps", "2", "--out", name(out)], more].concat();
    let output = vista(&args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_untrained_floor_has_statistics_of_photos_and_is_one_figure_in_every_command() {
    let folder = tempfile::tempdir().expect("folder");
    let own = colour_folder(folder.path(), &[("red", RED), ("blue", BLUE), ("dark", [20, 30, 40])]);
    let train = own.join("train");
    let of_own = ["--data", name(&train), "--labelled", name(&own), "--set", "eval.knn_k=3"];
    for (labelled, more, k) in [(None, &[][..], "20"), (Some(&own), &of_own[..], "3")] {
        let out = folder.path().join(format!("run{k}"));
        let said: Value = serde_json::from_str(&run(&out, &[more, &["--json", "-"]].concat())).expect("JSON");
        let judged = records(&out.join("log.jsonl"), "knn");
        let (first, last) = (&judged[0], &judged[judged.len() - 1]);
        let untrained = &said["knn"]["untrained"];
        assert_eq!(first["top1"], untrained["top1"]);
        assert_eq!(first["initial_statistics"], said["knn"]["initial_statistics"]);
        assert!(first["initial_statistics"]["top1"].is_f64() && last["initial_statistics"].is_null());
        let checkpoint = out.join("checkpoint.safetensors");
        let mut args = vec!["knn", "--checkpoint", name(&checkpoint), "--device", "cpu", "--k", k, "--floor"];
        if let Some(own) = labelled {
            args.extend(["--labelled", name(own)]);
        }
        let (printed, knn) = judged_beside(&args, &checkpoint);
        assert!(printed.contains("untrained: top-1") && printed.contains("colour: top-1"), "{printed}");
        assert_eq!(knn["floors"]["untrained"]["top1"], untrained["top1"]);
        assert_eq!(knn["floors"]["colour"]["top1"], said["knn"]["colour"]["top1"]);
        assert_eq!(
            (&knn["results"]["top1"], &knn["results"]["top1_error"]),
            (&last["top1"], &last["top1_error"])
        );
        let (protocol, photos) = if labelled.is_some() { ("test", 15) } else { ("leave_one_out", 215) };
        assert_eq!(
            (&knn["protocol"]["judged"], &knn["results"]["photos"]),
            (&protocol.into(), &photos.into())
        );
        assert_eq!((&last["protocol"], &last["photos"]), (&protocol.into(), &photos.into()));
        let top1 = last["top1"].as_f64().expect("a share");
        let error = (top1 * (1.0 - top1) / f64::from(photos)).sqrt();
        assert!((last["top1_error"].as_f64().expect("an error") - error).abs() < 1e-9, "{last}");
    }
}

/// As [`judged`], the JSON beside the checkpoint.
fn judged_beside(args: &[&str], checkpoint: &Path) -> (String, Value) {
    judged(args, checkpoint.parent().expect("a folder"))
}

#[test]
fn the_demo_is_judged_on_all_labelled_photos_with_their_number_and_a_standard_error() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("run");
    let said = run(&out, &[]);
    for part in ["untrained  ", "statistics 0, 1", "trained  ", "colour alone", "215 photos", " ± 0.03"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    for part in ["215 photos, each among all others", r#""name":"untrained""#, "standard error"] {
        assert!(page.contains(part), "{part}");
    }
    // From a file there is nothing untrained: the start is judged as it is.
    let from = folder.path().join("from");
    let said = run(&from, &["--init", name(&out.join("checkpoint.safetensors"))]);
    assert!(said.contains("start  ") && !said.contains("untrained"), "{said}");
    let [last, first] =
        [(&out, 1), (&from, 0)].map(|(out, i)| records(&out.join("log.jsonl"), "knn")[i].clone());
    assert_eq!(last["top1"], first["top1"], "the encoder in the file, with its own statistics");
}

#[test]
fn judging_the_untrained_encoder_leaves_the_run_as_it_would_have_been() {
    let folder = tempfile::tempdir().expect("folder");
    let own = colour_folder(folder.path(), &[("red", RED), ("blue", BLUE)]);
    let train = own.join("train");
    let data = ["--data", name(&train), "--set", "eval.knn_k=3", "--seed", "5"];
    let state = |out: &str, more: &[&str]| {
        let out = folder.path().join(out);
        run(&out, &[&data[..], more].concat());
        let device = vista::Device::cpu();
        let (encoder, _) =
            vista::pretrain::checkpoint::load(&out.join("checkpoint.safetensors"), &device).expect("encoder");
        let state = vista::engine::nn::Module::state(&encoder);
        state.iter().map(|p| (p.name().to_string(), p.get().to_vec().expect("values"))).collect::<Vec<_>>()
    };
    assert_eq!(state("judged", &["--labelled", name(&own)]), state("alone", &[]));
}
