//! `vista figures` and `vista sweep` as a person uses them, on the built-in photos with an encoder of a few weights.

use crate::program;

use program::vista;
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use vista::Device;
use vista::engine::nn::Module;
use vista::pretrain::{Config, Trainer, checkpoint};

const TINY: [&str; 10] =
    ["--set", "model.width=4", "--image-size", "16", "--batch", "2", "--views", "2", "--steps", "3"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn done(args: &[&str]) -> Output {
    let output = vista(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    output
}

/// One clear line and exit code 2.
fn refused(args: &[&str], parts: &[&str]) {
    let output = vista(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    parts.iter().for_each(|part| assert!(said.contains(part), "`{part}` is not in: {said}"));
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("a name").to_string()
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).expect("json")
}

#[test]
fn all_figures_of_a_run_are_drawn_with_their_numbers_and_twice_alike() {
    let run = tempfile::tempdir().expect("folder");
    let (out, checkpoint) = (path(run.path(), ""), path(run.path(), "checkpoint.safetensors"));
    done(&[&["pretrain", "--out", &out][..], &TINY].concat());
    let figures = run.path().join("figures");
    let args = ["figures", "--checkpoint", &checkpoint, "--slots", "80", "--queries", "9"];
    let said = text(&done(&args).stdout);
    for name in ["fig3_scores.svg", "fig4_neighbours.png", "purity.svg", "feature_maps.png", "curves.svg"] {
        assert!(said.contains(name) && figures.join(name).is_file(), "{name}: {said}");
        let drawing = std::fs::read(figures.join(name)).expect("a file");
        assert!(drawing.starts_with(if name.ends_with("png") { b"\x89PNG" } else { b"<svg" }), "{name}");
    }

    let scores = json(&figures.join("fig3_scores.json"));
    for stage in ["before", "after"] {
        for kind in ["backbone", "projector"] {
            let one = &scores[stage][kind];
            assert_eq!(one["values"].as_array().map(Vec::len), Some(79), "every key but the photo's own");
            let counts = one["histogram"]["counts"].as_array().expect("counts");
            assert_eq!(counts.iter().filter_map(Value::as_u64).sum::<u64>(), 79);
        }
    }
    assert_ne!(scores["before"], scores["after"], "three steps move the encoder");

    let rows = json(&figures.join("fig4_neighbours.json"))["rows"].clone();
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 6);
    let mean = |row: &Value| row["mean_similarity"].as_f64().expect("a number");
    assert!(
        rows[5]["worst"] == true
            && rows[..5].iter().all(|r| r["worst"] == false && mean(r) >= mean(&rows[5]))
    );
    for row in rows {
        let near = row["neighbours"].as_array().expect("neighbours");
        assert!(near.len() == 4 && near.iter().all(|n| n["photo"] != row["photo"]));
        let cosines: Vec<f64> = near.iter().filter_map(|n| n["similarity"].as_f64()).collect();
        assert!(cosines.is_sorted_by(|a, b| a >= b), "{cosines:?}");
    }

    let purity = json(&figures.join("purity.json"));
    for curve in ["before", "after"] {
        assert_eq!(purity["curves"][curve].as_array().map(Vec::len), Some(64));
    }
    let chance = purity["curves"]["chance"].as_f64().expect("a number");
    assert!((0.1..0.6).contains(&chance), "six classes: {chance}");

    let maps = json(&figures.join("feature_maps.json"));
    let rows = maps["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 6);
    for name in ["untrained", "trained"] {
        let share = maps[name]["variance"].as_f64().expect("a number");
        assert!((0.3..=1.0).contains(&share), "{name}: {share}");
        assert!(said.contains(&format!("{:.0} % ", 100.0 * share)), "{name}: {share} in {said}");
        for row in rows {
            let cells: Vec<u64> =
                row["cells"].as_array().expect("two").iter().filter_map(Value::as_u64).collect();
            assert_eq!(cells.iter().min(), Some(&16));
            let scores = row[name].as_array().expect("scores");
            assert_eq!(scores.len() as u64, 3 * cells[0] * cells[1]);
        }
    }
    assert_ne!(rows[0]["untrained"], rows[0]["trained"]);

    let again = path(run.path(), "again");
    done(&[&args[..], &["--out", &again]].concat());
    for name in
        ["fig3_scores.json", "fig4_neighbours.png", "purity.svg", "feature_maps.json", "feature_maps.png"]
    {
        let read = |folder: &Path| std::fs::read(folder.join(name)).expect("a file");
        assert_eq!(read(&figures), read(Path::new(&again)), "{name}");
    }
    let none = path(run.path(), "none");
    done(&[&args[..], &["--out", &none, "--maps", "0"]].concat());
    assert!(
        Path::new(&none).join("curves.svg").is_file() && !Path::new(&none).join("feature_maps.png").exists()
    );
}

#[test]
fn photos_of_ones_own_with_labels_give_purity_and_a_worst_query_by_label() {
    let folder = tempfile::tempdir().expect("folder");
    let mut list = String::from("file,labels\n");
    for i in 0..12u32 {
        let shade = |x: u32, y: u32| image::Rgb([(i * 20) as u8, (x * 5) as u8, (y * 7 + i) as u8]);
        let name = format!("{i:02}.png");
        image::RgbImage::from_fn(40, 30, shade).save(folder.path().join(&name)).expect("a photo");
        // The last photo's label is nobody else's: it shares none with any neighbour. One has none at all.
        let labels = ["a;b", "a", "a;c"][(i % 3) as usize];
        list += &format!(
            "{name},{}\n",
            if i == 11 {
                "alone"
            } else if i == 10 {
                ""
            } else {
                labels
            }
        );
    }
    let data = path(folder.path(), "list.csv");
    std::fs::write(&data, list).expect("a list");
    let (out, checkpoint) = (path(folder.path(), "run"), path(folder.path(), "run/checkpoint.safetensors"));
    done(&[&["pretrain", "--preset", "demo", "--data", &data, "--out", &out][..], &TINY].concat());
    done(&["figures", "--checkpoint", &checkpoint]);
    let figures = folder.path().join("run/figures");
    let rows = json(&figures.join("fig4_neighbours.json"))["rows"].clone();
    let worst = rows.as_array().and_then(|rows| rows.last()).expect("the worst row");
    assert_eq!((&worst["photo"], &worst["labels"][0]), (&"11.png".into(), &"alone".into()));
    assert!(worst["neighbours"].as_array().expect("four").iter().all(|n| n["shares_a_label"] == false));
    let purity = json(&figures.join("purity.json"));
    assert_eq!((&purity["queries"], &purity["labelled_keys"]), (&11.into(), &11.into()));
    assert_eq!(purity["curves"]["after"].as_array().map(Vec::len), Some(10), "every key but the own");
}

#[test]
fn before_training_is_the_encoder_that_a_run_starts_with() {
    let folder = tempfile::tempdir().expect("folder");
    for method in ["mls", "s2r2"] {
        let demo = Config::preset("demo").expect("preset").with_method(method).expect("method");
        let still = [
            "seed=7",
            "optimizer.lr=0.0",
            "model.width=4",
            "views.size=16",
            "train.batch=4",
            "train.steps=1",
            "train.groups=1",
        ];
        let config = still.iter().fold(demo, |config, setting| config.with(setting).expect("setting"));
        let run = Trainer::new(config.clone(), &folder.path().join(method), None)
            .expect("trainer")
            .run()
            .expect("run");
        let device = Device::cpu();
        let (ran, _) = checkpoint::load(&run.checkpoint, &device).expect("checkpoint");
        let fresh = config.encoder(&device).expect("encoder");
        let values = |encoder: &dyn Module| -> Vec<Vec<f32>> {
            encoder.trained().iter().map(|p| p.get().to_vec().expect("values")).collect()
        };
        assert!(values(&ran) == values(&fresh), "{method}");
        let other = Config { seed: 8, ..config }.encoder(&device).expect("encoder");
        assert!(values(&other) != values(&fresh), "the seed decides");
    }
}

#[test]
fn figures_of_nothing_usable_are_refused() {
    let run = tempfile::tempdir().expect("folder");
    refused(&["figures", "--checkpoint", "/no/such.safetensors"], &["/no/such.safetensors"]);
    let (out, checkpoint) = (path(run.path(), ""), path(run.path(), "checkpoint.safetensors"));
    done(&[&["pretrain", "--out", &out][..], &TINY].concat());
    let figures = ["figures", "--checkpoint", &checkpoint];
    for (args, part) in [
        (["--data", "/no/photos"], "/no/photos"),
        (["--labelled", "/no/classes"], "/no/classes"),
        (["--log", "/no/log.jsonl"], "/no/log.jsonl"),
        (["--queries", "0"], "--queries"),
        (["--slots", "1"], "--slots"),
        (["--maps", "65"], "--maps"),
    ] {
        refused(&[&figures[..], &args].concat(), &[part]);
    }
}

#[test]
fn a_sweep_skips_finished_runs_goes_on_with_the_rest_and_refuses_another_configuration() {
    let folder = tempfile::tempdir().expect("folder");
    let out = path(folder.path(), "sweep");
    let sweep = |values: &str, more: &[&str]| {
        let args = ["sweep", "--key", "method.tau", "--values", values, "--seeds", "3,4", "--out", &out];
        vista(&[&args[..], &TINY, more].concat())
    };
    let first = sweep("0.1", &[]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let log = folder.path().join("sweep/method.tau=0.1/seed=3/log.jsonl");
    let written = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).expect("a file");
    let before = written(&log);
    let more = sweep("0.1,0.01", &[]);
    assert!(more.status.success(), "{}", text(&more.stderr));
    assert_eq!(written(&log), before, "a finished run was run again");
    assert_eq!(text(&more.stderr).matches("finished before").count(), 2);
    let csv = std::fs::read_to_string(folder.path().join("sweep/sweep.csv")).expect("csv");
    assert_eq!(csv.lines().count(), 5, "{csv}");
    assert!(csv.starts_with("method.tau,seed,top1"), "{csv}");
    let all = json(&folder.path().join("sweep/sweep.json"));
    assert_eq!(all["means"][1]["figures"]["top1"]["count"], 2);
    let svg = std::fs::read_to_string(folder.path().join("sweep/sweep.svg")).expect("svg");
    assert_eq!(svg.matches("<circle").count(), 2);
    assert!(text(&more.stdout).contains(" ± "), "{}", text(&more.stdout));
    let other = sweep("0.1,0.01", &["--set", "views.size=20"]);
    let said = text(&other.stderr);
    assert_eq!((other.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("views.size was 16, is 20") && said.contains("method.tau=0.1"), "{said}");
}

#[test]
fn sweeps_that_cannot_be_are_refused_before_any_run() {
    let folder = tempfile::tempdir().expect("folder");
    let out = path(folder.path(), "sweep");
    let base = ["sweep", "--out", &out];
    for (args, part) in [
        (&["--key", "method.tua", "--values", "1"][..], "tua"),
        (&["--key", "train.batch", "--values", "2,1"], "train.batch"),
        (&["--key", "train.batch", "--values", "2,,4"], "--values 2,,4"),
        (&["--key", "train.batch", "--key", "method.views", "--values", "2"], "each --key"),
    ] {
        refused(&[&base[..], args].concat(), &[part]);
    }
    assert!(!Path::new(&out).exists(), "nothing is written for a sweep that can't be");
}
