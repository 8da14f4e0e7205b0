//! Features of labelled photos: an encoder's on their evaluation views, or their colours alone.

use super::{Labelled, colour};
use crate::autograd::Tape;
use crate::data::Album;
use crate::device::Device;
use crate::encoder::ResNetEncoder;
use crate::error::{Error, Result};
use crate::nn::Mode;
use crate::tensor::Tensor;
use crate::views::ViewConfig;

/// Features with their classes.
#[derive(Clone, Debug, Default)]
pub struct Features {
    /// `[labels.len(), C]`.
    pub values: Vec<f32>,
    /// Class of each.
    pub labels: Vec<usize>,
}

impl Features {
    /// As the classifiers want them.
    pub fn labelled(&self) -> Labelled<'_> {
        Labelled { features: &self.values, labels: &self.labels }
    }
}

/// Photos that go through the encoder at once.
const BATCH: usize = 64;

/// Pooled backbone features g (not the projections) of every labelled photo, batch norm with running statistics.
///
/// # Errors
/// [`crate::Error::Input`] if no photo can be decoded; the device's errors.
pub fn features(
    encoder: &ResNetEncoder,
    album: &Album,
    views: &ViewConfig,
    device: &Device,
) -> Result<Features> {
    let mut all = Features::default();
    for ids in labelled_photos(album).chunks(BATCH) {
        let (images, kept) = album.center_views(ids, views)?;
        let images = Tensor::new(device, [kept.len(), views.size, views.size, 3], &images)?;
        let tape = Tape::inert(device);
        let g = encoder.backbone.forward(&tape.constant(images), Mode::Eval)?;
        all.values.extend(g.value().to_vec()?);
        all.labels.extend(kept.iter().filter_map(|&id| album.photos().label(id)));
    }
    Ok(all)
}

/// Colour histograms of every labelled photo: the baseline that a good encoder must beat.
///
/// # Errors
/// [`crate::Error::Input`] if a photo can't be decoded.
pub fn colour_features(album: &Album) -> Result<Features> {
    let mut all = Features::default();
    for id in labelled_photos(album) {
        let photo =
            album.photo(id).map_err(|why| Error::input(why, album.photos().name(id), "remove the photo"))?;
        all.values.extend(colour::histogram(&photo.image.data));
        all.labels.extend(album.photos().label(id));
    }
    Ok(all)
}

/// Numbers of the photos with exactly one class.
fn labelled_photos(album: &Album) -> Vec<usize> {
    (0..album.photos().len()).filter(|&id| album.photos().label(id).is_some()).collect()
}
