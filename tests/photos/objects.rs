//! Objects with boxes and masks, from files to scenes: what a set says of them is kept, what can't be used is named.

use crate::sets;

use std::fs;
use std::path::Path;

use serde_json::json;
use sets::*;
use vista::photos::views::{Scene, SceneConfig, SceneMaker, SceneParams};
use vista::photos::{Album, AlbumOptions, Mask, Photos, Source, Split, multi_label_split};

fn coco(folder: &Path) -> vista::Result<Photos> {
    Photos::annotated(Source::from(folder.join("list.json")).masks(true), &folder.join("photos"))
}

/// The areas of a photo's masks, -1 for an object without one.
fn masks(photos: &Photos, id: usize) -> Vec<f64> {
    photos.boxes(id).iter().map(|object| object.mask.as_ref().map_or(-1.0, |mask| mask.area())).collect()
}

/// The scene of a photo at twice its size, mirrored.
fn scene(photos: &Photos, id: usize) -> Scene {
    let album = Album::new(photos.clone(), AlbumOptions::default());
    let mut maker = SceneMaker::new(SceneConfig { shortest: vec![12], ..SceneConfig::default() }).unwrap();
    maker.make(&album.photo(id).unwrap(), photos.boxes(id), SceneParams { shortest: 12, flip: true })
}

#[test]
fn coco_objects_have_masks_where_they_are_asked_for_and_ids_as_they_are_written() {
    let folder = objects();
    let photos = coco(folder.path()).unwrap();
    assert!(photos.warnings().is_empty(), "{:?}", photos.warnings());
    assert_eq!(
        (masks(&photos, 0), masks(&photos, 1), masks(&photos, 2)),
        (vec![6.0, 42.0], vec![12.0], vec![])
    );
    assert!(matches!(**photos.boxes(0)[0].mask.as_ref().unwrap(), Mask::Polygons(_)));
    let areas: Vec<f32> = photos.boxes(0).iter().chain(photos.boxes(1)).map(|object| object.area).collect();
    assert_eq!((areas, photos.boxes(0)[1].crowd), (vec![5.5, 42.0, 12.0], true)); // its own, or its mask's
    assert_eq!([0, 1, 2].map(|id| photos.image_id(id)), [json!("x 1"), json!(0), json!(12)]);
    assert_eq!(photos.classes(), ["person", "sky", "car"]);
    assert_eq!([0, 1, 2].map(|class| photos.class_id(class)), [json!(0), json!(7), json!("car")]);
    assert_eq!([0, 1, 2].map(|id| photos.stated_size(id)), [Some([6, 8]), Some([6, 8]), None]);
    assert_eq!(photos.objects_in(0, [6, 8]).unwrap().len(), 2);
    assert!(photos.objects_in(2, [5, 8]).is_ok());
    let why = "it has 8 x 5 pixels, but its annotations were made for 8 x 6";
    assert_eq!(photos.objects_in(0, [5, 8]), Err(why.into()));
    // Ids go with what they belong to.
    let some = photos.only(&[1]).only_classes(&["car".into(), "new".into(), "person".into()]);
    assert_eq!([0, 1, 2].map(|class| some.class_id(class)), [json!("car"), json!(null), json!(0)]);
    assert_eq!((some.image_id(0), some.boxes(0)[0].class, masks(&some, 0)), (json!(0), 2, vec![12.0]));
    // Pretraining pays nothing: no mask is held, none is looked at.
    let list = folder.path().join("list.json");
    write(&list, OBJECTS.replace("[6, 42]", "[7]"));
    let plain = Photos::coco(&list, Some(&folder.path().join("photos"))).unwrap();
    assert!(plain.warnings().is_empty() && masks(&plain, 0) == [-1.0; 2] && plain.boxes(0)[1].area == 48.0);
}

#[test]
fn scenes_have_the_objects_of_their_photos() {
    let folder = objects();
    let photos = coco(folder.path()).unwrap();
    let first = scene(&photos, 0);
    assert_eq!((first.size, first.own, first.left_out.len()), ([12, 16], [6, 8], 0));
    let [car, crowd] = &first.objects[..] else { panic!("{:?}", first.objects) };
    assert_eq!(
        (car.class, car.rect, car.crowd, crowd.rect, crowd.crowd),
        (2, [8.0, 2.0, 14.0, 6.0], false, [0.0, 0.0, 16.0, 12.0], true)
    );
    let pixels = |y: std::ops::Range<usize>, x: std::ops::Range<usize>| -> Vec<u8> {
        (0..12 * 16).map(|i| u8::from(y.contains(&(i / 16)) && x.contains(&(i % 16)))).collect()
    };
    assert_eq!(car.mask.as_ref().unwrap().pixels, pixels(2..6, 8..14));
    assert_eq!(crowd.mask.as_ref().unwrap().pixels, pixels(0..12, 0..14));
    let empty = scene(&photos, 2);
    assert!(empty.objects.is_empty() && empty.pixels.len() == 12 * 16 * 3);
}

