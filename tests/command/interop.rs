//! Encoders that leave and arrive, and features of a person's own photos, by the command.

use crate::program;

use program::vista;
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use vista::engine::nn::Module;
use vista::interop::{Array, Weights};
use vista::pretrain::checkpoint::{self, Progress};
use vista::pretrain::{Config, starting_encoder};
use vista::{Device, interop};

/// What a command prints; it must succeed.
fn said(args: &[&str]) -> String {
    let output = vista(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Expects a refusal in one line that has these parts.
fn refused(args: &[&str], parts: &[&str]) {
    let output = vista(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert_eq!(said.lines().filter(|l| !l.starts_with("warning")).count(), 1, "{said}");
    parts.iter().for_each(|part| assert!(said.contains(part), "{args:?} does not say `{part}`: {said}"));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

/// An encoder of this width as `vista pretrain` leaves it.
fn encoder(folder: &TempDir, width: usize) -> PathBuf {
    let path = folder.path().join(format!("width{width}.safetensors"));
    let settings = ["model.stem=imagenet", &format!("model.width={width}"), "seed=3"];
    let config = Config::preset("demo").expect("preset");
    let config = settings.iter().fold(config, |config, setting| config.with(setting).expect("set"));
    let encoder = config.encoder(&Device::cpu()).expect("encoder");
    checkpoint::save(&path, &encoder, &config, Progress { epoch: 0, step: 0 }).expect("saved");
    path
}

/// Photos of one colour each, from black to white, in folders.
fn photos(folder: &TempDir, count: u8) -> PathBuf {
    let place = folder.path().join("photos");
    std::fs::create_dir_all(place.join("inner")).expect("folder");
    for i in 0..count {
        let shade = |x: u32, y: u32| image::Rgb([i * 20, ((x * y) % 50) as u8, (255 - i * 20) / 2]);
        let name = if i % 2 == 0 { format!("{i:02}.png") } else { format!("inner/{i:02}.png") };
        image::RgbImage::from_fn(40, 50, shade).save(place.join(name)).expect("a photo");
    }
    place
}

#[test]
fn a_backbone_leaves_with_the_names_and_layout_of_each_library() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = encoder(&folder, 64);
    for (format, convolution, norm) in [
        ("torchvision", "layer2.0.conv1.weight", "layer2.0.downsample.1.running_var"),
        ("timm", "layer2.0.conv1.weight", "layer2.0.downsample.1.running_var"),
        ("detectron2", "res3.0.conv1.weight", "res3.0.shortcut.norm.running_var"),
    ] {
        let told = said(&["export", "--checkpoint", text(&checkpoint), "--format", format]);
        let path = folder.path().join(format!("backbone-{format}.safetensors"));
        assert!(told.contains(text(&path)) && told.contains("resnet18"), "{told}");
        let bytes = std::fs::read(path).expect("the file");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        assert_eq!(file.tensor(convolution).expect(convolution).shape(), [128, 64, 3, 3]);
        assert_eq!(file.tensor(norm).expect(norm).shape(), [128]);
        // 20 convolutions, 20 batch norms of four arrays each, and no head.
        assert_eq!(file.len(), 100, "{format}");
    }
}

/// The texts of a file's metadata.
fn facts(file: &Path) -> HashMap<String, String> {
    let bytes = std::fs::read(file).expect("the file");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("safetensors");
    header.metadata().clone().expect("metadata")
}

#[test]
fn the_printed_program_and_the_metadata_have_the_transform_of_judging() {
    let folder = tempfile::tempdir().expect("folder");
    let run = folder.path().join("run");
    std::fs::create_dir(&run).expect("folder");
    std::fs::rename(encoder(&folder, 64), run.join("checkpoint.safetensors")).expect("moved");
    for format in ["torchvision", "timm", "detectron2", "onnx"] {
        // A run's folder stands for its checkpoint.
        let export = ["export", "--checkpoint", text(&run), "--format", format, "--image-size", "48"];
        let told = said(&export);
        for part in ["import ", "(48, 48)", "[0.485, 0.456, 0.406]", "photo.draft", "photo.jpg", text(&run)] {
            assert!(told.contains(part), "{format}: no `{part}` in {told}");
        }
        assert_eq!(told.contains("net.eval()"), format != "onnx", "{told}");
        let json: serde_json::Value =
            serde_json::from_str(&said(&[&export[..], &["--json", "-"]].concat())).expect("JSON");
        assert!(told.ends_with(json["python"].as_str().expect("a program")), "{told}");
        if format != "onnx" {
            let facts = facts(Path::new(json["file"].as_str().expect("a file")));
            assert!(told.contains(&facts["transform"]), "{told}");
            assert_eq!((facts["image_size"].as_str(), &*facts["mean"]), ("48", "[0.485, 0.456, 0.406]"));
            for (key, value) in json["transform"].as_object().expect("facts") {
                assert_eq!(Some(&facts[key][..]), value.as_str(), "{key}");
            }
        }
    }
    let told = said(&["export", "--checkpoint", text(&run), "--format", "onnx", "--with-transform"]);
    assert!(told.contains("\"photos\": ") && !told.contains("BILINEAR"), "{told}");
    let onnx = std::fs::read(run.join("backbone.onnx")).expect("the file");
    let has = |part: &str| onnx.windows(part.len()).any(|window| window == part.as_bytes());
    assert!(has("interpolation") && has("photos") && has("photo.draft"));
    refused(
        &["export", "--checkpoint", text(&run), "--format", "timm", "--with-transform"],
        &["timm", "--with-transform", "--format onnx"],
    );
}

/// A Python that has these modules, if one is here: `VISTA_PYTHON`, or `python3`.
fn python(modules: &str) -> Option<Command> {
    let python = std::env::var_os("VISTA_PYTHON").unwrap_or("python3".into());
    let found = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    found.is_ok_and(|output| output.status.success()).then(|| Command::new(python))
}

#[test]
fn the_printed_program_as_it_is_printed_finds_the_features_that_vista_finds() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = encoder(&folder, 64);
    let photo = folder.path().join("photo.jpg");
    let table = folder.path().join("f.safetensors");
    for (format, modules) in [
        ("torchvision", "torch, torchvision, PIL, safetensors"),
        ("timm", "torch, timm, PIL, safetensors"),
        ("onnx", "onnxruntime, PIL"),
        ("onnx --with-transform", "onnxruntime, PIL"),
    ] {
        let Some(mut python) = python(modules) else {
            println!("not tested: {format}: no Python with {modules} is here (VISTA_PYTHON names one)");
            continue;
        };
        let format: Vec<&str> = format.split(' ').collect();
        let program =
            said(&[&["export", "--checkpoint", text(&checkpoint), "--format"], &format[..]].concat());
        let program = program + "print(*np.asarray(features)[0])\n";
        // One that is decoded whole, one at a half, one that is turned and square.
        for (width, height, turned) in [(150, 110, false), (700, 500, false), (90, 90, true)] {
            jpeg(&photo, width, height, turned);
            said(&["embed", text(folder.path()), "--checkpoint", text(&checkpoint), "--out", text(&table)]);
            let bytes = std::fs::read(&table).expect("a table");
            let ours = SafeTensors::deserialize(&bytes).expect("safetensors");
            let ours: Vec<f32> =
                bytemuck::pod_collect_to_vec(ours.tensor("features").expect("features").data());
            let output = python.args(["-c", &program]).current_dir(&folder).output().expect("Python");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let theirs: Vec<f32> = said.split_whitespace().map(|v| v.parse().expect("a number")).collect();
            assert_eq!((theirs.len(), ours.len()), (512, 512));
            let size = ours.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            let apart = theirs.iter().zip(&ours).map(|(a, b)| (a - b).abs() / size);
            let apart = apart.fold(0.0, |most: f32, v| if v > most || v.is_nan() { v } else { most });
            println!("{format:?} {width}x{height}: at most {apart:.1e} of the largest feature");
            // A graph that resizes has weights in f32, and now and then a byte that is one apart.
            let most = if format.contains(&"--with-transform") { 1e-3 } else { 1e-4 };
            assert!(apart < most, "{format:?}, {width}x{height}: {apart}");
            python = Command::new(python.get_program());
        }
    }
}

/// A JPEG of shapes and noise, with an orientation of EXIF that turns it if `turned`.
fn jpeg(path: &Path, width: u32, height: u32, turned: bool) {
    let pixel =
        |x: u32, y: u32| image::Rgb([((x * 7) ^ (y * 3)) as u8, (x * y / 50) as u8, (x / 3 + y * 2) as u8]);
    image::RgbImage::from_fn(width, height, pixel).save(path).expect("a photo");
    if turned {
        let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let plain = std::fs::read(path).expect("a photo");
        std::fs::write(path, [&plain[..2], exif, &plain[2..]].concat()).expect("written");
    }
}

#[test]
fn an_export_is_whole_or_not_there() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = encoder(&folder, 4);
    let export = ["export", "--checkpoint", text(&checkpoint), "--format", "onnx"];
    said(&export);
    let out = folder.path().join("backbone.onnx");
    let before = std::fs::read(&out).expect("the file");
    // As on a full disk: what is written beside it can't be.
    std::fs::create_dir(folder.path().join(".backbone.onnx.part")).expect("folder");
    let output = vista(&[&export[..], &["--with-transform"]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(&out).expect("the file"), before);
}

#[test]
fn what_a_library_cannot_hold_is_refused_but_leaves_as_onnx() {
    let folder = tempfile::tempdir().expect("folder");
    let narrow = encoder(&folder, 4);
    let export = |format| ["export", "--checkpoint", text(&narrow), "--format", format];
    refused(&export("torchvision"), &["64 wide", "4 wide", "--format onnx"]);
    assert!(said(&export("onnx")).contains("onnxruntime"));
    assert!(std::fs::metadata(folder.path().join("backbone.onnx")).expect("the file").len() > 10_000);
    refused(
        &[&export("onnx")[..], &["--out", "/no/such/folder/x.onnx"]].concat(),
        &["/no/such/folder", "--out"],
    );
}

#[test]
fn an_exported_encoder_comes_back_to_the_bit_from_each_librarys_names() {
    let folder = tempfile::tempdir().expect("folder");
    let checkpoint = encoder(&folder, 64);
    let (before, _) = checkpoint::load(&checkpoint, &Device::cpu()).expect("loaded");
    let [file, again] = ["there.safetensors", "back.safetensors"].map(|name| folder.path().join(name));
    for format in ["torchvision", "detectron2"] {
        said(&["export", "--checkpoint", text(&checkpoint), "--format", format, "--out", text(&file)]);
        let told = said(&["import", text(&file), "--out", text(&again), "--image-size", "48"]);
        assert!(told.contains("Resnet18, width 64, stem Imagenet") && told.contains("random"), "{told}");
        let (after, config) = checkpoint::load(&again, &Device::cpu()).expect("loaded");
        assert_eq!(config.views.size, 48);
        for (a, b) in before.backbone.state().iter().zip(after.backbone.state()) {
            assert_eq!(a.get().to_vec().expect("values"), b.get().to_vec().expect("values"), "{}", a.name());
        }
    }
}

#[test]
fn an_imported_encoder_with_mocos_names_is_judged_and_pretraining_starts_from_it() {
    let folder = tempfile::tempdir().expect("folder");
    let (own, config) = checkpoint::load(&encoder(&folder, 4), &Device::cpu()).expect("loaded");
    let arrays = Weights::of(&own).expect("weights").0.into_iter();
    let renamed =
        arrays.map(|(name, a)| (format!("module.encoder_q.{}", name.replace("projector", "fc")), a));
    let [file, imported] = ["moco.safetensors", "imported.safetensors"].map(|name| folder.path().join(name));
    Weights(renamed.collect()).write(&file, Default::default()).expect("written");
    let told = said(&["import", text(&file), "--out", text(&imported), "--image-size", "32"]);
    assert!(told.contains("module.encoder_q.fc.") && told.contains("width 4"), "{told}");
    said(&["knn", "--checkpoint", text(&imported)]);
    // The library's path as the checkpoint's.
    for init in [&file, &imported] {
        let setting = format!("init={}", text(init));
        let started = starting_encoder(
            &config.with(&setting).expect("set").with("seed=9").expect("set"),
            &Device::cpu(),
        );
        for (a, b) in started.expect("encoder").state().iter().zip(own.state()) {
            assert_eq!(a.get().to_vec().expect("values"), b.get().to_vec().expect("values"), "{}", a.name());
        }
    }
    let out = folder.path().join("run");
    let tiny = [
        "pretrain",
        "--overwrite",
        "--steps",
        "2",
        "--batch",
        "2",
        "--views",
        "2",
        "--out",
        text(&out),
        "--init",
        text(&file),
    ];
    let fits = ["--set", "model.width=4", "--set", "model.stem=imagenet"];
    assert!(said(&[&tiny[..], &fits].concat()).contains("2 steps done"));
    refused(&tiny, &["moco.safetensors", "model.width"]);
    assert!(out.join("checkpoint.safetensors").exists(), "a run is replaced only by one that can start");
    refused(&["pretrain", "--init", "/no/such/file"], &["/no/such/file"]);
}

#[test]
fn files_that_hold_no_resnet_are_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("folder");
    let [file, out] = ["x.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    let import = ["import", text(&file), "--out", text(&out)];
    refused(&import, &["x.safetensors"]);
    for (bytes, part) in [(&b"PK\x03\x04"[..], "save_file"), (b"nonsense", "not a safetensors file")] {
        std::fs::write(&file, bytes).expect("written");
        refused(&import, &["x.safetensors", part]);
    }
    let array = Array { shape: vec![2], values: vec![1.0, 2.0] };
    Weights([("a".to_string(), array)].into()).write(&file, Default::default()).expect("written");
    refused(&import, &["no ResNet", "torchvision"]);
    refused(&["import", text(&file), "--out", text(&file)], &["--out"]);
}

#[test]
fn photos_are_embedded_into_both_kinds_of_file_and_the_nearest_are_found() {
    let folder = tempfile::tempdir().expect("folder");
    let (checkpoint, place) = (encoder(&folder, 4), photos(&folder, 7));
    std::fs::write(place.join("broken.jpg"), "not a photo").expect("written");
    let [list, table] = ["f.csv", "f.safetensors"].map(|name| folder.path().join(name));
    let embed = ["embed", text(&place), "--checkpoint", text(&checkpoint), "--out"];
    let output = vista(&[&embed[..], &[text(&table), "--views"]].concat());
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken.jpg"));
    assert!(said(&[&embed[..], &[text(&list)]].concat()).contains("7 photos x 32"));
    let lines: Vec<String> =
        std::fs::read_to_string(&list).expect("list").lines().map(String::from).collect();
    assert_eq!((lines.len(), lines[0].split(',').count()), (8, 33));
    assert!(lines[1].starts_with("00.png,") && lines[7].starts_with("inner/05.png,"), "{lines:?}");
    let bytes = std::fs::read(&table).expect("table");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    assert_eq!(file.tensor("features").expect("features").shape(), [7, 32]);
    assert_eq!(file.tensor("views").expect("views").shape(), [7, 32, 32, 3]);

    // A copy elsewhere is its own nearest; the photo itself is not its own neighbour.
    let (copy, picture) = (folder.path().join("copy.png"), folder.path().join("found.png"));
    std::fs::copy(place.join("04.png"), &copy).expect("copied");
    let of = |photo: &Path| {
        ["search", "--photo", text(photo), "--checkpoint", text(&checkpoint), "-k", "3"].map(String::from)
    };
    let search = |photo: &Path, more: &[&str]| {
        let args = of(photo);
        said(&args.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let told = search(&copy, &[text(&place), "--picture", text(&picture)]);
    let first = |told: &str| told.lines().nth(1).expect("a neighbour").to_string();
    assert_eq!(first(&told).split_whitespace().collect::<Vec<_>>(), ["1.000", "04.png"]);
    assert_eq!(told.lines().filter(|l| l.ends_with(".png") && !l.starts_with("picture")).count(), 3);
    assert!(image::open(&picture).expect("a picture").width() > 200);
    assert!(!search(&place.join("04.png"), &[text(&place)]).contains(" 04.png"));
    assert_eq!(first(&search(&copy, &["--features", text(&table)])), first(&told));
    // With both the photo is not its own neighbour, and there is a picture.
    let both = [text(&place), "--features", text(&table), "--picture", text(&picture)];
    let before = std::fs::read(&picture).expect("a picture");
    assert_eq!(search(&copy, &both), told);
    assert_eq!(std::fs::read(&picture).expect("a picture"), before);
    assert!(!search(&place.join("04.png"), &both[..3]).contains(" 04.png"));
    let json: serde_json::Value =
        serde_json::from_str(&search(&copy, &[&both[..3], &["--json", "-"]].concat())).expect("JSON");
    assert_eq!(json["neighbours"][0]["photo"], "04.png");
    std::fs::remove_file(place.join("inner/05.png")).expect("removed");
    let args = of(&copy);
    let args: Vec<&str> = args.iter().map(String::as_str).chain(both).collect();
    refused(&args, &["inner/05.png", "vista embed"]);

    let named = |out: &str| [&embed[..], &[out]].concat().iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let odd = named("f.txt");
    refused(&odd.iter().map(String::as_str).collect::<Vec<_>>(), &["f.txt", ".csv"]);
    let args = of(&place.join("broken.jpg"));
    refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), &["broken.jpg"]);
    assert!(interop::Weights::read(&list).is_err());
}
