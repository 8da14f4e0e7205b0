//! Links, pipes, and what may be written: nothing outside the folders that were named.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use image::ImageFormat;
use vista::photos::{Photos, Source, labelled_split};
use vista::pretrain::Config;
use vista::run::untrusted;

use crate::damage::photo;
use crate::memory::{alone, ends};
use crate::sets::{coco, csv, stl10, voc, write};
use crate::strangers::refused;

/// Makes a pipe, which nobody writes to.
pub fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn followed(path: &Path) -> Source {
    Source::from(path).follow_links(true)
}

/// A folder of other people's photos, and one that holds a photo and links.
fn linked() -> [tempfile::TempDir; 2] {
    let [mine, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let jpeg = photo(20, 16, ImageFormat::Jpeg);
    write(mine.path().join("a/1.jpg"), &jpeg);
    write(other.path().join("b/2.jpg"), &jpeg);
    symlink(mine.path().join("a"), mine.path().join("inside")).unwrap();
    symlink("1.jpg", mine.path().join("a/again.jpg")).unwrap();
    symlink(other.path().join("b"), mine.path().join("outside")).unwrap();
    symlink(other.path().join("b/2.jpg"), mine.path().join("a/outside.jpg")).unwrap();
    symlink("../../..", mine.path().join("a/above")).unwrap();
    [mine, other]
}

#[test]
fn links_out_of_a_folder_are_followed_only_if_asked_for() {
    alone(|| {
        let [mine, other] = linked();
        let names =
            |photos: &Photos| (0..photos.len()).map(|i| photos.name(i).to_string()).collect::<Vec<_>>();
        let photos = Photos::open(mine.path(), None).unwrap();
        assert_eq!(names(&photos), ["a/1.jpg", "a/again.jpg"]);
        let warning = &photos.warnings()[0];
        assert!(
            warning.contains("3 links lead out of it") && warning.contains("--follow-links"),
            "{warning}"
        );
        fs::remove_file(mine.path().join("a/above")).unwrap();
        let photos = Photos::open(followed(mine.path()), None).unwrap();
        assert_eq!(names(&photos), ["a/1.jpg", "a/again.jpg", "a/outside.jpg", "outside/2.jpg"]);
        assert!(photos.warnings().is_empty() && photos.decode(3).is_ok());
        // A link that is made after the folder was listed.
        let photos = Photos::open(mine.path(), None).unwrap();
        fs::remove_file(mine.path().join("a/1.jpg")).unwrap();
        symlink(other.path().join("b/2.jpg"), mine.path().join("a/1.jpg")).unwrap();
        assert!(photos.decode(0).unwrap_err().contains("outside the data folder"));
        // A folder given by a link is the folder that it leads to.
        assert_eq!(Photos::open(mine.path().join("outside"), None).unwrap().len(), 1);
        fs::remove_dir_all(mine.path().join("a")).unwrap();
        refused(|| Photos::folder(mine.path()), &["no photo", "1 links lead out", "--follow-links"]);
    });
}

#[test]
fn sets_whose_files_lie_elsewhere_are_refused_until_links_are_followed() {
    alone(|| {
        let other = tempfile::tempdir().unwrap();
        // Moves a part of a set away and leaves a link.
        let moved = |root: &Path, name: &str| {
            let away = other.path().join(name.replace('/', "-"));
            fs::rename(root.join(name), &away).unwrap();
            symlink(&away, root.join(name)).unwrap();
        };
        for (set, name) in [
            (stl10(), "stl10_binary/train_X.bin"),
            (stl10(), "stl10_binary"),
            (coco(), "train2017"),
            (coco(), "annotations"),
            (voc(), "VOC2007"),
            (voc(), "VOC2007/Annotations/000007.xml"),
            (voc(), "VOC2007/ImageSets"),
        ] {
            moved(set.path(), name);
            refused(|| Photos::open(set.path(), None), &["leads out of", "--follow-links"]);
            assert!(Photos::open(followed(set.path()), None).unwrap().decode(0).is_ok(), "{name}");
        }
        let set = voc();
        moved(set.path(), "VOC2007/JPEGImages/000007.jpg");
        let photos = Photos::open(set.path(), None).unwrap();
        assert!(photos.decode(0).is_ok() && photos.decode(1).unwrap_err().contains("--follow-links"));

        let set = csv();
        let secret = other.path().join("secret.png");
        fs::copy(set.path().join("images/a.png"), &secret).unwrap();
        let list = set.path().join("list.csv");
        write(&list, format!("file,split,labels\na.png,train,x\n{},train,x\n", secret.display()));
        let photos = Photos::open(&list, None).unwrap();
        assert!(
            photos.decode(0).is_ok() && photos.decode(1).unwrap_err().contains("outside the data folder")
        );
        assert!(Photos::open(followed(&list), None).unwrap().decode(1).is_ok());
        write(&list, format!("file,split,labels\n{},train,x\n", secret.display()));
        refused(|| Photos::open(&list, None), &["leads out of", "secret.png"]);
    });
}

#[test]
fn pipes_and_folders_in_the_place_of_files_are_one_clear_line() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        refused(|| Photos::folder(folder.path().join("two\nlines")), &["no such file", "two lines"]);
        let put: [fn(&Path); 2] = [pipe, |path| fs::create_dir(path).unwrap()];
        for put in put {
            for ending in ["csv", "json", "safetensors"] {
                let path = path.with_extension(ending);
                put(&path);
                let given = path.clone();
                let result = ends(20, move || match ending {
                    "safetensors" => untrusted::read::<Config>(&given).map(|_| ()),
                    "csv" => Photos::csv(&given, None, None).map(|_| ()),
                    _ => Photos::coco(&given, None).map(|_| ()),
                });
                refused(|| result, &["not a file", ending]);
                if path.is_dir() { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
            }
        }
        let set = voc();
        let list = set.path().join("VOC2007/ImageSets/Main/trainval.txt");
        fs::remove_file(&list).unwrap();
        pipe(&list);
        fs::remove_file(set.path().join("VOC2007/Annotations/000001.xml")).unwrap();
        pipe(&set.path().join("VOC2007/Annotations/000001.xml"));
        let root = set.path().to_path_buf();
        assert!(ends(20, move || labelled_split(&root).is_err()
            && Photos::voc(root.join("VOC2007"), "test").is_err()));
    });
}

