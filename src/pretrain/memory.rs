//! How much memory a step takes, known before the first: the step is recorded on a [plan](Device::plan) of the device,
//! which counts the same tensors and computes nothing.

use super::batch::batch;
use super::config::Config;
use super::method::Now;
use super::setup;
use crate::engine::device::Device;
use crate::engine::exchange::Alike;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::run::memory::{self, MemoryPlan};
use std::rc::Rc;

/// The plan of a configuration's steps on a device, which has them alone or is that of one of several ranks.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) or [`Error::Limit`](crate::Error::Limit) for a step that is not possible;
/// [`Error::Input`](crate::Error::Input) if the batch can't be dealt to so many ranks.
pub fn plan(config: &Config, device: &Device, ranks: usize) -> Result<MemoryPlan> {
    let plan = device.planned();
    let mut learner = setup::blank_learner(config, &plan, Rc::new(Alike(ranks)))?;
    let config = &config.of_rank(ranks)?.0;
    let used = || plan.usage().0;
    let total = used();
    let rings =
        learner.method.queue.as_ref().map(|queue| queue.keys.iter().map(|(_, ring)| ring.bytes()).sum());
    let queues = rings.unwrap_or(0);
    let parameters = total - queues;
    // The second step has momentum buffers from its start.
    for step in 0..2 {
        let ids = (0..config.train.batch as u64).collect();
        let tensor = |shape: [usize; 4], _| Tensor::uninit(&plan, shape.into());
        let now = Now { step, lr: 0.1, base_lr: 0.1, ..Now::default() };
        learner.step(&batch(config, ids, ranks, step, tensor)?, &now)?;
    }
    let state = learner.optimizer.state()?;
    let optimizer = state.iter().map(|(_, tensor)| 4 * tensor.elements() as u64).sum();
    let views = config.image_views().iter().map(|view| 12 * (view.size * view.size) as u64).sum::<u64>();
    let views = views * config.train.batch as u64;
    let peak = plan.usage().1;
    let rest = peak.saturating_sub(parameters + optimizer + queues + views);
    let rows = setup::rows_at_once(config) as u64;
    let kept = rows * setup::activation_bytes(&config.resnet(), config.views.size, config.half.activations);
    let activations = kept.min(rest);
    Ok(MemoryPlan { parameters, optimizer, queues, views, activations, workspace: rest - activations, peak })
}

/// Refuses a configuration whose steps need more than the device has, where that can be known, or than the configuration allows.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) with the largest batch that would fit.
pub(super) fn check(memory: &MemoryPlan, config: &Config, device: &Device, ranks: usize) -> Result<()> {
    let Some(limit) = memory::limit(config.train.memory_limit_mib, device) else { return Ok(()) };
    let smaller = |batch: usize| {
        let mut smaller = config.clone();
        smaller.train.batch = batch;
        smaller.check().ok().filter(|()| batch > 1).and_then(|()| plan(&smaller, device, ranks).ok())
    };
    let advice = [
        "train.chunk, --half or a smaller --image-size",
        "no batch fits: choose a smaller --image-size or --backbone, or --half",
    ];
    memory.check(device, limit, [config.train.batch, config.train.groups.max(ranks)], smaller, advice)
}
