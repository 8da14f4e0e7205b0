use super::*;

fn every_17th_color() -> Rgb {
    let steps = || (0..=255u8).step_by(17);
    let data: Vec<u8> =
        steps().flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b]))).collect();
    Rgb { width: 16, height: 256, data: data.into() }
}

#[test]
fn factor_one_changes_nothing() {
    let image = every_17th_color();
    for adjust in [adjust_brightness, adjust_contrast, adjust_saturation] {
        let mut same = image.clone();
        adjust(&mut same, 1.0);
        assert_eq!(same, image);
    }
}

#[test]
fn saturation_zero_is_grey() {
    let (mut faded, mut grey) = (every_17th_color(), every_17th_color());
    adjust_saturation(&mut faded, 0.0);
    grayscale(&mut grey);
    assert_eq!(faded, grey);
}

#[test]
fn hue_keeps_greys_and_turns_red_into_green_in_a_third() {
    let mut image = Rgb { width: 2, height: 1, data: vec![77, 77, 77, 255, 0, 0].into() };
    adjust_hue(&mut image, 1.0 / 3.0);
    assert_eq!(image.data, [77, 77, 77, 0, 255, 0]);
}
