//! How much memory a segmenter's steps take, known before the first: a step is recorded on a [plan](Device::plan) of the device.

use super::config::SegmentConfig;
use super::learn::SegmentLearner;
use crate::engine::device::Device;
use crate::engine::exchange::Alike;
use crate::error::Result;
use crate::photos::Crops;
use crate::run::Now;
use crate::run::memory::{self, MemoryPlan};
use std::rc::Rc;

/// The plan of a configuration's steps, alone or on one of several ranks.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) or [`Error::Limit`](crate::Error::Limit) for a step that is not possible.
pub fn plan(config: &SegmentConfig, classes: usize, device: &Device, ranks: usize) -> Result<MemoryPlan> {
    let plan = device.planned();
    let mut learner = SegmentLearner::new(config, classes, &plan, true, Rc::new(Alike(ranks)))?;
    let parameters = plan.usage().0;
    let batch = config.train.batch / ranks;
    let pixels = batch * config.crops.size.pow(2);
    let crops =
        Crops { pixels: vec![0.0; 3 * pixels], labels: vec![0.0; pixels], left_out: vec![None; batch] };
    // The second step has momentum buffers from its start.
    for step in 0..2 {
        learner.step(&crops, &Now { step, lr: 0.1, base_lr: 0.1, ..Now::default() })?;
    }
    let state = learner.optimizer.state()?;
    let optimizer = state.iter().map(|(_, tensor)| 4 * tensor.elements() as u64).sum();
    let views = 4 * (crops.pixels.len() + crops.labels.len()) as u64;
    let peak = plan.usage().1;
    let rest = peak.saturating_sub(parameters + optimizer + views);
    Ok(MemoryPlan { parameters, optimizer, queues: 0, views, activations: rest, workspace: 0, peak })
}

/// Refuses a configuration whose steps need more than the device has, where that can be known, or than the configuration allows.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) with the largest batch that would fit.
pub(super) fn check(
    memory: &MemoryPlan,
    config: &SegmentConfig,
    classes: usize,
    device: &Device,
    ranks: usize,
) -> Result<()> {
    let Some(limit) = memory::limit(config.train.memory_limit_mib, device) else { return Ok(()) };
    let smaller = |batch: usize| {
        let mut smaller = config.clone();
        smaller.train.batch = batch;
        (batch > 0).then(|| plan(&smaller, classes, device, ranks).ok()).flatten()
    };
    let advice = ["a smaller crops.size", "no batch fits: choose a smaller backbone or a smaller crops.size"];
    memory.check(device, limit, [config.train.batch, ranks], smaller, advice)
}
