//! What the commands write and print: their own files are replaced, nobody else's; JSON on standard output is alone there;
//! printed commands can be pasted; nothing of a driver's reaches a person.

use crate::program;
use std::path::Path;
use std::process::{Command, Output};
use vista::Device;
use vista::pretrain::Config;
use vista::pretrain::checkpoint::{self, Progress};

/// The program in a working folder of its own, as a service or a container calls it: without a desktop session.
fn vista(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vista"));
    command.env_remove("XDG_RUNTIME_DIR").current_dir(folder).args(args).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn said(folder: &Path, args: &[&str]) -> String {
    let output = vista(folder, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Expects a refusal in one line that has these parts.
fn refused(folder: &Path, args: &[&str], parts: &[&str]) {
    let output = vista(folder, args);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{args:?}: {said}");
    parts.iter().for_each(|part| assert!(said.contains(part), "{args:?} does not say `{part}`: {said}"));
}

/// A folder with a small encoder, photos in two classes, and a list of their labels.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    encoder(&folder.path().join("c.safetensors"), 3);
    let mut list = "file,split,labels\n".to_string();
    for i in 0..12u8 {
        let (part, class) = (if i < 8 { "train" } else { "test" }, ["a", "b"][usize::from(i % 2)]);
        let name = format!("{part}/{class}/{i}.png");
        let path = folder.path().join("photos").join(&name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        let shade = |x: u32, y: u32| image::Rgb([i * 20, ((x * y) % 50) as u8, 255 - i * 20]);
        image::RgbImage::from_fn(40, 50, shade).save(path).expect("a photo");
        list += &format!("{name},{part},{class}\n");
    }
    std::fs::write(folder.path().join("photos/list.csv"), list).expect("a list");
    folder
}

fn encoder(path: &Path, seed: u64) {
    let settings = ["model.stem=imagenet".to_string(), "model.width=4".into(), format!("seed={seed}")];
    let demo = Config::preset("demo").expect("preset");
    let config = settings.iter().fold(demo, |config, setting| config.with(setting).expect("set"));
    let encoder = config.encoder(&Device::cpu()).expect("encoder");
    checkpoint::save(path, &encoder, &config, Progress { epoch: 0, step: 0 }).expect("saved");
}

const TINY: &str = "--device cpu --steps 1 --image-size 16 --batch 2 --views 2 --set model.width=4 --set eval.knn_k=2 \
                    --data photos --labelled photos";

#[test]
fn every_command_replaces_what_it_wrote_itself() {
    let folder = folder();
    let place = folder.path();
    for line in [
        "embed photos --checkpoint c.safetensors --out f.csv",
        "embed photos --checkpoint c.safetensors --out f.safetensors --views",
        "export --checkpoint c.safetensors --format onnx",
        "import c.safetensors --out i.safetensors",
        "search photos --photo photos/test/a/8.png --checkpoint c.safetensors --picture p.png",
        "knn --checkpoint c.safetensors --labelled photos --k 2",
        "probe --checkpoint c.safetensors --labelled photos --epochs 1 --json probe.json",
        "voc --checkpoint c.safetensors --labelled photos/list.csv --costs 1",
        "finetune --checkpoint c.safetensors --labelled photos --epochs 1 --batch 2 --out t.safetensors",
        "bench --test sgd:9 --repeats 1 --device cpu --json bench.json",
        "devices --json devices.json",
        "man --out man",
        &format!("pretrain {TINY} --out r --overwrite"),
        &format!("sweep {TINY} --key method.tau --values 0.1 --out s"),
        "figures --checkpoint r/checkpoint.safetensors --slots 4 --queries 2 --out figures",
        "report r --photos 2",
    ] {
        let args: Vec<&str> = line.split_whitespace().collect();
        said(place, &args);
        said(place, &args);
    }
    refused(place, &["report", "r", "--out", "r/log.jsonl"], &["did not write", "r/log.jsonl"]);
    refused(place, &["import", "i.safetensors", "--out", "r/checkpoint.safetensors"], &["did not write"]);
    refused(place, &["knn", "--checkpoint", "c.safetensors", "--json", "probe.json"], &["did not write"]);
    for line in ["export --checkpoint c.safetensors --format onnx --out -", "report r --out -"] {
        refused(place, &line.split_whitespace().collect::<Vec<_>>(), &["--out does not print", "./-"]);
    }
    let photo = "photos/test/a/8.png";
    refused(
        place,
        &["search", "--photo", "photos/test/b/9.png", "--checkpoint", "c.safetensors", "--picture", photo],
        &[photo],
    );
}

#[test]
fn a_persons_own_configuration_stays_in_the_folder_of_a_run() {
    let folder = folder();
    let own = folder.path().join("exp/config.toml");
    std::fs::create_dir(folder.path().join("exp")).expect("folder");
    let mine = "# my notes\n[optimizer]\nlr = 0.002\n";
    std::fs::write(&own, mine).expect("written");
    let tiny: Vec<&str> = TINY.split_whitespace().collect();
    let run = |more: &[&'static str]| [&["pretrain"][..], &tiny, &["--out", "exp"], more].concat();
    let kept = || assert_eq!(std::fs::read_to_string(&own).expect("there"), mine);
    for more in [&["--config", "exp/config.toml"][..], &["--config", "exp/config.toml", "--overwrite"]] {
        refused(
            folder.path(),
            &run(more),
            &["--out would write over what --config reads", "exp/config.toml"],
        );
        kept();
    }
    refused(folder.path(), &run(&[]), &["did not write", "exp/config.toml", "--overwrite"]);
    kept();
    assert_eq!(
        std::fs::read_dir(folder.path().join("exp")).expect("there").count(),
        1,
        "nothing else was made"
    );
    // Asked for, it is replaced; and a run that was cut off before its first checkpoint leaves nothing that is in the way.
    said(folder.path(), &run(&["--overwrite"]));
    for name in ["checkpoint", "previous", "best"] {
        let _ = std::fs::remove_file(folder.path().join(format!("exp/{name}.safetensors")));
    }
    said(folder.path(), &run(&[]));
    let checkpoint = folder.path().join("exp/checkpoint.safetensors");
    // The configuration that a run wrote may be changed and given to it again.
    let longer = std::fs::read_to_string(&own).expect("there").replace("\nsteps = 1\n", "\nsteps = 2\n");
    std::fs::write(&own, &longer).expect("written");
    said(folder.path(), &["pretrain", "--resume", "--out", "exp", "--config", "exp/config.toml"]);
    // Where it went on is told above it; the keys and their comments stay.
    let keys = |text: &str| text.split_once("\n\n").expect("a head").1.to_string();
    assert_eq!(keys(&std::fs::read_to_string(&own).expect("there")), keys(&longer));
    std::fs::write(&own, mine).expect("written");
    let on = ["pretrain", "--resume", "--out", "exp", "--config", "exp/config.toml"];
    refused(folder.path(), &on, &["--out would write over what --config reads"]);
    kept();
    let before = std::fs::read(&checkpoint).expect("there");
    let init = run(&["--overwrite", "--init", "exp/checkpoint.safetensors"]);
    refused(folder.path(), &init, &["--out would write over what --init reads"]);
    assert_eq!(std::fs::read(&checkpoint).expect("there"), before);
}

#[test]
fn a_file_beside_an_output_stays_what_it_was() {
    let folder = folder();
    let [input, output] = ["c.tmp", "c2.safetensors"].map(|name| folder.path().join(name));
    std::fs::rename(folder.path().join("c.safetensors"), &input).expect("renamed");
    let before = std::fs::read(&input).expect("there");
    said(folder.path(), &["import", "c.tmp", "--out", "c.safetensors"]);
    said(folder.path(), &["import", "c.tmp", "--out", "c2.safetensors"]);
    assert!(output.exists());
    assert_eq!(std::fs::read(&input).expect("there"), before);
}

#[test]
fn json_on_standard_output_is_alone_there() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("out")).expect("folder");
    std::fs::copy(folder.path().join("c.safetensors"), folder.path().join("out/i.safetensors"))
        .expect("copied");
    for line in [
        "knn --checkpoint c.safetensors --labelled photos --k 2",
        "probe --checkpoint c.safetensors --labelled photos --epochs 1",
        "voc --checkpoint c.safetensors --labelled photos/list.csv --costs 1",
        "finetune --checkpoint c.safetensors --labelled photos --epochs 1 --batch 2",
        "bench --test sgd:9 --repeats 1 --device cpu",
        "bench --plan resnet18 --batch 2 --image-size 32",
        "bench --model resnet18 --batch 2 --image-size 32 --repeats 1 --warmup 0 --device cpu",
        "devices",
        "export --checkpoint c.safetensors --format onnx --out out/c.onnx",
        "import out/i.safetensors --out out/c.safetensors",
        "embed photos --checkpoint c.safetensors --out out/f.csv",
        "search photos --photo photos/test/a/8.png --checkpoint c.safetensors",
        &format!("pretrain {TINY} --dry-run"),
        "pretrain --presets",
        &format!("pretrain {TINY} --out out/r"),
        "figures --checkpoint out/r --slots 4 --queries 2",
        "report out/r --photos 2",
        &format!("sweep {TINY} --key method.tau --values 0.1 --out out/s"),
    ] {
        let args: Vec<&str> = line.split_whitespace().chain(["--json", "-"]).collect();
        let output = vista(folder.path(), &args);
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect(line);
        assert_eq!(json["command"], args[0], "{line}");
        assert!(!output.stderr.is_empty(), "{line}: a person is told all the same");
    }
    let names =
        std::fs::read_dir(folder.path()).expect("there").map(|file| file.expect("a file").file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["c.safetensors", "out", "photos"]);
}

#[test]
fn a_runs_folder_is_taken_wherever_a_checkpoint_is_asked_for() {
    let folder = folder();
    let place = folder.path();
    let tiny: Vec<&str> = TINY.split_whitespace().collect();
    said(place, &[&["pretrain"][..], &tiny, &["--out", "r"]].concat());
    for line in [
        "knn --checkpoint r --labelled photos --k 2",
        "probe --checkpoint r --labelled photos --epochs 1",
        "voc --checkpoint r --labelled photos/list.csv --costs 1",
        "finetune --checkpoint r --labelled photos --epochs 1 --batch 2",
        "export --checkpoint r --format onnx",
        "embed photos --checkpoint r --out f.csv",
        "search photos --photo photos/test/a/8.png --checkpoint r",
        "figures --checkpoint r --slots 4 --queries 2",
        &format!("pretrain {TINY} --init r --out r2"),
    ] {
        said(place, &line.split_whitespace().collect::<Vec<_>>());
    }
    for file in ["knn", "probe", "voc", "finetune"].map(|command| program::figures(&place.join("r"), command))
    {
        assert!(file.is_file(), "{}", file.display());
    }
    for file in ["backbone.onnx", "figures/curves.svg"] {
        assert!(place.join("r").join(file).is_file(), "{file}");
    }
    let json = std::fs::read_to_string(program::figures(&place.join("r"), "knn")).expect("there");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["checkpoint"], place.join("r/checkpoint.safetensors").display().to_string(), "absolute");
    std::fs::create_dir(place.join("none")).expect("folder");
    refused(
        place,
        &["embed", "photos", "--checkpoint", "none", "--out", "f.csv"],
        &["none/checkpoint.safetensors"],
    );
}

#[test]
fn the_same_floors_stand_beside_every_judgement() {
    let folder = folder();
    for line in [
        "knn --checkpoint c.safetensors --labelled photos --k 2",
        "probe --checkpoint c.safetensors --labelled photos --epochs 2",
        "probe --checkpoint c.safetensors --labelled photos --epochs 1 --protocol sgd --batch 4",
        "voc --checkpoint c.safetensors --labelled photos/list.csv --costs 1",
    ] {
        let args: Vec<&str> = line.split_whitespace().chain(["--floor", "--json", "-"]).collect();
        let json: serde_json::Value = serde_json::from_str(&said(folder.path(), &args)).expect("JSON");
        let floors = json["floors"].as_object().expect("floors");
        assert_eq!(floors.keys().collect::<Vec<_>>(), ["untrained", "colour", "hand-made"], "{line}");
        for (name, floor) in floors {
            let figure = floor.get("top1").or(floor.get("map_area")).and_then(|v| v.as_f64());
            assert!(figure.is_some_and(|v| (0.0..=1.0).contains(&v)), "{line}: {name}: {floor}");
        }
        let args: Vec<&str> = line.split_whitespace().chain(["--json", "-"]).collect();
        let json: serde_json::Value = serde_json::from_str(&said(folder.path(), &args)).expect("JSON");
        assert_eq!(json["floors"].as_object().map(|floors| floors.len()), Some(0), "{line}");
    }
}

#[test]
fn features_of_another_encoder_or_size_are_refused() {
    let folder = folder();
    encoder(&folder.path().join("d.safetensors"), 4);
    said(folder.path(), &["embed", "photos", "--checkpoint", "c.safetensors", "--out", "f.safetensors"]);
    let search = ["search", "--photo", "photos/test/a/8.png", "--features", "f.safetensors", "--checkpoint"];
    said(folder.path(), &[&search[..], &["c.safetensors"]].concat());
    let other = [&search[..], &["d.safetensors"]].concat();
    refused(folder.path(), &other, &["f.safetensors", "features by weights", " embed` with this checkpoint"]);
    let small = [&search[..], &["c.safetensors", "--image-size", "64"]].concat();
    refused(folder.path(), &small, &["f.safetensors", "views of 32 pixels, not 64", "--image-size 32"]);
}

#[cfg(unix)]
#[test]
fn printed_commands_can_be_pasted_and_name_the_program_as_it_was_called() {
    let folder = folder();
    let program = folder.path().join("my vista");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vista"), program).expect("linked");
    let shell = |line: &str| {
        Command::new("sh").args(["-c", line]).current_dir(folder.path()).output().expect("a shell")
    };
    let output = shell(&format!("'./my vista' pretrain {TINY} --out 'it'\\''s a b'"));
    let told = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let next: Vec<&str> = told.lines().skip_while(|line| *line != "next:").skip(1).collect();
    let probe = next.iter().find(|line| line.contains(" probe ")).expect("a command");
    assert!(probe.trim_start().starts_with("'./my vista' probe --checkpoint '"), "{probe}");
    assert!(probe.contains(" --labelled ") && next.iter().any(|line| line.contains(" embed ")), "{next:?}");
    let output = shell(&format!("{} --epochs 1", probe.split(" #").next().expect("a command")));
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in next.iter().filter(|line| line.contains(" --") && !line.trim_start().starts_with('#')) {
        // As it stands, behind a command that only looks at its words.
        let output = shell(&format!("for word in {line}\ndo printf '%s\\n' \"$word\"; done"));
        assert!(output.status.success() && text(&output.stdout).starts_with("./my vista\n"), "{line}");
    }
    let told = shell("'./my vista' knn --checkpoint none/c.safetensors; './my vista' pretrain --set zzz=1");
    let told = text(&told.stderr);
    assert!(told.contains("`'./my vista' explain config` prints all keys"), "{told}");
}

#[test]
fn a_drivers_noise_reaches_nobody_and_the_cpu_device_opens_no_driver() {
    let folder = folder();
    let devices = vista(folder.path(), &["devices"]);
    assert_eq!(text(&devices.stderr), "");
    let told = text(&devices.stdout);
    let gpus = told.lines().filter(|line| line[1..].starts_with(" gpu:")).enumerate();
    gpus.for_each(|(i, line)| assert!(line[1..].starts_with(&format!(" gpu:{i}  ")), "{line}"));
    // The Vulkan loader tells of its own work if it is asked to.
    let loud = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vista"));
        command.env("VK_LOADER_DEBUG", "all").env_remove("XDG_RUNTIME_DIR").current_dir(folder.path());
        text(&command.args(args).output().expect("the program runs").stderr)
    };
    if !loud(&["devices"]).contains("libvulkan") && !loud(&["devices"]).contains("ICD") {
        return println!("not tested: no Vulkan loader is here");
    }
    let tiny: Vec<&str> = TINY.split_whitespace().collect();
    let runs = [
        &["knn", "--checkpoint", "c.safetensors", "--labelled", "photos", "--k", "2", "--device", "cpu"][..],
        &[&["pretrain", "--out", "r"][..], &tiny].concat(),
        &["report", "r", "--device", "cpu"],
        &["bench", "--test", "sgd:9", "--repeats", "1", "--device", "cpu"],
    ];
    for args in runs {
        let told = loud(args);
        assert!(!told.contains("ICD") && !told.contains("libvulkan"), "{args:?}: {told:.500}");
    }
}

#[test]
fn an_adapter_that_is_not_there_is_refused_by_its_number() {
    let folder = folder();
    let bench = |device: &'static str| ["bench", "--test", "matmul:4", "--repeats", "1", "--device", device];
    let output = vista(folder.path(), &bench("gpu:99"));
    let told = text(&output.stderr);
    assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{told}");
    assert!(told.contains("gpu:99") || told.contains("no Vulkan"), "{told}");
}
