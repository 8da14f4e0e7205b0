//! Label maps as sets have them, and what is said of those that can't be used.

use crate::sets;

use std::fs;
use std::path::Path;
use vista::Error;
use vista::photos::{IGNORED, Labels, PixelClasses, Source, Split};

fn names(labels: &Labels) -> Vec<&str> {
    labels.classes().iter().map(|class| class.name.as_str()).collect()
}

/// The classes of a photo's upper left corner, lower left corner, and car.
fn corners(labels: &Labels, photo: usize) -> [u8; 3] {
    let map = labels.map(photo, [40, 48], &[]).expect("a label map");
    [0, 39 * 48, 28 * 48 + 15].map(|at| map.classes[at])
}

#[test]
fn cityscapes_numbers_become_the_nineteen_that_are_judged() {
    let folder = sets::cityscapes();
    let (photos, labels) = Labels::open(folder.path(), Split::Train, None).expect("a set");
    assert_eq!((photos.len(), labels.classes().len()), (4, 19));
    assert_eq!(corners(&labels, 0), [10, 0, 13]); // sky, road, car
    assert_eq!(labels.counts()[13], 4 * 80);
    let (test, of_test) =
        Labels::open(folder.path(), Split::Test, Some(labels.known())).expect("its val part");
    assert_eq!((test.len(), corners(&of_test, 1)), (2, [10, 0, 13]));
    assert_ne!(labels.checksum(), of_test.checksum());

    // Maps in the numbers of the classes that are judged.
    for entry in fs::read_dir(folder.path().join("gtFine/train/aachen")).expect("maps").flatten() {
        let name = entry.file_name().to_string_lossy().replace("labelIds", "labelTrainIds");
        let map = image::open(entry.path()).expect("a map").into_luma8();
        let trained = image::GrayImage::from_fn(48, 40, |x, y| {
            image::Luma([match map.get_pixel(x, y).0[0] {
                23 => 10,
                7 => 0,
                _ => 13,
            }])
        });
        fs::remove_file(entry.path()).expect("removed");
        trained.save(entry.path().with_file_name(name)).expect("saved");
    }
    let (_, labels) = Labels::open(folder.path(), Split::Train, None).expect("a set");
    assert_eq!((corners(&labels, 2), labels.classes()[10].id), ([10, 0, 13], 23));

    // A list of other classes says what the same numbers are: no label is beyond them.
    let list = folder.path().join("mine.txt");
    fs::write(&list, "0 way\n10 air\n13 ignored\n").expect("written");
    let list = PixelClasses::read(&list).expect("a list");
    let (_, labels) = Labels::open(folder.path(), Split::Train, Some(&list)).expect("a set");
    assert_eq!((names(&labels), corners(&labels, 2)), (vec!["way", "air"], [1, 0, IGNORED]));
    assert_eq!(labels.counts().len(), 3);
}

#[test]
fn pairs_have_the_classes_of_their_list_or_the_numbers_that_occur() {
    let folder = sets::pairs(true);
    let (photos, labels) = Labels::open(folder.path(), Split::Train, None).expect("a set");
    assert_eq!((photos.len(), names(&labels)), (6, vec!["road", "sky"]));
    assert_eq!(corners(&labels, 0), [1, 0, IGNORED]);
    assert_eq!(labels.classes()[1].color, [90, 140, 220]);
    assert_eq!(labels.counts(), [6 * 1920 - labels.counts()[1] - 480, labels.counts()[1], 480]);

    fs::remove_file(folder.path().join("classes.txt")).expect("removed");
    let (_, labels) = Labels::open(folder.path(), Split::Train, None).expect("a set");
    assert_eq!((names(&labels), corners(&labels, 0)), (vec!["class 0", "class 4", "class 9"], [1, 0, 2]));

    // In other folders: parts outside, maps beside photos under names of their own, apart.
    let at = |name: &str| folder.path().join(name);
    for part in ["train", "test"] {
        fs::create_dir(at(part)).expect("folder");
        fs::rename(at(&format!("images/{part}")), at(&format!("{part}/images"))).expect("moved");
        fs::rename(at(&format!("labels/{part}")), at(&format!("{part}/masks"))).expect("moved");
    }
    assert_eq!(Labels::open(folder.path(), Split::Test, None).expect("a set").0.len(), 3);
    for i in 0..6 {
        fs::rename(at(&format!("train/masks/{i}.png")), at(&format!("train/images/{i}_L.png")))
            .expect("moved");
    }
    let (photos, labels) = Labels::pairs(at("train/images"), at("train/images"), None).expect("a set");
    assert_eq!((photos.len(), corners(&labels, 5)), (6, [1, 0, 2]));
    assert!(
        Labels::open(at("train"), Split::Train, None).expect_err("no parts").to_string().contains("--labels")
    );
}

