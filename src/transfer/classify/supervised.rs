//! What training on labelled photos shares: random crops in, labels beside them.

use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::photos::{Album, Batch, Loader, LoaderOptions};
use std::sync::Arc;

/// Photos of one class each, to learn from and to be judged on.
#[derive(Clone, Debug)]
pub struct LabelledAlbums {
    /// To learn from.
    pub train: Arc<Album>,
    /// To be judged on; the same classes.
    pub test: Arc<Album>,
}

impl LabelledAlbums {
    /// Train, then test.
    pub fn both(&self) -> [&Album; 2] {
        [&self.train, &self.test]
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.train.photos().classes().len()
    }

    /// Refuses sets that no classifier can be trained on.
    ///
    /// # Errors
    /// [`Error::Input`] if there are less than two classes, the two sets have other classes, one is empty, or a
    /// photo has not exactly one class.
    pub fn check(&self) -> Result<()> {
        let (train, test) = (self.train.photos(), self.test.photos());
        if train.classes().len() < 2 {
            let what = format!("{} class to tell apart", train.classes().len());
            return Err(Error::input(what, train.place(), "give photos of at least two classes"));
        }
        if train.classes() != test.classes() {
            let advice = "give both the same classes";
            return Err(Error::input("train and test have other classes", test.place(), advice));
        }
        for photos in [train, test] {
            if photos.is_empty() {
                return Err(Error::input("no photo", photos.place(), "give at least one"));
            }
            if let Some(id) = (0..photos.len()).find(|&id| photos.label(id).is_none()) {
                let what = format!("photo {} has {} labels", photos.name(id), photos.labels(id).len());
                return Err(Error::input(what, photos.place(), "give every photo exactly one class"));
            }
        }
        Ok(())
    }
}

/// Views for training with labels: a crop of random area and shape, mirrored half of the time, colours as they are.
pub(super) fn crop_views(views: &ViewConfig, crop_scale: [f64; 2]) -> ViewConfig {
    ViewConfig {
        crop_scale,
        jitter_p: 0.0,
        gray_p: 0.0,
        blur_p: 0.0,
        solarize_p: 0.0,
        flip_p: 0.5,
        ..views.clone()
    }
}

/// Batches of random crops for so many epochs.
pub(super) fn crops(
    album: &Arc<Album>,
    views: ViewConfig,
    batch: usize,
    epochs: u64,
    seed: u64,
    drop_last: bool,
) -> Result<Loader> {
    let mut options = LoaderOptions::new(batch, vec![views], seed);
    options.end_epoch = Some(epochs);
    options.drop_last = drop_last;
    Loader::new(album.clone(), options)
}

/// A batch on the device: images `[B, size, size, 3]`, labels `[B]`.
pub(super) fn on_device(
    device: &Device,
    album: &Album,
    batch: &Batch,
    size: usize,
) -> Result<(Tensor, Tensor)> {
    let labels: Vec<f32> =
        batch.ids.iter().filter_map(|&id| album.photos().label(id as usize)).map(|l| l as f32).collect();
    let images = Tensor::new(device, [batch.ids.len(), size, size, 3], &batch.images)?;
    Ok((images, Tensor::new(device, [labels.len()], &labels)?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::photos::{AlbumOptions, Photos};
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
}
