//! Features of labelled photos: an encoder's on their evaluation views, or their colours alone.

use super::colour;
use crate::engine::autograd::{Observation, Tape};
use crate::engine::device::Device;
use crate::engine::exchange::{Exchange, share};
use crate::engine::nn::{Mode, ResNet};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::photos::{Album, Rgb};
use crate::rng::KeyedRng;
use rayon::prelude::*;

/// Features of labelled images.
#[derive(Clone, Debug, Default)]
pub struct Features {
    /// `[N, C]`, row-major.
    pub values: Vec<f32>,
    /// The class of each image, `[N]`.
    pub labels: Vec<usize>,
}

impl Features {
    /// These and more, in this order.
    pub fn and(&self, more: &Features) -> Features {
        let values = [&self.values[..], &more.values].concat();
        Features { values, labels: [&self.labels[..], &more.labels].concat() }
    }

    /// Features per image, C.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no image, or the features do not divide evenly among the labels.
    pub fn width(&self) -> Result<usize> {
        let (values, images) = (self.values.len(), self.labels.len());
        if images > 0 && values > 0 && values.is_multiple_of(images) {
            return Ok(values / images);
        }
        Err(Error::input(
            format!("{values} feature values for {images} labels"),
            "labelled images",
            "give at least one image, and as many labels as images",
        ))
    }

    /// One more than the largest label.
    pub fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |label| label + 1)
    }
}

/// The one feature width of both sets.
pub(super) fn common_width(train: &Features, test: &Features) -> Result<usize> {
    let (a, b) = (train.width()?, test.width()?);
    if a == b {
        return Ok(a);
    }
    Err(Error::input(
        format!("{a} features per training image, {b} per test image"),
        "labelled images",
        "take both from one encoder",
    ))
}

/// Refuses features of `who` that are not finite.
pub(super) fn finite(who: &str, values: &[f32], width: usize) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let image = at / width;
            let what =
                format!("{who}: features of image {image} are not finite: training diverged, lower lr");
            Err(Error::Run(what))
        }
    }
}

/// Photos that go through the encoder at once.
const BATCH: usize = 64;

/// Pooled backbone features g (not the projections) of every labelled photo, batch norm with running statistics; each rank embeds a part
/// of them, and all have them all.
///
/// # Errors
/// As [`embed`]; the exchange's.
pub fn features(
    backbone: &ResNet,
    album: &Album,
    views: &ViewConfig,
    device: &Device,
    ranks: &dyn Exchange,
) -> Result<Features> {
    let ids = labelled_photos(album);
    // Whole batches: a photo's features do not depend on how many ranks there are.
    let own = share(ids.len().div_ceil(BATCH), ranks.rank(), ranks.ranks());
    let own = &ids[(own.start * BATCH).min(ids.len())..(own.end * BATCH).min(ids.len())];
    let Embedded { values, kept } = embed(backbone, album, own, views, device, &mut |_| ())?;
    let kept: Vec<u64> = kept.iter().map(|&id| id as u64).collect();
    let values = ranks.tell(bytemuck::cast_slice(&values))?.concat();
    let kept: Vec<u64> = bytemuck::pod_collect_to_vec(&ranks.tell(bytemuck::cast_slice(&kept))?.concat());
    let (values, kept) =
        (bytemuck::pod_collect_to_vec(&values), kept.iter().map(|&id| id as usize).collect());
    Ok(Embedded { values, kept }.labelled(album))
}

/// Features of some photos of an album.
#[derive(Clone, Debug, Default)]
pub struct Embedded {
    /// `[kept.len(), C]`.
    pub values: Vec<f32>,
    /// The photos that they belong to: those asked for that could be decoded.
    pub kept: Vec<usize>,
}

impl Embedded {
    /// With their classes, of photos that have exactly one.
    pub fn labelled(self, album: &Album) -> Features {
        let labels = self.kept.iter().filter_map(|&id| album.photos().label(id)).collect();
        Features { values: self.values, labels }
    }

