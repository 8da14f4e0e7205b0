//! Readers of published data sets on small files made here: whole ones give what was written, damaged ones one clear
//! line with file and offset. What no bytes whatever may do to a reader is tested in `wild`.

use crate::sets;

use std::fs;

use sets::*;
use vista::Error;
use vista::photos::{LabelledBox, Photos, Source, Split, labelled_split, multi_label_split};

#[track_caller]
fn refused<T>(result: Result<T, Error>, words: &[&str]) {
    let error = result.err().expect("an error");
    assert_eq!(error.exit_code(), 2, "{error}");
    let message = error.to_string();
    assert!(!message.contains('\n') && words.iter().all(|w| message.contains(w)), "{message}");
}

#[track_caller]
fn assert_upright(photos: &Photos, id: usize, side: usize, blue: u8) {
    let image = photos.decode(id).unwrap();
    assert_eq!((image.width, image.height), (side, side));
    for (i, pixel) in image.data.chunks(3).enumerate() {
        assert_eq!(pixel, [(i % side) as u8, (i / side) as u8, blue], "pixel {i}");
    }
}

#[test]
fn stl10_images_are_read_column_by_column() {
    let folder = stl10();
    let all = Photos::open(folder.path(), None).unwrap();
    assert_eq!(all.len(), 5);
    (0..5).for_each(|i| assert_upright(&all, i, 96, i as u8 + 1));
    assert_eq!((all.label(2), all.label(3), all.label(4)), (None, Some(9), Some(0)));
    assert_eq!((all.name(1), all.name(4)), ("unlabeled_X.bin#1", "train_X.bin#1"));
    let test = Photos::stl10(folder.path().join("stl10_binary"), Some(Split::Test)).unwrap();
    assert_upright(&test, 1, 96, 7);
    assert_eq!((test.len(), &*test.classes()[test.label(0).unwrap()]), (2, "car"));
    let [train, test] = labelled_split(folder.path()).unwrap();
    assert_eq!((train.len(), test.len(), train.classes().len()), (2, 2, 10));
}

#[test]
fn damaged_stl10_files_are_named_with_the_byte() {
    let folder = stl10();
    let path = |name: &str| folder.path().join("stl10_binary").join(name);
    let whole = fs::read(path("train_X.bin")).unwrap();
    let open = || Photos::open(folder.path(), Some(Split::Train));
    for (length, number, start) in
        [(1, 0, 0), (STL_BYTES - 1, 0, 0), (STL_BYTES + 1, 1, STL_BYTES), (2 * STL_BYTES - 1, 1, STL_BYTES)]
    {
        write(path("train_X.bin"), &whole[..length]);
        let place = format!("train_X.bin at byte {start} of {length}");
        let what = format!("STL-10 images end in the middle of number {number}");
        refused(open(), &[&what, &place, "download the file again"]);
    }
    write(path("train_X.bin"), []);
    refused(open(), &["no STL-10 images in an empty file", "train_X.bin at byte 0 of 0"]);
    write(path("train_X.bin"), &whole);
    for (labels, words) in [
        (&[10][..], ["1 STL-10 labels for 2 images", "train_y.bin at byte 1 of 1"]),
        (&[10, 1, 1], ["3 STL-10 labels for 2 images", "train_y.bin at byte 2 of 3"]),
        (&[10, 0], ["label of 0, not from 1 to 10", "train_y.bin at byte 1 of 2"]),
        (&[11, 1], ["label of 11, not from 1 to 10", "train_y.bin at byte 0 of 2"]),
    ] {
        write(path("train_y.bin"), labels);
        refused(open(), &words);
    }
    fs::remove_file(path("train_y.bin")).unwrap();
    refused(open(), &["no such file", "train_y.bin"]);
    write(path("class_names.txt"), b"airplane\nbi\xffrd\n");
    refused(open(), &["not UTF-8", "class_names.txt at byte 11 of 15"]);
    write(path("class_names.txt"), "airplane\nbird\n");
    refused(open(), &["2 names of classes instead of 10", "class_names.txt"]);
}

