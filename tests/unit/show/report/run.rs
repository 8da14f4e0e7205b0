use super::*;

/// A run's folder with this log.
fn folder(log: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let config = Config::preset("demo").expect("preset").with("seed=7").expect("set");
    std::fs::write(folder.path().join("config.toml"), config.to_toml()).expect("written");
    std::fs::write(folder.path().join("log.jsonl"), log).expect("written");
    folder
}

fn run(log: &str) -> RunFacts {
    RunFacts::read(folder(log).path()).expect("a run")
}

const LOG: &str = concat!(
    "{\"kind\":\"knn\",\"views\":0,\"top1\":0.25,\"balanced\":0.2,\"photos\":215,\"top1_error\":0.03,\"protocol\":\"leave_one_out\",",
    "\"initial_statistics\":{\"top1\":0.34,\"balanced\":0.3,\"error\":0.03},\"colour\":{\"top1\":0.5,\"balanced\":0.4,\"error\":0.04}}\n",
    "{\"kind\":\"step\",\"step\":1,\"views\":8,\"loss\":2.0,\"terms\":{\"a\":2.0},\"cosine\":0.5,\"seconds\":6,",
    "\"waiting\":0.5,\"decoding\":0.1,\"augmenting\":0.2}\n",
    "{\"kind\":\"step\",\"step\":2,\"views\":16,\"loss\":1.0,\"terms\":{\"a\":1.0},\"cosine\":0.7,\"seconds\":12,",
    "\"waiting\":0.1,\"decoding\":0.3,\"augmenting\":0.2}\n",
    "{\"kind\":\"knn\",\"views\":16,\"top1\":0.75,\"balanced\":0.7,\"photos\":215,\"top1_error\":0.02,\"protocol\":\"leave_one_out\"}\n",
    "{\"kind\":\"warning\",\"step\":2,\"warning\":\"all the same\"}\n",
);

#[test]
fn charts_hold_the_logs_numbers_and_what_is_not_there_has_no_chart() {
    let run = run(LOG);
    let titles: Vec<&str> = run.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["kNN accuracy", "Loss", "Mean cosine", "Photos"]);
    let [loss] = &run.panels[1].series[..] else { panic!("a single term is the loss itself") };
    assert_eq!((loss.name.as_str(), &loss.points[..]), ("loss", &[(8.0, 2.0), (16.0, 1.0)][..]));
    let shown = charts(std::slice::from_ref(&run));
    let svg = shown[1]["svg"].as_str().expect("svg");
    for said in ["<title>loss 2\nviews seen 8</title>", "<title>loss 1\nviews seen 16</title>"] {
        assert!(svg.contains(said), "{svg}");
    }
    let both = charts(&[
        RunFacts { name: "runs/a".into(), ..run.clone() },
        RunFacts { name: "runs/b".into(), ..run.clone() },
    ]);
    let svg = both[0]["svg"].as_str().expect("svg");
    assert_eq!(both.as_array().map(Vec::len), Some(4), "those of one title together");
    for line in
        ["c0\" data-name=\"a top-1", "c0\" data-name=\"a balanced\" data-dashed", "c1\" data-name=\"b top-1"]
    {
        assert!(svg.contains(line), "{line}: {svg}");
    }
    let message = RunFacts::read(std::path::Path::new("no such folder")).unwrap_err().to_string();
    assert!(message.contains("no run here"), "{message}");
}

