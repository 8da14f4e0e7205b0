//! Linear classification of frozen features of random crops.
//!
//! ```
//! # use vista::transfer::classify::SgdProbe;
//! assert_eq!(SgdProbe::scaled(512).lr, 0.2); // 0.1 for 256 photos in a step
//! ```

use super::features::{Features, embed};
use super::probe::{ProbeResult, Scaling, at_least_one, logits_of, zero_head};
use super::supervised::{LabelledAlbums, Logits, Reached, Supervised};
use crate::engine::autograd::Tape;
use crate::engine::device::Device;
use crate::engine::nn::{Mode, Module, ResNet};
use crate::engine::optim::{LrSchedule, SgdConfig};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::Album;
use crate::photos::views::ViewConfig;
use serde::{Deserialize, Serialize};

/// The protocol: softmax regression trained from zero by SGD with a cosine to 0 on the features of a new random crop
/// of every training photo in every epoch, the encoder frozen (batch norm with running statistics too); judged on
/// centre views.
///
/// The defaults are SimCLR's (learning rate 0.1 for 256 images, no weight decay, crops of 8 to 100 %, flips) with
/// MoCo's 100 epochs and plain momentum. Decided here: features are standardised by the mean and deviation of the
/// training photos' centre views, so that one learning rate fits encoders of any feature scale (MoCo's 30 fits the
/// small features of its own ResNet-50). It shares its loop with fine-tuning, but is none with a frozen backbone: it starts
/// from zero, standardises, keeps the last photos of an epoch, and judges on test features that are computed once.
///
/// # Source
/// Chen, Kornblith, Norouzi and Hinton 2020, appendix B.6; He, Fan, Wu, Xie and Girshick 2020, Section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdProbe {
    /// Passes over the training photos.
    pub epochs: u64,
    /// Photos in a step; the last step of an epoch takes what is left.
    pub batch: usize,
    /// Learning rate at the start; [`SgdProbe::scaled`] sets it by the batch.
    pub lr: f64,
    /// Share of the momentum that is kept.
    pub momentum: f64,
    /// L2 decay of weight and bias.
    pub weight_decay: f64,
    /// Area of the crops as a fraction of the photo's.
    pub crop_scale: [f64; 2],
    /// Seed of the order of photos and of the crops.
    pub seed: u64,
}

impl Default for SgdProbe {
    fn default() -> SgdProbe {
        SgdProbe {
            epochs: 100,
            batch: 256,
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 0.0,
            crop_scale: [0.08, 1.0],
            seed: 0,
        }
    }
}

impl SgdProbe {
    /// The defaults for a batch: `lr = 0.1 batch / 256`.
    pub fn scaled(batch: usize) -> SgdProbe {
        SgdProbe { batch, lr: 0.1 * batch as f64 / 256.0, ..SgdProbe::default() }
    }

    /// Trains on the training photos and judges on the test photos; `watch` hears of how many photos features were
    /// computed, of [`SgdProbe::work`].
    ///
    /// # Errors
    /// [`crate::Error::Input`] if a constant or a photo set can't be used; [`crate::Error::Run`] if the loss is not finite; the
    /// device's.
    pub fn fit(
        &self,
        backbone: &ResNet,
        albums: &LabelledAlbums,
        views: &ViewConfig,
        device: &Device,
        watch: &mut dyn FnMut(u64),
    ) -> Result<ProbeResult> {
        albums.check()?;
        at_least_one(self.epochs, self.batch)?;
        let mut done = 0;
        let mut centre = |album: &Album| -> Result<Features> {
            let ids: Vec<usize> = (0..album.photos().len()).collect();
            let found = embed(backbone, album, &ids, views, device, &mut |n| watch(done + n as u64))?;
            done += ids.len() as u64;
            Ok(found.labelled(album))
        };
        let (train, test) = (centre(&albums.train)?, centre(&albums.test)?);
        let width = train.width()?;
        let scaling = Scaling::of(&train.values, width);
        let on_device = scaling.tensors(device)?;
        let test_images = Tensor::new(device, [test.labels.len(), width], &scaling.apply(&test.values)?)?;
        let classes = albums.classes();
        let head = zero_head(device, width, classes)?;
        let logits: &Logits = &|tape, images| {
            let frozen = Tape::inert(device);
            let [mean, inverse] = on_device.each_ref().map(|x| frozen.constant(x.clone())); // [C]
            let g = backbone.forward(&frozen.constant(images), Mode::Eval)?; // [B, C]
            head.forward(&tape.constant(g.sub(&mean)?.mul(&inverse)?.value().clone()))
        };
        let mut result = ProbeResult::default();
        let heard = &mut |reached: Reached| {
            done += reached.photos;
            watch(done);
            if let Some((_, loss)) = reached.epoch {
                result.train_loss = loss;
                result.judge(&logits_of(&head, device, test_images.clone())?, classes, &test.labels);
            }
            Ok(())
        };
        let SgdProbe { epochs, batch, momentum, weight_decay, crop_scale, seed, .. } = *self;
        let sgd = SgdConfig { momentum, weight_decay, nesterov: false };
        let drop_last = false;
        Supervised { name: "probe", albums, views, device, crop_scale, batch, epochs, seed, drop_last, sgd }
            .run(
                &head.trained(),
                &|step, total| LrSchedule::cosine(self.lr, total).lr(step),
                logits,
                heard,
            )?;
        Ok(result)
    }

    /// Features that [`SgdProbe::fit`] computes in all.
    pub fn work(&self, albums: &LabelledAlbums) -> u64 {
        let (train, test) = (albums.train.photos().len() as u64, albums.test.photos().len() as u64);
        train * (self.epochs + 1) + test
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/sgd_probe.rs"]
mod tests;
