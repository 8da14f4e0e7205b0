use super::*;

#[test]
fn charts_hold_the_logs_numbers_and_what_is_not_there_has_no_chart() {
    let folder = tempfile::tempdir().expect("folder");
    let config = Config::preset("demo").expect("preset").with("seed=7").expect("set");
    std::fs::write(folder.path().join("config.toml"), config.to_toml()).expect("written");
    let log = concat!(
        "{\"kind\":\"knn\",\"views\":0,\"top1\":0.25,\"balanced\":0.2,\"photos\":215,\"top1_error\":0.03,",
        "\"protocol\":\"leave_one_out\",\"initial_statistics\":{\"top1\":0.34,\"balanced\":0.3}}\n",
        "{\"kind\":\"step\",\"step\":1,\"views\":8,\"loss\":2.0,\"terms\":{\"a\":2.0},\"cosine\":0.5,\"seconds\":6}\n",
        "{\"kind\":\"step\",\"step\":2,\"views\":16,\"loss\":1.0,\"terms\":{\"a\":1.0},\"cosine\":0.7,\"seconds\":12}\n",
        "{\"kind\":\"warning\",\"step\":2,\"warning\":\"all the same\"}\n",
    );
    std::fs::write(folder.path().join("log.jsonl"), log).expect("written");
    let run = RunFacts::read(folder.path()).expect("run");
    let titles: Vec<&str> = run.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(titles, ["Loss", "kNN accuracy", "Mean cosine"]);
    let [loss] = &run.panels[0].series[..] else { panic!("a single term is the loss itself") };
    assert_eq!((loss.name.as_str(), &loss.points[..]), ("loss", &[(8.0, 2.0), (16.0, 1.0)][..]));
    let shown = charts(std::slice::from_ref(&run));
    let svg = shown[0]["svg"].as_str().expect("svg");
    for said in ["<title>loss 2\nviews seen 8</title>", "<title>loss 1\nviews seen 16</title>"] {
        assert!(svg.contains(said), "{svg}");
    }
    let both =
        charts(&[RunFacts { name: "a".into(), ..run.clone() }, RunFacts { name: "b".into(), ..run.clone() }]);
    let svg = both[1]["svg"].as_str().expect("svg");
    assert_eq!(both.as_array().map(Vec::len), Some(3), "those of one title together");
    for line in
        ["c0\" data-name=\"a top-1", "c0\" data-name=\"a balanced\" data-dashed", "c1\" data-name=\"b top-1"]
    {
        assert!(svg.contains(line), "{line}: {svg}");
    }
    let json = run.json;
    assert_eq!(json["warnings"][0]["warning"], "all the same");
    assert!(json["settings"].as_array().expect("list").contains(&json!(["seed", "7"])));
    assert!(json["facts"].to_string().contains("2 steps, 16 views, 0.2 minutes"));
    let knn = "0.250 ± 0.030 (untrained 0.250 ± 0.030; 0.340 with batch norm's statistics at 0 and 1)";
    for part in [knn, "215 photos, each among all others", "standard error"] {
        assert!(json["facts"].to_string().contains(part), "{part}: {}", json["facts"]);
    }
    let message = RunFacts::read(&folder.path().join("no")).unwrap_err().to_string();
    assert!(message.contains("no run here"), "{message}");
}