#[test]
fn the_headline_says_what_was_trained_and_how_good_it_is_beside_its_floors() {
    let json = run(LOG).json;
    assert_eq!(json["warnings"][0]["warning"], "all the same");
    assert!(json["settings"].as_array().expect("list").contains(&json!(["seed", "7"])));
    let lead = json["lead"].as_str().expect("text");
    for part in ["s2r2 trained a resnet18", "the bundled photos", "for 0.2 minutes", "2 steps and 16 views"] {
        assert!(lead.contains(part), "{part}: {lead}");
    }
    let rows: Vec<(&str, f64, f64)> = (0..4)
        .map(|i| &json["knn"]["rows"][i])
        .map(|row| {
            let number = |key: &str| row[key].as_f64().expect("a number");
            (row["name"].as_str().expect("a name"), number("top1"), number("error"))
        })
        .collect();
    let wanted = [
        ("trained", 0.75, 0.02),
        ("colour alone", 0.5, 0.04),
        ("untrained", 0.25, 0.03),
        ("untrained, statistics 0 and 1", 0.34, 0.03),
    ];
    assert_eq!(rows, wanted);
    let judged = json["knn"]["judged"].as_str().expect("text");
    assert!(judged.contains("215 photos, each among all others"), "{judged}");
    // Of twelve seconds 0.5 of the first six and 0.1 of the last were waited.
    let parts = |bar: usize| json["time"][bar]["parts"].as_array().expect("parts").clone();
    assert_eq!(parts(0)[0], json!(["waiting for photos", 0.3]));
    let threads: Vec<f64> = parts(1).iter().filter_map(|part| part[1].as_f64()).collect();
    assert!(threads.iter().zip([0.2, 0.2, 0.6]).all(|(a, b)| (a - b).abs() < 1e-9), "{threads:?}");
}

#[test]
fn a_run_says_whether_it_goes_on_ended_was_stopped_or_left() {
    let word = |folder: &Path| RunFacts::read(folder).expect("a run").json["state"]["word"].clone();
    let left = folder(LOG);
    assert_eq!(word(left.path()), "quiet");
    let lock = std::fs::File::create(left.path().join("lock")).expect("a file");
    lock.lock().expect("locked");
    assert_eq!(word(left.path()), "running");
    for (how, expected) in [("done", "ended"), ("interrupted", "stopped"), ("failed", "failed")] {
        let log = format!("{LOG}{{\"kind\":\"end\",\"step\":2,\"seconds\":12,\"how\":\"{how}\"}}\n");
        assert_eq!(word(folder(&log).path()), expected);
    }
}

#[test]
fn runs_that_were_judged_on_different_photos_are_not_drawn_in_one_frame() {
    let digest = |test: &str| {
        let sets = json!({"train": {"count": 9, "digest": "aa"}, "test": {"count": 215, "digest": test}});
        run(&format!("{}\n{LOG}", json!({"kind": "start", "step": 0, "labelled": sets})))
    };
    let counts = |photos: &str| run(&LOG.replace("215", photos));
    let accuracies = |runs: &[RunFacts]| {
        let charts = charts(runs);
        let titles = charts.as_array().expect("charts").iter().filter_map(|chart| chart["title"].as_str());
        (different_sets(runs), titles.filter(|title| title.starts_with(JUDGED)).count())
    };
    assert_eq!(accuracies(&[digest("bb"), digest("bb")]), (false, 1));
    assert_eq!(accuracies(&[digest("bb"), digest("cc")]), (true, 2), "the digest decides");
    assert_eq!(accuracies(&[digest("bb"), run(LOG)]), (false, 1), "without one place and count do");
    assert_eq!(accuracies(&[run(LOG), counts("99")]), (true, 2));
}

#[test]
fn runs_are_called_by_what_tells_their_folders_apart() {
    let names = |folders: &[&str]| {
        let run = run("");
        names(
            &folders
                .iter()
                .map(|name| RunFacts { name: name.to_string(), ..run.clone() })
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(names(&["/x/runs/a", "/x/runs/b/c"]), ["a", "b/c"]);
    assert_eq!(names(&["/x/runs/a"]), ["a"]);
    assert_eq!(names(&["a", "/x/a"]), ["a", "/x/a"]);
    assert_eq!(
        [grouped(0), grouped(999), grouped(276_992), grouped(1_000_000)],
        ["0", "999", "276,992", "1,000,000"]
    );
}
