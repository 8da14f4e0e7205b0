//! Fine-tuning of a whole network on labelled photos.
//!
//! ```
//! # use vista::transfer::classify::Finetune;
//! let finetune = Finetune { epochs: 10, ..Finetune::scaled(32) };
//! assert_eq!((finetune.batch, finetune.seed), (32, 0));
//! ```

use super::features::{features as features_of, precise_statistics};
use super::probe::logits_of;
use super::supervised::{LabelledAlbums, Logits, Reached, Supervised};
use crate::engine::device::Device;
use crate::engine::exchange::Alone;
use crate::engine::nn::{Linear, Mode, Module, ResNet};
use crate::engine::optim::{LrSchedule, SgdConfig};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::transfer::metrics::accuracy::arg_max;
use crate::transfer::metrics::{accuracy, balanced_accuracy, class_accuracies};
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// Course of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FinetuneSchedule {
    /// From `lr` to 0 along half a cosine over all steps.
    Cosine,
    /// A tenth after a third of the epochs, a hundredth after two thirds.
    Step,
}

/// The recipe: softmax regression on the backbone's features, everything trained by SGD with momentum on random crops
/// and flips, judged on centre views.
///
/// The MLS paper fine-tunes "120 epochs on 7 small classification datasets", following its reference \[2\]. The
/// defaults are those of the code that \[2\]'s authors published for the same datasets: 120 epochs, batch 64, momentum 0.9,
/// weight decay 5e-4 on all parameters, cosine to 0; but a learning rate of 0.02 (scaled by the batch, [`Finetune::scaled`]) where
/// theirs is 0.1: docs/RESULTS.md has the rates that were tried. Decided here: crops of 8 to 100 % of the area (that code
/// offers these and plain crops of 224 of 256), no mixup, photos that do not fill a batch at the end of an epoch left out
/// (batch norm sees full batches only), judged with batch norm's statistics of the training photos' centre views
/// ([`precise_statistics`]) instead of running averages over the last crops, and the last epoch reported where that code
/// prints the best on the test set.
///
/// # Source
/// Cao and Wu, "A random CNN sees objects", 2022 (\[2\]); Cao and Wu, "Rethinking self-supervised learning: small is
/// beautiful", 2021, code, `main.py` and `main_train.sh`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Finetune {
    /// Passes over the training photos.
    pub epochs: u64,
    /// Photos in a step; fewer if there are fewer.
    pub batch: usize,
    /// Learning rate at the start.
    pub lr: f64,
    /// Share of the momentum that is kept.
    pub momentum: f64,
    /// L2 decay of all parameters.
    pub weight_decay: f64,
    /// Course of the learning rate.
    pub schedule: FinetuneSchedule,
    /// Area of the crops as a fraction of the photo's.
    pub crop_scale: [f64; 2],
    /// Judge on the test photos every so many epochs, and after the last.
    pub judge_every: u64,
    /// Seed of the head, the order of photos and the crops.
    pub seed: u64,
}

impl Default for Finetune {
    fn default() -> Finetune {
        Finetune {
            epochs: 120,
            batch: 64,
            lr: 0.02,
            momentum: 0.9,
            weight_decay: 5e-4,
            schedule: FinetuneSchedule::Cosine,
            crop_scale: [0.08, 1.0],
            judge_every: 1,
            seed: 0,
        }
    }
}

/// One epoch of fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinetuneEpoch {
    /// Epochs done, this one included.
    pub epoch: u64,
    /// Mean cross-entropy of its steps, nats.
    pub train_loss: f64,
    /// Fraction of test photos predicted right, where they were judged.
    pub top1: Option<f64>,
}

/// What fine-tuning achieved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FinetuneResult {
    /// Fraction of test photos predicted right after the last epoch: the figure to report.
    pub top1: f64,
    /// Mean over classes of the fraction predicted right after the last epoch.
    pub balanced: f64,
    /// The highest `top1` after any epoch. Chosen on the test set, so never a result of its own.
    pub best_on_test: f64,
    /// Of each class, the fraction of its test photos predicted right after the last epoch.
    pub classes: Vec<Option<f64>>,
    /// Steps taken.
    pub steps: u64,
    /// Epoch by epoch.
    pub epochs: Vec<FinetuneEpoch>,
}

/// Where a fine-tuning run is.
#[derive(Clone, Copy, Debug)]
pub struct FinetuneProgress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub total: u64,
    /// The last epoch that is over.
    pub last: Option<FinetuneEpoch>,
}

