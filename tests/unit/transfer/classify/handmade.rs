use super::super::supervised::tests::two_colours;
use super::*;
use crate::photos::{AlbumOptions, Photos};

fn photo(grey: impl Fn(usize, usize) -> u8) -> Rgb {
    let data = (0..SIDE * SIDE).flat_map(|i| [grey(i % SIDE, i / SIDE); 3]).collect();
    Rgb { width: SIDE, height: SIDE, data }
}

/// Sum over all cells by direction.
fn directions(features: &[f32]) -> Vec<f32> {
    (0..BINS).map(|bin| features.iter().skip(bin).step_by(BINS).sum()).collect()
}

#[test]
fn stripes_fall_into_the_direction_of_their_gradient() {
    let ramp = |v: usize| ((v / 4 % 2) * 200) as u8;
    let upright = directions(&gradient_orientations(&photo(|x, _| ramp(x))));
    assert!(upright[0] > 0.99 * upright.iter().sum::<f32>(), "{upright:?}");
    // A quarter of a turn is direction 4.5: half to each neighbour.
    let level = directions(&gradient_orientations(&photo(|_, y| ramp(y))));
    assert!((level[4] - level[5]).abs() < 1e-3 && level[4] > 0.49 * level.iter().sum::<f32>(), "{level:?}");
}

#[test]
fn photos_that_cannot_be_decoded_are_left_out_of_an_albums_features() {
    let good = two_colours().test;
    let bytes = |id| {
        let mut png = std::io::Cursor::new(Vec::new());
        let photo = good.photo(id).expect("a photo").image.clone();
        let image = image::RgbImage::from_raw(photo.width as u32, photo.height as u32, photo.data.into());
        image.expect("pixels").write_to(&mut png, image::ImageFormat::Png).expect("a png");
        png.into_inner()
    };
    let photos = [bytes(0), b"not a photo".to_vec(), bytes(1)];
    let photos = photos.into_iter().map(|bytes| ("x".to_string(), bytes, Vec::new())).collect();
    let album = Album::new(Photos::from_bytes(photos, Vec::new()), AlbumOptions::default());
    let mut heard = 0;
    let found = handmade_features(&album, &[0, 1, 2], &mut |done| heard = done);
    assert_eq!((found.kept, heard), (vec![0, 2], 3));
    assert_eq!(found.values[WIDTH..], handmade(&good.photo(1).expect("a photo").image));
}

#[test]
fn brightness_and_contrast_change_nothing_and_a_flat_photo_has_no_edges() {
    let texture = |x: usize, y: usize| (x * 7 + y * 13) * (x + 3 * y) % 97;
    let plain = gradient_orientations(&photo(|x, y| texture(x, y) as u8));
    let changed = gradient_orientations(&photo(|x, y| (2 * texture(x, y) + 40) as u8));
    assert_eq!(plain.len(), GRADIENT_WIDTH);
    assert!(plain.iter().zip(&changed).all(|(a, b)| (a - b).abs() < 1e-3));
    assert!((plain.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4);
    assert_eq!(gradient_orientations(&photo(|_, _| 9)), [0.0; GRADIENT_WIDTH]);
    let all = handmade(&photo(|x, y| texture(x, y) as u8));
    assert_eq!(all.len(), WIDTH);
    assert!((all[..colour::WIDTH].iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-4);
}
