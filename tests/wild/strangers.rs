//! Files that a stranger made to do harm: each is refused in one line, soon and in little memory.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use vista::Error;
use vista::photos::Photos;
use vista::pretrain::Config;
use vista::run::untrusted;

use crate::memory::{ALLOWED, alone, peak};
use crate::parsers::{checkpoint_of, small_checkpoint};
use crate::sets::{voc, write};

/// Expects a refusal with these words.
#[track_caller]
pub fn refused<T>(work: impl FnOnce() -> Result<T, Error>, words: &[&str]) {
    let start = Instant::now();
    let (result, used) = peak(work);
    let error = result.err().expect("a refusal");
    let message = error.to_string();
    assert_eq!(error.exit_code(), 2, "{message}");
    assert!(!message.contains('\n') && words.iter().all(|w| message.contains(w)), "{message}");
    assert!(used < ALLOWED, "{message}: {used} bytes");
    assert!(start.elapsed() < Duration::from_secs(10), "{message}: {:?}", start.elapsed());
}

/// A file of which only the beginning takes room on the disk.
fn sparse(path: &Path, start: &[u8], length: u64) {
    write(path, start);
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn checkpoints_that_claim_what_they_do_not_hold_are_refused() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let (header, tensors) = small_checkpoint(&folder);
        let path = folder.path().join("stranger.safetensors");
        let text = String::from_utf8(header.clone()).unwrap();
        let read = || untrusted::read::<Config>(&path);
        write(&path, checkpoint_of(header.len() as u64, &header, &tensors));
        assert_eq!(read().unwrap().0.model.width, 2);

        for (length, words) in [
            (u64::MAX, ["a header of 18446744073709551615 bytes", "stranger.safetensors"]),
            (1 << 40, ["a header of 1099511627776 bytes", "in a file of"]),
            (header.len() as u64 + 1, ["trailing characters", "not a sound checkpoint"]),
            (0, ["EOF", "vista pretrain"]),
        ] {
            write(&path, checkpoint_of(length, &header, &tensors));
            refused(read, &words);
        }
        sparse(&path, &(90_000_000u64).to_le_bytes(), 1 << 32);
        refused(read, &["a header of 90000000 bytes", "4294967296"]);
        sparse(&path, &checkpoint_of(header.len() as u64, &header, &tensors), 1 << 40);
        refused(read, &["its tensors end at byte", "of 1099511627776"]);
        write(&path, b"short");
        refused(read, &["5 bytes are too few"]);

        let first = text.find("\"data_offsets\":[0,").unwrap();
        let end = first + text[first..].find(']').unwrap();
        let claims = |offsets: &str| format!("{}\"data_offsets\":[{offsets}{}", &text[..first], &text[end..]);
        for (changed, word) in [
            (claims("4,8"), "offset"),                    // a hole
            (claims("0,99999999"), "of"),                 // past the end
            (claims("8,4"), "offset"),                    // backwards
            (claims("-1,4"), "invalid value"),            //
            (claims("0,18446744073709551615"), "of"),     //
            (text.replacen("[2,", "[NaN,", 1), "line 1"), //
            (text.replacen("\"F32\"", "\"F23\"", 1), "unknown variant"),
            (text.replacen("[2,", "[9223372036854775807,9223372036854775807,", 1), "overflow"),
            (text.replace("config", "konfig"), "no configuration"),
            (text.replace("width = 2", "width = 1000000000"), "its encoder has more than"),
            (text.replace("hidden = 0", "hidden = 9000000000000000000"), "its encoder has more than"),
            (text.replace("projection = ", "projection = 9000000"), "its encoder has more than"),
            (text.replace("views = ", "views = 9000000000"), "views"),
            (text.replace("\\nsize = ", "\\nsize = 9000"), "invalid size"),
            (format!("{{\"a\":{}", "[".repeat(1 << 20)), "recursion limit"),
        ] {
            assert_ne!(changed, text, "{word}");
            write(&path, checkpoint_of(changed.len() as u64, changed.as_bytes(), &tensors));
            refused(
                read,
                &[word, "not a sound checkpoint"]
                    [..if word == "views" || word == "invalid size" { 1 } else { 2 }],
            );
        }
    });
}

