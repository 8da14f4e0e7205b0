//! Detectors in the ways that photos, people and clocks have: one photo, no boxes, a stop while judging, another size, a GPU.

use crate::detect::{DATA, TINY, done, folder, text};
use crate::{program, sets};

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use vista::run::{Found, Start};
use vista::transfer::detect::{DetectConfig, DetectRun};

fn detect(folder: &Path, args: &[&str]) -> Output {
    program::command(folder).arg("detect").args(args).output().expect("the program runs")
}

/// The lines of a kind in a run's log.
fn logged(run: &Path, kind: &str) -> Vec<Value> {
    let log = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["kind"] == kind).collect()
}

#[test]
fn photos_without_boxes_are_refused_with_words_of_boxes() {
    let folder = folder();
    let refused = |args: &[&str], parts: &[&str]| {
        let output = detect(folder.path(), &[args, &TINY].concat());
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "no `{part}` in {said}"));
        assert!(!said.contains("CLASS"), "{said}");
    };
    let boxes =
        ["no boxes come with these photos", "--annotations", "COCO", "Annotations/*.xml", "Penn-Fudan"];
    refused(&["--data", "photos"], &boxes);
    refused(&["--data", "train.json"], &boxes);
    let whole = fs::read_to_string(folder.path().join("test.json")).expect("text");
    let mut empty: Value = serde_json::from_str(&whole).expect("JSON");
    empty["annotations"] = Value::Array(Vec::new());
    fs::write(folder.path().join("empty.json"), empty.to_string()).expect("written");
    refused(
        &[&DATA[..4], &["--test", "empty.json"]].concat(),
        &["no photo to be judged on has an object", "--test"],
    );
}

#[test]
fn one_class_is_one_class_and_one_photo_is_enough() {
    let set = sets::penn_fudan();
    let run = [&["--data", "."], &TINY[..], &["--steps", "1", "--out", "run"]].concat();
    let told = done(&detect(set.path(), &run));
    assert!(told.contains("objects of 1 class ("), "{told}");
    let photos = fs::read_dir(set.path().join("PennFudanPed/PNGImages")).expect("photos");
    let photo = photos.map(|entry| entry.expect("an entry").path()).next().expect("a photo");
    let photo = photo.to_str().expect("a name");
    let find = ["--checkpoint", "run", "--device", "cpu", "--set", "regions.score=0.0", "--photos", photo];
    let told =
        done(&detect(set.path(), &[&find[..], &["--draw", "drawn", "--results", "found.json"]].concat()));
    assert!(told.contains(" in 1 photo\n") && told.contains("drawn    1 photo in"), "{told}");
    assert_eq!(fs::read_dir(set.path().join("drawn")).expect("pictures").count(), 1);
    let found: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(set.path().join("found.json")).expect("text"))
            .expect("JSON");
    let stem = Path::new(photo).file_stem().expect("a stem").to_string_lossy();
    assert!(!found.is_empty() && found.iter().all(|found| found["image_id"] == *stem), "{found:?}");
}

/// A configuration of a tiny detector on the photos of a folder.
fn config(folder: &Path, more: &[&str]) -> DetectConfig {
    let settings = TINY.iter().zip(&TINY[1..]).filter(|(flag, _)| **flag == "--set").map(|(_, value)| *value);
    let path = |key: &str, name: &str| format!("data.{key}={}", folder.join(name).display());
    let data = [path("photos", "photos"), path("annotations", "train.json"), path("test", "test.json")];
    let own = ["device=cpu", "train.batch=2"].into_iter().chain(more.iter().copied());
    let all = settings.chain(data.iter().map(String::as_str)).chain(own);
    let config = DetectConfig::preset("detect-small").expect("a preset");
    all.fold(config, |config, setting| config.with(setting).expect(setting))
}

