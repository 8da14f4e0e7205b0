//! Sets as people have them: one odd entry costs that entry alone, and what is left out is named.

use crate::sets;

use std::fs;
use std::path::Path;

use sets::*;
use vista::Error;
use vista::photos::{Photos, Source, Split, labelled_split, multi_label_split};

#[track_caller]
fn refused<T>(result: Result<T, Error>, words: &[&str]) {
    let error = result.err().expect("an error");
    assert_eq!(error.exit_code(), 2, "{error}");
    let message = error.to_string();
    assert!(!message.contains('\n') && words.iter().all(|w| message.contains(w)), "{message}");
}

#[track_caller]
fn warned(photos: &Photos, words: &[&str]) {
    let warnings = photos.warnings();
    let is_told = |words: &str| warnings.iter().any(|line| line.contains(words));
    assert!(words.iter().all(|w| is_told(w)) && warnings.len() == words.len(), "{words:?}: {warnings:#?}");
}

fn names(photos: &Photos) -> Vec<&str> {
    (0..photos.len()).map(|i| photos.name(i)).collect()
}

fn labels(photos: &Photos, id: usize) -> Vec<&str> {
    photos.labels(id).iter().map(|&class| photos.classes()[class].as_str()).collect()
}

fn folder_with(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        if [".png", ".jpg"].iter().any(|ending| name.to_lowercase().ends_with(ending)) {
            write_photo(path);
        } else {
            write(path, "no photo");
        }
    }
    folder
}

#[test]
fn files_of_other_endings_are_counted_by_ending() {
    let folder = folder_with(&[
        "a.png",
        "b.xyz",
        "c/d.XYZ",
        "c/e.heic",
        "notes.txt",
        "README",
        ".hidden.heic",
        "Thumbs.db",
        "c/desktop.ini",
        "__MACOSX/._a.heic",
    ]);
    let photos = Photos::folder(folder.path()).unwrap();
    assert_eq!(names(&photos), ["a.png"]);
    warned(
        &photos,
        &[
            "1 file of ending .heic is left out: save pictures as",
            "2 files of ending .xyz are left out",
            "1 file of ending .txt",
            "1 file without an ending is left out",
        ],
    );
    assert!(photos.warnings()[0].contains(".heic"), "pictures come first");
    fs::remove_file(folder.path().join("a.png")).unwrap();
    refused(Photos::folder(folder.path()), &["no photo", "2 files of ending .xyz", ".heic"]);
    for i in 0..40 {
        write(folder.path().join(format!("part.{i}")), "x");
    }
    write_photo(folder.path().join("a.png"));
    let photos = Photos::folder(folder.path()).unwrap();
    assert_eq!(photos.warnings().len(), 13);
    assert!(photos.warnings()[12].contains("files of 32 other endings"), "{:?}", photos.warnings());
}

#[test]
fn classes_that_vanish_and_photos_beside_them_are_named() {
    let set = folder_with(&[
        "train/a/0.png",
        "train/b/0.png",
        "train/c/0.heic",
        "test/a/0.png",
        "test/b/0.png",
        "test/c/0.heic",
        "test/beside.png",
    ]);
    let [train, test] = labelled_split(set.path()).unwrap();
    assert_eq!((train.classes(), test.len()), (&["a".to_string(), "b".to_string()][..], 2));
    warned(&train, &["1 file of ending .heic", "class folder c holds no photo"]);
    warned(
        &test,
        &["1 file of ending .heic", "1 of 3 photos lie outside any class folder", "class folder c"],
    );
    write_photo(set.path().join("train/c/1.png"));
    refused(
        labelled_split(set.path()),
        &["other classes: c in train alone", "class folder c holds no photo"],
    );
    write_photo(set.path().join("test/beside2.png"));
    refused(Photos::labelled(set.path().join("test")), &["beside.png", "outside any class folder"]);
    let lax = Source::from(set.path().join("test")).max_broken(0.5);
    assert_eq!(Photos::labelled(lax).unwrap().len(), 2);
}

