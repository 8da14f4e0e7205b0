//! How much memory a detector's steps take at most, known before the first: the largest step is recorded on a
//! [plan](Device::plan) of the device.

use super::boxes::Rect;
use super::config::DetectConfig;
use super::learn::DetectLearner;
use crate::engine::device::Device;
use crate::error::Result;
use crate::photos::Bitmap;
use crate::photos::views::{Scene, SceneObject};
use crate::run::Now;
use crate::run::memory::{self, MemoryPlan};

/// The plan of a configuration's largest step: scenes of the largest size, as many regions as are drawn, as many of them with an object
/// as may be.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) or [`Error::Limit`](crate::Error::Limit) for a step that is not possible.
pub fn plan(config: &DetectConfig, classes: usize, device: &Device) -> Result<MemoryPlan> {
    let plan = device.planned();
    let mut learner = DetectLearner::new(config, classes, &plan, true)?;
    let parameters = plan.usage().0;
    let scenes: Vec<Scene> = (0..config.train.batch).map(|_| largest_scene(config)).collect();
    // Half of the proposals lie on the object, half show nothing.
    let [height, width] = largest(config).map(|side| side as f32);
    let proposal = |i: usize| match i % 2 {
        0 => OBJECT,
        _ => [width - OBJECT[2], height - OBJECT[3], width, height],
    };
    let proposals: Vec<_> =
        (0..config.proposals.after[0].max(2 * config.regions.sampled)).map(proposal).collect();
    // The second step has momentum buffers from its start.
    for step in 0..2 {
        let now = Now { step, lr: 0.1, base_lr: 0.1, ..Now::default() };
        learner.step_with(&scenes, &now, Some(vec![proposals.clone(); scenes.len()]))?;
    }
    let state = learner.optimizer.state()?;
    let optimizer = state.iter().map(|(_, tensor)| 4 * tensor.elements() as u64).sum();
    let views = scenes.iter().map(|scene| 4 * scene.pixels.len() as u64).sum::<u64>();
    let peak = plan.usage().1;
    let rest = peak.saturating_sub(parameters + optimizer + views);
    Ok(MemoryPlan { parameters, optimizer, queues: 0, views, activations: rest, workspace: 0, peak })
}

/// Height and width of the largest scene: photos may be high or wide, and a batch is as large as the largest of both.
fn largest(config: &DetectConfig) -> [usize; 2] {
    let longest = config.scenes.longest;
    let short = config.scenes.shortest.iter().copied().max().unwrap_or(1).min(longest);
    // A high photo and a wide one in a batch: both are padded to the longest side.
    [if config.train.batch > 1 { longest } else { short }, longest]
}

/// Where the only object is: how large it is changes nothing on the device.
const OBJECT: Rect = [0.0, 0.0, 8.0, 8.0];

fn largest_scene(config: &DetectConfig) -> Scene {
    let size @ [height, width] = largest(config);
    let mask = config.model.kind.mask_side().map(|_| Bitmap { size, pixels: vec![1; height * width] });
    let object = SceneObject { class: 0, rect: OBJECT, crowd: false, difficult: false, area: 1.0, mask };
    Scene {
        pixels: vec![0.0; 3 * height * width],
        size,
        own: size,
        objects: vec![object],
        left_out: Vec::new(),
    }
}

/// Refuses a configuration whose steps need more than the device has, where that can be known, or than the configuration allows.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) with the largest batch that would fit.
pub(super) fn check(
    memory: &MemoryPlan,
    config: &DetectConfig,
    classes: usize,
    device: &Device,
) -> Result<()> {
    let Some(limit) = memory::limit(config.train.memory_limit_mib, device) else { return Ok(()) };
    let smaller = |batch: usize| {
        let mut smaller = config.clone();
        smaller.train.batch = batch;
        (batch > 0).then(|| plan(&smaller, classes, device).ok()).flatten()
    };
    let advice = [
        "smaller scenes.shortest and scenes.longest",
        "no batch fits: choose a smaller backbone or smaller scenes.shortest",
    ];
    memory.check(device, limit, [config.train.batch, 1], smaller, advice)
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/detect/memory.rs"]
mod tests;
