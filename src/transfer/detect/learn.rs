//! One step of a detector's training: the numbered lines, and the only place where its state changes.

use super::boxes::Rect;
use super::config::{DetectConfig, NormKind};
use super::model::{Detector, Losses, RegionTargets};
use super::proposals::{Level, proposals};
use super::start::{blank, starting_detector};
use super::targets::{DrawnAnchors, Sampling, anchor_targets, region_targets};
use crate::engine::autograd::{Observation, Tape, Var};
use crate::engine::device::Device;
use crate::engine::exchange::Alone;
use crate::engine::nn::{Mode, Module, Param};
use crate::engine::optim::{Optimizer, Rate, groups, squared_norm};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::views::Scene;
use crate::run::Now;
use rayon::prelude::*;

/// A detector that is trained.
#[derive(Debug)]
pub struct DetectLearner {
    /// The detector.
    pub net: Detector,
    /// What moves it.
    pub optimizer: Optimizer,
    config: DetectConfig,
    rates: Vec<Rate>,
}

/// A batch's way forward through a detector in training: what its losses are made of.
#[derive(Clone, Debug)]
pub struct Forward<'t> {
    /// `[N, H, W, 3]`: the scenes, padded.
    pub images: Tensor,
    /// The sampled anchors.
    pub anchors: DrawnAnchors,
    /// The sampled regions.
    pub regions: RegionTargets,
    /// The losses.
    pub losses: Losses<'t>,
}

/// What a step has to say.
#[derive(Clone, Debug)]
pub struct DetectReport {
    /// The whole loss.
    pub loss: f64,
    /// Its terms: anchors' objectness and boxes, regions' classes, boxes and masks (0 without an object).
    pub terms: [(&'static str, f64); 5],
    /// 2-norm of the gradient.
    pub gradient_norm: f32,
    /// Anchors and regions that stood for objects.
    pub positives: [usize; 2],
    /// Rows and columns of the batch.
    pub size: [usize; 2],
    /// False if the loss or the gradient's norm is not finite: then nothing has changed.
    pub moved: bool,
}

/// A batch on a device: scenes, each in the upper left corner of zeros (the mean colour).
///
/// # Errors
/// The device's.
pub(super) fn padded(device: &Device, scenes: &[Scene], stride: usize) -> Result<Tensor> {
    let most = |axis: usize| scenes.iter().map(|scene| scene.size[axis]).max().unwrap_or(0);
    let [height, width] = [0, 1].map(|axis| most(axis).next_multiple_of(stride).max(stride));
    let mut images = vec![0.0; scenes.len() * height * width * 3];
    images.par_chunks_mut(height * width * 3).zip(scenes).for_each(|(image, scene)| {
        let row = 3 * scene.size[1];
        for (to, from) in image.chunks_mut(3 * width).zip(scene.pixels.chunks(row)) {
            to[..row].copy_from_slice(from);
        }
    });
    Tensor::new(device, [scenes.len(), height, width, 3], &images)
}

/// What a network says of the anchors of a batch, on the host: of each map the anchors, of all maps the values of each image.
pub(super) struct Said {
    /// Of each map.
    pub anchors: Vec<Vec<Rect>>,
    logits: Vec<f32>,
    deltas: Vec<f32>,
}

impl Said {
    /// Reads it back.
    ///
    /// # Errors
    /// The device's.
    pub fn read(net: &Detector, maps: &[Var], [logits, deltas]: &[Var; 2]) -> Result<Said> {
        let grid = |map: &Var| [map.shape()[1], map.shape()[2]];
        let anchors = net.config.cells.iter().zip(maps).map(|(cell, map)| cell.over(grid(map))).collect();
        Ok(Said { anchors, logits: logits.value().to_vec()?, deltas: deltas.value().to_vec()? })
    }

    /// The proposals of each image of a batch of scenes, best first.
    pub fn proposals(&self, config: &DetectConfig, scenes: &[Scene], training: bool) -> Vec<Vec<Rect>> {
        let chosen = config.chosen(training);
        let all: usize = self.anchors.iter().map(Vec::len).sum();
        let of = |(image, scene): (usize, &Scene)| {
            let mut first = image * all;
            let mut levels = Vec::new();
            for anchors in &self.anchors {
                let end = first + anchors.len();
                let deltas = self.deltas[4 * first..4 * end].as_chunks::<4>().0;
                levels.push(Level { anchors, logits: &self.logits[first..end], deltas });
                first = end;
            }
            proposals(&levels, scene.size, &chosen).into_iter().map(|(rect, _)| rect).collect()
        };
        scenes.par_iter().enumerate().map(of).collect()
    }
}

/// How batch norm treats a batch in training.
pub(super) fn training_mode(config: &DetectConfig) -> Mode {
    match config.model.norm {
        NormKind::Batch => Mode::Train { groups: 1 },
        NormKind::Frozen => Mode::Eval,
    }
}

impl DetectLearner {
    /// A detector as its run starts, or `empty` for a checkpoint to be restored into.
    ///
    /// # Errors
    /// As [`starting_detector`].
    pub fn new(config: &DetectConfig, classes: usize, device: &Device, empty: bool) -> Result<DetectLearner> {
        let net = if empty { blank } else { starting_detector }(config, classes, device)?;
        let rates = rates(&net, config);
        Ok(DetectLearner { net, optimizer: config.optimizer(), config: config.clone(), rates })
    }

    /// Forward in training: the losses of a batch of scenes in the step of a number, by the network's own proposals if none are given.
    ///
    /// # Errors
    /// The device's.
    pub fn forward<'t>(
        &self,
        tape: &'t Tape,
        scenes: &[Scene],
        step: u64,
        given: Option<Vec<Vec<Rect>>>,
    ) -> Result<Forward<'t>> {
        let (net, config, device) = (&self.net, &self.config, tape.device());
        let (mode, sampling) = (training_mode(config), Sampling { seed: config.seed, step });

        // 1. Maps, and what is said of their anchors.
        let images = padded(device, scenes, config.stride())?;
        let maps = net.maps(&tape.constant(images.clone()), mode)?;
        let outputs = net.anchors(&maps)?;

        // 2. On the host: proposals, of which no gradient is taken, and what anchors and a sample of proposals should have said.
        let said = Said::read(net, &maps, &outputs)?;
        let proposed = given.unwrap_or_else(|| said.proposals(config, scenes, true));
        let anchors = anchor_targets(device, config, &said.anchors.concat(), scenes, sampling)?;
        let regions = region_targets(device, config, net.config.classes, &proposed, scenes, sampling)?;

        // 3. The losses.
        let losses = net.losses(&maps, &outputs, &anchors.targets, &regions, mode)?;
        Ok(Forward { images, anchors, regions, losses })
    }

