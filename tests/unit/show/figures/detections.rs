use super::*;
use proptest::prelude::*;

fn grey(width: usize, height: usize) -> Rgb {
    Rgb { width, height, data: vec![128; width * height * 3].into() }
}

fn pixel(image: &Rgb, x: usize, y: usize) -> [u8; 3] {
    let at = (y * image.width + x) * 3;
    [image.data[at], image.data[at + 1], image.data[at + 2]]
}

fn cat(rect: [f64; 4]) -> Drawn {
    Drawn { rect, class: 0, name: "cat".into(), score: Some(0.5), mask: None }
}

#[test]
fn a_box_lies_where_it_is_said_and_its_name_above_it() {
    // Twice the photo's size.
    let picture = detections(&grey(320, 200), &[cat([100.0, 60.0, 80.0, 50.0])]);
    assert_eq!((picture.width, picture.height), (640, 400));
    let own = color(0);
    for (x, y) in [(200, 120), (359, 120), (200, 219), (359, 219), (201, 170), (280, 121), (358, 170)] {
        assert_eq!(pixel(&picture, x, y), own, "({x}, {y})");
    }
    for (x, y) in [(280, 170), (280, 230), (420, 170), (280, 80), (150, 170)] {
        assert_eq!(pixel(&picture, x, y), [128; 3], "({x}, {y})");
    }
    // A dark line on both sides of it.
    assert!([199, 202].iter().all(|&x| pixel(&picture, x, 170)[0] < 80));
    assert_eq!(pixel(&picture, 201, 120 - BOLD.height() + 1), own);
}

#[test]
fn a_mask_is_laid_over_the_photo_with_an_outline() {
    let mut pixels = vec![0; 640 * 400];
    (100..200).for_each(|y| pixels[y * 640 + 300..y * 640 + 400].fill(1));
    let mask = Some(Bitmap { size: [400, 640], pixels });
    let object = Drawn { mask, ..cat([0.0; 4]) };
    let picture = detections(&grey(640, 400), &[object]);
    assert_eq!((pixel(&picture, 300, 150), pixel(&picture, 350, 101)), (color(0), color(0)));
    let mixed = [0, 1, 2].map(|c| (128.0 + FILL * (f32::from(color(0)[c]) - 128.0)).round() as u8);
    assert_eq!((pixel(&picture, 350, 150), pixel(&picture, 299, 150)), (mixed, [128; 3]));
}

/// The label of the surest keeps its place; another does not hide it, even where the boxes are the same.
#[test]
fn labels_do_not_hide_each_other() {
    let boxes: Vec<Drawn> = (0..4).map(|class| Drawn { class, ..cat([50.0, 50.0, 200.0, 120.0]) }).collect();
    let picture = detections(&grey(640, 400), &boxes);
    let inside = (BOLD.height() as i64 * (BOLD.width("cat 0.50") as i64 + 2 * PADDING)) as usize;
    for class in 0..4 {
        let seen = picture.data.as_chunks::<3>().0.iter().filter(|&&p| p == color(class)).count();
        assert!(seen > inside / 2, "class {class}: {seen} of {inside}");
    }
}

#[test]
fn colours_of_the_first_classes_differ_and_are_no_grey() {
    let all: Vec<[u8; 3]> = (0..12).map(color).collect();
    for (i, a) in all.iter().enumerate() {
        assert!(a.iter().max().unwrap() - a.iter().min().unwrap() > 70, "{i}: {a:?}");
        for (j, b) in all[..i].iter().enumerate() {
            let apart: u32 = a.iter().zip(b).map(|(&x, &y)| u32::from(x.abs_diff(y))).sum();
            assert!(apart > 50, "{i} and {j}: {a:?} {b:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_box_on_any_photo_is_drawn(
        width in 1_usize..60, height in 1_usize..60, class: usize, name in ".{0,40}",
        rect in proptest::array::uniform4(prop_oneof![-50.0..90.0_f64, any::<f64>()]),
    ) {
        let object = Drawn { rect, class, name, score: Some(f64::NAN), mask: None };
        let picture = detections(&grey(width, height), &[object.clone(), object]);
        prop_assert_eq!(picture.width.max(picture.height), LONGER[0]);
    }
}

#[test]
fn pictures_are_of_one_scale_whatever_the_photo() {
    let size = |width, height| {
        let picture = detections(&grey(width, height), &[]);
        [picture.width, picture.height]
    };
    assert_eq!((size(192, 96), size(800, 1000), size(4000, 3000)), ([640, 320], [800, 1000], [1280, 960]));
    assert_eq!((size(3000, 1), size(0, 0)), ([1280, 1], [1, 1]));
}
