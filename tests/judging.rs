//! The judging commands as a person uses them: figures on the terminal and in a JSON, bad input in one clear line.

mod program;

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

/// Runs a command that must succeed; what it printed, and its JSON.
fn judged(args: &[&str], json: &Path) -> (String, Value) {
    let output = vista(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    let written = std::fs::read_to_string(json).unwrap_or_else(|e| panic!("{}: {e}", json.display()));
    let all: Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(all["command"], args[0]);
    assert_eq!(all["checkpoint"], args[2]);
    assert!(all["encoder"]["image_size"] == 16 && all["seconds"].as_f64().is_some(), "{all}");
    (text(&output.stdout), all)
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
        judged(&[&args[..], more].concat(), &checkpoint.with_file_name(format!("{command}.json")))
    };
    let (said, knn) = run("knn", &["--k", "3"]);
    assert!(said.contains("top-1"), "{said}");
    assert!(knn["protocol"]["k"] == 3 && knn["dataset"]["train_photos"] == 24, "{knn}");
    assert_eq!(knn["dataset"]["classes"], serde_json::json!(["blue", "red"]));
    for protocol in ["adam", "sgd"] {
        let (said, probe) = run("probe", &["--protocol", protocol, "--epochs", "3", "--seed", "7"]);
        assert!(said.contains("best on test"), "{said}");
        assert_eq!(probe["protocol"]["name"], protocol);
        assert_eq!(probe["protocol"]["constants"]["seed"], 7);
        let figure = |key: &str| probe["results"][key].as_f64().expect("a figure");
        assert!(figure("best_on_test") >= figure("top1"), "{probe}");
    }
    let encoder = folder.path().join("tuned.safetensors");
    let recipe = ["--epochs", "8", "--batch", "8", "--lr", "0.02", "--out", name(&encoder)];
    let (said, tuned) = run("finetune", &recipe);
    assert!(said.contains("mean per class") && said.contains("red"), "{said}");
    assert_eq!(tuned["results"]["top1"], 1.0, "{tuned}");
    assert!(tuned["protocol"]["epochs"] == 8 && tuned["random_init"] == false, "{tuned}");
    // The fine-tuned encoder is a checkpoint like any other, and another file may hold the figures.
    let json = folder.path().join("mine.json");
    let args = ["knn", "--checkpoint", name(&encoder), "--labelled", name(&photos), "--k", "3"];
    let (_, again) = judged(&[&args[..], &["--device", "cpu", "--json", name(&json)]].concat(), &json);
    assert_eq!(again["results"]["top1"], 1.0, "{again}");
}

#[test]
fn multi_label_figures_come_with_their_floors_and_restrict_to_the_classes_asked_for() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = checkpoint(folder.path());
    let list = colour_list(folder.path());
    let args = ["voc", "--checkpoint", name(&checkpoint), "--labelled", name(&list), "--costs", "0.1,1,10"];
    let args = [&args[..], &["--device", "cpu"]].concat();
    let json = checkpoint.with_file_name("voc.json");
    let (said, all) = judged(&[&args[..], &["--floor"]].concat(), &json);
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
    let (_, some) = judged(&[&args[..], &["--classes", name(&names), "--min-train", "16"]].concat(), &json);
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