    /// One step on a batch of scenes.
    ///
    /// # Errors
    /// The device's.
    pub fn step(&mut self, scenes: &[Scene], now: &Now) -> Result<DetectReport> {
        self.step_with(scenes, now, None)
    }

    /// The same with other proposals than the network's own: for comparisons, and for a plan of what the largest step takes.
    ///
    /// # Errors
    /// The device's.
    pub fn step_with(
        &mut self,
        scenes: &[Scene],
        now: &Now,
        given: Option<Vec<Vec<Rect>>>,
    ) -> Result<DetectReport> {
        let params = self.net.trained();
        let Some(device) = params.first().map(|param| param.get().device().clone()) else {
            return Err(crate::Error::shape("detector", "it has no parameters".to_string()));
        };

        // 1. to 3. Forward, and backward through all of it.
        let tape = Tape::new(&device);
        let Forward { images, anchors, regions, losses } = self.forward(&tape, scenes, now.step, given)?;
        let mut grads = losses.total()?.backward()?;
        let groups = groups(&params, &self.rates, now.lr);
        let moving: Vec<Param> = groups.iter().flat_map(|group| group.params.clone()).collect();
        // A mask head has none where no region has a mask; detectron2 gives it zeros.
        grads.fill(&moving)?;
        let packed = grads.sum(&moving, &Alone)?;

        // 4. The losses and the gradient's norm, in one read-back. ORDER: before anything moves that a bad number would spoil.
        let terms = [
            ("rpn_class", Some(&losses.rpn_class)),
            ("rpn_box", Some(&losses.rpn_box)),
            ("class", Some(&losses.class)),
            ("box", Some(&losses.rect)),
            ("mask", losses.mask.as_ref()),
        ];
        let square = squared_norm(&packed)?;
        let wanted: Vec<&Tensor> =
            terms.iter().filter_map(|(_, term)| term.map(Var::value)).chain(&square).collect();
        let mut read = Tensor::read(&wanted)?.into_iter().map(|values| values[0]);
        let terms = terms.map(|(name, term)| (name, term.and_then(|_| read.next()).unwrap_or_default()));
        let loss = terms.iter().map(|(_, value)| value).sum::<f64>();
        let gradient_norm = read.next().unwrap_or_default().sqrt() as f32;
        let positives =
            [anchors.positive, regions.classes.iter().filter(|&&c| c < self.net.config.classes).count()];
        let size = [images.shape()[1], images.shape()[2]];
        let moved = loss.is_finite() && gradient_norm.is_finite();
        let report = DetectReport { loss, terms, gradient_norm, positives, size, moved };
        if !moved {
            return Ok(report);
        }

        // 5. Running statistics, and the optimiser.
        Observation::apply(&tape.take_observations())?;
        self.optimizer.step_groups(&groups, &grads)?;
        Ok(report)
    }
}

/// Batch norms do not decay; frozen, those of the backbone do not move.
fn rates(net: &Detector, config: &DetectConfig) -> Vec<Rate> {
    let mut rates = Vec::new();
    net.visit(&mut |param| {
        if let Some(norm) = param.name().strip_suffix("running_mean") {
            rates.push(match config.model.norm {
                NormKind::Batch => Rate { decay: 0.0, ..Rate::of(norm) },
                NormKind::Frozen => Rate::frozen(norm),
            });
        }
    });
    rates
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/detect/learn.rs"]
mod tests;