#[test]
fn what_was_learned_is_saved_before_judging_and_a_stop_ends_it_at_the_next_photo() {
    let folder = folder();
    let out = folder.path().join("run");
    // Nothing else saves.
    let config = config(folder.path(), &["train.steps=2", "train.save_steps=0", "train.save_minutes=0"]);
    let stop = Arc::new(AtomicBool::new(false));
    let mut run = DetectRun::start(config.clone(), &out, Start::Empty).expect("a run");
    run.be_quiet();
    run.stop_when(stop.clone());
    let calls = Arc::new(AtomicUsize::new(0));
    let heard = calls.clone();
    run.while_judging(move |_, _| {
        heard.fetch_add(1, Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
    });
    let error = run.run().expect_err("it was stopped").to_string();
    assert_eq!(calls.load(Ordering::Relaxed), 1, "it went on after the stop");
    assert!(error.contains("while it was judged; step 2 is saved"), "{error}");
    let found = Found::<DetectConfig>::newest(&out).expect("sound").expect("a checkpoint");
    assert_eq!((found.step(), logged(&out, "ap").len()), (2, 0));
    let mut rest = DetectRun::start(config, &out, Start::From(Box::new(found))).expect("a run");
    rest.be_quiet();
    let summary = rest.run().expect("done");
    assert_eq!((summary.steps, summary.scores.map(|scores| scores.photos)), (2, Some(3)));
}

#[test]
fn a_run_that_time_ends_is_judged_on_all_photos_at_its_last_step() {
    let folder = folder();
    let out = folder.path().join("run");
    let more =
        ["train.minutes=0.02", "train.steps=0", "train.save_steps=0", "eval.photos=1", "eval.every_steps=3"];
    let mut run = DetectRun::start(config(folder.path(), &more), &out, Start::Empty).expect("a run");
    run.be_quiet();
    let summary = run.run().expect("done");
    let judged = logged(&out, "ap");
    let last = judged.last().expect("a judgement");
    assert_eq!((last["step"].as_u64(), last["photos"].as_u64()), (Some(summary.steps), Some(3)));
    assert!(judged[..judged.len() - 1].iter().all(|line| line["photos"] == 1), "{judged:?}");
    assert_eq!(summary.scores.expect("scores").photos, 3);
    assert!(logged(&out, "step").len() as u64 == summary.steps && summary.steps > 0);
}

#[test]
fn annotations_of_photos_of_another_size_are_counted_and_named() {
    let folder = folder();
    let other_size = |name: &str, image: usize| {
        let path = folder.path().join(name);
        let mut all: Value = serde_json::from_str(&fs::read_to_string(&path).expect("text")).expect("JSON");
        (all["images"][image]["width"], all["images"][image]["height"]) = (1000.into(), 800.into());
        fs::write(path, all.to_string()).expect("written");
    };
    other_size("train.json", 1);
    other_size("test.json", 0);
    let output = detect(folder.path(), &[&DATA[..], &TINY, &["--steps", "3", "--out", "run"]].concat());
    let (told, said) = (done(&output), text(&output.stderr));
    let why = "but its annotations were made for 1000 x 800";
    for line in
        ["train1.png: its objects are left out: it has 90 x", "test0.png is not judged on: it has 90 x"]
    {
        assert!(said.lines().any(|said| said.contains(line) && said.contains(why)), "no `{line}` in {said}");
    }
    assert!(told.contains("(2 photos, "), "{told}");
    let warned = logged(&folder.path().join("run"), "warning");
    assert!(warned.iter().any(|line| line.to_string().contains("train1.png")), "{warned:?}");
}

#[test]
fn a_step_of_a_narrow_detector_on_a_gpu_is_that_on_the_cpu() {
    let folder = folder();
    let losses = |device: &str| {
        let run = [&DATA[..4], &TINY[2..], &["--device", device, "--steps", "1", "--out", device]].concat();
        done(&detect(folder.path(), &run));
        let step = logged(&folder.path().join(device), "step").swap_remove(0);
        ["rpn_class", "rpn_box", "class", "box", "mask"]
            .map(|term| step["terms"][term].as_f64().expect("a loss"))
    };
    let (cpu, gpu) = (losses("cpu"), losses("gpu"));
    assert!(cpu.iter().all(|loss| *loss > 0.0), "{cpu:?}");
    // Proposals are chosen by scores that differ by rounding.
    assert!(cpu.iter().zip(&gpu).all(|(a, b)| (a - b).abs() < 1e-3 * a.max(1.0)), "{cpu:?} {gpu:?}");
}
