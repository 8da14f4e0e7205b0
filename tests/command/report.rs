//! Reports by the command: what is on the page, for one run and for several, with and without photos.

use crate::program;

use program::vista;
use serde_json::Value;
use std::path::Path;

/// What a command prints; it must succeed.
fn said(args: &[&str]) -> String {
    let output = vista(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

/// A run of three steps.
fn pretrain(out: &Path, more: &[&str]) {
    let tiny = [
        "pretrain",
        "--steps",
        "3",
        "--batch",
        "4",
        "--views",
        "2",
        "--image-size",
        "16",
        "--set",
        "model.width=4",
    ];
    said(&[&tiny[..], &["--out", text(out)], more].concat());
}

/// The data of a page.
fn data(page: &Path) -> Value {
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once("id=\"data\">").expect("data");
    let (data, _) = rest.split_once("</script>").expect("an end");
    serde_json::from_str(data).expect("json")
}

#[test]
fn a_report_of_a_run_needs_no_network_and_holds_curves_command_photos_neighbours_maps_and_figures() {
    let folder = tempfile::tempdir().expect("folder");
    let run = folder.path().join("run");
    pretrain(&run, &[]);
    assert!(said(&["report", text(&run), "--photos", "40"]).contains("report.html"));
    let path = run.join("report.html");
    let page = std::fs::read_to_string(&path).expect("the page");
    for outside in ["src=\"http", "href=\"http", "url(http", "@import", "<link rel=\"stylesheet\""] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains("{{"), "a part of the template was not filled");
    let data = data(&path);
    let charts = data["charts"].as_array().expect("charts");
    let titles: Vec<&str> = charts.iter().filter_map(|c| c["title"].as_str()).collect();
    for title in [
        "Loss",
        "kNN accuracy",
        "Gradient norm",
        "Gradient norms of the terms",
        "Learning rate",
        "Effective rank",
        "Speed",
        "Photos",
        "Memory",
    ] {
        assert!(titles.contains(&title), "{titles:?}");
    }
    let command = data["runs"][0]["command"].as_str().expect("command");
    for part in ["vista pretrain", "--set model.width=4", "--set train.steps=3", "--set views.size=16"] {
        assert!(command.contains(part), "{command}");
    }
    let gallery = &data["gallery"];
    let photos = gallery["photos"].as_array().expect("photos");
    assert_eq!((photos.len(), gallery["of"].as_u64()), (40, Some(573)));
    for (row, photo) in photos.iter().enumerate() {
        let near = photo["near"].as_array().expect("neighbours");
        assert_eq!(near.len(), 8);
        let cosines: Vec<f64> = near.iter().filter_map(|n| n[1].as_f64()).collect();
        assert!(cosines.is_sorted_by(|a, b| a >= b) && near.iter().all(|n| n[0] != row), "{near:?}");
        for crop in ["query", "key"] {
            let [x, y, w, h] = [0, 1, 2, 3].map(|i| photo[crop][i].as_f64().expect("a number"));
            assert!(
                x >= 0.0 && y >= 0.0 && w > 0.0 && h > 0.0 && x + w <= 100.02 && y + h <= 100.02,
                "{photo}"
            );
        }
        assert!(photo["jpeg"].as_str().expect("jpeg").starts_with("/9j/"));
    }
    let maps = gallery["maps"].as_array().expect("maps");
    assert_eq!(maps.iter().filter_map(|m| m["name"].as_str()).collect::<Vec<_>>(), ["PCA", "t-SNE"]);
    // The run's own photos have no labels: twenty that it is judged on are on the maps too.
    let labelled = gallery["labelled"].as_array().expect("photos");
    assert!(
        labelled.len() == 20
            && labelled.iter().all(|photo| photo["labels"].as_array().is_some_and(|l| l.len() == 1))
    );
    assert_eq!(gallery["classes"].as_array().map(Vec::len), Some(6));
    assert!(maps.iter().all(|m| m["at"].as_array().is_some_and(|at| at.len() == 60)));
    let figures: Vec<&str> =
        gallery["figures"].as_array().expect("figures").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(figures, ["fig3_scores", "fig4_neighbours"]);
    let rows = gallery["figures"][1]["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 6, "five and the worst");
    for row in rows {
        let (query, near) = (
            row[0].as_u64().expect("a photo") as usize,
            &photos[row[0].as_u64().expect("a photo") as usize]["near"],
        );
        assert!(
            query < 40
                && row[1]
                    .as_array()
                    .expect("neighbours")
                    .iter()
                    .zip(near.as_array().expect("all"))
                    .all(|(a, b)| a == b)
        );
    }
    assert_eq!(data["runs"][0]["state"]["word"], "ended");
    let knn = data["runs"][0]["knn"]["rows"].as_array().expect("rows");
    let names: Vec<&str> = knn.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["trained", "colour alone", "untrained", "untrained, statistics 0 and 1"]);
    assert!(knn.iter().all(|row| row["error"].as_f64().is_some_and(|error| error > 0.0)), "{knn:?}");
    let shares = data["runs"][0]["time"].as_array().expect("bars");
    assert_eq!(shares.len(), 2, "of the run and of the loader's threads");
    for bar in shares {
        let parts = bar["parts"].as_array().expect("parts").iter().filter_map(|part| part[1].as_f64());
        assert!((parts.sum::<f64>() - 1.0).abs() < 0.05, "{bar}");
    }
}

#[test]
fn several_runs_are_compared_and_their_photos_left_to_their_own_reports() {
    let folder = tempfile::tempdir().expect("folder");
    let [a, b, out] = ["a", "b", "both.html"].map(|name| folder.path().join(name));
    pretrain(&a, &[]);
    pretrain(&b, &["--set", "optimizer.lr=0.002"]);
    said(&["report", text(&a), text(&b), "--out", text(&out)]);
    let data = data(&out);
    assert_eq!(data["runs"].as_array().expect("runs").len(), 2);
    let rate = |run: usize| {
        let settings = data["runs"][run]["settings"].as_array().expect("settings");
        settings.iter().find(|s| s[0] == "optimizer.lr").expect("the rate")[1].clone()
    };
    assert_eq!([rate(0), rate(1)], ["0.001", "0.002"]);
    assert!(data["gallery"]["missing"].as_str().expect("why").contains("comparison"));
    assert_eq!((&data["apart"], &data["names"]), (&Value::Bool(false), &serde_json::json!(["a", "b"])));
}

#[test]
fn a_run_whose_photos_are_gone_has_a_page_without_them_and_no_run_is_one_clear_line() {
    let folder = tempfile::tempdir().expect("folder");
    let [run, photos] = ["run", "photos"].map(|name| folder.path().join(name));
    std::fs::create_dir(&photos).expect("folder");
    for i in 0..8u8 {
        let shade = |x, y| image::Rgb([i * 30, (x * y) as u8, 99]);
        image::RgbImage::from_fn(30, 30, shade).save(photos.join(format!("{i}.png"))).expect("a photo");
    }
    pretrain(&run, &["--data", text(&photos)]);
    std::fs::remove_dir_all(&photos).expect("removed");
    // The page that is there has them and would not be replaced.
    std::fs::remove_file(run.join("report.html")).expect("removed");
    let output = vista(&["report", text(&run)]);
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && warned.contains(text(&photos)), "{warned}");
    assert!(
        data(&run.join("report.html"))["gallery"]["missing"].as_str().expect("why").contains("No photos")
    );

    for command in ["report", "watch"] {
        let output = vista(&[command, text(folder.path())]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains("no run here") && said.contains("vista pretrain"), "{said}");
    }
}