#[test]
fn parts_are_told_in_any_case_and_val_is_judged_on_where_there_is_no_test() {
    for (train, test) in
        [("train", "val"), ("Train", "TEST"), ("training", "validation"), ("TRAIN", "testing")]
    {
        let names = [train, test].map(|part| ["a", "b"].map(|class| format!("{part}/{class}/0.png")));
        let names = names.concat();
        let set = folder_with(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let [left, right] = labelled_split(set.path()).unwrap();
        assert!(left.place().ends_with(train) && right.place().ends_with(test), "{}", right.place());
    }
    let both = folder_with(&["train/a/0.png", "val/a/0.png", "test/a/0.png"]);
    assert!(Photos::open(both.path(), Some(Split::Test)).unwrap().place().ends_with("test"));
    let half = folder_with(&["train/a/0.png", "train/b/0.png"]);
    refused(labelled_split(half.path()), &["no train part", "val/CLASS/"]);
    refused(Photos::open(half.path(), Some(Split::Test)), &["no test part beside", "train"]);
    let set = voc();
    let lists = set.path().join("VOC2007/ImageSets/Main");
    for (from, to) in [("trainval.txt", "TrainVal.txt"), ("test.txt", "Testing.TXT")] {
        fs::rename(lists.join(from), lists.join(to)).unwrap();
    }
    let [train, test] = multi_label_split(set.path()).unwrap();
    assert_eq!(
        (names(&train), names(&test)),
        (vec!["000005.jpg", "000007.jpg"], vec!["000001.jpg", "000002.jpg"])
    );
}

#[test]
fn splits_of_a_list_are_told_in_any_case_and_an_unknown_one_is_never_trained_on() {
    let folder = folder_with(&["a.png", "b.png", "c.png", "d.png"]);
    let list = folder.path().join("list.csv");
    let open = |a: &str, b: &str, split| {
        write(&list, format!("File,Labels,Split\na.png,x,{a}\nb.png,x,{b}\nc.png,x,holdout\n"));
        Photos::open(&list, split)
    };
    for (train, test) in [
        ("train", "test"),
        ("Train", "Test"),
        (" TRAIN ", "testing"),
        ("training", "val"),
        ("train", "Validation"),
        ("train", "dev"),
    ] {
        let [left, right] = [Split::Train, Split::Test].map(|split| open(train, test, Some(split)).unwrap());
        assert_eq!((names(&left), names(&right)), (vec!["a.png"], vec!["b.png"]), "{train} {test}");
        let seen = open(train, test, None).unwrap();
        assert_eq!(names(&seen), ["a.png"], "{train} {test}");
        let unknown = "1 lines of the unknown split \"holdout\" are left out";
        warned(&left, &[unknown]);
        warned(&right, &[unknown]);
        warned(&seen, &[unknown, "are left out: they are to judge on"]);
    }
    // Where there is a test part val is learned from, as trainval.
    write(&list, "file,labels,split\na.png,x,train\nb.png,x,val\nc.png,x,Test\nd.png,x,\n");
    assert_eq!(names(&Photos::open(&list, None).unwrap()), ["a.png", "b.png", "d.png"]);
    assert_eq!(names(&Photos::open(&list, Some(Split::Test)).unwrap()), ["c.png"]);
    assert_eq!(names(&Photos::csv(&list, None, Some("TEST")).unwrap()), ["c.png"]);
    refused(Photos::csv(&list, None, Some("holdout")), &["no line of split \"holdout\"", "Test, train, val"]);
    write(&list, "file,labels\na.png,x\n");
    refused(Photos::open(&list, Some(Split::Train)), &["no line of split \"train\"", "no column of splits"]);
}

#[test]
fn lists_are_read_however_their_columns_are_written() {
    let folder = folder_with(&["a.png", "b.png", "sub/c d.PNG"]);
    let list = folder.path().join("list.csv");
    let plain = "file,labels,split\na.png,x,train\nb.png,y,train\nsub/c d.PNG,x;y,train\n";
    let wide = |unit: fn(u16) -> [u8; 2], text: &str| -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect()
    };
    let tabs = plain.replace(',', "\t");
    for (what, bytes) in [
        ("commas", plain.as_bytes().to_vec()),
        ("tabs", tabs.clone().into_bytes()),
        ("semicolons", plain.replace("x;y", "\"x;y\"").replace(',', ";").into_bytes()),
        ("a mark, CRLF and blank lines", format!("\u{feff}{}", plain.replace('\n', "\r\n\r\n")).into_bytes()),
        ("old line ends", plain.replace('\n', "\r").into_bytes()),
        ("UTF-16 of Excel", wide(u16::to_le_bytes, &tabs.replace('\n', "\r\n"))),
        ("UTF-16, the other way", wide(u16::to_be_bytes, plain)),
        ("spaces and quotes", plain.replace(',', ", ").replace("a.png", " \"a.png\" ").into_bytes()),
        ("a separator's line", format!("sep=,\n{plain}").into_bytes()),
        ("comments", format!("# made by hand\n# twice\n{plain}").into_bytes()),
        ("headings behind a mark of comments", format!("# {plain}").into_bytes()),
        ("other headings", plain.replace("file,labels,split", "Image Path,Class,Subset").into_bytes()),
        ("no headings", plain.replace("file,labels,split\n", "").into_bytes()),
        ("no headings, tabs", tabs.replace("file\tlabels\tsplit\n", "").into_bytes()),
        ("ids", plain.replace("file", "image_id").replace(".png", "").replace(".PNG", "").into_bytes()),
        ("another system", plain.replace("sub/", "sub\\").into_bytes()),
        ("another case", plain.replace("c d.PNG", "C d.png").into_bytes()),
        ("whole paths", plain.replace("sub/", &format!("{}/sub/", folder.path().display())).into_bytes()),
        ("another one's whole paths", plain.replace("sub/", "D:\\me\\sub\\").into_bytes()),
        ("an address", plain.replace("sub/c d", "file:///home/me/sub/c%20d").into_bytes()),
        ("a label a line", plain.replace("c d.PNG,x;y", "c d.PNG,y,train\nsub/c d.PNG,x").into_bytes()),
        ("a line without a name", format!("{plain},z,train\n").into_bytes()),
        (
            "another order",
            plain
                .lines()
                .map(|line| {
                    let cells: Vec<&str> = line.split(',').collect();
                    format!("{},{},{}\n", cells[1], cells[2], cells[0])
                })
                .collect::<String>()
                .into_bytes(),
        ),
    ] {
        write(&list, bytes);
        let photos = Photos::open(&list, Some(Split::Train)).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(photos.len(), 3, "{what}: {:?}", names(&photos));
        assert_eq!([0, 1, 2].map(|i| labels(&photos, i)), [vec!["x"], vec!["y"], vec!["x", "y"]], "{what}");
        assert!((0..3).all(|i| photos.decode(i).is_ok()), "{what}: {:?}", names(&photos));
        match what {
            "a label a line" => warned(&photos, &["1 of 4 lines name a photo again"]),
            "a line without a name" => {
                warned(&photos, &["1 of 4 lines name no file: left out, such as \",z,train\""])
            }
            _ => warned(&photos, &[]),
        }
    }
    write(&list, "foto,klasse\na.png,x\n");
    refused(Photos::open(&list, None), &["no column of files among foto, klasse", "file, path or image"]);
    write(&list, "gone.png,x\na.png,y\n"); // a first photo that is missing is no heading
    assert_eq!(names(&Photos::open(&list, None).unwrap()), ["gone.png", "a.png"]);
    write(&list, "file,labels\n\"a\n.png\",x\na.png,y\n");
    assert!(Photos::open(&list, None).unwrap().decode(0).is_err());
    write(&list, "file,labels\n,x\n,x\na.png,y\n");
    refused(Photos::open(&list, None), &["2 of 3 lines can't be used, 1 may be", "name no file"]);
}