#[test]
fn an_image_file_that_shrinks_while_it_is_read_makes_undecodable_photos() {
    let folder = stl10();
    let photos = Photos::open(folder.path(), Some(Split::Test)).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("stl10_binary/test_X.bin"))
        .unwrap()
        .set_len(STL_BYTES as u64 + 7)
        .unwrap();
    assert_upright(&photos, 0, 96, 6);
    let why = photos.decode(1).unwrap_err();
    assert!(why.contains("test_X.bin from byte 27648 on"), "{why}");
}

#[test]
fn cifar10_records_are_a_label_and_planes_row_by_row() {
    let folder = cifar10();
    let train = Photos::open(folder.path(), None).unwrap();
    assert_eq!(train.len(), 10);
    (0..10).for_each(|i| assert_upright(&train, i, 32, i as u8 + 2));
    assert_eq!((train.label(0), train.label(1), train.label(8)), (Some(1), Some(9), Some(5)));
    assert_eq!((train.name(9), &*train.classes()[1]), ("data_batch_5.bin#1", "automobile"));
    let [_, test] = labelled_split(folder.path()).unwrap();
    assert_upright(&test, 0, 32, 99);
}

#[test]
fn damaged_cifar10_files_are_named_with_the_byte() {
    let folder = cifar10();
    let path = folder.path().join("data_batch_3.bin");
    let mut whole = fs::read(&path).unwrap();
    for (length, number, start) in [(1, 0, 0), (3072, 0, 0), (3074, 1, 3073), (6145, 1, 3073)] {
        write(&path, &whole[..length]);
        let place = format!("data_batch_3.bin at byte {start} of {length}");
        let what = format!("CIFAR-10 images end in the middle of number {number}");
        refused(Photos::cifar10(folder.path(), None), &[&what, &place]);
    }
    whole[3073] = 10;
    write(&path, &whole);
    refused(Photos::cifar10(folder.path(), None), &["label of 10", "data_batch_3.bin at byte 3073 of 6146"]);
    fs::remove_file(&path).unwrap();
    refused(Photos::cifar10(folder.path(), None), &["no such file", "data_batch_3.bin"]);
}

#[test]
fn coco_photos_have_labels_and_boxes() {
    let folder = coco();
    let photos = Photos::open(folder.path(), None).unwrap();
    assert_eq!((photos.len(), photos.classes()), (3, &["person".to_string(), "toothbrush".to_string()][..]));
    assert_eq!((photos.name(0), photos.name(1), photos.name(2)), ("b.png", "a.png", "sub/c.png"));
    assert_eq!((photos.labels(0), photos.labels(1), photos.labels(2)), (&[0][..], &[0, 1][..], &[][..]));
    let boxes = photos.boxes(1);
    let first = LabelledBox::new(1, [1.5, 2.0, 3.0, 4.0]);
    assert_eq!((boxes.len(), boxes[0].clone(), boxes[1].crowd, boxes[2].rect[2]), (3, first, true, 2.0));
    assert_eq!((photos.decode(2).unwrap().width, photos.difficult(1).len()), (8, 0));
    assert!(photos.warnings().is_empty());
    let [train, test] = multi_label_split(folder.path()).unwrap();
    assert_eq!((train.len(), test.len(), test.warnings().len()), (3, 2, 1));
    assert!(test.warnings()[0].contains("1 of 4 annotations are of images that are not listed"));
    let file = folder.path().join("annotations/instances_val2017.json");
    assert_eq!(Photos::open(&file, None).unwrap().len(), 2);
    refused(Photos::open(&file, Some(Split::Test)), &["no test part", "instances_val2017.json"]);
    refused(labelled_split(folder.path()), &["several labels", "one label a photo"]);
}

