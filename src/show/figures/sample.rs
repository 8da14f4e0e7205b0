//! Crops of photos as a training run draws them, and what encoders make of them.

use crate::engine::autograd::Tape;
use crate::engine::device::Device;
use crate::engine::nn::Mode;
use crate::engine::ops::{L2Normalize, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result, counted};
use crate::photos::views::{CropBox, ViewConfig, ViewMaker, ViewParams};
use crate::photos::{Album, Photos};
use crate::pretrain::ResNetEncoder;
use crate::pretrain::encoder::Encoder;
use crate::rng::KeyedRng;
use crate::transfer::classify::Points;
use rayon::prelude::*;

/// Views that go through an encoder, and through its batch norm, together.
pub const BATCH: usize = 64;

/// The error for a photo that could be decoded before.
pub(crate) fn gone(photos: &Photos, id: usize, why: String) -> Error {
    Error::input(why, photos.name(id), "leave the photos as they are meanwhile")
}

/// Draws photos and crops of an album.
#[derive(Debug)]
pub struct Sampler<'a> {
    /// The photos.
    pub album: &'a Album,
    /// How crops are drawn.
    pub views: &'a ViewConfig,
    /// Seed of the choice of photos and of the crops; the run's own gives the crops of its first epoch.
    pub seed: u64,
    /// Where the encoders are.
    pub device: &'a Device,
}

/// One crop of each of some photos, and the unit embeddings of each encoder.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The photo of each crop, `[N]`.
    pub photos: Vec<usize>,
    /// What was cut out, in the photo's own pixels.
    pub crops: Vec<CropBox>,
    /// Whether the view is mirrored.
    pub flips: Vec<bool>,
    /// For each encoder backbone features g and projections z.
    pub embedded: Vec<[Embedded; 2]>,
}

impl Sample {
    /// The backbone features g, or the projections z, by one of the encoders.
    pub fn points(&self, encoder: usize, projected: bool) -> Points<'_> {
        let Embedded { values, width } = &self.embedded[encoder][usize::from(projected)];
        Points { values, width: *width, photos: &self.photos }
    }

    /// The crops of the photos that are wanted.
    pub fn only(&self, wanted: &dyn Fn(usize) -> bool) -> Sample {
        let rows: Vec<usize> = (0..self.photos.len()).filter(|&row| wanted(self.photos[row])).collect();
        let of = |Embedded { values, width }: &Embedded| {
            let values = rows.iter().flat_map(|row| &values[row * width..][..*width]).copied().collect();
            Embedded { values, width: *width }
        };
        Sample {
            photos: rows.iter().map(|&row| self.photos[row]).collect(),
            crops: rows.iter().map(|&row| self.crops[row]).collect(),
            flips: rows.iter().map(|&row| self.flips[row]).collect(),
            embedded: self.embedded.iter().map(|both| both.each_ref().map(of)).collect(),
        }
    }
}

/// Unit embeddings of crops.
#[derive(Clone, Debug, Default)]
pub struct Embedded {
    /// `[N, width]`, rows of length 1.
    pub values: Vec<f32>,
    /// How long a row is.
    pub width: usize,
}

/// A view in the making: crop, flip, pixels.
type View = (CropBox, bool, Vec<f32>);