#[test]
fn objects_that_can_not_be_used_are_counted_and_named() {
    let folder = objects();
    let square = "[[1, 1, 4, 1, 4, 3, 1, 3]]";
    let only_box = "1 of 3 annotations have no mask that can be used: only their boxes are used, such as one of image \"x 1\" (it";
    for (from, to, objects, told) in [
        (square, "[]", 2, &[only_box][..]),
        (square, "null", 2, &[only_box]),
        (square, "[[1, 1, NaN, 1, 4, 3, 1, 3]]", 2, &[only_box]),
        (square, "[[1, 1, 4, 1]]", 2, &[only_box]),
        (square, "[[1, 1, 4, 1, 1e9, 3, 1, 3]]", 2, &["its outline leads far out"]),
        ("\"segmentation\": [[", "\"s\": [[", 2, &[only_box]),
        ("\"counts\": [6, 42]", "\"counts\": [6, 43]", 2, &["(its runs cover 49 pixels, not the 6 x 8"]),
        (
            "\"counts\": \"<<h0\"",
            "\"counts\": \"<<h\"",
            2,
            &["one of image 0 (its run-length code is cut off)"],
        ),
        (
            "[6, 8], \"counts\": [6",
            "[8, 6], \"counts\": [6",
            2,
            &["(it is made for a photo of 6 x 8 pixels, this one has 8 x 6)"],
        ),
        (
            "[1, 1, 3, 2]",
            "[1, 1, 0, 2]",
            2,
            &[
                "1 of 3 annotations have a box of no area: judged, but not learned from, such as one of image \"x 1\"",
            ],
        ),
        ("[1, 1, 3, 2]", "[8, 1, 3, 2]", 2, &["1 of 3 annotations have a box outside their photo: judged"]),
        ("[1, 1, 3, 2]", "[1, 1, NaN, 2]", 1, &["1 of 3 annotations have no box of four numbers"]),
        (
            "\"category_id\": \"car\"",
            "\"category_id\": 3",
            1,
            &["1 of 3 annotations are of categories that are not listed"],
        ),
        ("\"image_id\": 0", "\"image_id\": 99", 2, &["1 of 3 annotations are of images that are not listed"]),
        ("\"id\": 9", "\"id\": 5", 2, &["1 of 3 annotations have the id of another: used nevertheless"]),
        (
            "\"annotations\": [",
            "\"annotations\": [{\"id\": 5, \"image_id\": \"x 1\", \"category_id\": \"car\", \"bbox\": [1, 1, 3, 2]},",
            2,
            &["1 of 4 annotations are repeated: left out", "1 of 4 annotations have no mask"],
        ),
        ("\"width\": 8, \"height\": 6", "\"width\": null, \"height\": -3", 2, &[]),
    ] {
        assert!(OBJECTS.contains(from), "{from}");
        write(folder.path().join("list.json"), OBJECTS.replacen(from, to, 1));
        let photos = coco(folder.path()).unwrap();
        let warnings = photos.warnings();
        assert!(photos.len() == 3 && photos.boxes(0).len() == objects, "{to}: {:?}", photos.boxes(0));
        let is_told = |words: &&&str| warnings.iter().any(|line| line.contains(**words));
        assert!(
            warnings.len() == told.len() && told.iter().filter(is_told).count() == told.len(),
            "{to}: {warnings:#?}"
        );
        let scene = scene(&photos, 0);
        let unlearnable = usize::from(told.iter().any(|words| words.contains("judged")));
        assert_eq!((scene.objects.len(), scene.left_out.len()), (objects - unlearnable, unlearnable), "{to}");
    }
    // Known only when the photo is there.
    write(
        folder.path().join("list.json"),
        OBJECTS
            .replacen("\"width\": 8, \"height\": 6", "\"x\": 0", 1)
            .replace("[6, 42]", "[40]")
            .replace("[6, 8], \"counts\": [", "[5, 8], \"counts\": ["),
    );
    let photos = coco(folder.path()).unwrap();
    let out = scene(&photos, 0).left_out;
    assert!(
        out.len() == 1 && out[0].only_mask && out[0].object == Some(1) && out[0].why.contains("8 x 5 pixels"),
        "{out:?}"
    );
}

