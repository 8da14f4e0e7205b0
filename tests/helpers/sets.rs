//! Small published data sets made here, for the tests of their readers.

#![allow(dead_code)] // each test file takes its own

use std::fs;
use std::path::Path;

use tempfile::TempDir;

pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub fn write_photo(path: impl AsRef<Path>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(8, 6, image::Rgb([200, 100, 50])).save(path).unwrap();
}

/// Planes of an image whose pixel at column x, row y is `[x, y, blue]`.
pub fn planes(side: usize, blue: u8, by_columns: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for channel in 0..3 {
        for (outer, inner) in (0..side).flat_map(|o| (0..side).map(move |i| (o, i))) {
            let (x, y) = if by_columns { (outer, inner) } else { (inner, outer) };
            bytes.push([x as u8, y as u8, blue][channel]);
        }
    }
    bytes
}

pub const STL_BYTES: usize = 3 * 96 * 96;

/// Three unlabelled, two train and two test images.
pub fn stl10() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (part, blues, labels) in
        [("unlabeled", &[1, 2, 3][..], &[][..]), ("train", &[4, 5], &[10, 1]), ("test", &[6, 7], &[3, 4])]
    {
        let images: Vec<u8> = blues.iter().flat_map(|&blue| planes(96, blue, true)).collect();
        write(folder.path().join(format!("stl10_binary/{part}_X.bin")), images);
        if !labels.is_empty() {
            write(folder.path().join(format!("stl10_binary/{part}_y.bin")), labels);
        }
    }
    let names = "airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n";
    write(folder.path().join("stl10_binary/class_names.txt"), names);
    folder
}

/// Two images in each of the five train files, one in the test file.
pub fn cifar10() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let record = |label: u8, blue: u8| [vec![label], planes(32, blue, false)].concat();
    for file in 1..6u8 {
        let records = [record(file, 2 * file), record(9, 2 * file + 1)].concat();
        write(folder.path().join(format!("data_batch_{file}.bin")), records);
    }
    write(folder.path().join("test_batch.bin"), record(0, 99));
    folder
}

pub const COCO: &str = r#"{"info": {"year": 2017}, "licenses": [],
"images": [{"id": 7, "file_name": "b.png", "width": 8, "height": 6, "coco_url": "x"}, {"id": 3, "file_name": "a.png"},
           {"id": 9, "file_name": "sub/c.png"}],
"annotations": [
 {"id": 1, "image_id": 3, "category_id": 90, "bbox": [1.5, 2, 3, 4], "iscrowd": 0, "segmentation": [[1, 2, 3, 4]]},
 {"id": 2, "image_id": 3, "category_id": 1, "bbox": [0, 0, 8, 6], "iscrowd": 1, "segmentation": {"counts": [5]}},
 {"id": 3, "image_id": 3, "category_id": 90, "bbox": [0, 0, 2, 6]},
 {"id": 4, "image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1], "iscrowd": 0}],
"categories": [{"id": 90, "name": "toothbrush", "supercategory": "indoor"}, {"id": 1, "name": "person"}]}"#;

/// A train set, and a val set without one of its photos.
pub fn coco() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let val =
        COCO.replace(r#"{"id": 7, "file_name": "b.png", "width": 8, "height": 6, "coco_url": "x"}, "#, "");
    for (part, json) in [("train2017", COCO), ("val2017", &val)] {
        write(folder.path().join(format!("annotations/instances_{part}.json")), json);
        for name in ["a.png", "b.png", "sub/c.png"] {
            write_photo(folder.path().join(part).join(name));
        }
    }
    folder
}

/// An annotation with objects `(name, difficult, xmin ymin xmax ymax)`.
pub fn voc_xml(objects: &[(&str, &str, [&str; 4])]) -> String {
    let objects = objects.iter().map(|(name, difficult, [x0, y0, x1, y1])| {
        format!(
            "  <object>\n    <name>{name}</name><pose>Left</pose><truncated>1</truncated>{difficult}\n    <bndbox>\
             <xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>\n    <part><name>head\
             </name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>\n  </object>\n"
        )
    });
    let objects: String = objects.collect();
    format!(
        "<annotation>\n  <filename>x.jpg</filename>\n  <source><name>none</name></source>\n{objects}</annotation>\n"
    )
}

pub const HARD: &str = "<difficult>1</difficult>";
pub const EASY: &str = "<difficult>0</difficult>";
pub const RECT: [&str; 4] = ["1", "2", "4", "4.5"];

pub fn voc() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("VOC2007");
    let photos = [
        ("000005", voc_xml(&[("dog", EASY, RECT), ("person", HARD, RECT), ("person", EASY, RECT)])),
        ("000007", voc_xml(&[("person", "", RECT), ("dog", HARD, RECT), ("cat", HARD, RECT)])),
        ("000001", voc_xml(&[("person", EASY, RECT), ("dog", EASY, RECT), ("cat", HARD, RECT)])),
        ("000002", voc_xml(&[])),
    ];
    for (id, xml) in photos {
        write(root.join(format!("Annotations/{id}.xml")), xml);
        write_photo(root.join(format!("JPEGImages/{id}.jpg")));
    }
    write(root.join("ImageSets/Main/trainval.txt"), "000005\n000007\n");
    write(root.join("ImageSets/Main/test.txt"), "000001  1\n000002 -1\n\n");
    folder
}

