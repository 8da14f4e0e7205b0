//! `vista pretrain --data DIR` alone: what is chosen, and said.

use crate::program;

use std::path::Path;
use std::process::Output;
use toml::Table;

fn pretrain(folder: &Path, more: &[&str]) -> Output {
    let mut command = program::command(folder);
    command
        .args(["pretrain", "--device", "cpu", "--out", "run"])
        .args(more)
        .output()
        .expect("the program runs")
}

fn done(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{out}{err}");
    out
}

fn config(folder: &Path) -> Table {
    let text = std::fs::read_to_string(folder.join("run/config.toml")).expect("a configuration");
    text.parse().expect("TOML")
}

#[test]
fn photos_alone_are_enough_and_six_lines_say_what_was_chosen() {
    let folder = tempfile::tempdir().expect("folder");
    program::photos(folder.path());
    std::fs::copy(folder.path().join("photos/3.png"), folder.path().join("photos/copy.png")).expect("a copy");
    let said = done(&pretrain(folder.path(), &["--data", "photos", "--minutes", "0.05"]));
    let beginnings = [
        "photos   9 (",
        "method   mls",
        "encoder  Resnet18, width 64",
        "views    2 of 64 px",
        "time     0.05 minutes: about ",
        "memory   ",
    ];
    for (line, beginning) in said.lines().zip(beginnings) {
        assert!(line.starts_with(beginning), "{line}");
    }
    assert!(said.contains("usually 20 x 30 px; 1 are copies of others"), "{said}");
    assert!(said.contains("--init resnet18.safetensors"), "{said}");
    let config = config(folder.path());
    assert_eq!(config["method"]["queue"].as_integer(), Some(4));
    assert_eq!(config["optimizer"]["warmup_share"].as_float(), Some(0.05));
}

#[test]
fn class_folders_are_judged_on_and_their_test_photos_not_learned_from() {
    let folder = tempfile::tempdir().expect("folder");
    for part in ["train", "val"] {
        for (class, shade) in [("dark", 20), ("light", 200)] {
            let place = folder.path().join("set").join(part).join(class);
            std::fs::create_dir_all(&place).expect("folder");
            for i in 0..6u8 {
                let pixel = |x, y| image::Rgb([shade + i, (x * y) as u8 / 4, shade]);
                image::RgbImage::from_fn(24, 24, pixel)
                    .save(place.join(format!("{i}.png")))
                    .expect("a photo");
            }
        }
    }
    let said = done(&pretrain(folder.path(), &["--data", "set", "--steps", "2"]));
    assert!(said.starts_with("photos   12 (") && said.contains("judged by kNN on "), "{said}");
    assert!(said.contains("kNN"), "{said}");
    let data = config(folder.path())["data"].clone();
    assert!(Path::new(data["photos"].as_str().expect("a path")).ends_with("set/train"));
    assert!(Path::new(data["labelled"].as_str().expect("a path")).ends_with("set"));
}

#[test]
fn what_is_asked_for_is_not_chosen() {
    let folder = tempfile::tempdir().expect("folder");
    program::photos(folder.path());
    let more = [
        "--data",
        "photos",
        "--steps",
        "1",
        "--batch",
        "4",
        "--views",
        "3",
        "--image-size",
        "32",
        "--set",
        "model.width=8",
    ];
    let said = done(&pretrain(folder.path(), &more));
    assert!(
        said.contains("method   s2r2") && said.contains("width 8: other programs can load it as ONNX alone"),
        "{said}"
    );
    assert!(said.contains("views    3 of 32 px of each of 4 photos") && !said.contains("--init"), "{said}");
    for more in [&["--quality", "large"][..], &["--data", "photos", "--quality", "large", "--preset", "demo"]]
    {
        let output = pretrain(folder.path(), more);
        assert_eq!(output.status.code(), Some(2), "{more:?}");
    }
}