#[test]
fn identical_photos_are_known_as_such_and_similar_ones_are_not() {
    let folder = tempfile::tempdir().expect("folder");
    let [run, photos] = ["run", "photos"].map(|name| folder.path().join(name));
    std::fs::create_dir(&photos).expect("folder");
    for i in 0..8u8 {
        let shade = |x, y| image::Rgb([i.max(1) * 30, (x * y) as u8, 99]);
        image::RgbImage::from_fn(30, 30, shade).save(photos.join(format!("{i}.png"))).expect("a photo");
    }
    pretrain(&run, &["--data", text(&photos)]);
    let page = data(&run.join("report.html"));
    let photos = page["gallery"]["photos"].as_array().expect("photos");
    let pixels = |name: &str| &photos.iter().find(|p| p["name"] == name).expect("a photo")["pixels"];
    assert_eq!(pixels("0.png"), pixels("1.png"), "0 and 1 have the same pixels");
    assert_ne!(pixels("0.png"), pixels("2.png"));
}

#[test]
fn photos_of_a_report_by_a_gpu_are_those_by_the_cpu() {
    let folder = tempfile::tempdir().expect("folder");
    let run = folder.path().join("run");
    pretrain(&run, &["--device", "cpu"]);
    let gallery = |device: &str| {
        said(&["report", text(&run), "--photos", "24", "--device", device]);
        data(&run.join("report.html"))["gallery"].clone()
    };
    let (cpu, gpu) = (gallery("cpu"), gallery("gpu"));
    let near = |gallery: &Value| -> Vec<(f64, f64)> {
        let photos = gallery["photos"].as_array().expect("photos");
        let all = photos.iter().flat_map(|photo| photo["near"].as_array().expect("neighbours"));
        all.map(|n| (n[0].as_f64().expect("a photo"), n[1].as_f64().expect("a cosine"))).collect()
    };
    let (cpu, gpu) = (near(&cpu), near(&gpu));
    assert_eq!((cpu.len(), gpu.len()), (24 * 8, 24 * 8));
    // Cosines are rounded to thousandths; of two that are as near either may come first.
    assert!(cpu.iter().zip(&gpu).all(|(a, b)| (a.1 - b.1).abs() < 2e-3), "{cpu:?} {gpu:?}");
    let same = cpu.iter().zip(&gpu).filter(|(a, b)| a.0 == b.0).count();
    assert!(same > 24 * 8 * 9 / 10, "{same} neighbours are the same");
}