#[test]
fn voc_reads_indexed_label_maps_by_its_list() {
    let folder = sets::voc();
    let root = folder.path().join("VOCdevkit/VOC2012");
    let root = if root.is_dir() { root } else { folder.path().to_path_buf() };
    let root = if root.join("JPEGImages").is_dir() { root } else { root.join("VOC2007") };
    let at = |name: &str| root.join(name);
    sets::write(at("ImageSets/Segmentation/train.txt"), "a\nb\n");
    sets::write(at("ImageSets/Segmentation/val.txt"), "c\n");
    fs::create_dir_all(at("SegmentationClass")).expect("folder");
    for id in ["a", "b", "c"] {
        sets::write_photo(at(&format!("JPEGImages/{id}.jpg")));
        // Indexed by four bits: 0 in the left half, 7 in the right, a column of 15.
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8, 6);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Four);
        encoder.set_palette(vec![0; 48]);
        let row = [0x00, 0x00, 0x77, 0x7f];
        encoder.write_header().expect("a header").write_image_data(&row.repeat(6)).expect("data");
        fs::write(at(&format!("SegmentationClass/{id}.png")), bytes).expect("written");
    }
    let (photos, labels) = Labels::open(&root, Split::Train, None).expect("a set");
    assert_eq!((photos.len(), labels.classes().len()), (2, 21));
    assert_eq!(&labels.map(0, [6, 8], &[]).expect("a map").classes[..8], [0, 0, 0, 0, 7, 7, 7, 15]);
    assert_eq!((names(&labels)[0], names(&labels)[15]), ("background", "person"));
    assert_eq!(Labels::open(&root, Split::Test, None).expect("a set").0.len(), 1);
}

#[test]
fn coco_paints_masks_and_ignores_what_is_not_known() {
    let folder = tempfile::tempdir().expect("folder");
    sets::write_photo(folder.path().join("images/a.png"));
    sets::write_photo(folder.path().join("images/b.png"));
    let square = |x: u32, y: u32| format!("[[{x},{y},{},{y},{},{},{x},{}]]", x + 2, x + 2, y + 2, y + 2);
    let annotation = |id: u32, image: u32, class: u32, crowd: u32, bbox: &str, mask: &str| {
        format!(
            r#"{{"id":{id},"image_id":{image},"category_id":{class},"iscrowd":{crowd},"bbox":{bbox},"area":4,"segmentation":{mask}}}"#
        )
    };
    let all = [
        annotation(1, 1, 17, 0, "[0,0,2,2]", &square(0, 0)),
        annotation(2, 1, 3, 0, "[1,1,2,2]", &square(1, 1)),
        annotation(3, 1, 17, 1, "[4,0,2,2]", &square(4, 0)),
        annotation(4, 1, 3, 0, "[6,4,1,1]", "[]"),
    ];
    let json = format!(
        r#"{{"images":[{{"id":1,"file_name":"a.png","width":8,"height":6}},{{"id":2,"file_name":"b.png","width":8,"height":6}}],"annotations":[{}],"categories":[{{"id":3,"name":"car"}},{{"id":17,"name":"cat"}}]}}"#,
        all.join(",")
    );
    for part in ["train", "val"] {
        sets::write(folder.path().join(format!("annotations/instances_{part}.json")), &json);
    }
    let source = Source::from(folder.path()).max_broken(0.5);
    let (photos, labels) = Labels::open(source, Split::Train, None).expect("a set");
    assert_eq!(names(&labels), ["background", "car", "cat"]);
    assert_eq!(labels.classes().iter().map(|class| class.id).collect::<Vec<_>>(), [0, 3, 17]);
    let map = |photo: usize| {
        let objects = photos.objects_in(photo, [6, 8]).expect("its size");
        labels.map(photo, [6, 8], objects).expect("a map").classes
    };
    let painted = map(0);
    let x = IGNORED;
    assert_eq!(painted[..8], [2, 2, 0, 0, x, x, 0, 0]);
    assert_eq!(painted[8..16], [2, x, 1, 0, x, x, 0, 0]); // where both are, neither is known
    assert_eq!(painted[16..24], [0, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(painted[4 * 8 + 6], x); // a box without a mask
    assert!(map(1).iter().all(|&class| class == 0));

    // A list of some categories, without background and in another order; one that is not there is named.
    let list = folder.path().join("mine.txt");
    fs::write(&list, "cat\nboat\n").expect("written");
    let list = PixelClasses::read(&list).expect("a list");
    let source = || Source::from(folder.path()).max_broken(0.5);
    let (photos, labels) = Labels::open(source(), Split::Train, Some(&list)).expect("a set");
    assert_eq!(names(&labels), ["background", "cat", "boat"]);
    let objects = photos.objects_in(0, [6, 8]).expect("its size");
    assert_eq!(labels.map(0, [6, 8], objects).expect("a map").classes[..3], [1, 1, 0]);
    assert!(photos.warnings().iter().any(|line| line.contains("boat")), "{:?}", photos.warnings());

    // Numbers that no byte holds, or 255, which is ignored: all are numbered in a row.
    for id in [255, 300] {
        let json = json.replace("\"id\":3,\"name\"", &format!("\"id\":{id},\"name\""));
        let json = json.replace("\"category_id\":3", &format!("\"category_id\":{id}"));
        sets::write(folder.path().join("annotations/instances_train.json"), &json);
        let (_, labels) = Labels::open(source(), Split::Train, None).expect("a set");
        let mut ids: Vec<u8> = labels.classes().iter().map(|class| class.id).collect();
        ids.sort();
        assert_eq!(ids, [0, 1, 2]);
    }
}

/// A photo that lies on its side, as phones save them, has a label map that is upright; one that lies with it is of another size.
#[test]
fn a_label_map_is_as_large_as_its_photo_is_when_it_is_upright() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("photos")).and_then(|()| fs::create_dir_all(at("maps"))).expect("folders");
    image::RgbImage::from_pixel(8, 6, image::Rgb([9, 99, 199])).save(at("plain.jpg")).expect("saved");
    let mut jpeg = fs::read(at("plain.jpg")).expect("read");
    // An EXIF block that says "turn by 90 degrees".
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    jpeg.splice(2..2, exif.iter().copied());
    for i in 0..4 {
        fs::write(at(&format!("photos/{i}.jpg")), &jpeg).expect("written");
        let (w, h) = if i == 0 { (8, 6) } else { (6, 8) };
        let map = image::GrayImage::from_fn(w, h, |x, _| image::Luma([u8::from(x > 2)]));
        map.save(at(&format!("maps/{i}.png"))).expect("saved");
    }
    let maps = Source::from(at("maps")).max_broken(0.5);
    let (photos, labels) =
        Labels::pairs(Source::from(at("photos")).max_broken(0.5), maps, None).expect("a set");
    assert_eq!((photos.len(), labels.classes().len()), (3, 2), "{:?}", photos.warnings());
    assert!(photos.warnings()[0].contains("0.jpg"), "{:?}", photos.warnings());
    let photo = photos.decode(0).expect("a photo");
    assert!(labels.map(0, [photo.height, photo.width], &[]).is_ok());
}

