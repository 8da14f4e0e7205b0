//! Detectors as a person trains, judges and uses them: on photos of coloured rectangles, made here.

use crate::program;

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vista::rng::KeyedRng;
use vista::run::{Found, Start};
use vista::transfer::detect::{DetectConfig, DetectRun};

/// A detector so small that a step takes a moment.
pub const TINY: [&str; 24] = [
    "--device",
    "cpu",
    "--set",
    "model.width=4",
    "--set",
    "model.pyramid=8",
    "--set",
    "model.convs=8",
    "--set",
    "model.hidden=16",
    "--set",
    "scenes.shortest=[48, 64]",
    "--set",
    "eval.shortest=64",
    "--batch",
    "2",
    "--set",
    "eval.statistics=2",
    "--set",
    "optimizer.warmup_steps=1",
    "--set",
    "train.save_steps=1",
    "--seed",
    "3",
];

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// `count` photos of up to three rectangles, red or blue, on grey, the last without any; COCO's JSON of them, with ids that are
/// no numbers from 1 on.
pub fn scenes(folder: &Path, name: &str, count: usize) {
    let (photos, mut images, mut annotations) = (folder.join("photos"), Vec::new(), Vec::new());
    fs::create_dir_all(&photos).expect("folder");
    for i in 0..count {
        let mut rng = KeyedRng::new(name, 0, [i as u64, 0, 0]);
        let [w, h] = [90, 60 + rng.below(10) as u32];
        let mut photo = image::RgbImage::from_fn(w, h, |x, y| image::Rgb([(90 + (x * y) % 40) as u8; 3]));
        for object in 0..if i + 1 == count { 0 } else { 1 + rng.below(3) } {
            let (rw, rh) = (12 + rng.below(20) as u32, 10 + rng.below(20) as u32);
            let (x, y) = (rng.below(u64::from(w - rw)) as u32, rng.below(u64::from(h - rh)) as u32);
            let class = rng.below(2);
            let colour = [image::Rgb([220, 30, 30]), image::Rgb([30, 30, 220])][class as usize];
            (x..x + rw).for_each(|x| (y..y + rh).for_each(|y| photo.put_pixel(x, y, colour)));
            let (x1, y1) = (x + rw, y + rh);
            annotations.push(json!({
                "id": 100 * i as u64 + object, "image_id": format!("{name} {i}"), "category_id": 7 * class,
                "bbox": [x, y, rw, rh], "area": rw * rh, "iscrowd": 0,
                "segmentation": [[x, y, x1, y, x1, y1, x, y1]],
            }));
        }
        let file = format!("{name}{i}.png");
        photo.save(photos.join(&file)).expect("a photo");
        images.push(json!({ "id": format!("{name} {i}"), "file_name": file, "width": w, "height": h }));
    }
    let categories = json!([{ "id": 0, "name": "red" }, { "id": 7, "name": "blue" }]);
    let all = json!({ "images": images, "annotations": annotations, "categories": categories });
    fs::write(folder.join(format!("{name}.json")), all.to_string()).expect("annotations");
}

pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    scenes(folder.path(), "train", 6);
    scenes(folder.path(), "test", 3);
    folder
}

pub const DATA: [&str; 6] = ["--data", "photos", "--annotations", "train.json", "--test", "test.json"];

