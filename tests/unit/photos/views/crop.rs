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

#[test]
fn what_is_drawn_spans_its_ranges_on_both_sides() {
    let config = CropConfig { rotation_p: 0.5, blur_p: 0.5, ..CropConfig::default() };
    let draw = |i| CropParams::draw(&config, &mut KeyedRng::new("crop", 0, [i, 0, 0]));
    let drawn: Vec<CropParams> = (0..1000).map(draw).collect();
    let count = |is: &dyn Fn(&CropParams) -> bool| drawn.iter().filter(|params| is(params)).count();
    let turned = count(&|params| params.angle != 0.0);
    let (left, right) = (count(&|params| params.angle > 0.0), count(&|params| params.angle < 0.0));
    assert!((420..580).contains(&turned) && left.abs_diff(right) < 100, "{turned}: {left} {right}");
    let most = drawn.iter().map(|params| params.angle.abs()).fold(0.0, f64::max);
    assert!((0.95 * config.rotation..=config.rotation).contains(&most), "{most}");
    for is in [&(|p: &CropParams| p.blur) as &dyn Fn(&CropParams) -> bool, &|p| p.flip] {
        assert!((420..580).contains(&count(is)));
    }
    let scales = drawn.iter().map(|params| params.scale);
    assert!(scales.clone().fold(9.0, f64::min) < 0.55 && scales.fold(0.0, f64::max) > 1.95);
}

/// The photo is turned first and mirrored then.
#[test]
fn a_turned_and_mirrored_crop_is_the_turned_one_mirrored() {
    let (photo, labels) = known(40, 30);
    // The whole frame, so that mirroring moves nothing else.
    let of = |flip| maker(41).make(&photo, &labels, &CropParams { angle: 10.0, flip, ..STILL });
    let (plain, mirrored) = (of(false), of(true));
    // The photo lies at the left of the crop, which is a pixel wider.
    let (mut same, mut all) = (0, 0);
    for y in 0..41 {
        for x in 0..40 {
            let (a, b) = (plain.labels[y * 41 + x], mirrored.labels[y * 41 + 39 - x]);
            all += 1;
            same += usize::from(a == b);
        }
    }
    assert!(same * 100 >= all * 97, "{same} of {all}");
}

#[test]
fn a_blurred_edge_has_the_weights_of_a_gaussian() {
    let (width, height) = (21, 9);
    let pixels =
        (0..width * height).flat_map(|i| [if i % width < 10 { 0 } else { 200 }; 3]).collect::<Vec<u8>>();
    let image = Rgb { width, height, data: pixels.into() };
    let photo = Photo { image, width, height };
    let labels = LabelMap { size: [height, width], classes: vec![0; width * height] };
    let mut maker = maker(9);
    let sigma = maker.config().blur_sigma;
    let crop = maker.make(&photo, &labels, &CropParams { blur: true, at: [0.0, 0.5], ..STILL });
    let weight = |d: i32| (-f64::from(d * d) / (2.0 * sigma * sigma)).exp();
    let radius = BLUR_RADIUS as i32;
    let total: f64 = (-radius..=radius).map(weight).sum();
    // The crop begins at column floor(0.5 x 13) = 6: the edge is before its column 4.
    for x in 2..6 {
        let bright = (-radius..=radius).filter(|d| x + d >= 4).map(weight).sum::<f64>() / total;
        let [red, _] = bytes(&crop, 9, x as usize, 4);
        assert!((f64::from(red) - 200.0 * bright).abs() < 1.5, "column {x}: {red}, not {}", 200.0 * bright);
    }
}
