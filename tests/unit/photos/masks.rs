use super::*;
use proptest::prelude::*;

/// A mask by its rows, `#` for the object.
fn drawn(rows: &[&str]) -> Bitmap {
    let pixels = rows.iter().flat_map(|row| row.bytes().map(|c| u8::from(c == b'#'))).collect();
    Bitmap { size: [rows.len(), rows[0].len()], pixels }
}

#[test]
fn runs_go_column_by_column_and_start_with_zeros() {
    let mask = drawn(&["#..#", "#.##"]);
    let code = Rle::of(&mask);
    assert_eq!(code.counts, [0, 2, 3, 3]);
    assert_eq!((code.area(), code.rect()), (5, [0.0, 0.0, 4.0, 2.0]));
    assert_eq!(code.bitmap(), mask);
    let nothing = Rle::of(&drawn(&["..", ".."]));
    assert_eq!((&nothing.counts[..], nothing.area(), nothing.rect()), (&[4][..], 0, [0.0; 4]));
}

/// By hand from the definition: 5-bit groups, and differences from the fourth count on.
#[test]
fn the_text_has_differences_from_the_fourth_count_on() {
    let code = Rle { size: [100, 1], counts: vec![1, 2, 40, 3, 54] };
    // 40 = 8 + 32 + 16 .. : low group 8 with more (48+8+32 = 'X'), then 1 ('1'); 3-2 = 1; 54-40 = 14
    assert_eq!(code.text(), "12X11>");
    assert_eq!(Rle::parse("12X11>", [100, 1]), Ok(code));
}

#[test]
fn a_square_covers_the_pixels_whose_centres_it_holds() {
    let square = vec![1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0];
    let mask = |polygons: &[Vec<f64>]| Rle::polygons(polygons, [4, 5]).map(|code| code.bitmap());
    let expected = drawn(&[".....", ".##..", ".##..", "....."]);
    assert_eq!(mask(std::slice::from_ref(&square)), Ok(expected));
    // Two are united, one that sticks out is cut off, one of two points covers nothing.
    let far = vec![3.0, 2.0, 9.0e9, 2.0, 9.0e9, 9.0, 3.0, 9.0];
    let united = drawn(&[".....", ".##..", ".####", "...##"]);
    assert_eq!(mask(&[square, far, vec![0.0, 0.0, 5.0, 4.0]]), Ok(united));
}

#[test]
fn what_is_no_polygon_is_said() {
    let refused = |polygons: &[Vec<f64>], size| Rle::polygons(polygons, size).unwrap_err();
    let triangle = vec![0.0, 0.0, 3.0, 0.0, 0.0, 3.0];
    assert!(refused(&[], [4, 4]).contains("no polygon"));
    assert!(refused(&[vec![0.0, 0.0, 1.0, 1.0]], [4, 4]).contains("three points"));
    assert!(refused(&[triangle.clone(), vec![0.0; 7]], [4, 4]).contains("7 coordinates"));
    assert!(refused(&[vec![0.0, f64::NAN, 3.0, 0.0, 0.0, 3.0]], [4, 4]).contains("NaN"));
    assert!(refused(std::slice::from_ref(&triangle), [0, 4]).contains("without a pixel"));
    assert!(refused(&[triangle], [usize::MAX, usize::MAX]).contains("more than"));
}

#[test]
fn a_damaged_code_is_said() {
    let mask = drawn(&["..##", ".###", "...."]);
    let text = Rle::of(&mask).text();
    let refused = |text: &str, size| Rle::parse(text, size).unwrap_err();
    assert!(refused("", [3, 4]).contains("cover 0 pixels, not the 3 x 4"));
    assert!(refused(&text[..text.len() - 1], [3, 4]).contains("cover"));
    assert!(refused(&text, [3, 5]).contains("cover"));
    assert!(refused(&text, [3, 3]).contains("12"));
    assert!(refused("4 4", [3, 4]).contains("' '"));
    assert!(refused("4é", [3, 4]).contains("'é'"));
    assert!(refused("4X", [3, 4]).contains("cut off"));
    assert!(refused(&"o".repeat(40), [3, 4]).contains("cut off"));
    assert!(refused(&text, [1 << 20, 1 << 20]).contains("more than"));
    assert!(Rle::new(vec![5, u32::MAX, u32::MAX], [3, 4]).is_err());
}

#[test]
fn the_share_of_two_masks_counts_pixels() {
    let [a, b] = [drawn(&["##..", "##.."]), drawn(&[".##.", ".##."])].map(|mask| Rle::of(&mask));
    assert_eq!((a.iou(&b, false), a.iou(&b, true)), (2.0 / 6.0, 0.5));
    assert_eq!(a.iou(&Rle::of(&drawn(&["#"])), false), -1.0);
}

proptest! {
    #[test]
    fn codes_go_there_and_back(height in 1_usize..70, width in 1_usize..140, seed: u64, runs in 1_u64..40) {
        let mut rng = crate::rng::KeyedRng::new("mask", seed, [0; 3]);
        let mut value = 0;
        let pixels = (0..height * width).map(|_| { value ^= u8::from(rng.below(runs) == 0); value }).collect();
        let mask = Bitmap { size: [height, width], pixels };
        let code = Rle::of(&mask);
        prop_assert_eq!(code.area(), mask.pixels.iter().map(|&p| u64::from(p)).sum::<u64>());
        prop_assert_eq!(&Rle::parse(&code.text(), code.size).unwrap(), &code);
        prop_assert_eq!(code.bitmap(), mask);
    }

    /// Any text is a code that covers its size, or is refused.
    #[test]
    fn no_text_is_trusted(text in "[0-~é]{0,60}", height in 0_usize..9, width in 0_usize..9) {
        if let Ok(code) = Rle::parse(&text, [height, width]) {
            prop_assert_eq!(code.bitmap().pixels.len(), height * width);
            let [x, y, w, h] = code.rect();
            prop_assert!(x + w <= width as f64 && y + h <= height as f64);
        }
    }

    #[test]
    fn no_polygon_panics(points in proptest::collection::vec(prop_oneof![-20.0..20.0_f64, any::<f64>()], 0..12)) {
        if let Ok(code) = Rle::polygons(&[points], [11, 7]) {
            prop_assert_eq!(code.counts.iter().sum::<u32>(), 77);
        }
    }
}
