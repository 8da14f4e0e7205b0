//! Every reader of files that others made, on thousands of changed ones: an error is one line, and memory is bounded.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use vista::Error;
use vista::engine::device::Device;
use vista::photos::{Photos, Split, labelled_split, multi_label_split};
use vista::pretrain::{Config, checkpoint};
use vista::run::untrusted;

use crate::count;
use crate::memory::{ALLOWED, alone, peak};
use crate::sets::{cifar10, coco, csv, stl10, voc, write};

/// A change to a file, at a place in 65536ths of it.
#[derive(Clone, Debug)]
enum Edit {
    /// Forget some bytes, put others there.
    Splice(u16, usize, Vec<u8>),
    /// Another byte, the length unchanged.
    Byte(u16, u8),
    /// Another value for a number that is written out, counted from the first.
    Number(u16, &'static str),
}

const HOSTILE: [&str; 34] = [
    "1e300",
    "-1e300",
    "nan",
    "inf",
    "",
    "-1",
    "1e999",
    "NaN",
    "null",
    "[[[[",
    "}",
    "\"..\"",
    "<",
    "</object>",
    "&a;",
    "<!DOCTYPE",
    "\0",
    ",",
    ";",
    "\"",
    "\n",
    "99999999999999999999",
    "18446744073709551615",
    "9223372036854775807",
    "\u{feff}",
    "<object><name>a</name></object>",
    "xmlns:a=\"b\" ",
    "[0,4]",
    "\"data_offsets\":[0,0],",
    "\"F32\"",
    "=",
    "[a]\n",
    "\"\"\"",
    "\\n",
];

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let hostile = || prop::sample::select(HOSTILE.to_vec());
    let bytes = prop_oneof![
        hostile().prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    let forget = prop_oneof![4 => 0usize..6, 1 => 0usize..40_000];
    let place = || prop_oneof![4 => any::<u16>(), 1 => Just(0)];
    let edit = prop_oneof![
        2 => (place(), forget, bytes).prop_map(|(at, forget, new)| Edit::Splice(at, forget, new)),
        1 => (place(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        2 => (place(), hostile()).prop_map(|(at, text)| Edit::Number(at, text)),
    ];
    prop::collection::vec(edit, 1..3)
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let at = |place: u16, length: usize| length * usize::from(place) / 65536;
        match edit {
            Edit::Splice(place, forget, new) => {
                let start = at(*place, bytes.len());
                let end = (start + forget).min(bytes.len());
                bytes.splice(start..end, new.iter().copied());
            }
            Edit::Byte(place, byte) => {
                let place = at(*place, bytes.len());
                bytes.get_mut(place).into_iter().for_each(|old| *old = *byte);
            }
            Edit::Number(place, new) => {
                let digit = |i: &usize| bytes[*i].is_ascii_digit();
                let first = |i: &usize| digit(i) && (*i == 0 || !digit(&(i - 1)));
                let starts: Vec<usize> = (0..bytes.len()).filter(first).collect();
                if let Some(&start) = starts.get(at(*place, starts.len())) {
                    let end = (start..bytes.len()).find(|i| !digit(i)).unwrap_or(bytes.len());
                    bytes.splice(start..end, new.bytes());
                }
            }
        }
    }
    bytes
}

/// So many changed inputs of one reader, each within its memory.
fn survives_all<S: Strategy>(changes: S, survives: impl Fn(S::Value) -> Result<usize, TestCaseError>) {
    alone(|| {
        let mut runner = TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(count(2000))
        });
        let measured = |change| {
            let (result, used) = peak(|| survives(change));
            let length = result?;
            prop_assert!(used < length + ALLOWED, "{} bytes for a file of {}", used, length);
            Ok(())
        };
        runner.run(&changes, measured).unwrap();
    });
}

/// Writes a new file in the place of one: a file that is written again may wait for the disk.
fn replace(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    write(path, bytes);
}

fn one_line(error: Error) -> Result<(), TestCaseError> {
    let message = error.to_string();
    prop_assert!(error.exit_code() == 2 && !message.contains('\n'), "{}", message);
    Ok(())
}

/// Opens a set in every way that there is, and reads all of it.
fn survives_opening(path: &Path) -> Result<(), TestCaseError> {
    for split in [None, Some(Split::Train), Some(Split::Test)] {
        let photos = match Photos::open(path, split) {
            Err(error) => {
                one_line(error)?;
                continue;
            }
            Ok(photos) => photos,
        };
        for id in 0..photos.len() {
            let _ = photos.decode(id);
            let classes = photos.boxes(id).iter().map(|b| b.class);
            let mut all = classes.chain(photos.labels(id).iter().chain(photos.difficult(id)).copied());
            prop_assert!(all.all(|class| class < photos.classes().len()));
            prop_assert!(photos.boxes(id).iter().all(|b| b.rect.iter().all(|v| v.is_finite())));
            prop_assert!(photos.labels(id).is_sorted() && photos.difficult(id).is_sorted());
        }
    }
    for halves in [multi_label_split(path), labelled_split(path)] {
        halves.err().map_or(Ok(()), one_line)?;
    }
    Ok(())
}