#[test]
fn coco_entries_that_fit_nothing_are_left_out_and_counted() {
    let folder = coco();
    let file = folder.path().join("annotations/instances_train2017.json");
    let read = |from: &str, to: &str| {
        write(&file, COCO.replace(from, to));
        let photos = Photos::coco(&file, None).unwrap();
        (photos.boxes(1).len(), photos.labels(1).to_vec(), photos.warnings().join("; "))
    };
    let (boxes, labels, warning) =
        read(r#""image_id": 3, "category_id": 1"#, r#""image_id": 3, "category_id": 2"#);
    assert!(
        (boxes, &*labels) == (2, &[1]) && warning.contains("1 of 4 annotations are of categories"),
        "{warning}"
    );
    // A label does not depend on a box.
    for bad in [
        "[0, 0, -8, 6]",
        "[0, 0, 8, 1e300]",
        "[-1e300, 0, 8, 6]",
        "[NaN, 0, 8, 6]",
        "[0, -Infinity, 8, 6]",
        "[0, 0, 8, 1e999]",
        "[0, 0, 8]",
        "[0, 0, 8, 6, 30]",
        "[]",
        "null",
        "{}",
        "[null, 0, 8, 6]",
        "Infinity",
    ] {
        let (boxes, labels, warning) = read("[0, 0, 8, 6]", bad);
        let told =
            warning.contains("1 of 4 annotations have no box") && warning.contains("such as one of image 3");
        assert!((boxes, &*labels) == (2, &[0, 1]) && told, "{bad}: {warning}");
    }
    let (boxes, labels, warning) = read("\"bbox\": [0, 0, 8, 6], ", "");
    assert!((boxes, &*labels) == (2, &[0, 1]) && warning.contains("have no box"), "{warning}");
}

#[test]
fn damaged_coco_files_are_named_with_the_byte() {
    let folder = coco();
    let file = folder.path().join("annotations/instances_train2017.json");
    for length in [0, 1, 40, 200, 700, COCO.len() - 1] {
        write(&file, &COCO[..length]);
        let place = format!("instances_train2017.json at byte {length} of {length}");
        refused(Photos::open(folder.path(), None), &["COCO's format", &place, "download the file again"]);
    }
    for (from, to, words) in [
        ("[0, 0, 8, 6]", "[Nan, 0, 8, 6]", &["COCO's format", "at byte"][..]),
        ("[0, 0, 8, 6]", "[0, 0, 8, 1-]", &["COCO's format", "at byte"]),
        ("\"image_id\": 3,", "", &["3 of 4 annotations can't be used, 1 may be", "have no image_id"]),
        ("\"category_id\": 90,", "", &["2 of 4 annotations can't be used, 1 may be", "have no category_id"]),
        ("\"categories\"", "\"kategories\"", &["no list of categories"]),
        ("\"images\"", "\"pictures\"", &["missing field `images`"]),
        ("\"file_name\"", "\"file\"", &["no photo is named"]),
        (".png\"", ".gone\"", &["b.gone", "not there", "train2017"]),
        ("\"indoor\"}", "\"indoor\"}}", &["COCO's format"]),
    ] {
        write(&file, COCO.replace(from, to));
        refused(Photos::open(folder.path(), None), words);
    }
    // Half of a character in a name, as Python writes what is no text, costs that image alone.
    write(&file, COCO.replace("sub/", "\\ud800"));
    let photos = Photos::open(folder.path(), None).unwrap();
    assert!(photos.len() == 2 && photos.warnings()[0].contains("1 of 3 images have no file_name"));
    refused(
        Photos::coco(Source::from(&file).max_broken(0.0), None),
        &["1 of 3 images can't be used, 0 may be"],
    );
    write(&file, [b"{\"images\": ".as_slice(), &vec![b'['; 1 << 20]].concat());
    refused(Photos::open(folder.path(), None), &["at byte"]);
    write(&file, [b"{\"info\": ".as_slice(), &vec![b'['; 1 << 20]].concat());
    refused(Photos::open(folder.path(), None), &["at byte"]);
    fs::remove_file(&file).unwrap();
    refused(
        Photos::open(folder.path(), Some(Split::Train)),
        &["no instances_train*.json", "instances_val2017.json"],
    );
}

#[test]
fn voc_objects_marked_difficult_leave_their_class_out() {
    let folder = voc();
    let train = Photos::open(folder.path(), None).unwrap();
    assert_eq!((train.len(), train.classes().len(), train.name(1)), (2, 20, "000007.jpg"));
    let named = |photos: &Photos, classes: &[usize]| -> Vec<String> {
        classes.iter().map(|&class| photos.classes()[class].clone()).collect()
    };
    assert_eq!(named(&train, train.labels(0)), ["dog", "person"]);
    assert_eq!((train.difficult(0).len(), train.boxes(0).len()), (0, 3));
    assert_eq!(named(&train, train.labels(1)), ["person"]);
    assert_eq!(named(&train, train.difficult(1)), ["cat", "dog"]);
    let first = &train.boxes(0)[0];
    assert_eq!((first.rect, first.difficult, first.crowd), ([0.0, 1.0, 4.0, 3.5], false, false));
    assert_eq!(train.decode(0).unwrap().height, 6);
    let [train, test] = multi_label_split(folder.path()).unwrap();
    assert_eq!((train.classes(), test.len()), (&["dog".to_string(), "person".to_string()][..], 2));
    assert_eq!((train.labels(1), train.difficult(1), train.boxes(1).len()), (&[1][..], &[0][..], 2));
    assert_eq!((test.labels(0), test.labels(1), test.name(1)), (&[0, 1][..], &[][..], "000002.jpg"));
    refused(labelled_split(folder.path()), &["several labels"]);
}

#[test]
fn voc_sets_without_a_test_list_are_judged_on_val() {
    let folder = voc();
    let lists = folder.path().join("VOC2007/ImageSets/Main");
    fs::rename(lists.join("test.txt"), lists.join("val.txt")).unwrap();
    write(lists.join("train.txt"), "000005\n");
    let [train, val] = multi_label_split(folder.path()).unwrap();
    assert_eq!((train.len(), val.len(), Photos::open(folder.path(), None).unwrap().len()), (1, 2, 2));
    refused(Photos::voc(folder.path().join("VOC2007"), "test"), &["no list", "test", "train, val, trainval"]);
}

#[test]
fn other_classes_than_vocs_are_taken_as_they_are() {
    let folder = voc();
    write(
        folder.path().join("VOC2007/Annotations/000005.xml"),
        voc_xml(&[("zebra", EASY, ["5", "5", "1", "9"])]),
    );
    let photos = Photos::open(folder.path(), None).unwrap();
    assert_eq!(photos.classes(), ["cat", "dog", "person", "zebra"]);
    assert!(photos.boxes(0).is_empty() && photos.labels(0) == [3]);
    assert!(photos.warnings()[0].contains("1 of 4 objects have no box"), "{:?}", photos.warnings());
}

#[test]
fn damaged_voc_files_are_named_with_line_and_column() {
    let folder = voc();
    let root = folder.path().join("VOC2007");
    let file = root.join("Annotations/000007.xml");
    let whole = fs::read_to_string(&file).unwrap();
    let open = || Photos::open(folder.path(), None);
    let bomb =
        format!("<!DOCTYPE a [<!ENTITY a \"{}\"><!ENTITY b \"&a;&a;&a;&a;\">]>{whole}", "x".repeat(1000));
    for (text, words) in [
        (whole[..100].to_string(), &["not XML", "000007.xml at line", "download the file again"][..]),
        (String::new(), &["not XML", "at line 1 column 1"]),
        (bomb, &["not XML", "DTD", "at line 1"]),
        ("<a>".repeat(1 << 19), &["not XML"]),
        ("<a/>".repeat(1 << 19), &["not XML"]),
        (format!("<annotation>{}</annotation>", "<a/>".repeat(200_000)), &["not XML", "nodes limit"]),
        (" ".repeat((4 << 20) + 1), &["more than the 4194304 bytes", "000007.xml"]),
        ("<html></html>".into(), &["<html> instead of <annotation>", "at line 1 column 1"]),
        (
            whole.replace("<name>", "<nom>").replace("</name>", "</nom>"),
            &["3 of 6 objects can't be used, 1 may be", "of 000007"],
        ),
    ] {
        write(&file, text);
        refused(open(), words);
    }
    write(&file, [&whole.as_bytes()[..50], &[0xff], &whole.as_bytes()[50..]].concat());
    refused(open(), &["not UTF-8", "000007.xml at byte 50 of"]);
    let list = root.join("ImageSets/Main/trainval.txt");
    fs::remove_file(&file).unwrap();
    write(&list, "000005\n000007\n000009\n");
    refused(open(), &["2 of 3 photos can't be used, 1 may be", "no annotation", "000007.xml"]);
    write(&list, "000007\n");
    refused(open(), &["1 of 1 photos can't be used"]);
    write(&list, "000005\n../../secret\n../../x\n");
    refused(open(), &["../../secret", "at line 2", "leads out"]);
    write(root.join("ImageSets/Main/trainval.txt"), "\n");
    refused(open(), &["empty list", "trainval.txt"]);
}

#[test]
fn a_csv_list_with_splits_gives_the_classes_that_both_have() {
    let folder = csv();
    let list = folder.path().join("list.csv");
    let seen = Photos::open(&list, None).unwrap();
    assert_eq!((0..3).map(|i| seen.name(i)).collect::<Vec<_>>(), ["a.png", "c.png", "d.png"]); // no test photo
    assert_eq!(seen.len(), 3);
    let [train, test] = multi_label_split(&list).unwrap();
    assert_eq!(
        (train.classes(), train.classes()),
        (test.classes(), &["sea".to_string(), "sky".to_string()][..])
    );
    assert_eq!((train.labels(0), train.labels(1), test.labels(0)), (&[1][..], &[0][..], &[0, 1][..]));
    refused(labelled_split(&list), &["a.png has 2 labels", "one label a photo"]);
    write(&list, "file,split,labels\na.png,train,sky\nb.png,test,sea\n");
    refused(multi_label_split(&list), &["no class has photos in both", "list.csv"]);
    let [train, test] = labelled_split(&list).unwrap();
    assert_eq!((train.label(0), test.label(0)), (Some(1), Some(0)));
    write(&list, "file,split,labels\na.png,\"one\ntwo\",sky\n");
    refused(Photos::open(&list, Some(Split::Train)), &["no line of split \"train\"", "one\\ntwo"]); // one line
    write(&list, "file,split,labels\na.png,test,sky\n");
    refused(Photos::open(&list, None), &["every line is of split \"test\"", "list.csv"]);
    write(&list, b"file,split,labels\na.png,train,s\xffky\n");
    refused(Photos::open(&list, None), &["not UTF-8", "list.csv at byte 31 of 35"]);
}

#[test]
fn a_path_that_is_no_data_set_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    write_photo(folder.path().join("a.png"));
    assert_eq!(Photos::open(folder.path(), None).unwrap().len(), 1);
    refused(Photos::open(folder.path(), Some(Split::Train)), &["no train part", "train/CLASS/"]);
    assert_eq!(Photos::open(folder.path().join("a.png"), None).unwrap().len(), 1);
    refused(Photos::open(folder.path().join("a.png"), Some(Split::Test)), &["no test part", "a.png"]);
    std::fs::write(folder.path().join("a.txt"), "a photo").unwrap();
    refused(Photos::open(folder.path().join("a.txt"), None), &["not a folder, nor a photo", "a.txt"]);
    refused(Photos::open(folder.path().join("gone"), None), &["no such file", "gone"]);
    for name in ["train/x/a.png", "train/y/a.png", "test/x/a.png"] {
        write_photo(folder.path().join(name));
    }
    refused(labelled_split(folder.path()), &["other classes"]);
    write_photo(folder.path().join("test/y/a.png"));
    assert_eq!(labelled_split(folder.path()).unwrap()[0].classes(), ["x", "y"]);
}