#[test]
fn voc_objects_have_the_masks_of_their_numbers() {
    let folder = voc();
    let root = folder.path().join("VOC2007");
    write_mask(root.join("SegmentationObject/000005.png"), 3, 255);
    let size = "<size><width>8</width><height>6</height><depth>3</depth></size>";
    let xml = root.join("Annotations/000005.xml");
    let text = fs::read_to_string(&xml).unwrap();
    write(&xml, text.replace("<annotation>", &format!("<annotation>{size}")));
    let read = || Photos::open(Source::from(folder.path()).masks(true), Some(Split::Train)).unwrap();
    let photos = read();
    assert_eq!((masks(&photos, 0), masks(&photos, 1)), (vec![-1.0, -1.0, 18.0], vec![-1.0; 3]));
    assert_eq!(
        (photos.boxes(0)[0].area, photos.boxes(0)[2].area, photos.stated_size(0)),
        (14.0, 18.0, Some([6, 8]))
    );
    assert_eq!(
        (photos.image_id(1), photos.class_id(0), photos.class_id(19)),
        (json!("000007"), json!(1), json!(20))
    );
    let told = photos.warnings().join("\n");
    for words in [
        "1 of 2 photos have no file in SegmentationObject: only their boxes are used, such as 000007",
        "2 of 6 objects have no pixel in the mask of their photo: only their boxes are used, such as \"dog\" of 000005",
    ] {
        assert!(told.contains(words) && photos.warnings().len() == 2, "{told}");
    }
    assert!(Photos::open(folder.path(), Some(Split::Train)).unwrap().warnings().is_empty());
    // Of another size, of objects that are not there, and no mask at all.
    write(&xml, text.replace("<annotation>", "<annotation><size><width>9</width><height>6</height></size>"));
    write_mask(root.join("SegmentationObject/000005.png"), 3, 4);
    let told = read().warnings().join("\n");
    assert!(told.contains("(it is made for a photo of 8 x 6 pixels, this one has 9 x 6)"), "{told}");
    assert!(told.contains("1 of 2 photos have masks of objects that they do not have: those masks are passed over, such as 000005"), "{told}");
    write(root.join("SegmentationObject/000005.png"), "no mask");
    let told = read().warnings().join("\n");
    assert!(told.contains("1 of 2 photos have a file in SegmentationObject that can't be used"), "{told}");
}

#[test]
fn numbers_in_the_pixels_of_a_mask_are_objects() {
    let folder = penn_fudan();
    let source = || Source::from(folder.path()).masks(true);
    let all = Photos::open(source(), None).unwrap();
    assert!(all.len() == 10 && all.classes().is_empty() && all.boxes(0).is_empty());
    let [train, test] = [Split::Train, Split::Test].map(|split| Photos::open(source(), Some(split)).unwrap());
    let names = |photos: &Photos| -> String { (0..photos.len()).map(|id| &photos.name(id)[1..2]).collect() };
    assert_eq!(
        (names(&train), names(&test), train.classes()),
        ("01235678".into(), "49".into(), &["person".to_string()][..])
    );
    let rects: Vec<[f32; 4]> = train.boxes(0).iter().map(|object| object.rect).collect();
    assert_eq!(
        (rects, masks(&train, 0)),
        (vec![[3.0, 0.0, 4.0, 6.0], [0.0, 0.0, 3.0, 6.0]], vec![24.0, 18.0])
    );
    assert!(train.boxes(2).is_empty() && train.boxes(0)[1].area == 18.0 && train.warnings().is_empty());
    assert_eq!(
        (test.image_id(1), test.class_id(0), scene(&test, 0).objects.len()),
        (json!("P9"), json!(1), 2)
    );
    let plain = Photos::open(folder.path(), Some(Split::Test)).unwrap();
    assert_eq!((plain.boxes(0)[0].rect, masks(&plain, 0)), ([3.0, 0.0, 4.0, 6.0], vec![-1.0; 2]));
    assert_eq!(multi_label_split(folder.path()).unwrap()[0].len(), 8);
    // Any two folders, one class by any name; names of masks as those of photos; what lacks one is named.
    let root = folder.path().join("PennFudanPed");
    let [photos, shapes] = ["PNGImages", "PedMasks"].map(|name| root.join(name));
    fs::rename(shapes.join("P3_mask.png"), shapes.join("P3.png")).unwrap();
    fs::remove_file(shapes.join("P5_mask.png")).unwrap();
    let read = |class: &str| Photos::annotated(Source::from(&shapes).masks(true).class(class), &photos);
    let found = read("walker").unwrap();
    assert_eq!((found.len(), found.classes(), found.boxes(3).len()), (9, &["walker".to_string()][..], 2));
    let told = "1 of 10 photos have no mask: left out, such as P5.png";
    assert!(found.warnings().len() == 1 && found.warnings()[0].contains(told), "{:?}", found.warnings());
    write(shapes.join("P0_mask.png"), "no mask");
    let message = read("x").unwrap_err().to_string();
    assert!(
        message.contains("2 of 10 photos can't be used, 1 may be") && !message.contains('\n'),
        "{message}"
    );
}