/// Changed versions of these files of a set at `path`, one at a time.
fn survives_anything(folder: TempDir, names: &[&str], path: &str) {
    let read = |name: &&str| -> (PathBuf, Vec<u8>) {
        let path = folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    let files: Vec<_> = names.iter().map(read).collect();
    survives_all((any::<usize>(), edits()), |(which, edits)| {
        let (file, whole) = &files[which % files.len()];
        replace(file, &edited(whole.clone(), &edits));
        let result = survives_opening(&folder.path().join(path));
        replace(file, whole);
        result.map(|()| whole.len())
    });
}

#[test]
fn no_bytes_make_the_stl10_reader_fail() {
    let names = ["train_X.bin", "train_y.bin", "unlabeled_X.bin", "class_names.txt"];
    let names = names.map(|name| format!("stl10_binary/{name}"));
    survives_anything(stl10(), &names.each_ref().map(String::as_str), "");
}

#[test]
fn no_bytes_make_the_cifar10_reader_fail() {
    let folder = cifar10();
    write(folder.path().join("batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    survives_anything(folder, &["data_batch_1.bin", "test_batch.bin", "batches.meta.txt"], "");
}

#[test]
fn no_bytes_make_the_coco_reader_fail() {
    survives_anything(coco(), &["annotations/instances_train2017.json"], "");
}

#[test]
fn no_bytes_make_the_voc_reader_fail() {
    let names = ["Annotations/000007.xml", "ImageSets/Main/trainval.txt", "Annotations/000001.xml"];
    let names = names.map(|name| format!("VOC2007/{name}"));
    survives_anything(voc(), &names.each_ref().map(String::as_str), "");
}

#[test]
fn no_bytes_make_the_csv_reader_fail() {
    survives_anything(csv(), &["list.csv"], "list.csv");
}

#[test]
fn no_text_makes_the_configuration_reader_fail() {
    let demo = Config::preset("demo").unwrap();
    let texts: Vec<String> = ["demo", "s2r2-stl10-r18", "swav-stl10-r18", "byol-coco-r50-400ep"]
        .map(|name| Config::preset(name).unwrap().to_toml())
        .to_vec();
    survives_all((any::<usize>(), edits()), |(which, edits)| {
        let whole = &texts[which % texts.len()];
        let text = String::from_utf8_lossy(&edited(whole.clone().into_bytes(), &edits)).into_owned();
        demo.merged(&text, "file.toml").and_then(|config| config.check()).err().map_or(Ok(()), one_line)?;
        Ok(whole.len())
    });
}

/// A small checkpoint, as its header's text and its tensors' bytes.
pub fn small_checkpoint(folder: &TempDir) -> (Vec<u8>, Vec<u8>) {
    let path = folder.path().join("model.safetensors");
    let config = Config::preset("demo").unwrap().with("model.width=2").unwrap();
    let encoder = config.encoder(&Device::cpu()).unwrap();
    checkpoint::save(&path, &encoder, &config, checkpoint::Progress { epoch: 1, step: 2 }).unwrap();
    let bytes = fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (bytes[8..8 + header].to_vec(), bytes[8 + header..].to_vec())
}

pub fn checkpoint_of(length: u64, header: &[u8], tensors: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes(), header, tensors].concat()
}

#[test]
fn no_bytes_make_the_checkpoint_reader_fail() {
    let folder = tempfile::tempdir().unwrap();
    let (header, tensors) = small_checkpoint(&folder);
    let path = folder.path().join("changed.safetensors");
    let length =
        prop_oneof![6 => Just(None), 2 => (0u32..64, any::<u64>()).prop_map(|(shift, n)| Some(n >> shift))];
    let cut = prop_oneof![8 => Just(0usize), 1 => 1usize..50_000];
    survives_all((edits(), length, cut), |(edits, length, cut)| {
        let header = edited(header.clone(), &edits);
        let tensors = &tensors[..tensors.len().saturating_sub(cut)];
        let bytes = checkpoint_of(length.unwrap_or(header.len() as u64), &header, tensors);
        replace(&path, &bytes);
        match untrusted::read::<Config>(&path) {
            Err(error) => one_line(error)?,
            // What was judged sound may be loaded.
            Ok((_, read)) => {
                prop_assert!(read == bytes);
                checkpoint::load(&path, &Device::cpu()).err().map_or(Ok(()), one_line)?;
            }
        }
        Ok(bytes.len())
    });
}