/// A csv list with multi-labels and its photos.
pub fn csv() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c", "d"] {
        write_photo(folder.path().join(format!("images/{name}.png")));
    }
    let list = "file,source,split,labels\na.png,x,train,sky;tree;sky\nb.png,x,test,sea;sky\nc.png,x,train,sea\n\
                d.png,x,pretrain,\n";
    write(folder.path().join("list.csv"), list);
    folder
}

/// Objects with masks in every form, a photo without an object, ids that are texts, numbers with gaps, and 0.
pub const OBJECTS: &str = r#"{
"images": [{"id": "x 1", "file_name": "a.png", "width": 8, "height": 6},
           {"id": 0, "file_name": "b.png", "width": 8, "height": 6}, {"id": 12, "file_name": "sub/c.png"}],
"annotations": [
 {"id": 5, "image_id": "x 1", "category_id": "car", "bbox": [1, 1, 3, 2], "area": 5.5, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]},
 {"id": 0, "image_id": "x 1", "category_id": 0, "bbox": [0, 0, 8, 6], "iscrowd": 1,
  "segmentation": {"size": [6, 8], "counts": [6, 42]}},
 {"id": 9, "image_id": 0, "category_id": 0, "bbox": [2, 0, 2, 6], "segmentation": {"size": [6, 8], "counts": "<<h0"}}],
"categories": [{"id": "car", "name": "car"}, {"id": 0, "name": "person"}, {"id": 7, "name": "sky"}]}"#;

/// A folder of photos, and [`OBJECTS`] beside it.
pub fn objects() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("list.json"), OBJECTS);
    for name in ["a.png", "b.png", "sub/c.png"] {
        write_photo(folder.path().join("photos").join(name));
    }
    folder
}

/// A mask of 8 x 6 pixels: object `left` in the left three columns, `right` in the others but the last.
pub fn write_mask(path: impl AsRef<Path>, left: u8, right: u8) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    let number = |x, _| image::Luma([if x < 3 { left } else { right * u8::from(x < 7) }]);
    image::GrayImage::from_fn(8, 6, number).save(path).unwrap();
}

/// Ten photos in Penn-Fudan's folders, the third without an object.
pub fn penn_fudan() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("PennFudanPed");
    for i in 0..10 {
        write_photo(root.join(format!("PNGImages/P{i}.png")));
        let [left, right] = if i == 2 { [0, 0] } else { [2, 1] };
        write_mask(root.join(format!("PedMasks/P{i}_mask.png")), left, right);
    }
    folder
}

/// Colours of [`write_pair`]'s photos: sky, road, car.
pub const COLORS: [[u8; 3]; 3] = [[90, 140, 220], [110, 100, 100], [200, 30, 30]];

/// A photo of 48 x 40 pixels, sky over road with a car, as `photo` has it and with `numbers` for the three in its label map; the road
/// begins at `horizon`.
pub fn write_pair(photo: impl AsRef<Path>, map: impl AsRef<Path>, numbers: [u8; 3], horizon: u32) {
    let class = |x: u32, y: u32| match (x, y) {
        (10..20, 24..32) => 2,
        _ => usize::from(y >= horizon),
    };
    let shade = |x: u32, y: u32, v: u8| v.saturating_add(((x * 7 + y * 13) % 20) as u8);
    let pixel = |x, y| image::Rgb(COLORS[class(x, y)].map(|v| shade(x, y, v)));
    for path in [photo.as_ref(), map.as_ref()] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    image::RgbImage::from_fn(48, 40, pixel).save(photo).unwrap();
    image::GrayImage::from_fn(48, 40, |x, y| image::Luma([numbers[class(x, y)]])).save(map).unwrap();
}

/// Cityscapes: four photos to learn from, two to be judged on; sky is 23, road 7, car 26.
pub fn cityscapes() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (part, city, count) in [("train", "aachen", 4), ("val", "lindau", 2)] {
        for i in 0..count {
            let at = |set: &str, end: &str| {
                folder.path().join(format!("{set}/{part}/{city}/{city}_{i}_{end}.png"))
            };
            write_pair(
                at("leftImg8bit", "leftImg8bit"),
                at("gtFine", "gtFine_labelIds"),
                [23, 7, 26],
                14 + i,
            );
        }
    }
    folder
}

/// Pairs in `images` and `labels`: six photos to learn from, three to be judged on; numbers 4, 0 and 9, of which the list calls the last void if asked for.
pub fn pairs(void: bool) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (part, count) in [("train", 6), ("test", 3)] {
        for i in 0..count {
            let at = |set: &str, end: &str| folder.path().join(format!("{set}/{part}/{i}.{end}"));
            write_pair(at("images", "png"), at("labels", "png"), [4, 0, 9], 12 + i);
        }
    }
    let last = if void { "9 void" } else { "9 car 200 30 30" };
    write(folder.path().join("classes.txt"), format!("0 road\n4 sky #5a8cdc\n{last}\n"));
    folder
}