#[test]
fn labels_that_are_joined_otherwise_are_warned_of() {
    let folder = folder_with(&["a.png", "b.png"]);
    let list = folder.path().join("list.csv");
    for (labels, is_told) in [
        ("\"cat,animal\"", true),
        ("cat|animal", true),
        ("\"['cat', 'animal']\"", true),
        ("['cat']", true),
        ("cat;animal", false),
        ("\"cat,small;animal\"", false),
        ("traffic light", false),
    ] {
        write(&list, format!("file,labels\na.png,{labels}\nb.png,dog\n"));
        let photos = Photos::open(&list, None).unwrap();
        warned(&photos, if is_told { &["1 of 2 labels are like"] } else { &[] });
    }
}

#[test]
fn voc_lists_and_objects_are_read_as_other_programs_write_them() {
    let set = voc();
    let root = set.path().join("VOC2007");
    let (list, file) = (root.join("ImageSets/Main/trainval.txt"), root.join("Annotations/000007.xml"));
    let open = || Photos::voc(&root, "trainval").unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    for (difficult, is_odd, is_difficult) in [
        ("", false, false),
        ("<difficult/>", false, false),
        ("<difficult> 0.0 </difficult>", false, false),
        ("<difficult>False</difficult>", false, false),
        ("<difficult>true</difficult>", false, true),
        ("<difficult>1.0</difficult>", false, true),
        ("<difficult>Unspecified</difficult>", true, false),
        ("<difficult>2</difficult>", true, false),
    ] {
        write(&file, whole.replace(HARD, difficult));
        let photos = open();
        let wanted = if is_difficult { vec!["person"] } else { vec!["cat", "dog", "person"] };
        assert_eq!(labels(&photos, 1), wanted, "{difficult}");
        warned(&photos, if is_odd { &["2 of 6 objects are marked difficult by another word"] } else { &[] });
    }
    // A label does not depend on a box.
    for (from, to) in [
        ("<xmax>4</xmax>", "<xmax>four</xmax>"),
        ("<ymin>2</ymin>", "<ymin>nan</ymin>"),
        ("<ymin>2</ymin>", ""),
        ("<bndbox>", "<polygon>"),
        ("<xmin>1</xmin>", "<xmin>9</xmin>"),
    ] {
        let xml = whole.replace(from, to);
        write(&file, if to == "<polygon>" { xml.replace("</bndbox>", "</polygon>") } else { xml });
        let photos = open();
        assert_eq!(
            (labels(&photos, 1), photos.difficult(1).len(), photos.boxes(1).len()),
            (vec!["person"], 2, 0),
            "{to}"
        );
        warned(&photos, &["3 of 6 objects have no box"]);
    }
    write(&file, whole.replacen("<name>cat</name>", "", 1));
    assert_eq!(open().difficult(1).len(), 1);
    warned(&open(), &["1 of 6 objects have no name: left out, such as \"\" of 000007"]);
    write(&file, &whole);
    for lines in [
        "000005.jpg\r\n000007.JPG\r\n\r\n",
        "  000005 \n000007   -1\n",
        "JPEGImages/000005.jpg\n000007.jpg 1\n",
        "C:\\voc\\000005.jpg\n/home/me/000007.jpg\n",
        "\u{feff}000005\n000007\n000005\n",
    ] {
        write(&list, lines);
        assert_eq!(names(&open()), ["000005.jpg", "000007.jpg"], "{lines:?}");
        warned(
            &open(),
            if lines.contains('\u{feff}') { &["1 lines of the list name a photo again"] } else { &[] },
        );
    }
    for (folder, from, to) in
        [("Annotations", "000007.xml", "img 7.xml"), ("JPEGImages", "000007.jpg", "img 7.JPEG")]
    {
        fs::rename(root.join(folder).join(from), root.join(folder).join(to)).unwrap();
    }
    write(&list, "000005\nimg 7\n000009\n");
    assert_eq!(names(&open()), ["000005.jpg", "img 7.JPEG"]);
    assert!(open().decode(1).is_ok());
    warned(&open(), &["1 of 3 photos have no annotation: left out, such as"]);
    refused(
        Photos::voc(Source::from(&root).max_broken(0.0), "trainval"),
        &["1 of 3 photos can't be used, 0 may be"],
    );
}

