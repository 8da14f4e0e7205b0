use super::*;
use crate::rng::KeyedRng;

/// Photos of `colours.len()` classes, each of one colour with noise.
pub(in super::super) fn colour_album(seed: u64, count: usize, colours: &[[u8; 3]]) -> Arc<Album> {
    let mut rng = KeyedRng::new("photos", seed, [0; 3]);
    let photos = (0..count).map(|i| {
        let class = i % colours.len();
        let image = image::RgbImage::from_fn(24, 20, |_, _| {
            image::Rgb(colours[class].map(|c| c.saturating_add(rng.below(40) as u8)))
        });
        let mut png = std::io::Cursor::new(Vec::new());
        image.write_to(&mut png, image::ImageFormat::Png).expect("a photo");
        (format!("{i}.png"), png.into_inner(), vec![class])
    });
    let classes = (0..colours.len()).map(|c| format!("class {c}")).collect();
    Arc::new(Album::new(Photos::from_bytes(photos.collect(), classes), AlbumOptions::default()))
}

pub(in super::super) fn two_colours() -> LabelledAlbums {
    let colours = [[200, 20, 20], [20, 60, 200]];
    LabelledAlbums { train: colour_album(1, 24, &colours), test: colour_album(2, 10, &colours) }
}

#[test]
fn sets_that_nothing_can_be_learned_from_are_refused() {
    assert!(two_colours().check().is_ok());
    let message = |albums: LabelledAlbums| albums.check().expect_err("an error").to_string();
    let one = colour_album(1, 4, &[[1, 2, 3]]);
    assert!(message(LabelledAlbums { train: one.clone(), test: one.clone() }).contains("1 class"));
    assert!(message(LabelledAlbums { test: one, ..two_colours() }).contains("other classes"));
    let bundled = Arc::new(Album::new(Photos::bundled_pretrain(), AlbumOptions::default()));
    assert!(message(LabelledAlbums { train: bundled, ..two_colours() }).contains("0 class"));
    let photos = vec![("x".into(), Vec::new(), vec![0, 1])];
    let classes = vec!["class 0".into(), "class 1".into()];
    let both = Arc::new(Album::new(Photos::from_bytes(photos, classes), AlbumOptions::default()));
    assert!(message(LabelledAlbums { test: both, ..two_colours() }).contains("x has 2 labels"));
}
