//! `vista worth` as a person uses it, and figures of other sets and starts that stay where they are.

use crate::program;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `NAME/{train,test}/{red,blue}` with photos of one colour each.
fn colours(folder: &Path, name: &str, shade: u8) {
    for (part, count) in [("train", 10), ("test", 4)] {
        for (class, colour) in [("red", [200, shade, 20]), ("blue", [20, shade, 200])] {
            let place = folder.join(name).join(part).join(class);
            fs::create_dir_all(&place).expect("a folder");
            for i in 0..count {
                let noise = |x: u32, y: u32| ((x * 5 + y * 3 + i * 11) % 31) as u8;
                let pixel = |x, y| image::Rgb(colour.map(|c: u8| c.saturating_add(noise(x, y))));
                image::RgbImage::from_fn(24, 20, pixel)
                    .save(place.join(format!("{i}.png")))
                    .expect("a photo");
            }
        }
    }
}

fn vista(folder: &Path, line: &str) -> Output {
    program::command(folder).args(line.split_whitespace()).output().expect("vista runs")
}

/// What a command that must succeed prints.
fn said(folder: &Path, line: &str) -> String {
    let output = vista(folder, line);
    assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    text(&output.stdout)
}

const TINY: &str =
    "--device cpu --set model.width=4 --image-size 16 --batch 4 --views 2 --steps 1 --data a/train";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    colours(folder.path(), "a", 20);
    colours(folder.path(), "b", 60);
    said(folder.path(), &format!("pretrain {TINY} --out run"));
    folder
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
}

fn cells(folder: &Path) -> Vec<Value> {
    json(&folder.join("run/worth.json"))["cells"].as_array().expect("cells").clone()
}

#[test]
fn a_table_of_starts_and_shares_goes_on_where_it_stopped_and_keeps_other_sets() {
    let folder = folder();
    let place = folder.path();
    let worth = "worth --checkpoint run --device cpu --shares 0.01,1 --seeds 2 --epochs 2 --init run/checkpoint.safetensors";
    let first = said(place, &format!("{worth} --labelled a --json table.json"));
    for part in
        ["fine-tuned from", "linear probe of", "random", "the run", "1 % (2)", "100 % (20)", " ± ", "here: "]
    {
        assert!(first.contains(part), "no `{part}` in {first}");
    }
    assert!(first.contains("1 % is 2 photos: of 2 classes"), "{first}");
    let table = json(&place.join("table.json"));
    assert_eq!(
        (table["command"].as_str(), table["table"]["rows"].as_array().expect("rows").len()),
        (Some("worth"), 12)
    );
    let of_a = cells(place);
    assert_eq!(
        of_a.len(),
        2 * 2 * 2 * 2,
        "shares, seeds, protocols and two encoders: the run is `--init` too"
    );

    // As if it had been stopped before its last three figures.
    let mut kept = json(&place.join("run/worth.json"));
    kept["cells"].as_array_mut().expect("cells").truncate(13);
    // The command stands first, as the program writes it.
    let rest = serde_json::to_string_pretty(&kept["cells"]).expect("text");
    let head = "{ \"command\": \"worth\", \"vista\": \"0\", \"cells\": ";
    fs::write(place.join("run/worth.json"), format!("{head}{rest}}}")).expect("written");
    assert_eq!(said(place, &format!("{worth} --labelled a --json table.json")), first);
    let figures = |cells: &[Value]| {
        cells
            .iter()
            .map(|c| {
                (
                    c["seed"].to_string()
                        + &c["by"].to_string()
                        + &c["share"].to_string()
                        + &c["start"].to_string(),
                    c["top1"].to_string(),
                )
            })
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(figures(&cells(place)), figures(&of_a));
    let seconds = |cells: &[Value]| cells[..13].iter().map(|c| c["seconds"].to_string()).collect::<Vec<_>>();
    assert_eq!(seconds(&cells(place)), seconds(&of_a), "what was known was not trained for again");

    said(place, &format!("{worth} --labelled b"));
    let both = cells(place);
    assert_eq!((both.len(), figures(&both[..16])), (32, figures(&of_a)), "the figures of a stay");
    let printed = vista(place, &format!("{worth} --labelled b --json -"));
    assert!(
        serde_json::from_slice::<Value>(&printed.stdout).expect("JSON alone")["table"]["verdict"].is_string()
    );
    assert_eq!(cells(place).len(), 32);
}

#[test]
fn photos_alone_are_pretrained_on_first_and_a_wrong_call_is_one_clear_line() {
    let folder = tempfile::tempdir().expect("folder");
    let place = folder.path();
    colours(place, "a", 20);
    let worth = "worth --labelled a --device cpu --image-size 16 --shares 1 --seeds 1 --epochs 1";
    let first = said(place, &format!("{worth} --data a/train --minutes 0.01 --out run"));
    assert!(
        first.contains("of one seed each, which proves nothing") && place.join("run/log.jsonl").is_file(),
        "{first}"
    );
    said(place, &format!("{worth} --data a/train --minutes 0.01 --out run"));
    assert_eq!(cells(place).len(), 4, "a finished run is taken as it is: its encoder is the same");
    let refused = |line: &str, part: &str| {
        let output = vista(place, line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains(part) && !said.contains("panicked"), "{line} does not say `{part}`: {said}");
    };
    refused("worth --labelled a", "--data");
    refused("worth --labelled a --checkpoint nowhere", "nowhere");
    refused("worth --labelled a --checkpoint run --shares 0,1", "--shares");
    fs::write(place.join("run/worth.json"), "my notes").expect("written");
    refused("worth --labelled a --checkpoint run", "did not write");
}

#[test]
fn figures_of_other_sets_starts_and_settings_are_in_other_files() {
    let folder = folder();
    let place = folder.path();
    fs::create_dir(place.join("other")).expect("a folder");
    colours(&place.join("other"), "a", 90);
    let mut files = BTreeSet::new();
    for (i, line) in [
        "knn --k 2 --labelled a",
        "knn --k 2 --labelled b",
        "knn --k 2 --labelled other/a",
        "knn --k 3 --labelled a",
        "probe --epochs 1 --labelled a",
        "finetune --epochs 1 --labelled a",
        "finetune --epochs 1 --labelled a --seed 1",
        "finetune --epochs 1 --labelled a --random-init",
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("{line} --checkpoint run/checkpoint.safetensors --device cpu");
        let of = |said: String| {
            said.lines().find_map(|l| l.strip_prefix("figures  ")).expect("a file").to_string()
        };
        let file = of(said(place, &line));
        files.insert(file.clone());
        assert!(files.len() == i + 1 && file.contains("-a-") != file.contains("-b-"), "{file}: {files:?}");
        assert_eq!(of(said(place, &line)), file, "the same call has the same file");
    }
    assert!(files.iter().all(|file| place.join(file).is_file()), "{files:?}");
}