/// Spoils the label map of photo 0 of `pairs`, and returns what is said: of one among six as a warning, and of all as an error.
fn spoiled(spoil: impl Fn(&Path)) -> [String; 2] {
    let folder = sets::pairs(false);
    let map = |i: u32| folder.path().join(format!("labels/train/{i}.png"));
    spoil(&map(0));
    let (photos, labels) = Labels::open(folder.path(), Split::Train, None).expect("the others");
    assert_eq!((photos.len(), photos.warnings().len()), (5, 1), "{:?}", photos.warnings());
    assert_eq!(corners(&labels, 0), [1, 0, 2], "the others keep their maps");
    (1..6).for_each(|i| spoil(&map(i)));
    let error = Labels::open(folder.path(), Split::Train, None).expect_err("none is left");
    assert!(matches!(error, Error::Input { .. }));
    let said = [photos.warnings()[0].clone(), error.to_string()];
    said.iter().for_each(|line| assert!(!line.contains('\n') && line.contains("0.png"), "{line}"));
    said
}

#[test]
fn what_is_wrong_with_a_label_map_is_said_in_a_line_and_costs_one_photo() {
    let expect = |spoil: &dyn Fn(&Path), part: &str| {
        for said in spoiled(spoil) {
            assert!(said.contains(part), "no `{part}` in {said}");
        }
    };
    let grey = |w, h, v| image::GrayImage::from_pixel(w, h, image::Luma([v]));
    expect(&|map| fs::remove_file(map).expect("removed"), "no label map");
    expect(
        &|map| grey(24, 20, 0).save(map).expect("saved"),
        "made for a photo of 24 x 20 pixels, this one has 48 x 40",
    );
    expect(
        &|map| grey(48, 40, 77).save(map).expect("saved"),
        "1920 of its pixels have the number 77, which is no class",
    );
    expect(&|map| fs::write(map, "no picture").expect("written"), "no sound PNG");
    expect(
        &|map| image::RgbaImage::from_pixel(48, 40, image::Rgba([0, 0, 0, 255])).save(map).expect("saved"),
        "its pixels are colours, not numbers of classes: save it grey or indexed",
    );
    expect(
        &|map| {
            let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_pixel(48, 40, image::Luma([4]));
            deep.save(map).expect("saved");
        },
        "its numbers have 16 bits: save it with 8",
    );
}

#[test]
fn a_label_map_that_changes_under_a_run_is_told_of() {
    let folder = sets::pairs(false);
    let (_, labels) = Labels::open(folder.path(), Split::Train, None).expect("a set");
    assert!(labels.map(0, [41, 48], &[]).expect_err("another size").contains("48 x 40"));
    fs::remove_file(folder.path().join("labels/train/0.png")).expect("removed");
    assert!(labels.map(0, [40, 48], &[]).is_err());
    let list = PixelClasses::read(&folder.path().join("classes.txt")).expect("a list");
    assert_eq!(&list, labels.known());
}
