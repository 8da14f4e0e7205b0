use super::*;
use crate::pretrain::Config;

fn run(value: &str, seed: u64, top1: Option<f64>) -> SweepRun {
    let outcome = |top1| Outcome {
        seed,
        top1: Some(top1),
        balanced: None,
        untrained: Some(0.1),
        loss: Some(2.0),
        steps: 10,
        seconds: 1.5,
    };
    SweepRun {
        values: vec![value.into()],
        config: Config::preset("demo").expect("preset"),
        folder: "out".into(),
        outcome: top1.map(outcome),
    }
}

#[test]
fn the_table_has_means_and_spreads_and_dashes_for_what_is_missing() {
    let runs = [run("5", 0, Some(0.5)), run("5", 1, Some(0.7)), run("20", 0, None)];
    let table = table(&["method.k".into()], &runs);
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..6], ["5", "2", "0.6000", "±", "0.1414", "-"]);
    assert_eq!(lines[2][..3], ["20", "0", "-"]);
}

#[test]
fn values_are_split_at_commas_outside_brackets() {
    assert_eq!(split("1, 5,20"), ["1", "5", "20"]);
    assert_eq!(split("[0.2,1.0],[0.5,1.0]"), ["[0.2,1.0]", "[0.5,1.0]"]);
    let message = |keys: &[&str], values: &[&str]| {
        let owned = |all: &[&str]| all.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        axes(&owned(keys), &owned(values)).unwrap_err().to_string()
    };
    assert!(message(&["a", "b"], &["1"]).contains("each --key"));
    assert!(message(&["a"], &["1,,2"]).contains("--values 1,,2"));
}

#[test]
fn the_files_hold_every_finished_run() {
    let folder = tempfile::tempdir().expect("folder");
    let runs = [run("5", 0, Some(0.5)), run("5", 1, Some(0.7)), run("20", 0, None)];
    write(folder.path(), &["method.k".into()], &runs).expect("written");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    assert_eq!(read("sweep.csv").lines().count(), 3);
    assert!(read("sweep.csv").contains("5,1,0.7,,0.1,2,10,1.5"), "{}", read("sweep.csv"));
    let json: serde_json::Value = serde_json::from_str(&read("sweep.json")).expect("json");
    assert_eq!(json["means"][0]["figures"]["top1"]["count"], 2);
    assert_eq!(read("sweep.svg").matches("<circle").count(), 1);
}
