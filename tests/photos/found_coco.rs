//! COCO files as people have them: what differs from the published ones is read, or costs its entry alone.

use crate::sets;

use sets::*;
use vista::Error;
use vista::photos::Photos;

#[track_caller]
fn refused<T>(result: Result<T, Error>, words: &[&str]) {
    let error = result.err().expect("an error");
    assert_eq!(error.exit_code(), 2, "{error}");
    let message = error.to_string();
    assert!(!message.contains('\n') && words.iter().all(|w| message.contains(w)), "{message}");
}

#[test]
fn coco_ids_are_compared_by_value_and_crowds_are_told_in_any_words() {
    let folder = coco();
    let file = folder.path().join("annotations/instances_train2017.json");
    let read = |json: String| {
        write(&file, json);
        let photos = Photos::coco(&file, None).unwrap();
        assert!(photos.warnings().is_empty(), "{:?}", photos.warnings());
        let crowds: Vec<bool> = photos.boxes(1).iter().map(|b| b.crowd).collect();
        (photos.classes().to_vec(), photos.labels(1).to_vec(), photos.labels(0).to_vec(), crowds)
    };
    let plain = read(COCO.into());
    for image in ["3.0", "\"3\"", "3e0", "\" 3.0 \"", "\"0003\""] {
        assert_eq!(
            read(COCO.replacen("\"image_id\": 3", &format!("\"image_id\": {image}"), 2)),
            plain,
            "{image}"
        );
        assert_eq!(
            read(COCO.replace("{\"id\": 3, \"file", &format!("{{\"id\": {image}, \"file"))),
            plain,
            "{image}"
        );
    }
    for category in ["90.0", "\"90\""] {
        let json = COCO.replace("\"category_id\": 90", &format!("\"category_id\": {category}"));
        assert_eq!(read(json), plain, "{category}");
    }
    let text = COCO
        .replace("\"image_id\": 3", "\"image_id\": \"x y\"")
        .replace("{\"id\": 3, \"f", "{\"id\": \"x y\", \"f");
    assert_eq!(read(text), plain);
    // Numbers that no float tells apart.
    let long = COCO.replace("\"image_id\": 3", "\"image_id\": 99999999999999999993");
    let long = long.replace("{\"id\": 3, \"f", "{\"id\": 99999999999999999993, \"f");
    assert_eq!(read(long.replace("{\"id\": 9,", "{\"id\": 99999999999999999999,")), plain);
    for (word, crowd) in [
        ("true", true),
        ("\"1\"", true),
        ("1.0", true),
        ("null", false),
        ("\"0\"", false),
        ("0.0", false),
        ("\"\"", false),
    ] {
        let (_, labels, _, crowds) = read(COCO.replace("\"iscrowd\": 1", &format!("\"iscrowd\": {word}")));
        assert_eq!((labels, crowds), (plain.1.clone(), vec![false, crowd, false]), "{word}");
    }
    assert_eq!(read(format!("\u{feff}{COCO}")), plain);
}

#[test]
fn lists_of_images_without_labels_are_photos_to_pretrain_on() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["unlabeled2017/a.png", "unlabeled2017/b.png"] {
        write_photo(folder.path().join(name));
    }
    let file = folder.path().join("annotations/image_info_unlabeled2017.json");
    for (json, warnings) in [
        (r#"{"images": [{"id": 1, "file_name": "a.png"}, {"file_name": "b.png"}]}"#, 0),
        (
            r#"{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}], "annotations": null}"#,
            0,
        ),
        (
            r#"{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
            "annotations": [{"id": 1, "image_id": 2, "caption": "a bee"}]}"#,
            1,
        ),
    ] {
        write(&file, json);
        for path in [folder.path(), &file] {
            let photos = Photos::open(path, None).unwrap();
            assert_eq!((photos.len(), photos.classes().len(), photos.warnings().len()), (2, 0, warnings));
            assert!(photos.decode(1).is_ok() && photos.labels(1).is_empty());
        }
    }
}

#[test]
fn ids_of_images_without_labels_are_not_looked_at() {
    let folder = coco();
    let file = folder.path().join("annotations/instances_train2017.json");
    write(
        &file,
        r#"{"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}, {"file_name": "a.png"}]}"#,
    );
    assert_eq!(Photos::coco(&file, None).unwrap().len(), 3);
}