#[test]
fn published_sets_in_forms_that_are_not_read_are_named() {
    let cifar = folder_with(&["cifar-10-batches-py/data_batch_1"]);
    refused(Photos::open(cifar.path(), None), &["CIFAR-10's Python version", "binary version"]);
    refused(Photos::open(cifar.path().join("cifar-10-batches-py"), None), &["CIFAR-10's Python version"]);
    let hundred = folder_with(&["cifar-100-binary/train.bin", "cifar-100-binary/fine_label_names.txt"]);
    refused(Photos::open(hundred.path(), None), &["CIFAR-100, which is not read"]);
    let packed = folder_with(&["instances_train2017.json.gz"]);
    refused(Photos::open(packed.path().join("instances_train2017.json.gz"), None), &["unpack it first"]);
    let stl = stl10();
    fs::remove_file(stl.path().join("stl10_binary/train_X.bin")).unwrap();
    let photos = Photos::open(stl.path(), None).unwrap();
    assert_eq!(photos.len(), 3);
    warned(&photos, &["train_X.bin is not there: unlabelled photos alone"]);
    refused(Photos::open(stl.path(), Some(Split::Train)), &["no such file", "train_X.bin"]);
}

#[test]
fn classes_with_photos_in_one_half_alone_are_named() {
    let folder = csv();
    let [train, test] = multi_label_split(folder.path().join("list.csv")).unwrap();
    warned(&train, &["no test photo of class tree"]);
    warned(&test, &[]);
}

#[test]
#[cfg(unix)]
fn a_folder_that_cannot_be_read_is_left_out_and_named() {
    use std::os::unix::fs::PermissionsExt;
    let set = folder_with(&["a.png", "lost+found/b.png"]);
    let closed = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let inner = set.path().join("lost+found");
    closed(&inner, 0o000);
    let is_closed = fs::read_dir(&inner).is_err(); // nothing is closed to root
    let photos = Photos::folder(set.path());
    closed(&inner, 0o700);
    if is_closed {
        warned(&photos.unwrap(), &["folder lost+found can't be read and is left out"]);
    }
}
