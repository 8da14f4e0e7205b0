//! Segmenters as a person trains, judges and uses them: on photos of sky, road and a car, made here.

use crate::{program, sets};

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vista::engine::exchange::Alone;
use vista::run::{Found, Start};
use vista::transfer::segment::{SegmentConfig, SegmentRun};

/// A segmenter so small that a step takes a moment.
const TINY: [&str; 14] = [
    "--set",
    "segmenter.width=4",
    "--set",
    "crops.size=33",
    "--set",
    "train.save_steps=1",
    "--batch",
    "4",
    "--seed",
    "3",
    "--set",
    "eval.stride=1.0",
    "--device",
    "cpu",
];

fn segment(folder: &Path, args: &[&str]) -> Output {
    program::command(folder).arg("segment").args(args).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    parts.iter().for_each(|part| assert!(said.contains(part), "no `{part}` in {said}"));
}

/// The lines of a kind in a run's log.
fn logged(run: &Path, kind: &str) -> Vec<Value> {
    let log = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["kind"] == kind).collect()
}

#[test]
fn a_segmenter_is_trained_judged_and_segments_photos() {
    let set = sets::pairs(false);
    let at = |name: &str| set.path().join(name);
    let told =
        done(&segment(set.path(), &[&["--data", ".", "--steps", "30", "--out", "run"], &TINY[..]].concat()));
    for part in ["6 of 3 classes", "3 to be judged on", "sky", "pspnet", "mIoU", "next:"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    assert_eq!((logged(&at("run"), "step").len(), logged(&at("run"), "miou").len()), (30, 1));
    let judged = &logged(&at("run"), "miou")[0];
    // Sky and road differ by colour alone.
    assert!(judged["aacc"].as_f64().expect("a share") > 0.7, "{judged}");
    let page = fs::read_to_string(at("run/report.html")).expect("a page");
    assert!(page.contains("\"title\":\"Segmentation\"") && page.contains("what was said"));

    let judge = [
        "--checkpoint",
        "run",
        "--eval-only",
        "--floor",
        "--confusion",
        "c.svg",
        "--json",
        "j.json",
        "--results",
        "maps",
        "--draw",
        "drawn",
        "--device",
        "cpu",
    ];
    let told = done(&segment(set.path(), &judge));
    assert!(told.contains("most frequent at each place") && told.contains("car"), "{told}");
    let json: Value = serde_json::from_str(&fs::read_to_string(at("j.json")).expect("JSON")).expect("JSON");
    assert_eq!(json["mIoU"], judged["miou"], "judged again it comes to the same");
    assert!(
        json["floor"]["aAcc"].as_f64().expect("a share") > 0.9,
        "the places of sky and road hardly differ"
    );
    assert!(fs::read_to_string(at("c.svg")).expect("a picture").contains("sky taken for sky"));
    assert_eq!(fs::read_dir(at("drawn")).expect("pictures").count(), 3);
    let map = image::open(at("maps/0.png")).expect("a label map").into_luma8();
    assert_eq!(map.dimensions(), (48, 40));
    assert!(map.pixels().all(|pixel| [0, 4, 9].contains(&pixel.0[0])), "the set's own numbers");
    refused(&segment(set.path(), &judge), &["there are files in it"]);

    // Photos without labels, one of them broken.
    fs::create_dir(at("own")).expect("folder");
    fs::copy(at("images/test/1.png"), at("own/a.png")).expect("copied");
    fs::write(at("own/b.jpg"), "no photo").expect("written");
    let own = ["--checkpoint", "run", "--photos", "own", "--draw", "mine", "--device", "cpu"];
    let output = segment(set.path(), &own);
    assert!(done(&output).contains("1 photo in mine") && text(&output.stderr).contains("b.jpg"));
    assert!(at("mine/a.png.jpg").is_file());

    // A run is not replaced by chance; a segmenter stays what it is; other classes are refused.
    let again = segment(set.path(), &[&["--data", ".", "--steps", "1", "--out", "run"], &TINY[..]].concat());
    assert_eq!(again.status.code(), Some(2));
    let judge = ["--checkpoint", "run", "--eval-only", "--device", "cpu"];
    refused(
        &segment(set.path(), &[&judge[..], &["--model", "psanet"]].concat()),
        &["is what it was trained as"],
    );
    let other = sets::cityscapes();
    let place = other.path().to_str().expect("a path");
    refused(
        &segment(set.path(), &[&judge[..], &["--data", place]].concat()),
        &["it tells apart road, sky, car"],
    );
    let embed = program::command(set.path())
        .args(["embed", "own", "--checkpoint", "run", "--out", "own.csv"])
        .output();
    refused(
        &embed.expect("the program runs"),
        &["a segmenter of `", "not an encoder", "segment --checkpoint"],
    );
}

#[test]
fn a_psanet_trains_on_cityscapes_from_a_runs_encoder() {
    let set = sets::cityscapes();
    program::photos(set.path());
    let pretrain = [
        "pretrain",
        "--data",
        "photos",
        "--device",
        "cpu",
        "--steps",
        "1",
        "--batch",
        "2",
        "--set",
        "model.width=4",
        "--set",
        "views.size=16",
        "--set",
        "train.groups=1",
        "--out",
        "encoder",
        "--quiet",
        "--set",
        "model.stem=imagenet",
    ];
    done(&program::command(set.path()).args(pretrain).output().expect("the program runs"));
    let run = ["--data", ".", "--model", "psanet", "--init", "encoder", "--steps", "1", "--out", "run"];
    let told = done(&segment(set.path(), &[&run[..], &TINY[2..]].concat()));
    assert!(told.contains("psanet, resnet18, width 4") && told.contains("4 of 19 classes"), "{told}");
    let maps = ["--checkpoint", "run", "--eval-only", "--results", "maps", "--device", "cpu"];
    done(&segment(set.path(), &maps));
    let map = image::open(set.path().join("maps/lindau/lindau_0_leftImg8bit.png"))
        .expect("a label map")
        .into_luma8();
    assert!(map.pixels().all(|pixel| (7..=33).contains(&pixel.0[0])), "numbers of labelIds");
}

#[test]
fn what_cannot_be_learned_from_is_refused_in_a_line() {
    let set = sets::pairs(false);
    let of = |args: &[&str]| segment(set.path(), &[&TINY, args, &["--out", "none"]].concat());
    refused(&segment(set.path(), &TINY), &["no photos to learn from", "--data"]);
    refused(&of(&["--data", "images"]), &["no label maps come with these photos", "--labels"]);
    refused(&of(&["--data", ".", "--preset", "large"]), &["unknown preset", "pspnet-cityscapes-40k"]);
    refused(&of(&["--data", ".", "--set", "crops.size=64"]), &["crops: invalid size", "multiple of 8"]);
    refused(&of(&["--data", ".", "--set", "eval.scales=[]"]), &["eval.scales"]);
    refused(&of(&["--data", ".", "--set", "segmenter.dropout=1.0"]), &["segmenter.dropout"]);
    refused(&of(&["--data", ".", "--set", "train.batch=200"]), &["6 photos can't fill a batch of 200"]);
    fs::write(set.path().join("list.txt"), "0 road\n0 sky\n").expect("written");
    refused(&of(&["--data", ".", "--classes", "list.txt"]), &["line 2", "again"]);
    fs::write(set.path().join("list.txt"), "0 road\n4 sky\n").expect("written");
    refused(&of(&["--data", ".", "--classes", "list.txt"]), &["6 of 6 photos can't be used", "the number 9"]);
    let apart = [
        "--data",
        "images/train",
        "--labels",
        "labels/train",
        "--classes",
        "classes.txt",
        "--steps",
        "1",
        "--out",
        "apart",
    ];
    assert!(done(&segment(set.path(), &[&apart[..], &TINY].concat())).contains("none to be judged on"));
}

#[test]
fn a_training_that_was_stopped_goes_on_to_the_bit() {
    let set = sets::pairs(false);
    let path = |name: &str| set.path().join(name).to_string_lossy().into_owned();
    let mut config = SegmentConfig::preset("segment-small").expect("a preset");
    for setting in [
        "device=cpu".to_string(),
        "segmenter.width=4".into(),
        "crops.size=33".into(),
        "train.batch=4".into(),
        "train.steps=4".into(),
        "train.save_steps=1".into(),
        "eval.every_steps=2".into(),
        format!("data.photos={}", set.path().display()),
    ] {
        config = config.with(&setting).expect("a key");
    }
    let mut whole =
        SegmentRun::start(config.clone(), &path("whole"), Start::Empty, Rc::new(Alone)).expect("a run");
    whole.be_quiet();
    whole.run().expect("done");

    let stop = Arc::new(AtomicBool::new(false));
    let mut first =
        SegmentRun::start(config.clone(), &path("parts"), Start::Empty, Rc::new(Alone)).expect("a run");
    first.be_quiet();
    first.stop_when(stop.clone());
    first.after_step(move |steps, _| stop.store(steps == 3, Ordering::Relaxed));
    assert!(first.run().expect_err("it was stopped").to_string().contains("after step 3"));
    let found = || Found::<SegmentConfig>::newest(&path("parts")).expect("sound").expect("a checkpoint");
    let mut rest =
        SegmentRun::start(config.clone(), &path("parts"), Start::From(Box::new(found())), Rc::new(Alone))
            .expect("a run");
    rest.be_quiet();
    rest.run().expect("done");

    let arrays = |run: &str| {
        let bytes = fs::read(set.path().join(run).join("checkpoint.safetensors")).expect("a checkpoint");
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
        bytes[start..].to_vec()
    };
    assert!(arrays("whole") == arrays("parts"), "another segmenter");
    let steps = |run: &str| {
        let told = |kind| logged(&set.path().join(run), kind);
        let lines = told("step").into_iter().chain(told("miou"));
        lines
            .map(|line| (line["step"].clone(), line["terms"].clone(), line["miou"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(steps("whole"), steps("parts"));

    // Other label maps are another run.
    fs::copy(set.path().join("labels/train/1.png"), set.path().join("labels/train/0.png")).expect("copied");
    let error = SegmentRun::start(config, &path("parts"), Start::From(Box::new(found())), Rc::new(Alone))
        .err()
        .expect("refused");
    assert!(error.to_string().contains("classes or label maps have changed"), "{error}");
}

#[test]
fn a_step_of_a_narrow_segmenter_on_a_gpu_is_that_on_the_cpu() {
    let set = sets::pairs(false);
    for model in ["pspnet", "psanet"] {
        let losses = |device: &str| {
            let out = format!("{model}-{device}");
            let run = [
                "--data",
                "images/train",
                "--labels",
                "labels/train",
                "--model",
                model,
                "--steps",
                "1",
                "--out",
                &out,
            ];
            done(&segment(set.path(), &[&run[..], &TINY[..12], &["--device", device]].concat()));
            let step = logged(&set.path().join(&out), "step").swap_remove(0);
            ["main", "aux"].map(|term| step["terms"][term].as_f64().expect("a loss"))
        };
        let (cpu, gpu) = (losses("cpu"), losses("gpu"));
        assert!(
            cpu.iter().zip(&gpu).all(|(a, b)| *a > 0.0 && (a - b).abs() < 1e-4 * a),
            "{model} {cpu:?} {gpu:?}"
        );
    }
}