#[test]
fn a_detector_is_trained_judged_and_finds_objects_in_photos() {
    let folder = folder();
    let detect = |args: &[&str]| {
        program::command(folder.path()).arg("detect").args(args).output().expect("the program runs")
    };
    let trained = done(&detect(&[&DATA[..], &TINY, &["--steps", "3", "--out", "run"]].concat()));
    for part in ["6 with", "mask-rcnn-fpn", "3 to be judged on", "boxes AP", "masks AP", "next:"] {
        assert!(trained.contains(part), "no {part} in {trained}");
    }
    let log = fs::read_to_string(folder.path().join("run/log.jsonl")).expect("log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of("step").len(), of("ap").len()), (3, 1));
    let terms = of("step")[0]["terms"].as_object().expect("terms").clone();
    assert!(
        ["rpn_class", "rpn_box", "class", "box", "mask"].iter().all(|term| terms[*term].as_f64().is_some())
    );

    // Judged again it comes to the same, and says what it found in COCO's format, under the ids of the annotations.
    let judge = ["--checkpoint", "run", "--eval-only", "--results", "found.json", "--json", "judged.json"];
    let judged = done(&detect(&[&judge[..], &["--device", "cpu", "--set", "regions.score=0.0"]].concat()));
    assert!(judged.contains("Average Precision") && judged.contains("blue"), "{judged}");
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(folder.path().join(name)).expect(name)).expect("JSON")
    };
    let found = read("found.json").as_array().expect("a list").clone();
    assert!(!found.is_empty());
    for entry in &found {
        assert!(entry["image_id"].as_str().is_some_and(|id| id.starts_with("test ")), "{entry}");
        assert!([0, 7].map(Value::from).contains(&entry["category_id"]), "{entry}");
        assert!(entry["segmentation"]["counts"].is_string(), "{entry}");
    }
    assert_eq!(read("judged.json")["photos"], 3);

    // Photos without labels.
    let photos = ["--checkpoint", "run", "--photos", "photos", "--results", "own.json", "--device", "cpu"];
    let own = done(&detect(&[&photos[..], &["--set", "regions.score=0.0"]].concat()));
    assert!(own.contains("objects in 9 photos"), "{own}");
    assert!(read("own.json").as_array().expect("a list").iter().all(|entry| entry["image_id"].is_string()));

    // Drawn on the photos, also on those that lie elsewhere; nothing is drawn over them.
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("folder");
    fs::copy(folder.path().join("photos/test0.png"), elsewhere.join("a.jpg")).expect("copied");
    let before = fs::read(elsewhere.join("a.jpg")).expect("bytes");
    fs::create_dir(folder.path().join("list")).expect("folder");
    fs::write(folder.path().join("list/list.csv"), "file,split,labels\n../elsewhere/a.jpg,train,x\n")
        .expect("written");
    let draw = [
        "--checkpoint",
        "run",
        "--photos",
        "list/list.csv",
        "--follow-links",
        "--draw",
        "drawn",
        "--device",
        "cpu",
    ];
    assert!(done(&detect(&draw)).contains("1 photo in drawn"));
    assert_eq!(fs::read(elsewhere.join("a.jpg")).expect("bytes"), before);
    assert!(folder.path().join("drawn/0-a.jpg").is_file());
    assert!(text(&detect(&draw).stderr).contains("there are files in it"));

    // A run is not replaced by chance, nor by one that can't be, and the classes of other annotations are refused.
    let again = detect(&[&DATA[..], &TINY, &["--steps", "3", "--out", "run"]].concat());
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stderr));
    let large = [&DATA[..], &["--device", "cpu", "--batch", "200", "--out", "run", "--overwrite"]].concat();
    let large = text(&detect(&large).stderr);
    assert!(large.contains("6 photos can't fill a batch of 200"), "{large}");
    assert!(folder.path().join("run/checkpoint.safetensors").is_file());
    let other = fs::read_to_string(folder.path().join("test.json")).expect("text").replace("blue", "green");
    fs::write(folder.path().join("green.json"), other).expect("written");
    let kind = ["--checkpoint", "run", "--eval-only", "--device", "cpu", "--model", "mask-rcnn-c4"];
    assert!(text(&detect(&kind).stderr).contains("is what it was trained as"));
    let green = ["--data", "photos", "--annotations", "green.json", "--test", "green.json"];
    let refused = detect(&[&green[..], &["--checkpoint", "run", "--eval-only", "--device", "cpu"]].concat());
    assert!(text(&refused.stderr).contains("it tells apart red, blue"), "{}", text(&refused.stderr));
}

