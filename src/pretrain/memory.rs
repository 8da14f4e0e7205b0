//! How much memory a step takes, known before the first: the step is recorded on a [plan](Device::plan) of the device,
//! which counts the same tensors and computes nothing.

use super::batch::batch;
use super::config::Config;
use super::method::Now;
use super::setup;
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result, readable_bytes};
use crate::topic::Topic;
use serde::Serialize;

/// Bytes of tensors that a run holds at most, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Parameters and statistics of the encoder and of the key encoder.
    pub parameters: u64,
    /// What the optimiser remembers.
    pub optimizer: u64,
    /// The rings of keys.
    pub queues: u64,
    /// The views of a step.
    pub views: u64,
    /// What forward passes keep for their backward passes.
    pub activations: u64,
    /// Gradients, and what ops need on the way.
    pub workspace: u64,
    /// All of it, at the step's peak.
    pub peak: u64,
}

impl MemoryPlan {
    /// The plan of a configuration's steps on a device.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Limit`] for a step that is not possible.
    pub fn of(config: &Config, device: &Device) -> Result<MemoryPlan> {
        let plan = device.planned();
        let mut learner = setup::blank_learner(config, &plan)?;
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
            learner.step(&batch(config, ids, step, tensor)?, &now)?;
        }
        let state = learner.optimizer.state()?;
        let optimizer = state.iter().map(|(_, tensor)| 4 * tensor.elements() as u64).sum();
        let views = config.image_views().iter().map(|view| 12 * (view.size * view.size) as u64).sum::<u64>();
        let views = views * config.train.batch as u64;
        let peak = plan.usage().1;
        let rest = peak.saturating_sub(parameters + optimizer + queues + views);
        let rows = setup::rows_at_once(config) as u64;
        let kept =
            rows * setup::activation_bytes(&config.resnet(), config.views.size, config.half.activations);
        let activations = kept.min(rest);
        Ok(MemoryPlan {
            parameters,
            optimizer,
            queues,
            views,
            activations,
            workspace: rest - activations,
            peak,
        })
    }

    /// Refuses a configuration whose steps need more than `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Input`] with the largest batch that would fit.
    pub fn check(&self, config: &Config, device: &Device, limit: u64) -> Result<()> {
        if self.peak <= limit {
            return Ok(());
        }
        let groups = config.train.groups.max(1);
        let fits = |of_a_group: usize| {
            let mut smaller = config.clone();
            smaller.train.batch = of_a_group * groups;
            smaller.check().is_ok() && MemoryPlan::of(&smaller, device).is_ok_and(|plan| plan.peak <= limit)
        };
        // Peaks grow with the batch: the largest that fits lies between one that does and one that does not.
        let (mut fitting, mut too_large) = (0, config.train.batch.div_ceil(groups));
        while too_large - fitting > 1 {
            let middle = fitting.midpoint(too_large);
            if fits(middle) { fitting = middle } else { too_large = middle }
        }
        let advice = match fitting * groups {
            0 | 1 => "no batch fits: choose a smaller --image-size or --backbone, or --half".to_string(),
            batch => {
                format!("--batch {batch} would fit; so may train.chunk, --half or a smaller --image-size")
            }
        };
        let what = format!(
            "a step needs {} of tensors, {} are allowed",
            readable_bytes(self.peak),
            readable_bytes(limit)
        );
        Err(Error::input(what, device.name(), advice).see(Topic::Memory))
    }
}

impl std::fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let parts = [
            ("parameters", self.parameters),
            ("optimiser", self.optimizer),
            ("queues", self.queues),
            ("views", self.views),
            ("activations", self.activations),
            ("workspace", self.workspace),
        ];
        write!(f, "{}", readable_bytes(self.peak))?;
        let parts = parts.iter().filter(|(_, bytes)| *bytes > 0);
        let parts: Vec<String> =
            parts.map(|(name, bytes)| format!("{name} {}", readable_bytes(*bytes))).collect();
        write!(f, " ({})", parts.join(", "))
    }
}

/// Bytes that tensors on a device may take: `train.memory_limit_mib`, or what is free. `None` where that can't be known:
/// no API tells how much memory a graphics card has.
pub(super) fn limit(config: &Config, device: &Device) -> Option<u64> {
    if config.train.memory_limit_mib > 0 {
        return Some((config.train.memory_limit_mib as u64) << 20);
    }
    let shared = match device {
        Device::Cpu(_) => true,
        Device::Gpu(gpu) => gpu.shares_memory(),
    };
    free().filter(|_| shared)
}

/// Bytes of the machine's memory that are free; `None` where that can't be known.
pub(super) fn free() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = match system.cgroup_limits() {
        Some(group) => system.available_memory().min(group.free_memory),
        None => system.available_memory(),
    };
    (free > 0).then_some(free)
}
