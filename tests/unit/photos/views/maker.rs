use super::*;
use crate::rng::KeyedRng;

#[test]
fn a_photo_of_one_pixel_gives_views_of_one_color_at_most() {
    let photo = Rgb { width: 1, height: 1, data: vec![10, 200, 30].into() };
    let mut maker = ViewMaker::new(ViewConfig::simclr(33)).unwrap();
    let mut out = vec![0.0; maker.len()];
    for i in 0..50 {
        let params = ViewParams::draw(maker.config(), 1, 1, &mut KeyedRng::new("view", 0, [0, i, 0]));
        maker.make(&photo, &params, &mut out);
        assert!(out.chunks(3).all(|p| p.iter().zip(&out[..3]).all(|(a, b)| (a - b).abs() < 1e-5)));
    }
    maker.center(&photo, &mut out);
    assert!((out[1] - (200.0 / 255.0 - 0.456) / 0.224).abs() < 1e-6);
}

#[test]
fn center_takes_a_square_whole_and_seven_eighths_of_another_short_side() {
    assert_eq!(center_box(96, 96), CropBox::at(0, 0, 96, 96));
    assert_eq!(center_box(500, 256), CropBox::at(138, 16, 224, 224));
    assert_eq!(center_box(1, 9), CropBox::at(0, 4, 1, 1));
}

#[test]
fn a_solarised_view_inverts_what_is_128_and_more_blurred_or_not_in_bytes_and_floats() {
    let photo = Rgb { width: 2, height: 1, data: vec![127, 128, 255, 127, 128, 255].into() };
    for (colour, blur) in
        [(Colour::U8, None), (Colour::U8, Some(0.5)), (Colour::Float, None), (Colour::Float, Some(0.5))]
    {
        let mut maker = ViewMaker::new(ViewConfig { colour, ..ViewConfig::byol(2, 1) }).unwrap();
        let drawn = ViewParams::draw(maker.config(), 2, 1, &mut KeyedRng::new("view", 1, [0; 3]));
        let crop = CropBox::at(0, 0, 2, 1);
        let params = ViewParams { crop, jitter: None, gray: false, blur, solarize: true, ..drawn };
        let mut out = vec![0.0; maker.len()];
        maker.make(&photo, &params, &mut out);
        for (i, v) in out.iter().enumerate() {
            let (c, wanted) = (i % 3, [127.0, 127.0, 0.0][i % 3]);
            let (mean, std) = (maker.config().mean[c], maker.config().std[c]);
            assert!((v - (wanted / 255.0 - mean) / std).abs() < 1e-4, "{colour:?} {blur:?}: {v}");
        }
    }
}

#[test]
fn a_flipped_view_is_the_mirrored_view() {
    let data = (0..20 * 30 * 3).map(|i| (i * 7 % 251) as u8).collect();
    let photo = Rgb { width: 30, height: 20, data };
    let mut maker = ViewMaker::new(ViewConfig::moco_v2(8)).unwrap();
    let (mut plain, mut flipped) = (vec![0.0; maker.len()], vec![0.0; maker.len()]);
    let mut params = ViewParams::draw(maker.config(), 30, 20, &mut KeyedRng::new("view", 1, [0; 3]));
    for (flip, out) in [(false, &mut plain), (true, &mut flipped)] {
        params.flip = flip;
        maker.make(&photo, &params, out);
    }
    for y in 0..8 {
        for x in 0..8 {
            assert_eq!(plain[(y * 8 + x) * 3..][..3], flipped[(y * 8 + 7 - x) * 3..][..3]);
        }
    }
}

#[test]
fn colours_in_floats_are_those_in_bytes_but_for_rounding() {
    let data = (0..40 * 40 * 3).map(|i| (i * 97 % 251) as u8).collect();
    let photo = Rgb { width: 40, height: 40, data };
    let config = |colour, jitter_p| ViewConfig { colour, jitter_p, ..ViewConfig::moco_v2(16) };
    let stream = |i| KeyedRng::new("view", 0, [i, 0, 0]);
    for (jitter_p, allowed) in [(0.0, 1e-5), (1.0, 0.08)] {
        let mut makers = [Colour::U8, Colour::Float].map(|c| ViewMaker::new(config(c, jitter_p)).unwrap());
        for i in 0..20 {
            let params = ViewParams::draw(makers[0].config(), 40, 40, &mut stream(i));
            if params.gray && jitter_p == 0.0 {
                continue; // grey is rounded in bytes
            }
            let mut views = [(); 2].map(|()| vec![0.0; makers[0].len()]);
            makers.iter_mut().zip(&mut views).for_each(|(maker, out)| maker.make(&photo, &params, out));
            let mean = views[0].iter().zip(&views[1]).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>()
                / views[0].len() as f64;
            // One grey level is 1 / (255 * 0.225) = 0.017; four adjustments round down, and hue has 256 steps.
            assert!(mean <= allowed, "{mean} in view {i}: {params:?}");
        }
    }
}
