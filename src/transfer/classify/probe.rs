//! Linear classification of frozen features.
//!
//! ```
//! # use vista::{Device, transfer::classify::{Features, Probe}};
//! let photos = Features { values: vec![1.0, 0.0, 2.0, 1.0, 0.0, 1.0, 1.0, 2.0], labels: vec![0, 0, 1, 1] };
//! let probe = Probe { epochs: 50, lr: 0.1, ..Probe::default() };
//! assert_eq!(probe.fit(&Device::cpu(), &photos, &photos, &mut |_| {})?.top1, 1.0);
//! # Ok::<(), vista::Error>(())
//! ```

use super::features::{Features, common_width, finite};
use super::supervised::mean;
use crate::engine::autograd::Tape;
use crate::engine::device::Device;
use crate::engine::nn::{Linear, Module, Param};
use crate::engine::ops::{GatherRows, run};
use crate::engine::optim::{AdamConfig, LrSchedule, OptimConfig};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::transfer::metrics::accuracy::arg_max;
use crate::transfer::metrics::{accuracy, balanced_accuracy};
use rand::rngs::StdRng;
use rand::{SeedableRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// The protocol: softmax regression on features standardised by the training set's mean and deviation, trained
/// from zero by Adam with a cosine to 0, without augmentation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// Passes over the training set.
    pub epochs: u64,
    /// Images in a step; the last step of an epoch takes what is left.
    pub batch: usize,
    /// Learning rate at the start.
    pub lr: f64,
    /// L2 decay of weight and bias.
    pub weight_decay: f64,
    /// Seed of the order of images.
    pub seed: u64,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe { epochs: 100, batch: 256, lr: 1e-3, weight_decay: 0.0, seed: 0 }
    }
}

/// What a probe found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Fraction of test images predicted right after the last epoch: the figure to report.
    pub top1: f64,
    /// Mean over classes of the fraction predicted right after the last epoch.
    pub balanced: f64,
    /// The highest `top1` after any epoch. Chosen on the test set, so never a result of its own.
    pub best_on_test: f64,
    /// Mean cross-entropy of the last epoch's steps, nats.
    pub train_loss: f64,
}

impl ProbeResult {
    /// Takes in the logits `[N, classes]` of the test images after an epoch.
    pub(super) fn judge(&mut self, logits: &[f32], classes: usize, labels: &[usize]) {
        let predicted: Vec<usize> = logits.chunks(classes).map(arg_max).collect();
        self.top1 = accuracy(&predicted, labels);
        self.balanced = balanced_accuracy(&predicted, labels);
        self.best_on_test = self.best_on_test.max(self.top1);
    }
}

/// Refuses a probe without epochs or photos in a step.
pub(super) fn at_least_one(epochs: u64, batch: usize) -> Result<()> {
    if epochs == 0 || batch == 0 {
        let what = format!("{epochs} epochs of batches of {batch}");
        return Err(Error::input(what, "probe", "choose at least 1 of each"));
    }
    Ok(())
}

impl Probe {
    /// Trains on `train` and judges on `test`; `watch` hears how many epochs are done.
    ///
    /// # Errors
    /// [`Error::Input`] if the sets do not fit together or a constant is out of range; [`Error::Run`] if a
    /// feature is not finite; the device's.
    pub fn fit(
        &self,
        device: &Device,
        train: &Features,
        test: &Features,
        watch: &mut dyn FnMut(u64),
    ) -> Result<ProbeResult> {
        let width = common_width(train, test)?;
        at_least_one(self.epochs, self.batch)?;
        let classes = train.classes().max(test.classes());
        let scaling = Scaling::of(&train.values, width);
        let on_device =
            |set: &Features| Tensor::new(device, [set.labels.len(), width], &scaling.apply(&set.values)?);
        let (images, test_images) = (on_device(train)?, on_device(test)?);
        let head = zero_head(device, width, classes)?;
        let params = head.trained();
        let count = train.labels.len();
        let steps = count.div_ceil(self.batch) as u64;
        let total = steps * self.epochs;
        let schedule = LrSchedule::cosine(self.lr, total);
        let adam = AdamConfig { weight_decay: self.weight_decay, ..Default::default() };
        let mut adam = OptimConfig::Adam(adam).build();
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut order: Vec<usize> = (0..count).collect();
        let mut result = ProbeResult::default();
        for epoch in 0..self.epochs {
            order.shuffle(&mut rng);
            let mut losses = Vec::new();
            for (step, batch) in order.chunks(self.batch).enumerate() {
                let tensor = |values: Vec<f32>| Tensor::new(device, [batch.len()], &values);
                let index = tensor(batch.iter().map(|&i| i as f32).collect())?;
                let labels = tensor(batch.iter().map(|&i| train.labels[i] as f32).collect())?;
                let tape = Tape::new(device);
                let x = tape.constant(run(&GatherRows, &[&images, &index])?.swap_remove(0)); // [B, C]
                let loss = head.forward(&x)?.cross_entropy(&labels)?;
                adam.step(&params, &loss.backward()?, schedule.lr(epoch * steps + step as u64))?;
                losses.push(loss.value().clone());
            }
            result.judge(&logits_of(&head, device, test_images.clone())?, classes, &test.labels);
            if epoch + 1 == self.epochs {
                result.train_loss = mean(&losses)?;
            }
            watch(epoch + 1);
        }
        Ok(result)
    }
}

/// A linear layer that knows nothing yet.
pub(super) fn zero_head(device: &Device, width: usize, classes: usize) -> Result<Linear> {
    let weight = Param::new("weight", Tensor::full(device, [classes, width], 0.0)?);
    Ok(Linear { weight, bias: Some(Param::new("bias", Tensor::full(device, [classes], 0.0)?)) })
}

/// Logits `[N, classes]` of features `[N, width]`.
pub(super) fn logits_of(head: &Linear, device: &Device, features: Tensor) -> Result<Vec<f32>> {
    head.forward(&Tape::inert(device).constant(features))?.value().to_vec()
}

/// Mean of each feature and one over its standard deviation.
pub(super) struct Scaling(Vec<(f64, f64)>);

impl Scaling {
    pub(super) fn of(features: &[f32], width: usize) -> Scaling {
        let count = (features.len() / width) as f64;
        let column_means = |f: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; width];
            for row in features.chunks(width) {
                for (c, (sum, &v)) in sums.iter_mut().zip(row).enumerate() {
                    *sum += f(c, f64::from(v)) / count;
                }
            }
            sums
        };
        let means = column_means(&|_, v| v);
        let variances = column_means(&|c, v| (v - means[c]).powi(2));
        // A feature that is the same for all images says nothing, whatever it is on others.
        let inverse = |variance: f64| if variance > 1e-12 { variance.sqrt().recip() } else { 0.0 };
        Scaling(means.into_iter().zip(variances.into_iter().map(inverse)).collect())
    }

    /// Means and inverse deviations, `[C]` each.
    pub(super) fn tensors(&self, device: &Device) -> Result<[Tensor; 2]> {
        let (means, inverses): (Vec<f64>, Vec<f64>) = self.0.iter().copied().unzip();
        let tensor = |values: &[f64]| Tensor::from_f64(device, [values.len()], values);
        Ok([tensor(&means)?, tensor(&inverses)?])
    }

    pub(super) fn apply(&self, features: &[f32]) -> Result<Vec<f32>> {
        finite("probe", features, self.0.len())?;
        let scaled = features.iter().zip(self.0.iter().cycle());
        Ok(scaled.map(|(&v, (mean, inverse))| ((f64::from(v) - mean) * inverse) as f32).collect())
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/probe.rs"]
mod tests;
