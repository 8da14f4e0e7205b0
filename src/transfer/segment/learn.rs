//! One step of a segmenter's training: the numbered lines, and the only place where its state changes.

use super::config::SegmentConfig;
use super::model::{AUXILIARY, DropoutKey, Losses, Segmenter};
use super::start::{blank, starting_segmenter};
use crate::engine::autograd::{Observation, Tape};
use crate::engine::device::Device;
use crate::engine::exchange::Exchange;
use crate::engine::nn::{Mode, Module, Param};
use crate::engine::optim::{Optimizer, Rate, groups, squared_norm};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::{Crops, IGNORED};
use crate::run::Now;
use std::rc::Rc;

/// A segmenter that is trained.
#[derive(Debug)]
pub struct SegmentLearner {
    /// The segmenter.
    pub net: Segmenter,
    /// What moves it.
    pub optimizer: Optimizer,
    config: SegmentConfig,
    rates: Vec<Rate>,
    /// The ranks that each have a part of every batch; batch norm is over all of them.
    exchange: Rc<dyn Exchange>,
}

/// What a step has to say.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The whole loss.
    pub loss: f64,
    /// Its terms, unweighted: of the classes, and of those said from layer3.
    pub terms: [(&'static str, f64); 2],
    /// 2-norm of the gradient.
    pub gradient_norm: f32,
    /// False if the loss or the gradient's norm is not finite: then nothing has changed.
    pub moved: bool,
}

impl SegmentLearner {
    /// A segmenter as its run starts, or `empty` for a checkpoint to be restored into.
    ///
    /// # Errors
    /// As [`starting_segmenter`].
    pub fn new(
        config: &SegmentConfig,
        classes: usize,
        device: &Device,
        empty: bool,
        exchange: Rc<dyn Exchange>,
    ) -> Result<SegmentLearner> {
        let net = if empty { blank } else { starting_segmenter }(config, classes, device)?;
        let new = |prefix: &&str| Rate { lr: config.optimizer.new_layers, ..Rate::of(*prefix) };
        let rates = ["ppm.", "psa.", "cls.", "aux."].iter().map(new).collect();
        Ok(SegmentLearner { net, optimizer: config.optimizer(), config: config.clone(), rates, exchange })
    }

    /// One step on a batch of crops.
    ///
    /// # Errors
    /// The device's.
    pub fn step(&mut self, crops: &Crops, now: &Now) -> Result<SegmentReport> {
        let params = self.net.trained();
        let Some(device) = params.first().map(|param| param.get().device().clone()) else {
            return Err(crate::Error::shape("segmenter", "it has no parameters".to_string()));
        };
        let (n, size) = (crops.left_out.len(), self.config.crops.size);

        // 1. Forward: the losses, over the pixels that have a label. This rank's share of the mean over all is that of its pixels.
        let exchange = &*self.exchange;
        let labelled = crops.labels.iter().filter(|&&label| label != f32::from(IGNORED)).count() as u64;
        let of_all = exchange.tell(&labelled.to_ne_bytes())?;
        let of_all = of_all.iter().flat_map(|of| bytemuck::pod_collect_to_vec::<u8, u64>(of)).sum::<u64>();
        let share = labelled as f64 / of_all.max(1) as f64;
        let tape = Tape::new(&device).across(self.exchange.clone());
        let images = tape.constant(Tensor::new(&device, [n, size, size, 3], &crops.pixels)?);
        let labels = Tensor::new(&device, [n, size, size], &crops.labels)?;
        let drops = Some(DropoutKey { seed: self.config.seed, step: now.step, first: n * exchange.rank() });
        let losses = self.net.losses(&images, &labels, Mode::Train { groups: 1 }, drops)?;
        let Losses { main, aux } = &losses;

        // 2. Backward through all of it.
        let share_of_one = Tensor::from_f64(&device, [], &[if of_all == labelled { 1.0 } else { share }])?;
        let mut grads = losses.total()?.backward_with(share_of_one)?;
        let groups = groups(&params, &self.rates, now.lr);
        let moving: Vec<Param> = groups.iter().flat_map(|group| group.params.clone()).collect();
        let packed = grads.sum(&moving, exchange)?;

        // 3. The losses and the gradient's norm, in one read-back. ORDER: before anything moves that a bad number would spoil.
        let square = squared_norm(&packed)?;
        let wanted: Vec<&Tensor> = [main.value(), aux.value()].into_iter().chain(&square).collect();
        let mut read = Tensor::read(&wanted)?.into_iter().map(|values| values[0]);
        let own = [0, 1].map(|_| read.next().unwrap_or_default());
        // Terms of all ranks, each with its share.
        let told = exchange.tell(bytemuck::cast_slice(&[own[0], own[1], share]))?;
        let told: Vec<Vec<f64>> = told.iter().map(|of| bytemuck::pod_collect_to_vec(of)).collect();
        let mean = |term: usize| match told.len() {
            1 => own[term],
            _ => told.iter().map(|of| of[2] * of[term]).sum(),
        };
        let terms = [("main", mean(0)), ("aux", mean(1))];
        let loss = terms[0].1 + f64::from(AUXILIARY) * terms[1].1;
        let gradient_norm = read.next().unwrap_or_default().sqrt() as f32;
        let moved = loss.is_finite() && gradient_norm.is_finite();
        let report = SegmentReport { loss, terms, gradient_norm, moved };
        if !moved {
            return Ok(report);
        }

        // 4. Running statistics, and the optimiser.
        Observation::apply(&tape.take_observations())?;
        self.optimizer.step_groups(&groups, &grads)?;
        Ok(report)
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/segment/learn.rs"]
mod tests;