/// Every file below a folder with its bytes.
fn all_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(all_below(&entry));
        } else {
            found.insert(entry.display().to_string(), fs::read(&entry).unwrap());
        }
    }
    found
}

#[test]
fn a_run_writes_to_its_out_folder_alone() {
    alone(|| {
        let home = tempfile::tempdir().unwrap();
        for i in 0..6 {
            write(home.path().join(format!("photos/{i}.jpg")), photo(30 + i, 24, ImageFormat::Jpeg));
        }
        write(
            home.path().join("run.toml"),
            "train.steps = 2\ntrain.batch = 2\nmethod.views = 2\nmodel.width = 4\n",
        );
        let before = all_below(home.path());
        let run = |args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_vista"));
            for name in
                ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR"]
            {
                command.env(name, home.path());
            }
            let output = command.current_dir(home.path()).args(args).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let shared = ["--device", "cpu", "--config", "run.toml", "--image-size", "16"];
        run(&[&["pretrain", "--data", "photos", "--out", "out"], &shared[..]].concat());
        run(&[
            "figures",
            "--checkpoint",
            "out/checkpoint.safetensors",
            "--device",
            "cpu",
            "--out",
            "out/figures",
        ]);
        let mut after = all_below(home.path());
        let out = home.path().join("out").display().to_string();
        let written = after.keys().filter(|name| name.starts_with(&out)).count();
        after.retain(|name, _| !name.starts_with(&out));
        assert!(written > 4 && after == before, "{:?}", after.keys());
    });
}
