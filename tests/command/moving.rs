//! Runs that go on elsewhere: from another working folder, with their photos in another place, after an edit.

use crate::program;

use std::fs;
use std::path::Path;
use std::process::Output;
use vista::pretrain::{Config, Found};
use vista::run::Settings;

const TINY: &str = "--device cpu --set model.width=4 --image-size 16 --batch 4 --views 2 --set eval.knn_k=2";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `vista pretrain` as it is called in a folder.
fn pretrain(folder: &Path, more: &str) -> Output {
    let args = ["pretrain"].into_iter().chain(more.split(' '));
    program::command(folder).args(args).output().expect("the program runs")
}

#[track_caller]
fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

/// Expects a refusal in one line that has these parts.
#[track_caller]
fn refused(output: Output, parts: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().filter(|line| !line.starts_with("warning")).count(), 1, "{said}");
    parts.iter().for_each(|part| assert!(said.contains(part), "no `{part}` in {said}"));
}

fn photo(path: &Path, shade: u8) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
    let image = image::RgbImage::from_fn(30, 20, |x, y| image::Rgb([shade, (x * 3) as u8, (x * y) as u8]));
    image.save(path).expect("a photo");
}

/// Photos of shades that begin with this one, in two classes, each in two splits.
fn photos(folder: &Path, shade: u8) {
    for (i, class) in ["a", "b", "a", "b", "a", "b", "a", "b"].iter().enumerate() {
        let split = if i < 4 { "train" } else { "test" };
        photo(&folder.join(split).join(class).join(format!("{i}.png")), shade + 10 * i as u8);
    }
}

fn step(run: &Path) -> u64 {
    Found::newest(run).expect("sound").expect("a checkpoint").step()
}

#[test]
fn a_run_goes_on_from_another_working_folder_and_with_its_photos_in_another_place() {
    let folder = tempfile::tempdir().expect("folder");
    let [home, away] = ["home", "away"].map(|name| folder.path().join(name));
    fs::create_dir_all(&away).expect("folder");
    photos(&home.join("photos"), 0);
    let run = home.join("run");
    let paths = "--data photos --labelled photos --out run";
    done(pretrain(&home, &format!("{TINY} {paths} --steps 2")));
    let config = Config::read(&run.join("config.toml")).expect("a configuration");
    assert_eq!(config.data.photos.as_deref(), Some(&*home.join("photos")), "absolute");
    assert_eq!(config.data.labelled.as_deref(), Some(&*home.join("photos")), "absolute");
    // From another folder, then with the same photos in another place, named as seen from there.
    done(pretrain(&away, "--resume --steps 4 --out ../home/run"));
    fs::rename(home.join("photos"), away.join("same")).expect("moved");
    refused(
        pretrain(&away, "--resume --steps 6 --out ../home/run"),
        &["no such file or folder", "home/photos"],
    );
    done(pretrain(&away, "--resume --steps 6 --out ../home/run --data same --labelled same"));
    assert_eq!(step(&run), 6);
    done(pretrain(&home, "--resume --steps 8 --out run"));
    // Photos of the same names, but others.
    photos(&away.join("other"), 9);
    let other = pretrain(&away, "--resume --steps 10 --out ../home/run --data other");
    refused(other, &["the photos have changed", "contents", "away/other"]);
    let other = pretrain(&away, "--resume --steps 10 --out ../home/run --labelled other");
    refused(other, &["the labelled photos have changed", "away/other"]);
    let longer = pretrain(&away, "--resume --steps 10 --out ../home/run --set method.tau=0.3");
    refused(longer, &["method.tau", "data.photos"]);
    assert_eq!(step(&run), 8);
    // What is built in is not a place.
    done(pretrain(&home, &format!("{TINY} --steps 1 --out built-in")));
    let photos = pretrain(&home, "--resume --steps 2 --out built-in --data ../away/same");
    refused(photos, &["data.photos was absent"]);
}

