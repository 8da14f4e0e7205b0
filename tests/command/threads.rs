//! A run is the same to the bit on any number of threads.

use crate::program;

use std::collections::BTreeMap;
use std::path::Path;

/// All arrays of a checkpoint.
fn arrays(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(run.join("checkpoint.safetensors")).expect("a checkpoint");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a checkpoint");
    file.tensors().into_iter().map(|(name, array)| (name, array.data().to_vec())).collect()
}

#[test]
fn threads_do_not_change_what_is_learned() {
    let folder = tempfile::tempdir().expect("folder");
    for settings in [
        &["--method", "mls", "--backbone", "resnet50", "--set", "model.stem=imagenet"][..],
        &["--method", "s2r2", "--set", "model.width=64"],
        &["--method", "swav"],
        &["--method", "densecl"],
    ] {
        let on = |threads: &str| {
            let out = folder.path().join(format!("{}-{threads}", settings[1]));
            let mut command = program::command(folder.path());
            command
                .env("RAYON_NUM_THREADS", threads)
                .args(["pretrain", "--device", "cpu", "--quiet", "--steps", "3"]);
            command.args(["--image-size", "48"]).args(settings).arg("--out").arg(&out);
            assert!(command.status().expect("the program").success(), "{settings:?}");
            arrays(&out)
        };
        let one = on("1");
        for threads in ["2", "3", "5"] {
            let many = on(threads);
            assert_eq!(one.len(), many.len());
            let differ: Vec<&String> =
                one.iter().filter(|(name, a)| many[*name] != **a).map(|(name, _)| name).collect();
            assert!(differ.is_empty(), "{settings:?} on {threads} threads: {differ:?}");
        }
    }
}