impl Finetune {
    /// The defaults for a batch: `lr = 0.02 batch / 64`.
    pub fn scaled(batch: usize) -> Finetune {
        let usual = Finetune::default();
        Finetune { batch, lr: usual.lr * batch as f64 / usual.batch as f64, ..usual }
    }

    /// Trains the backbone, in place, and a fresh linear head.
    ///
    /// `features` is the width of the backbone's features; `views` gives size, mean and deviation of the views.
    ///
    /// # Errors
    /// [`Error::Input`] if a constant or a photo set can't be used; [`Error::Run`] if the loss is not finite; the
    /// device's.
    pub fn fit(
        &self,
        backbone: &ResNet,
        features: usize,
        albums: &LabelledAlbums,
        views: &ViewConfig,
        device: &Device,
        watch: &mut dyn FnMut(FinetuneProgress),
    ) -> Result<FinetuneResult> {
        albums.check()?;
        self.check()?;
        let classes = albums.classes();
        let mut rng = StdRng::seed_from_u64(self.seed);
        let head = Linear::new(device, &mut rng, "fc", [features, classes])?;
        let params = [backbone.trained(), head.trained()].concat();
        let mut result = FinetuneResult::default();
        let logits: &Logits = &|tape, images| {
            head.forward(&backbone.forward(&tape.constant(images), Mode::Train { groups: 1 })?)
        };
        let heard = &mut |Reached { step, total, epoch, .. }: Reached| {
            result.steps = step;
            if let Some((epoch, train_loss)) = epoch {
                let judged = epoch.is_multiple_of(self.judge_every) || epoch == self.epochs;
                if judged {
                    // Running averages are of crops and of a network that has moved since.
                    precise_statistics(backbone, &albums.train, views, device)?;
                    let g = features_of(backbone, &albums.test, views, device, &Alone)?;
                    let images = Tensor::new(device, [g.labels.len(), g.width()?], &g.values)?;
                    result.judge(&logits_of(&head, device, images)?, classes, &g.labels);
                }
                let top1 = judged.then_some(result.top1);
                result.epochs.push(FinetuneEpoch { epoch, train_loss, top1 });
            }
            watch(FinetuneProgress { step, total, last: result.epochs.last().copied() });
            Ok(())
        };
        let Finetune { epochs, momentum, weight_decay, crop_scale, seed, .. } = *self;
        let batch = self.batch.min(albums.train.photos().len());
        let sgd = SgdConfig { momentum, weight_decay, nesterov: false };
        let drop_last = true;
        Supervised {
            name: "finetune",
            albums,
            views,
            device,
            crop_scale,
            batch,
            epochs,
            seed,
            drop_last,
            sgd,
        }
        .run(&params, &|step, total| self.learning_rate(step, total), logits, heard)?;
        Ok(result)
    }

    fn learning_rate(&self, step: u64, total: u64) -> f64 {
        match self.schedule {
            FinetuneSchedule::Cosine => LrSchedule::cosine(self.lr, total).lr(step),
            FinetuneSchedule::Step => {
                let drops = (3 * step / total.max(1)).min(2);
                self.lr * 0.1f64.powi(drops as i32)
            }
        }
    }

    fn check(&self) -> Result<()> {
        let refuse = |what: String, advice: &str| Err(Error::input(what, "finetune", advice));
        if self.epochs == 0 || self.judge_every == 0 {
            return refuse("0 epochs".into(), "choose at least 1");
        }
        if self.batch < 2 {
            return refuse(
                format!("a batch of {}", self.batch),
                "batch norm needs at least 2 photos: raise --batch",
            );
        }
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return refuse(
                format!("a learning rate of {}", self.lr),
                "choose a number above 0, such as 0.02",
            );
        }
        Ok(())
    }
}

impl FinetuneResult {
    /// Takes in the logits `[N, classes]` of the test photos after an epoch.
    fn judge(&mut self, logits: &[f32], classes: usize, labels: &[usize]) {
        let predicted: Vec<usize> = logits.chunks(classes).map(arg_max).collect();
        self.top1 = accuracy(&predicted, labels);
        self.balanced = balanced_accuracy(&predicted, labels);
        self.best_on_test = self.best_on_test.max(self.top1);
        self.classes = class_accuracies(&predicted, labels, classes);
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/finetune.rs"]
mod tests;
