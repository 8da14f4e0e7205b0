use super::*;

fn every_17th_color() -> Vec<f32> {
    let steps = || (0..=255).step_by(17).map(|v| v as f32 / 255.0);
    steps().flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b]))).collect()
}

fn assert_close(a: &[f32], b: &[f32]) {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() < 1e-6, "{a} and {b} at {i}");
    }
}

#[test]
fn factor_one_and_whole_turns_change_nothing() {
    let image = every_17th_color();
    for adjust in [adjust_brightness_float, adjust_contrast_float, adjust_saturation_float, adjust_hue_float]
    {
        let mut same = image.clone();
        adjust(&mut same, 1.0);
        assert_close(&same, &image);
    }
}

#[test]
fn saturation_zero_is_grey_and_contrast_zero_is_the_mean() {
    let (mut faded, mut grey) = (every_17th_color(), every_17th_color());
    adjust_saturation_float(&mut faded, 0.0);
    grayscale_float(&mut grey);
    assert_close(&faded, &grey);
    let mut flat = every_17th_color();
    adjust_contrast_float(&mut flat, 0.0);
    assert_close(&flat, &vec![0.5 * (0.2989 + 0.587 + 0.114); flat.len()]);
}

#[test]
fn hue_keeps_greys_and_turns_red_into_green_in_a_third() {
    let mut image = [0.3, 0.3, 0.3, 1.0, 0.0, 0.0];
    adjust_hue_float(&mut image, 1.0 / 3.0);
    assert_close(&image, &[0.3, 0.3, 0.3, 0.0, 1.0, 0.0]);
    adjust_hue_float(&mut image, -1.0 / 3.0);
    assert_close(&image, &[0.3, 0.3, 0.3, 1.0, 0.0, 0.0]);
}
