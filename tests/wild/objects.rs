//! Annotations that have come to harm, from files to scenes: one line or a counted omission, no panic, bounded memory.

use std::fs;
use std::path::Path;

use vista::Result;
use vista::photos::views::{SceneConfig, SceneMaker, SceneParams};
use vista::photos::{Photo, Photos, Rgb, Source, Split};
use vista::rng::KeyedRng;

use crate::count;
use crate::damage::mend_sums;
use crate::memory::{ALLOWED, alone, peak};
use crate::sets::{objects, penn_fudan, voc, write, write_mask};

const VALUES: [&str; 22] = [
    "null",
    "-1",
    "0",
    "1e300",
    "-1e300",
    "1e999",
    "NaN",
    "-Infinity",
    "99999999999999999999",
    "4294967296",
    "1e15",
    "2147483647",
    "0.5",
    "\"\"",
    "\"7\"",
    "[]",
    "{}",
    "true",
    "[[0, 0, 1e9, 0, 0, 1e9]]",
    "{\"size\": [1000000, 1000000], \"counts\": [1]}",
    "{\"size\": [6, 8], \"counts\": \"oooooo\"}",
    "{\"counts\": [48]}",
];

/// Where the numbers and texts of a file begin and end.
fn values(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || b"\"-+.<".contains(b);
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|b| is_part(b)).count();
        found.extend((length > 0).then_some(at..at + length));
        at += length + 1;
    }
    found
}

/// A file that has come to harm in one or two ways; the numbers in a PNG's header and its pixels, not only its sums.
fn harmed(mut bytes: Vec<u8>, rng: &mut KeyedRng) -> Vec<u8> {
    let is_png = bytes.starts_with(b"\x89PNG");
    for _ in 0..=rng.below(2) {
        let mut any = |n: usize| rng.below(n as u64) as usize;
        let places = values(&bytes);
        if places.len() < 2 {
            continue;
        }
        let [one, other] = [(); 2].map(|()| places[any(places.len())].clone());
        match any(6) {
            0 if any(3) == 0 => bytes.truncate(any(bytes.len())),
            0 | 1 => (0..=any(8)).for_each(|_| {
                let at = any(bytes.len());
                bytes[at] ^= 1 << any(8);
            }),
            2 if one.end <= other.start => {
                let [first, second] = [one.clone(), other.clone()].map(|place| bytes[place].to_vec());
                bytes.splice(other, first);
                bytes.splice(one, second);
            }
            3 => {
                let depth = 1 << any(14);
                let nested = ["[".repeat(depth), "]".repeat(depth)].concat();
                bytes.splice(one, nested.bytes());
            }
            _ => drop(bytes.splice(one, VALUES[any(VALUES.len())].bytes())),
        }
    }
    if is_png && rng.chance(0.8) {
        mend_sums(&mut bytes);
    }
    bytes
}

/// What came of the files: sets read, objects with and without a mask in their scenes, lines of warning, and what scenes left out.
#[derive(Debug, Default)]
struct Tally([usize; 5]);

fn look_at(photos: &Photos, maker: &mut SceneMaker, tally: &mut Tally) {
    let photo = Photo { image: Rgb::new(8, 6), width: 8, height: 6 };
    tally.0[0] += 1;
    tally.0[3] += photos.warnings().len();
    assert!(photos.warnings().iter().all(|line| !line.contains('\n')));
    for id in 0..photos.len() {
        assert!(!photos.image_id(id).is_null());
        for object in photos.boxes(id) {
            assert!(object.class < photos.classes().len() && object.area.is_finite());
            assert!(!photos.class_id(object.class).is_null());
            for mask in object.mask.iter() {
                let rle = mask.rle(photos.stated_size(id).unwrap_or([6, 8]));
                assert!(
                    rle.is_ok_and(|rle| rle.counts.len() < 1 << 20) || photos.stated_size(id) != Some([6, 8])
                );
            }
        }
        let scene = maker.make(&photo, photos.boxes(id), SceneParams { shortest: 24, flip: id % 2 == 0 });
        for object in &scene.objects {
            let [x0, y0, x1, y1] = object.rect;
            assert!(
                0.0 <= x0 && x0 < x1 && x1 <= 32.0 && 0.0 <= y0 && y0 < y1 && y1 <= 24.0,
                "{:?}",
                object.rect
            );
            assert!(object.mask.iter().all(|mask| mask.pixels.len() == 24 * 32 && mask.pixels.contains(&1)));
            tally.0[if object.mask.is_some() { 1 } else { 2 }] += 1;
        }
        tally.0[4] += scene.left_out.len();
    }
}

#[test]
fn annotations_that_have_come_to_harm_cost_themselves_alone() {
    let (coco, voc, penn) = (objects(), voc(), penn_fudan());
    let [voc_root, penn_root] = [voc.path().join("VOC2007"), penn.path().join("PennFudanPed")];
    for id in ["000005", "000007"] {
        write_mask(voc_root.join(format!("SegmentationObject/{id}.png")), 1, 3);
    }
    let list = coco.path().join("list.json");
    let from_list =
        |path: &Path| Photos::annotated(Source::from(path).masks(true), &coco.path().join("photos"));
    let from_folder = |path: &Path| Photos::open(Source::from(path).masks(true), Some(Split::Train));
    type Read<'a> = &'a dyn Fn() -> Result<Photos>;
    let from_list: Read = &|| from_list(&list);
    let [from_voc, from_penn]: [Read; 2] = [&|| from_folder(voc.path()), &|| from_folder(penn.path())];
    let files = [
        (list.clone(), from_list),
        (list.clone(), from_list),
        (voc_root.join("Annotations/000007.xml"), from_voc),
        (voc_root.join("SegmentationObject/000007.png"), from_voc),
        (penn_root.join("PedMasks/P1_mask.png"), from_penn),
    ];
    let whole = files.each_ref().map(|(path, _)| fs::read(path).unwrap());
    let mut maker = SceneMaker::new(SceneConfig { shortest: vec![24], ..SceneConfig::default() }).unwrap();
    let (mut tally, mut refused) = (Tally::default(), 0);
    alone(|| {
        for i in 0..count(2000) {
            let ((path, read), whole) = (&files[i as usize % 5], &whole[i as usize % 5]);
            let bytes = harmed(whole.clone(), &mut KeyedRng::new("objects", 0, [u64::from(i), 0, 0]));
            let _ = fs::remove_file(path);
            write(path, &bytes);
            let (result, used) = peak(|| read().map(|photos| look_at(&photos, &mut maker, &mut tally)));
            assert!(used < bytes.len() + ALLOWED, "number {i}: {used} bytes for a file of {}", bytes.len());
            if let Err(error) = result {
                let message = error.to_string();
                assert!(error.exit_code() == 2 && !message.contains('\n'), "number {i}: {message}");
                refused += 1;
            }
            write(path, whole);
        }
    });
    // Much is read, and something of every kind is left out: the harm is neither none nor all.
    let Tally([sets, masked, unmasked, warnings, left_out]) = tally;
    let n = count(2000) as usize;
    assert!(sets > n / 4 && refused > n / 20 && masked > n && unmasked > n / 4, "{tally:?} {refused}");
    assert!(warnings > n / 5 && left_out > 0, "{tally:?} {refused}");
}
