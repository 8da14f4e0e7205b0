//! Where a result comes from, in all that a run and a judgement leave behind.

use crate::program;
use serde_json::Value;
use std::path::Path;

fn said(folder: &Path, line: &str) -> String {
    let output = program::command(folder).args(line.split(' ')).output().expect("the program runs");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A text of a checkpoint.
fn text(checkpoint: &Path, key: &str) -> String {
    let bytes = std::fs::read(checkpoint).expect("checkpoint");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("header");
    header.metadata().as_ref().expect("texts")[key].clone()
}

#[test]
fn log_configuration_checkpoint_and_judgement_say_where_they_come_from() {
    let folder = tempfile::tempdir().expect("folder");
    program::photos(folder.path());
    let run = "pretrain --data photos --device cpu --image-size 16 --batch 4 --views 2 --set model.width=4 --out run";
    let bundled = "pretrain --device cpu --image-size 16 --batch 4 --views 2 --set model.width=4 --out bundled --steps 1";
    said(folder.path(), &format!("{run} --steps 1"));
    let resumed = "pretrain --resume --out run --steps 2 --quiet";
    said(folder.path(), resumed);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);

    // A line of the log for each start, before all that came of it.
    let mut log: Vec<Value> = read("run/log.jsonl").lines().map(json).collect();
    log.retain(|record| record["kind"] == "start" || record["kind"] == "step");
    let kinds: Vec<&str> = log.iter().map(|record| record["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["start", "step", "start", "step"]);
    let starts = [&log[0], &log[2]];
    for (start, (step, command)) in starts.iter().zip([(0, format!("{run} --steps 1")), (1, resumed.into())])
    {
        assert_eq!(start["step"], step);
        assert!(start["command"].as_str().expect("a command").ends_with(&command), "{start}");
        let version = said(folder.path(), "--version");
        let ours = format!("vista {} (commit {})\n", start["vista"], start["commit"]).replace('"', "");
        assert_eq!(version, ours);
        assert!(
            start["device"].as_str().is_some_and(|name| name.starts_with("CPU")) && start["threads"].is_u64()
        );
        assert!(start.get("driver").is_none() && start.get("labelled").is_none());
        assert_eq!(
            (&start["photos"]["count"], start["photos"]["digest"].as_str().map(str::len)),
            (&8.into(), Some(16))
        );
        let date = start["date"].as_str().expect("a date");
        assert!(date.len() == 20 && date.starts_with("20") && date.ends_with('Z'), "{date}");
    }
    assert_eq!(starts[0]["photos"], starts[1]["photos"]);

    // The same in the checkpoint, and above the configuration.
    let kept = json(&text(&folder.path().join("run/checkpoint.safetensors"), "provenance"));
    assert_eq!(kept, Value::from(starts.map(Value::clone).to_vec()));
    let config = read("run/config.toml");
    for part in [
        &format!("# command   {}\n", starts[0]["command"].as_str().expect("a command")),
        &format!("# went on   {} after step 1\n", starts[1]["date"].as_str().expect("a date")),
        &format!("# photos    8, digest {}\n", starts[0]["photos"]["digest"].as_str().expect("a digest")),
        "\n# Images in a batch, B.\nbatch = 4\n",
    ] {
        assert!(config.contains(part), "{part} in {config}");
    }

    // A judgement tells its own, the checkpoint's, and both sets; the bundled photos are those that another run is judged on.
    said(folder.path(), "knn --checkpoint run/checkpoint.safetensors --device cpu");
    let judged =
        json(&std::fs::read_to_string(program::figures(&folder.path().join("run"), "knn")).expect("figures"));
    assert!(
        judged["provenance"]["command"]
            .as_str()
            .is_some_and(|command| command.contains(" knn --checkpoint "))
    );
    assert_eq!(judged["provenance"]["commit"], starts[0]["commit"]);
    assert_eq!(judged["encoder"]["provenance"], kept);
    said(folder.path(), bundled);
    let first = json(read("bundled/log.jsonl").lines().next().expect("a line"));
    assert_eq!(judged["dataset"]["photos"], first["labelled"]);
    assert_ne!(first["photos"]["digest"], starts[0]["photos"]["digest"]);
}
