use super::*;

fn history(records: impl IntoIterator<Item = serde_json::Value>) -> History {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("log.jsonl");
    let log: String = records.into_iter().map(|record| format!("{record}\n")).collect();
    std::fs::write(&path, log).expect("written");
    History::read(&path).expect("a log")
}

#[test]
fn there_is_a_panel_for_each_thing_that_was_logged() {
    let steps =
        (0..1000).map(|i| json!({"kind": "step", "views": i, "loss": 2.0, "terms": {"a": 1.0, "b": 1.0}}));
    let judged =
        [(0, 0.1), (999, 0.2)].map(|(views, top1)| json!({"kind": "knn", "views": views, "top1": top1}));
    let figure = curves(&history(steps.chain(judged))).expect("a figure");
    assert_eq!(figure.summary, "Loss, kNN accuracy");
    let names = |panel: usize| -> Vec<&str> {
        let series = figure.json["panels"][panel]["series"].as_array().expect("series");
        series.iter().filter_map(|s| s["name"].as_str()).collect()
    };
    assert_eq!((names(0), names(1)), (vec!["loss", "a", "b"], vec!["top-1"]));
    assert!(figure.json["panels"][0]["series"][2]["points"].as_array().expect("points").len() <= POINTS);
    let one = (0..1000).map(|i| json!({"kind": "step", "views": i, "loss": 1.0, "terms": {"a": 1.0}}));
    let panels = course(&history(one));
    assert_eq!(panels[0].series.len(), 1, "a single term is the loss itself");
    assert!(curves(&History::default()).is_none());
}

#[test]
fn a_collapse_has_its_limit_beside_the_curve() {
    let logged = [(0, 1.0), (8, 10.0), (16, 4.0)].map(|(views, value)| {
        json!({"kind": "step", "views": views, "cosine": value, "effective_rank": value, "gradient_norm": value})
    });
    let panels = course(&history(logged));
    let panel = |title: &str| panels.iter().find(|p| p.title == title).expect("a panel");
    assert_eq!((panel("Mean cosine").limit, panel("Effective rank").limit), (Some(0.99), Some(2.0)));
    assert!(panel("Effective rank").card().contains("class=\"limit\""));
    assert!(!panel("Gradient norm").card().contains("class=\"limit\""));
}
