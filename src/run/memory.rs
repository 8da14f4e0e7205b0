//! How much memory a run's steps take, known before the first.

use crate::engine::device::Device;
use crate::error::{Error, Result, readable_bytes};
use crate::topic::Topic;
use serde::Serialize;

/// Bytes of tensors that a run holds at most, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Parameters and statistics of all networks.
    pub parameters: u64,
    /// What the optimiser remembers.
    pub optimizer: u64,
    /// Rings of keys.
    pub queues: u64,
    /// The views or photos of a step.
    pub views: u64,
    /// What forward passes keep for their backward passes.
    pub activations: u64,
    /// Gradients, and what ops need on the way.
    pub workspace: u64,
    /// All of it, at the step's peak.
    pub peak: u64,
}

impl MemoryPlan {
    /// Refuses steps that need more than `limit` bytes. `smaller` plans them at a smaller batch, if that is one; a batch divides by
    /// `groups`.
    ///
    /// # Errors
    /// [`Error::Input`] with the largest batch that would fit, or else `advice`.
    pub fn check(
        &self,
        device: &Device,
        limit: u64,
        [batch, groups]: [usize; 2],
        smaller: impl Fn(usize) -> Option<MemoryPlan>,
        [also, advice]: [&str; 2],
    ) -> Result<()> {
        if self.peak <= limit {
            return Ok(());
        }
        let groups = groups.max(1);
        let fits = |of_a_group: usize| smaller(of_a_group * groups).is_some_and(|plan| plan.peak <= limit);
        // Peaks grow with the batch: the largest that fits lies between one that does and one that does not.
        let (mut fitting, mut too_large) = (0, batch.div_ceil(groups));
        while too_large - fitting > 1 {
            let middle = fitting.midpoint(too_large);
            if fits(middle) { fitting = middle } else { too_large = middle }
        }
        let advice = match fitting * groups {
            0 => advice.to_string(),
            batch => format!("--batch {batch} would fit; so may {also}"),
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

/// Bytes that tensors on a device may take: a limit in MiB that is not 0, or what is free. `None` where that can't be known:
/// no API tells how much memory a graphics card has.
pub(crate) fn limit(mib: usize, device: &Device) -> Option<u64> {
    if mib > 0 {
        return Some((mib as u64) << 20);
    }
    let shared = match device {
        Device::Cpu(_) => true,
        Device::Gpu(gpu) => gpu.shares_memory(),
    };
    free().filter(|_| shared)
}

/// Bytes of the machine's memory that are free; `None` where that can't be known.
pub(crate) fn free() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = match system.cgroup_limits() {
        Some(group) => system.available_memory().min(group.free_memory),
        None => system.available_memory(),
    };
    (free > 0).then_some(free)
}
