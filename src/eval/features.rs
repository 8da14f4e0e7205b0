//! Features of labelled photos: an encoder's on their evaluation views, or their colours alone.

use super::{Labelled, colour};
use crate::autograd::Tape;
use crate::data::Album;
use crate::device::Device;
use crate::encoder::ResNetEncoder;
use crate::error::Result;
use crate::nn::{Mode, ResNet};
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
    labelled_features(&encoder.backbone, album, views, device, &mut |_| ())
}

/// As [`features`]; `watch` hears how many photos are done.
///
/// # Errors
/// As [`features`].
pub fn labelled_features(
    backbone: &ResNet,
    album: &Album,
    views: &ViewConfig,
    device: &Device,
    watch: &mut dyn FnMut(usize),
) -> Result<Features> {
    let Embedded { values, kept } = embed(backbone, album, &labelled_photos(album), views, device, watch)?;
    Ok(Features { values, labels: kept.iter().filter_map(|&id| album.photos().label(id)).collect() })
}

/// Features of some photos of an album.
#[derive(Clone, Debug, Default)]
pub struct Embedded {
    /// `[kept.len(), C]`.
    pub values: Vec<f32>,
    /// The photos that they belong to: those asked for that could be decoded.
    pub kept: Vec<usize>,
}

/// Pooled backbone features g of the evaluation views of the photos `ids`, batch norm with running statistics;
/// `watch` hears how many photos are done.
///
/// # Errors
/// [`crate::Error::Input`] if the view makes no sense or no photo can be decoded; the device's errors.
pub fn embed(
    backbone: &ResNet,
    album: &Album,
    ids: &[usize],
    views: &ViewConfig,
    device: &Device,
    watch: &mut dyn FnMut(usize),
) -> Result<Embedded> {
    let mut all = Embedded::default();
    for (batch, ids) in ids.chunks(BATCH).enumerate() {
        let (images, kept) = album.sound_views(ids, views)?;
        if kept.is_empty() {
            watch(batch * BATCH + ids.len());
            continue;
        }
        let images = Tensor::new(device, [kept.len(), views.size, views.size, 3], &images)?;
        let tape = Tape::inert(device);
        let g = backbone.forward(&tape.constant(images), Mode::Eval)?;
        all.values.extend(g.value().to_vec()?);
        all.kept.extend(kept);
        watch(batch * BATCH + ids.len());
    }
    if all.kept.is_empty() && !ids.is_empty() {
        return Err(album.nothing_decodable());
    }
    Ok(all)
}

/// Colour histograms of every labelled photo that can be decoded: the baseline that a good encoder must beat.
///
/// # Errors
/// [`crate::Error::Input`] if none can be decoded.
pub fn colour_features(album: &Album) -> Result<Features> {
    let mut all = Features::default();
    for id in labelled_photos(album) {
        let Ok(photo) = album.photo(id) else { continue };
        all.values.extend(colour::histogram(&photo.image.data));
        all.labels.extend(album.photos().label(id));
    }
    if all.labels.is_empty() && !album.photos().is_empty() {
        return Err(album.nothing_decodable());
    }
    Ok(all)
}

/// Numbers of the photos with exactly one class.
pub(super) fn labelled_photos(album: &Album) -> Vec<usize> {
    (0..album.photos().len()).filter(|&id| album.photos().label(id).is_some()).collect()
}
