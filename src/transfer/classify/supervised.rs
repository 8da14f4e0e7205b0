//! What training on labelled photos shares: random crops in, labels beside them, a step.

use crate::engine::autograd::{Observation, Tape, Var};
use crate::engine::device::Device;
use crate::engine::nn::Param;
use crate::engine::optim::{OptimConfig, Optimizer, SgdConfig};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::{Detail, ViewConfig};
use crate::photos::{Album, AlbumOptions, Batch, Loader, LoaderOptions, Photos, Views};
use crate::run::{Done, Now, Schedule, Train, train};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Labelled photos, to learn from and to be judged on.
#[derive(Clone, Debug)]
pub struct LabelledAlbums {
    /// To learn from.
    pub train: Arc<Album>,
    /// To be judged on; the same classes.
    pub test: Arc<Album>,
}

impl LabelledAlbums {
    /// Photos to learn from and to be judged on, each decoded when it is first asked for.
    pub fn new(photos: [Photos; 2]) -> LabelledAlbums {
        let [train, test] = photos.map(|photos| Arc::new(Album::new(photos, AlbumOptions::default())));
        LabelledAlbums { train, test }
    }

    /// The same photos, nothing decoded yet, as finely as some views need them; `None` for all pixels.
    pub fn for_views(&self, detail: Option<Detail>) -> LabelledAlbums {
        let [train, test] = self.both().map(|album| {
            let options = AlbumOptions { detail, ..AlbumOptions::default() };
            Arc::new(Album::new(album.photos().clone(), options))
        });
        LabelledAlbums { train, test }
    }

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

/// Training on labelled photos: cross-entropy of random crops, mirrored half of the time, colours as they are; SGD with
/// momentum.
pub(super) struct Supervised<'a> {
    /// The protocol's name, for errors.
    pub name: &'static str,
    pub albums: &'a LabelledAlbums,
    pub views: &'a ViewConfig,
    pub device: &'a Device,
    /// Area of the crops as a fraction of the photo's.
    pub crop_scale: [f64; 2],
    pub batch: usize,
    pub epochs: u64,
    /// Seed of the order of photos and of the crops.
    pub seed: u64,
    /// Whether photos that do not fill a batch at the end of an epoch are left out.
    pub drop_last: bool,
    pub sgd: SgdConfig,
}

/// What is trained: images `[B, size, size, 3]` in, logits `[B, classes]` out.
pub(super) type Logits<'a> = dyn for<'t> Fn(&'t Tape, Tensor) -> Result<Var<'t>> + 'a;

/// What is told after a step.
pub(super) struct Reached {
    /// Steps done, and in all.
    pub step: u64,
    pub total: u64,
    /// Photos of this step.
    pub photos: u64,
    /// An epoch that ends here: its number from 1, and the mean cross-entropy of its steps, nats.
    pub epoch: Option<(u64, f64)>,
}

impl Supervised<'_> {
    /// Trains `params` on the `logits`. `rate` is the learning rate of a step among so many; `heard` is told of every step.
    ///
    /// # Errors
    /// [`Error::Input`] if views or photos can't be used; [`Error::Run`] if the loss is not finite; those of `heard`; the
    /// device's.
    pub fn run(
        &self,
        params: &[Param],
        rate: &dyn Fn(u64, u64) -> f64,
        logits: &Logits,
        heard: &mut dyn FnMut(Reached) -> Result<()>,
    ) -> Result<()> {
        let crops = ViewConfig {
            crop_scale: self.crop_scale,
            jitter_p: 0.0,
            gray_p: 0.0,
            blur_p: 0.0,
            solarize_p: 0.0,
            flip_p: 0.5,
            ..self.views.clone()
        };
        let mut options = LoaderOptions::new(self.batch, vec![crops], self.seed);
        (options.end_epoch, options.drop_last) = (Some(self.epochs), self.drop_last);
        let mut loader = Loader::new(self.albums.train.clone(), options)?;
        let total = loader.batches_per_epoch() * self.epochs;
        let lr = Box::new(move |step| rate(step, total));
        let schedule = Schedule { total, limit: 0.0, warmup: 0, base_lr: rate(0, total), lr };
        let sgd = OptimConfig::Sgd(self.sgd.clone()).build();
        let mut fit = Fit { of: self, params, logits, heard, sgd, total, losses: Vec::new() };
        train(&mut fit, &mut loader, &schedule, (0, 0.0))
    }
}

/// A training on labelled photos while its steps are taken.
struct Fit<'a> {
    of: &'a Supervised<'a>,
    params: &'a [Param],
    logits: &'a Logits<'a>,
    heard: &'a mut dyn FnMut(Reached) -> Result<()>,
    sgd: Optimizer,
    total: u64,
    /// Of the steps of this epoch; they stay on the device until it ends.
    losses: Vec<Tensor>,
}

impl Train for Fit<'_> {
    type Recipe = Vec<ViewConfig>;
    type Report = Tensor;

    fn step(&mut self, views: &Batch, now: &Now) -> Result<Tensor> {
        let Supervised { albums, device, views: ViewConfig { size, .. }, .. } = *self.of;
        let classes = views.ids.iter().filter_map(|&id| albums.train.photos().label(id as usize));
        let labels: Vec<f32> = classes.map(|class| class as f32).collect();
        let labels = Tensor::new(device, [labels.len()], &labels)?; // [B]
        let images = Tensor::new(device, [views.ids.len(), *size, *size, 3], &views.data.images)?;
        let tape = Tape::new(device);
        let loss = (self.logits)(&tape, images)?.cross_entropy(&labels)?;
        let grads = loss.backward()?;
        Observation::apply(&tape.take_observations())?;
        self.sgd.step(self.params, &grads, now.lr)?;
        Ok(loss.value().clone())
    }

    fn after(&mut self, done: &Done<Tensor, Views>) -> Result<ControlFlow<()>> {
        self.losses.push(done.report.clone());
        let mut epoch = None;
        if done.ends_epoch() {
            let loss = mean(&std::mem::take(&mut self.losses))?;
            if !loss.is_finite() {
                let (name, step) = (self.of.name, done.step);
                return Err(Error::Run(format!("{name}: the loss is {loss} at step {step}: lower --lr")));
            }
            epoch = Some((done.batch.next.epoch, loss));
        }
        let (total, photos) = (self.total, done.batch.ids.len() as u64);
        (self.heard)(Reached { step: done.step, total, photos, epoch })?;
        Ok(ControlFlow::Continue(()))
    }
}

/// Mean of scalars on a device.
pub(super) fn mean(losses: &[Tensor]) -> Result<f64> {
    let values = Tensor::read(&losses.iter().collect::<Vec<_>>())?.concat();
    Ok(values.iter().sum::<f64>() / values.len().max(1) as f64)
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/supervised.rs"]
pub(super) mod tests;
