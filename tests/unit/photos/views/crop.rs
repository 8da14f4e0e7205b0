use super::*;

/// A photo whose red is its column and green its row, and a label map that says the same of parts of 4 pixels.
fn known(width: usize, height: usize) -> (Photo, LabelMap) {
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 0]));
    let image = Rgb { width, height, data: pixels.collect::<Vec<u8>>().into() };
    let classes = (0..height).flat_map(|y| (0..width).map(move |x| (16 * (y / 4) + x / 4) as u8)).collect();
    (Photo { image, width, height }, LabelMap { size: [height, width], classes })
}

const STILL: CropParams = CropParams { scale: 1.0, angle: 0.0, at: [0.0, 0.0], blur: false, flip: false };

/// Bytes of a crop's red and green at a pixel.
fn bytes(crop: &Crop, size: usize, x: usize, y: usize) -> [f32; 2] {
    [0, 1].map(|channel| {
        255.0 * (crop.pixels[(y * size + x) * 3 + channel] * IMAGENET_STD[channel] + IMAGENET_MEAN[channel])
    })
}

fn maker(size: usize) -> CropMaker {
    CropMaker::new(CropConfig { size, ..CropConfig::default() }).expect("a maker")
}

#[test]
fn a_crop_at_rest_is_the_photo_and_its_labels() {
    let (photo, labels) = known(40, 30);
    let crop = maker(17).make(&photo, &labels, &CropParams { at: [0.5, 0.9], ..STILL });
    // Room is 30 - 17 = 13 rows and 23 columns: floor(0.5 x 14) = 7, floor(0.9 x 24) = 21.
    for (x, y) in [(0, 0), (16, 3), (5, 16)] {
        let [red, green] = bytes(&crop, 17, x, y);
        assert!(
            (red - (x + 21) as f32).abs() < 1e-3 && (green - (y + 7) as f32).abs() < 1e-3,
            "{red} {green}"
        );
        assert_eq!(usize::from(crop.labels[y * 17 + x]), 16 * ((y + 7) / 4) + (x + 21) / 4);
    }
}

#[test]
fn a_mirrored_crop_is_that_of_the_mirrored_photo() {
    let (photo, labels) = known(40, 30);
    let crop = maker(17).make(&photo, &labels, &CropParams { at: [0.0, 0.9], flip: true, ..STILL });
    let [red, green] = bytes(&crop, 17, 2, 4);
    // Column 2 + 21 of the mirrored photo is 39 - 23 of the photo.
    assert!((red - 16.0).abs() < 1e-3 && (green - 4.0).abs() < 1e-3, "{red} {green}");
    assert_eq!(crop.labels[4 * 17 + 2], 16 + 4);
}

#[test]
fn a_photo_smaller_than_the_crop_has_equal_margins_of_mean_without_labels() {
    let (photo, labels) = known(9, 11);
    let crop = maker(17).make(&photo, &labels, &STILL);
    let is_photo = |x: usize, y: usize| (4..13).contains(&x) && (3..14).contains(&y);
    for y in 0..17 {
        for x in 0..17 {
            let at = y * 17 + x;
            match is_photo(x, y) {
                true => assert_eq!(usize::from(crop.labels[at]), 16 * ((y - 3) / 4) + (x - 4) / 4, "{x} {y}"),
                false => assert_eq!(
                    (crop.labels[at], &crop.pixels[3 * at..][..3]),
                    (IGNORED, &[0.0; 3][..]),
                    "{x} {y}"
                ),
            }
        }
    }
}

#[test]
fn a_scaled_photo_is_interpolated_and_its_labels_are_the_nearest() {
    let (photo, labels) = known(40, 40);
    let crop = maker(73).make(&photo, &labels, &CropParams { scale: 2.0, ..STILL });
    // The centre of pixel 31 lies at 15.75 of the photo: 15.25 from the centre of its first pixel.
    let [red, green] = bytes(&crop, 73, 31, 6);
    assert!((red - 15.0).abs() < 0.51 && (green - 3.0).abs() < 0.51, "{red} {green}");
    assert_eq!(crop.labels[6 * 73 + 31], 3);
}

#[test]
fn a_quarter_turn_moves_the_right_to_the_top() {
    let (photo, labels) = known(17, 17);
    let crop = maker(17).make(&photo, &labels, &CropParams { angle: 90.0, ..STILL });
    // Counterclockwise: what was at (16, 5) is at (5, 0).
    let [red, green] = bytes(&crop, 17, 5, 0);
    assert!((red - 16.0).abs() < 1e-3 && (green - 5.0).abs() < 1e-3, "{red} {green}");
    assert_eq!(crop.labels[5], 16 + 4);
    assert!(crop.labels.iter().all(|&label| label != IGNORED));
}

#[test]
fn a_turned_photo_has_corners_without_labels_and_of_mean() {
    let (photo, labels) = known(33, 33);
    let crop = maker(33).make(&photo, &labels, &CropParams { angle: 10.0, blur: true, ..STILL });
    assert_eq!((crop.labels[0], &crop.pixels[..3]), (IGNORED, &[0.0; 3][..]));
    let known = crop.labels.iter().filter(|&&label| label != IGNORED).count();
    assert!((0.8..1.0).contains(&(known as f64 / 1089.0)), "{known}");
}

#[test]
fn seven_numbers_are_drawn_whatever_the_configuration() {
    let rng = || KeyedRng::new("crop", 7, [0, 0, 0]);
    let (mut plain, mut still) = (rng(), rng());
    CropParams::draw(&CropConfig::default(), &mut plain);
    let config =
        CropConfig { rotation_p: 0.0, blur_p: 0.0, flip: 0.0, scale: [1.0; 2], ..CropConfig::default() };
    let params = CropParams::draw(&config, &mut still);
    assert_eq!((params.scale, params.angle, params.blur, params.flip), (1.0, 0.0, false, false));
    assert_eq!(plain.uniform(0.0, 1.0), still.uniform(0.0, 1.0));
    assert!(CropConfig { size: 64, ..CropConfig::default() }.check().is_err());
}
