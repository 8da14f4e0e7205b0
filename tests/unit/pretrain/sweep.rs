use super::*;

fn sweep(axes: &[(&str, &[&str])], seeds: &[u64]) -> Sweep {
    let owned =
        |(key, values): &(&str, &[&str])| (key.to_string(), values.iter().map(|v| v.to_string()).collect());
    Sweep { axes: axes.iter().map(owned).collect(), seeds: seeds.to_vec() }
}

fn tiny() -> Config {
    let settings = ["model.width=4", "views.size=8", "train.batch=2", "method.views=2", "train.steps=1"];
    let demo = Config::preset("demo").expect("preset");
    let config = settings.iter().fold(demo, |config, s| config.with(s).expect("set"));
    config.with("eval.knn_k=1").expect("set")
}

#[test]
fn a_grid_has_every_combination_and_seed_in_a_folder_of_its_own() {
    let sweep = sweep(&[("train.batch", &["2", "4"]), ("method.name", &["s2r2", "mls"])], &[5, 6]);
    let runs = sweep.plan(&tiny(), Path::new("out")).expect("plan");
    assert_eq!(runs.len(), 8);
    assert_eq!(runs[3].values, ["2", "mls"]);
    assert_eq!(runs[3].folder, Path::new("out/train.batch=2,method.name=mls/seed=6"));
    assert_eq!((runs[3].config.train.batch, runs[7].config.train.batch, runs[3].config.seed), (2, 4, 6));
}

#[test]
fn a_finished_run_is_not_run_again_and_another_configuration_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let sweep = sweep(&[("method.tau", &["0.1", "0.05"])], &[]);
    let mut runs = sweep.plan(&tiny(), folder.path()).expect("plan");
    assert!(runs.iter().all(|run| run.outcome.is_none()));
    runs[0].run(None).expect("run");
    let outcome = runs[0].outcome.clone().expect("an outcome");
    assert!(outcome.steps == 1 && outcome.top1.is_none() && outcome.loss.is_some(), "{outcome:?}");
    let again = sweep.plan(&tiny(), folder.path()).expect("plan");
    assert_eq!(again[0].outcome.as_ref(), Some(&outcome));
    assert!(again[1].outcome.is_none(), "the second was never run");
    let other = tiny().with("train.steps=2").expect("set");
    let message = sweep.plan(&other, folder.path()).unwrap_err().to_string();
    assert!(message.contains("train.steps was 1, is 2") && message.contains("tau=0.1"), "{message}");
    // A run that was cut off has no result, so that any configuration may take its place.
    std::fs::remove_file(folder.path().join("method.tau=0.1/result.json")).expect("removed");
    assert!(sweep.plan(&other, folder.path()).expect("plan")[0].outcome.is_none());
}

#[test]
fn what_no_run_can_have_is_refused_before_the_first_one() {
    let message =
        |axes: &[(&str, &[&str])]| sweep(axes, &[]).plan(&tiny(), Path::new("out")).unwrap_err().to_string();
    assert!(message(&[("method.tua", &["1"])]).contains("--key method.tua --values 1"));
    assert!(message(&[("train.batch", &["2", "1"])]).contains("train.batch"));
    assert!(message(&[("train.batch", &["2", "2"])]).contains("two runs"));
}

#[test]
fn spread_is_the_sample_standard_deviation() {
    let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0]).expect("four");
    assert_eq!((spread.count, spread.mean), (4, 2.5));
    assert!((spread.std - (5.0f64 / 3.0).sqrt()).abs() < 1e-12);
    assert_eq!(Spread::of(&[7.0]).map(|s| s.std), Some(0.0));
    assert_eq!(Spread::of(&[]), None);
}
