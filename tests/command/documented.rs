//! The commands of the README, run as they are printed. (That the others in the documentation and in `--help` are commands is tested
//! beside the parser.)

use crate::{program, sets};

use std::fs;
use std::path::Path;

const README: &str = include_str!("../../README.md");

/// What serves until it is stopped, needs a GPU, or takes minutes: the parser's tests know their flags.
const NOT_RUN: [&str; 4] = ["vista watch", "vista tune", "vista doctor", "vista bench"];
/// Keys that make any run a small one; they are given behind what the README says.
const SMALL: &str = "--set train.steps=1 --set train.minutes=0 --set train.batch=2 --set train.groups=1 --set model.width=4 \
                     --set views.size=16 --set eval.knn_k=1 --set device=cpu";

/// The same of detectors.
const SMALL_DETECTOR: &str = "--set train.steps=1 --set train.batch=1 --set eval.statistics=1 --set scenes.shortest=[64] \
                              --set eval.shortest=64 --device cpu";

/// The same of segmenters.
const SMALL_SEGMENTER: &str =
    "--set train.steps=1 --set train.batch=2 --set crops.size=33 --set eval.stride=1.0 --device cpu";

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

/// A home with all that the README's commands name.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("folder");
    let at = |name: &str| home.path().join(name);
    program::photos(home.path());
    fs::rename(at("photos"), at("Pictures")).expect("renamed");
    let mut list = "file,split,labels\n".to_string();
    for (i, photo) in fs::read_dir(at("Pictures")).expect("photos").flatten().enumerate() {
        let (part, class) = (["train", "test"][i % 2], ["a", "b"][i / 2 % 2]);
        let name = format!("CLASSES/{part}/{class}/{i}.png");
        fs::create_dir_all(at(&name).parent().expect("a folder")).expect("folder");
        fs::copy(photo.path(), at(&name)).expect("copied");
        list += &format!("{name},{part},{class}\n");
    }
    fs::write(at("LIST.csv"), list).expect("written");
    fs::copy(at("Pictures/0.png"), at("heron.jpg")).expect("copied");
    copied(sets::stl10().path(), &at("STL10"));
    copied(sets::coco().path(), &at("COCO"));
    copied(sets::cityscapes().path(), &at("CITYSCAPES"));
    home
}

/// The command lines in the README's blocks, without their comments.
fn commands() -> Vec<&'static str> {
    let blocks = README.split("```").skip(1).step_by(2).flat_map(str::lines);
    let called = blocks.filter(|line| line.starts_with("vista ") || line.starts_with("cargo "));
    called.map(|line| line.split(" #").next().unwrap_or_default().trim()).collect()
}

#[test]
fn the_readmes_commands_run_in_their_order() {
    let home = home();
    let mut ran = 0;
    for command in commands() {
        let line = command.replace("cargo run --release -- ", "vista ");
        if NOT_RUN.iter().any(|not| line.starts_with(not)) || line.starts_with("cargo ") {
            continue;
        }
        let line = match line.split_whitespace().nth(1) {
            Some("pretrain") if line.contains("--resume") => format!("{line} --set train.steps=2"),
            Some("pretrain" | "sweep") => format!("{line} {SMALL}"),
            // Their photos are few; the rest is as it is printed.
            Some("knn") => format!("{line} --k 2"),
            Some("worth") => {
                let short = line.replace("--minutes 60", "--minutes 0.01");
                format!("{short} --seeds 1 --shares 1 --epochs 1 --image-size 32 --device cpu")
            }
            Some("detect") if line.contains("--data") => format!("{line} {SMALL_DETECTOR}"),
            Some("segment") if line.contains("--data") => format!("{line} {SMALL_SEGMENTER}"),
            Some("finetune") => format!("{line} --epochs 1 --batch 2"),
            Some("figures") => format!("{line} --queries 2"),
            _ => line,
        };
        let output = program::shell(home.path(), &line).env("HOME", home.path()).output().expect("sh");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        ran += 1;
    }
    assert!(ran >= 20, "{ran}");
    for file in [
        "runs/mine/report.html",
        "runs/mine/figures/curves.svg",
        "runs/k/sweep.svg",
        "features.safetensors",
        "runs/boxes/report.html",
        "runs/pixels/report.html",
    ] {
        assert!(home.path().join(file).is_file(), "{file}");
    }
}

#[test]
fn the_readme_begins_with_how_it_is_installed() {
    let first = commands()[0];
    assert!(first.starts_with("cargo install --path ."), "{first}");
    // It leaves a program of this name on the PATH, by default and with nothing else.
    assert_eq!(Path::new(env!("CARGO_BIN_EXE_vista")).file_stem().expect("a name"), "vista");
    let manifest = include_str!("../../Cargo.toml");
    assert!(manifest.contains("\nname = \"vista\"\n") && !manifest.contains("[[bin]]"));
}
