use super::*;
use crate::rng::KeyedRng;

fn read(json: &str) -> Result<Mask, String> {
    Mask::of_coco(Some(serde_json::from_str(json).unwrap()))
}

#[test]
fn polygons_and_runs_are_read_in_every_form_that_coco_has() {
    let square = vec![1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0];
    for json in [
        "[[1, 1, 3, 1, 3.0, 3, 1, 3]]",
        "[1, 1, 3, 1, 3, 3, 1, 3]",
        "[[0, 0], [1, 1, 3, 1, 3, 3, 1, 3], [1]]",
    ] {
        assert_eq!(read(json), Ok(Mask::Polygons(vec![square.clone()])), "{json}");
    }
    let rle = Rle { size: [4, 5], counts: vec![5, 2, 2, 2, 9] };
    let list = r#"{"counts": [5, 2, 2, 2, 9], "size": [4, 5]}"#;
    let text = format!(r#"{{"size": [4, 5], "counts": {:?}}}"#, rle.text());
    assert_eq!((read(list), read(&text)), (Ok(Mask::Rle(rle.clone())), Ok(Mask::Rle(rle.clone()))));
    assert_eq!((Mask::Rle(rle.clone()).area(), Mask::Polygons(vec![square]).area()), (4.0, 4.0));
    // The square covers the pixels whose centres lie in it.
    assert_eq!(read("[[1, 1, 3, 1, 3, 3, 1, 3]]").unwrap().rle([4, 5]), Ok(rle));
}

#[test]
fn masks_that_can_not_be_used_say_why() {
    for (json, why) in [
        ("null", "it has none"),
        ("[]", "it has none"),
        ("7", "it has none"),
        ("[[]]", "no polygon of three points"),
        ("[[1, 2, 3, 4]]", "no polygon of three points"),
        ("[[1, 2, 3, 4, 5, 6, 7]]", "no polygon of three points"),
        ("[[1, 2, 3, 4, [], 6]]", "neither polygons nor runs"),
        ("[[1, 2, 3, 4, 1e999, 6]]", "neither polygons nor runs"),
        ("[[[1, 2], [3, 4], [5, 6]]]", "neither polygons nor runs"),
        ("{}", "neither polygons nor runs"),
        (r#"{"size": [2, 2], "counts": [1.5, 2.5]}"#, "neither polygons nor runs"),
        (r#"{"size": [2, -2], "counts": [4]}"#, "neither polygons nor runs"),
        (r#"{"size": [2, 2], "counts": [4294967296]}"#, "neither polygons nor runs"),
        (r#"{"size": [2, 2], "counts": [3]}"#, "its runs cover 3 pixels"),
        (r#"{"size": [2, 2], "counts": "~"}"#, "has a '~'"),
        (r#"{"size": [4294967295, 4294967295], "counts": [3]}"#, "more than"),
    ] {
        let message = read(json).unwrap_err();
        assert!(message.contains(why), "{json}: {message}");
    }
    let rle = read(r#"{"size": [2, 2], "counts": [4]}"#).unwrap();
    let message = rle.rle([2, 3]).unwrap_err();
    assert_eq!(message, "it is made for a photo of 2 x 2 pixels, this one has 3 x 2");
    assert_eq!(rle.shown([2, 3], [4, 6], false), Err(message.clone()));
    assert_eq!(rle.clone().fitting(Some([2, 3])), Err(message));
    assert!(rle.clone().fitting(None).is_ok() && rle.fitting(Some([2, 2])).is_ok());
    // Outlines that would take minutes to draw.
    let zigzag: String = (0..4000).map(|i| format!("{}, {i}, ", i % 2 * 900)).collect();
    for outline in [format!("[[{zigzag} 0, 0]]"), "[[1e15, 0, 1e15, 5, 1e15, 9]]".into()] {
        let mask = read(&outline).unwrap();
        for message in [mask.rle([40, 50]).unwrap_err(), mask.clone().fitting(Some([40, 50])).unwrap_err()] {
            assert!(message.contains("its outline"), "{message}");
        }
    }
}

#[test]
fn a_pixel_map_at_another_size_has_the_nearest_pixels() {
    for i in 0..200 {
        let mut rng = KeyedRng::new("mask", 0, [i, 0, 0]);
        let [h, w, height, width] = [(); 4].map(|()| 1 + rng.below(20) as usize);
        let pixels: Vec<u8> = (0..h * w).map(|_| u8::from(rng.chance(0.5))).collect();
        let mask = Mask::Rle(Rle::of(&Bitmap { size: [h, w], pixels: pixels.clone() }));
        let mirrored = rng.chance(0.5);
        let shown = mask.shown([h, w], [height, width], mirrored).unwrap();
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let at =
                |i: usize, n: usize, of: usize| ((i as f64 + 0.5) * of as f64 / n as f64 + 1e-9) as usize;
            let from = if mirrored { width - 1 - x } else { x };
            let expected = pixels[at(y, height, h) * w + at(from, width, w)];
            assert_eq!(shown.pixels[y * width + x], expected, "{h} x {w} to {height} x {width} at {y}, {x}");
        }
    }
}

#[test]
fn polygons_are_scaled_and_mirrored_before_they_are_drawn() {
    let mask =
        Mask::Polygons(vec![vec![1.0, 2.0, 9.0, 2.5, 6.0, 9.0], vec![10.0, 10.0, 14.0, 10.0, 12.0, 14.0]]);
    let shown = mask.shown([16, 20], [48, 40], true).unwrap();
    let moved = |p: [f64; 6]| -> Vec<f64> {
        p.as_chunks::<2>().0.iter().flat_map(|&[x, y]| [40.0 - 2.0 * x, 3.0 * y]).collect()
    };
    let polygons = [moved([1.0, 2.0, 9.0, 2.5, 6.0, 9.0]), moved([10.0, 10.0, 14.0, 10.0, 12.0, 14.0])];
    assert_eq!(shown, Rle::polygons(&polygons, [48, 40]).unwrap().bitmap());
    assert_eq!(mask.shown([16, 20], [16, 20], false).unwrap(), mask.rle([16, 20]).unwrap().bitmap());
    // About as many pixels, six times as large, and on the other side.
    let count = |bitmap: &Bitmap| bitmap.pixels.iter().map(|&v| f64::from(v)).sum::<f64>();
    assert!((count(&shown) / (6.0 * mask.area()) - 1.0).abs() < 0.05, "{} {}", count(&shown), mask.area());
    assert!((0..48).all(|y| shown.pixels[y * 40] == 0) && shown.pixels[7 * 40 + 36] == 1);
}
