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
    assert_eq!(figure.summary, "kNN accuracy, Loss");
    let names = |panel: usize| -> Vec<&str> {
        let series = figure.json["panels"][panel]["series"].as_array().expect("series");
        series.iter().filter_map(|s| s["name"].as_str()).collect()
    };
    assert_eq!((names(1), names(0)), (vec!["loss", "a", "b"], vec!["top-1"]));
    assert!(figure.json["panels"][1]["series"][2]["points"].as_array().expect("points").len() <= POINTS);
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
    let limit =
        |title: &str| panel(title).levels.iter().map(|level| (level.at, level.warns)).collect::<Vec<_>>();
    assert_eq!((limit("Mean cosine"), limit("Effective rank")), (vec![(0.99, true)], vec![(2.0, true)]));
    assert!(panel("Effective rank").card().contains("class=\"level limit\""));
    assert!(!panel("Gradient norm").card().contains("class=\"level"));
}

#[test]
fn since_which_step_values_are_past_the_line_is_said_if_they_still_are() {
    let note = |cosines: &[f64]| {
        let steps = cosines.iter().enumerate().map(
            |(i, cosine)| json!({"kind": "step", "step": i + 1, "views": 8 * (i + 1), "cosine": cosine}),
        );
        course(&history(steps))[0].note.clone()
    };
    assert!(note(&[0.5, 0.995, 0.7, 0.991, 0.999]).ends_with("over the line since step 4."));
    assert!(!note(&[0.5, 0.995, 0.7]).contains("since"));
}

#[test]
fn accuracy_has_its_floors_and_errors_and_what_is_measured_at_each_step_is_smoothed() {
    let first = json!({"kind": "knn", "step": 0, "views": 0, "top1": 0.4, "top1_error": 0.03, "balanced": 0.3,
        "initial_statistics": {"top1": 0.2}, "colour": {"top1": 0.5}});
    let steps = (0..100).map(|i| json!({"kind": "step", "step": i, "views": i, "loss": 2.0, "lr": 0.1}));
    let panels = course(&history([first].into_iter().chain(steps)));
    let [knn, loss, rate] = &panels[..] else { panic!("{} charts", panels.len()) };
    let names: Vec<&str> = knn.levels.iter().map(|level| level.name.as_str()).collect();
    assert_eq!(names, ["untrained 40.0 %", "colour alone 50.0 %"]);
    assert_eq!(knn.series[0].mark, Mark::Dots { spread: vec![0.03] });
    assert!(matches!(loss.series[0].mark, Mark::Smoothed { window: 6 }));
    assert_eq!(rate.series[0].mark, Mark::Line);
}