impl Sampler<'_> {
    /// The first `count` decodable photos that are wanted (all, if there are fewer) in an order drawn by the seed.
    /// `progress` hears of each few.
    ///
    /// # Errors
    /// [`Error::Input`] if there are not even two.
    pub fn photos(
        &self,
        count: usize,
        wanted: &dyn Fn(usize) -> bool,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<usize>> {
        let mut order = KeyedRng::new("figures", self.seed, [0; 3]).permutation(self.album.photos().len());
        order.retain(|&id| wanted(id));
        let mut found = Vec::new();
        for ids in order.chunks(BATCH) {
            let good: Vec<usize> =
                ids.par_iter().copied().filter(|&id| self.album.photo(id).is_ok()).collect();
            let more = good.len().min(count - found.len());
            found.extend(&good[..more]);
            progress(more);
            if found.len() == count {
                break;
            }
        }
        if found.len() < 2 {
            let what = format!("{} can be used", counted(found.len(), "photo", "photos"));
            return Err(Error::input(what, self.album.photos().place(), "give at least two photos"));
        }
        Ok(found)
    }

    /// View number `view` (0 the query's, 1 the key's) of each photo, embedded by each encoder.
    ///
    /// Batch norm takes the statistics of the batch, as in a training step, before and after training alike: the
    /// running statistics of an encoder that has seen nothing would not be those of any step. Every batch is full: the
    /// last is filled up with earlier photos, whose second embeddings are dropped. `progress` hears of each batch.
    ///
    /// # Errors
    /// [`Error::Input`] if a photo can't be decoded; [`Error::Run`] if an embedding is not finite; the device's.
    pub fn embed(
        &self,
        encoders: &[&ResNetEncoder],
        photos: &[usize],
        view: u64,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Sample> {
        let mut sample = Sample { embedded: vec![Default::default(); encoders.len()], ..Sample::default() };
        let batch = BATCH.min(photos.len());
        for start in (0..photos.len()).step_by(batch.max(1)) {
            let from = start.min(photos.len() - batch);
            let (ids, fresh) = (&photos[from..from + batch], start - from);
            let views = self.views(ids, view)?;
            let pixels: Vec<f32> = views.iter().flat_map(|(_, _, pixels)| pixels).copied().collect();
            let shape = [batch, self.views.size, self.views.size, 3];
            let images = Tensor::new(self.device, shape, &pixels)?;
            for (encoder, all) in encoders.iter().zip(&mut sample.embedded) {
                append(all, encoder, &images, fresh)?;
            }
            sample.photos.extend(&ids[fresh..]);
            sample.crops.extend(views[fresh..].iter().map(|(crop, ..)| *crop));
            sample.flips.extend(views[fresh..].iter().map(|(_, flip, _)| *flip));
            progress(batch - fresh);
        }
        Ok(sample)
    }

    /// One view of each photo, as [`crate::photos::Loader`] draws those of epoch 0.
    fn views(&self, ids: &[usize], view: u64) -> Result<Vec<View>> {
        let maker = ViewMaker::new(self.views.clone())?;
        let make = |maker: &mut ViewMaker, &id: &usize| {
            let photo = self.album.photo(id).map_err(|why| gone(self.album.photos(), id, why))?;
            let mut rng = KeyedRng::new("view", self.seed, [0, id as u64, view]);
            let params = ViewParams::draw(self.views, photo.image.width, photo.image.height, &mut rng);
            let mut pixels = vec![0.0; maker.len()];
            maker.make(&photo.image, &params, &mut pixels);
            Ok((photo.original_box(params.crop), params.flip, pixels))
        };
        ids.par_iter().map_init(|| maker.clone(), make).collect()
    }
}

/// Adds the unit embeddings of a batch from row `fresh` on to those of earlier batches.
fn append(all: &mut [Embedded; 2], encoder: &ResNetEncoder, images: &Tensor, fresh: usize) -> Result<()> {
    let tape = Tape::inert(images.device());
    let embedding = encoder.embed(&tape.constant(images.clone()), Mode::Train { groups: 1 })?;
    for (name, Embedded { values, width }) in ["g", "z"].into_iter().zip(all) {
        let unit = run(&L2Normalize, &[embedding.get(name)?.value()])?.swap_remove(0);
        *width = unit.shape()[1];
        let rows = unit.to_vec()?;
        if !rows.iter().all(|v| v.is_finite()) {
            let why = "an embedding is not finite: training diverged, lower optimizer.lr";
            return Err(Error::Run(why.into()));
        }
        values.extend(&rows[fresh * *width..]);
    }
    Ok(())
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/sample.rs"]
mod tests;