#[test]
fn annotations_whose_attributes_take_a_square_of_time_are_refused() {
    alone(|| {
        let folder = voc();
        let file = folder.path().join("VOC2007/Annotations/000007.xml");
        let attributes: String = (0..300_000).map(|i| format!(" a{i}=\"\"")).collect();
        write(&file, format!("<annotation><object{attributes}/></annotation>"));
        refused(|| Photos::open(folder.path(), None), &["300000 attributes", "000007.xml"]);
        let spaces: String = (0..90_000).map(|i| format!("<a xmlns:a{i}=\"x\">")).collect();
        write(&file, format!("<annotation>{spaces}"));
        refused(|| Photos::open(folder.path(), None), &["90000 attributes", "000007.xml"]);
        let few =
            (0..4000).map(|i| format!("<a xmlns:a{i}=\"x\">")).collect::<String>() + &"</a>".repeat(4000);
        write(&file, format!("<annotation>{few}</annotation>"));
        refused(|| Photos::open(folder.path(), None), &["namespaces", "000007.xml"]);
        // As many as are allowed end soon.
        let few: String = (0..4000).map(|i| format!(" a{i}=\"\"")).collect();
        write(&file, format!("<annotation><object><a{few}/><name>cat</name></object></annotation>"));
        let start = Instant::now();
        let photos = Photos::open(folder.path(), None).unwrap();
        assert!(
            photos.warnings()[0].contains("\"cat\" of 000007") && start.elapsed() < Duration::from_secs(10)
        );
    });
}

#[test]
fn numbers_that_no_memory_holds_are_refused_in_a_configuration() {
    alone(|| {
        let demo = Config::preset("demo").unwrap();
        let swav = Config::preset("swav-stl10-r18").unwrap();
        for (config, setting) in [
            (&demo, "method.views=9000000000000000000"),
            (&demo, "train.batch=9000000000000000000"),
            (&swav, "method.small_views=9223372036854775807"),
            (&swav, "method.views=1025"),
        ] {
            refused(|| config.with(setting)?.check(), &[setting.split('.').next().unwrap()]);
        }
        for text in [format!("a = {}", "[".repeat(1 << 17)), format!("a{} = 1", ".a".repeat(1 << 16))] {
            refused(|| demo.merged(&text, "deep.toml"), &["deep.toml", "recurs"]);
        }
        for text in
            ["[a]\n".repeat(1 << 15), "\n".repeat(1 << 19), "a = [".to_string() + &"1,".repeat(1 << 16) + "]"]
        {
            refused(|| demo.merged(&text, "long.toml"), &["long.toml"]);
        }
    });
}

#[test]
fn lists_of_any_length_are_read_as_far_as_they_may_go() {
    alone(|| {
        let folder = voc();
        let list = folder.path().join("VOC2007/ImageSets/Main/trainval.txt");
        sparse(&list, b"000005\n", 1 << 40);
        refused(|| Photos::open(folder.path(), None), &["more than the 67108864 bytes", "trainval.txt"]);
        fs::remove_file(&list).unwrap();
        let photo = folder.path().join("huge.jpg");
        sparse(&photo, &[0xFF, 0xD8, 0xFF, 0xE0], 1 << 40);
        let photos = Photos::folder(folder.path()).unwrap();
        let id = (0..photos.len()).find(|&id| photos.name(id) == "huge.jpg").unwrap();
        let (result, used) = peak(|| photos.decode(id));
        assert!(result.unwrap_err().contains("more than 536870912") && used < ALLOWED, "{used}");
    });
}