#[test]
fn a_run_that_goes_on_does_not_need_the_file_that_it_started_from() {
    let folder = tempfile::tempdir().expect("folder");
    let home = folder.path();
    photos(&home.join("photos"), 0);
    done(pretrain(home, &format!("{TINY} --data photos --steps 1 --out first")));
    fs::rename(home.join("first/checkpoint.safetensors"), home.join("init.safetensors")).expect("moved");
    done(pretrain(home, &format!("{TINY} --data photos --steps 2 --init init.safetensors --out run")));
    fs::remove_file(home.join("init.safetensors")).expect("removed");
    done(pretrain(home, "--resume --steps 3 --out run"));
    assert_eq!(step(&home.join("run")), 3);
}

#[test]
fn an_edited_configuration_is_named_when_a_run_goes_on_and_only_then() {
    let folder = tempfile::tempdir().expect("folder");
    let home = folder.path();
    let file = home.join("run/config.toml");
    photos(&home.join("photos"), 0);
    done(pretrain(home, &format!("{TINY} --preset demo --data photos --steps 1 --out run")));
    let said = done(pretrain(home, "--resume --steps 2 --out run"));
    assert!(!said.contains("config.toml was changed"), "{said}");
    let edit = |from: &str, to: &str| {
        let text = fs::read_to_string(&file).expect("text");
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).expect("written");
    };
    edit("lr = 0.001", "lr = 0.5");
    edit("\nsteps = 2", "\nsteps = 9");
    let said = done(pretrain(home, "--resume --steps 3 --out run"));
    let warning = said.lines().find(|line| line.starts_with("warning")).expect("a warning");
    for part in ["config.toml was changed", "optimizer.lr is 0.5 there, 0.001 in the checkpoint", "is used"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(warning.contains("train.steps is 9 there, 2 in the checkpoint"), "{warning}");
    assert_eq!(Config::read(&file).expect("sound").optimizer.lr, 0.001);
    // An edit that a flag takes up is not undone.
    edit("\nsteps = 3", "\nsteps = 4");
    let said = done(pretrain(home, "--resume --steps 4 --out run"));
    assert!(!said.contains("was changed"), "{said}");
    // A text that is no configuration, and none at all.
    fs::write(&file, "lr = = 3").expect("written");
    let said = done(pretrain(home, "--resume --steps 5 --out run"));
    assert!(
        said.contains("config.toml") && said.contains("the checkpoint's configuration is used"),
        "{said}"
    );
    fs::remove_file(&file).expect("removed");
    let said = done(pretrain(home, "--resume --steps 6 --out run"));
    assert!(!said.contains("the checkpoint's configuration") && file.exists(), "{said}");
}

#[test]
fn a_page_with_photos_is_made_from_any_folder_and_never_replaced_by_one_without() {
    let folder = tempfile::tempdir().expect("folder");
    let [home, away] = ["home", "away"].map(|name| folder.path().join(name));
    fs::create_dir_all(&away).expect("folder");
    photos(&home.join("photos"), 0);
    done(pretrain(&home, &format!("{TINY} --data photos --steps 2 --out run")));
    let page = home.join("run/report.html");
    let has_photos = || !fs::read_to_string(&page).expect("a page").contains(r#""gallery":{"missing""#);
    assert!(has_photos());
    let report = |more: &str| {
        let args = ["report", "../home/run"].into_iter().chain(more.split_whitespace());
        program::command(&away).args(args).output().expect("the program runs")
    };
    done(report(""));
    assert!(has_photos());
    fs::rename(home.join("photos"), home.join("gone")).expect("moved");
    let before = fs::read(&page).expect("a page");
    refused(report(""), &["report.html", "has photos", "home/photos", "--photos 0"]);
    assert_eq!(fs::read(&page).expect("a page"), before);
    done(report("--out other.html"));
    done(report("--photos 0"));
    assert!(!has_photos());
}