    /// Which of these classes each photo shows, `[kept.len(), classes.len()]`: 1, 0, or -1 for what is difficult.
    pub fn multi_labels(&self, album: &Album, classes: &[usize]) -> Vec<i8> {
        let photos = album.photos();
        let of = |id: usize, class: &usize| match photos.labels(id).contains(class) {
            true => 1,
            false => -i8::from(photos.difficult(id).contains(class)),
        };
        self.kept.iter().flat_map(|&id| classes.iter().map(move |class| of(id, class))).collect()
    }
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
        if !kept.is_empty() {
            let images = Tensor::new(device, [kept.len(), views.size, views.size, 3], &images)?;
            let tape = Tape::inert(device);
            let g = backbone.forward(&tape.constant(images), Mode::Eval)?;
            all.values.extend(g.value().to_vec()?);
            all.kept.extend(kept);
        }
        watch(batch * BATCH + ids.len());
    }
    if all.kept.is_empty() && !ids.is_empty() {
        return Err(album.nothing_decodable());
    }
    Ok(all)
}

/// Photos whose statistics stand for all.
const STATISTICS_OF: usize = 1024;

/// Gives batch norm the statistics of photos instead of those that it holds: means and unbiased variances of batches of 64
/// evaluation views in training mode, averaged; of up to 1,024 photos of the album in a fixed random order. Weights stay.
///
/// # Errors
/// As [`embed`].
/// # Source
/// Wu and Johnson 2021, *Rethinking "Batch" in BatchNorm*, Sec. 3: precise statistics.
pub fn precise_statistics(
    backbone: &ResNet,
    album: &Album,
    views: &ViewConfig,
    device: &Device,
) -> Result<()> {
    let order = KeyedRng::new("statistics", 0, [0; 3]).permutation(album.photos().len());
    let mut seen = 0;
    for ids in order[..order.len().min(STATISTICS_OF)].chunks(BATCH) {
        let (images, kept) = album.sound_views(ids, views)?;
        // A rest of a few photos has a variance of its own, not theirs; one photo may have none.
        if kept.len() < 2 || (seen > 0 && ids.len() < BATCH) {
            continue;
        }
        let images = Tensor::new(device, [kept.len(), views.size, views.size, 3], &images)?;
        let tape = Tape::inert(device);
        backbone.forward(&tape.constant(images), Mode::Train { groups: 1 })?;
        seen += kept.len();
        // The first batch takes the place of what was there, each later one its share of all.
        let momentum = kept.len() as f32 / seen as f32;
        let mut observations = tape.take_observations();
        observations.iter_mut().for_each(|o| o.momentum = momentum);
        Observation::apply(&observations)?;
    }
    Ok(())
}

/// Colour histograms of some photos of an album, `[kept.len(), 512]`; those that can't be decoded are left out. `watch` hears how
/// many photos are done.
pub fn colours(album: &Album, ids: &[usize], watch: &mut dyn FnMut(usize)) -> Embedded {
    described(album, ids, &|photo: &Rgb| colour::histogram(&photo.data), watch)
}

/// Colour histograms of every labelled photo that can be decoded: the baseline that a good encoder must beat.
///
/// # Errors
/// [`crate::Error::Input`] if none can be decoded.
pub fn colour_features(album: &Album) -> Result<Features> {
    let all = colours(album, &labelled_photos(album), &mut |_| ()).labelled(album);
    if all.labels.is_empty() && !album.photos().is_empty() {
        return Err(album.nothing_decodable());
    }
    Ok(all)
}

/// What `describe` says of some photos of an album; those that can't be decoded are left out. `watch` hears how many are done.
pub(super) fn described(
    album: &Album,
    ids: &[usize],
    describe: &(dyn Fn(&Rgb) -> Vec<f32> + Sync),
    watch: &mut dyn FnMut(usize),
) -> Embedded {
    let mut all = Embedded::default();
    for (batch, ids) in ids.chunks(BATCH).enumerate() {
        let of_one = |&id: &usize| album.photo(id).ok().map(|photo| (id, describe(&photo.image)));
        let rows: Vec<Option<(usize, Vec<f32>)>> = ids.par_iter().map(of_one).collect();
        for (id, row) in rows.into_iter().flatten() {
            all.kept.push(id);
            all.values.extend(row);
        }
        watch(batch * BATCH + ids.len());
    }
    all
}

/// Numbers of the photos with exactly one class.
fn labelled_photos(album: &Album) -> Vec<usize> {
    (0..album.photos().len()).filter(|&id| album.photos().label(id).is_some()).collect()
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/features.rs"]
mod tests;