#[test]
fn annotations_without_masks_teach_boxes_and_what_cannot_teach_anything_is_refused_in_a_line() {
    let folder = folder();
    let detect = |args: &[&str]| {
        program::command(folder.path()).arg("detect").args(args).output().expect("the program runs")
    };
    let path = folder.path().join("train.json");
    let whole: Value = serde_json::from_str(&fs::read_to_string(&path).expect("text")).expect("JSON");
    let mut boxes = whole.clone();
    for annotation in boxes["annotations"].as_array_mut().expect("a list") {
        annotation.as_object_mut().expect("an object").remove("segmentation");
    }
    fs::write(&path, boxes.to_string()).expect("written");
    let run = [&DATA[..], &TINY, &["--steps", "1", "--out", "boxes"]].concat();
    let trained = done(&detect(&run));
    assert!(trained.contains("faster-rcnn-fpn") && !trained.contains("masks AP"), "{trained}");
    let refused = |args: &[&str], expected: &str| {
        let output = detect(&[args, &["--out", "none"]].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(expected), "{expected}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    refused(&[&DATA[..], &TINY, &["--model", "mask-rcnn-fpn"]].concat(), "no object has a mask");
    let mut empty = whole;
    empty["annotations"] = json!([]);
    fs::write(&path, empty.to_string()).expect("written");
    refused(&[&DATA[..], &TINY].concat(), "no photo has an object with a box");
    refused(&TINY, "no photos to learn from");
    refused(&[&DATA[..], &["--preset", "large"]].concat(), "unknown preset");
    refused(&[&DATA[..], &["--set", "model.sizes=[8.0]"]].concat(), "five maps");
    refused(&[&DATA[..], &["--set", "regions.sampled=9223372036854775807"]].concat(), "regions.sampled");
    refused(&[&DATA[..], &["--set", "regions.overlap=nan"]].concat(), "regions.overlap");
    refused(&[&DATA[..], &["--set", "eval.shortest=10000"]].concat(), "eval.shortest");
    refused(&["--checkpoint", "train.json", "--eval-only"], "train.json");
}

#[test]
fn a_training_that_was_stopped_goes_on_to_the_bit() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let settings = TINY.iter().zip(&TINY[1..]).filter(|(flag, _)| **flag == "--set").map(|(_, value)| *value);
    let mut config = DetectConfig::preset("detect-small").expect("a preset");
    for setting in settings.map(String::from).chain([
        "device=cpu".into(),
        "train.batch=2".into(),
        "train.steps=4".into(),
        "eval.every_steps=2".into(),
        format!("data.photos={}", path("photos")),
        format!("data.annotations={}", path("train.json")),
        format!("data.test={}", path("test.json")),
    ]) {
        config = config.with(&setting).expect("a key");
    }
    let mut whole = DetectRun::start(config.clone(), &path("whole"), Start::Empty).expect("a run");
    whole.be_quiet();
    whole.run().expect("done");

    let stop = Arc::new(AtomicBool::new(false));
    let mut first = DetectRun::start(config.clone(), &path("parts"), Start::Empty).expect("a run");
    first.be_quiet();
    first.stop_when(stop.clone());
    first.after_step(move |steps, _| stop.store(steps == 3, Ordering::Relaxed));
    assert!(first.run().expect_err("it was stopped").to_string().contains("after step 3"));
    let found = Found::<DetectConfig>::newest(&path("parts")).expect("sound").expect("a checkpoint");
    let mut rest =
        DetectRun::start(config.clone(), &path("parts"), Start::From(Box::new(found))).expect("a run");
    rest.be_quiet();
    rest.run().expect("done");

    let arrays = |run: &str| {
        let bytes = fs::read(folder.path().join(run).join("checkpoint.safetensors")).expect("a checkpoint");
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
        bytes[start..].to_vec()
    };
    assert!(arrays("whole") == arrays("parts"), "another detector");
    let steps = |run: &str| {
        let log = fs::read_to_string(folder.path().join(run).join("log.jsonl")).expect("a log");
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let kept = lines.filter(|line| line["kind"] == "step" || line["kind"] == "ap");
        kept.map(|line| (line["step"].clone(), line["terms"].clone(), line["ap"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(steps("whole"), steps("parts"));

    // Other boxes are another run.
    let text = fs::read_to_string(path("train.json")).expect("text");
    fs::write(path("train.json"), text.replacen("\"bbox\":[", "\"bbox\":[1", 1)).expect("written");
    let found = Found::<DetectConfig>::newest(&path("parts")).expect("sound").expect("a checkpoint");
    let refused =
        DetectRun::start(config, &path("parts"), Start::From(Box::new(found))).err().expect("refused");
    assert!(refused.to_string().contains("classes, boxes or masks have changed"), "{refused}");
}