#[test]
fn json_that_is_no_coco_file_is_refused_with_what_to_do() {
    let folder = coco();
    let file = folder.path().join("list.json");
    write(&file, r#" [{"id": 1, "file_name": "a.png"}]"#);
    refused(Photos::open(&file, None), &["a list, no object", "list.json", "{\"images\": [..]}"]);
    write(&file, COCO.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    refused(Photos::open(&file, None), &["COCO's format", "at byte"]);
    write(&file, format!("\u{feff}{COCO}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    refused(Photos::open(&file, None), &["UTF-16", "save it as UTF-8"]);
}

#[test]
fn images_and_categories_that_share_an_id_take_their_labels_with_them() {
    let folder = coco();
    let file = folder.path().join("annotations/instances_train2017.json");
    let read = |json: &str| {
        write(&file, json);
        let photos = Photos::coco(&file, None).unwrap();
        let names: Vec<String> = (0..photos.len()).map(|i| photos.name(i).to_string()).collect();
        (names, photos)
    };
    // Whose labels they are nobody knows: two of two hundred are left out, two of three refused.
    write(&file, COCO.replace("\"id\": 7", "\"id\": 3"));
    refused(
        Photos::coco(&file, None),
        &["2 of 3 images can't be used, 1 may be", "id of another image", "b.png"],
    );
    let more: String = (100..400).map(|id| format!("{{\"id\": {id}, \"file_name\": \"a.png\"}}, ")).collect();
    let many = COCO.replace("\"images\": [", &format!("\"images\": [{more}"));
    let (_, photos) = read(&many.replace("\"id\": 7", "\"id\": 3"));
    assert_eq!(photos.len(), 301);
    assert!(photos.warnings()[0].contains("2 of 303 images have the id of another image: left out"));
    // The same image twice is that image once.
    let image = r#"{"id": 3, "file_name": "a.png"}"#;
    let (names, photos) = read(&COCO.replace(image, &format!("{image}, {image}")));
    assert_eq!((names.len(), photos.labels(1)), (3, &[0, 1][..]));
    // So are categories: the same name twice is one class, two names are none.
    let (_, photos) = read(&COCO.replace("{\"id\": 1, \"name\"", "{\"id\": 90, \"name\""));
    assert!(photos.classes().is_empty() && photos.warnings()[0].contains("several names"));
    let (_, photos) = read(&COCO.replace("\"person\"", "\"toothbrush\""));
    assert_eq!((photos.classes(), photos.labels(1)), (&["toothbrush".to_string()][..], &[0][..]));
}

#[test]
fn photos_are_found_by_the_names_that_other_systems_write() {
    let folder = coco();
    let root = folder.path().join("train2017");
    write_photo(root.join("a b.PNG"));
    let file = folder.path().join("annotations/instances_train2017.json");
    for (name, found) in [
        ("sub\\\\c.png", "sub/c.png"),
        ("C:\\\\data\\\\sub\\\\c.png", "sub/c.png"),
        ("/home/me/coco/train2017/sub/c.png", "sub/c.png"),
        ("../train2017/c.png", "c.png"),
        ("file:///home/me/sub/c.png", "sub/c.png"),
        ("https://host/sub/c.png?size=1", "sub/c.png"),
        ("./sub/c.png", "sub/c.png"),
        ("sub/C.PNG", "sub/c.png"),
        ("sub/c", "sub/c.png"),
        ("sub/c.jpg", "sub/c.png"),
        ("a%20b.png", "a b.PNG"),
    ] {
        write(&file, COCO.replace("sub/c.png", name));
        let photos = Photos::coco(&file, None).unwrap();
        let is_found = found != "c.png";
        assert_eq!((photos.len(), photos.name(0)), (if is_found { 3 } else { 2 }, "b.png"), "{name}");
        if is_found {
            assert_eq!(photos.name(2), found, "{name}");
            assert!(photos.decode(2).is_ok() && photos.warnings().is_empty(), "{name}");
        } else {
            assert!(
                photos.warnings()[0].contains("lie outside the folder of photos"),
                "{:?}",
                photos.warnings()
            );
        }
    }
    // Photos that are not there keep their places, and any of the others tells the folder.
    write(&file, COCO.replace("b.png", "gone.png"));
    let photos = Photos::coco(&file, None).unwrap();
    assert!(photos.len() == 3 && photos.decode(0).is_err() && photos.decode(1).is_ok());
}
