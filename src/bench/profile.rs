//! A training step by op: time, share, rates.

use super::op_time::{OpTime, by_op, traced};
use super::step::{StepConfig, TrainingStep};
use super::timing::{Timing, peak_in_words, peak_resident, reset_peak_resident};
use crate::engine::device::Device;
use crate::error::{Result, readable_bytes};
use serde::Serialize;
use std::fmt;

/// A training step of a ResNet, whole and by op.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// The network and its images.
    #[serde(flatten)]
    pub config: StepConfig,
    /// Whole steps, without a trace.
    pub step: Timing,
    /// Images in a second.
    pub images_per_second: f64,
    /// Billions of floating-point operations in a second; the step counts as three forward passes.
    pub gflops: f64,
    /// The most bytes of tensors in use at once.
    pub peak_tensor_bytes: u64,
    /// The most bytes that the process held; only on Linux.
    pub peak_resident_bytes: Option<u64>,
    /// By op, the longest first.
    pub ops: Vec<OpTime>,
}

impl Profile {
    /// Times whole steps, then as many under the trace.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images are too small for batch statistics; the device's.
    pub fn of(device: &Device, config: StepConfig, [warmup, repeats]: [usize; 2]) -> Result<Profile> {
        let mut training = TrainingStep::new(device, config)?;
        reset_peak_resident();
        let mut run = || {
            training.run(|_| Ok(()))?;
            device.wait()
        };
        let step = Timing::of(warmup, repeats, &mut run)?;
        let events = traced(device, step.repeats, &mut run)?;
        let steps = step.repeats as f64;
        let forward: u64 = events.ops.iter().filter(|op| !op.backward).map(|op| op.work).sum();
        Ok(Profile {
            config,
            images_per_second: config.batch as f64 * 1e3 / step.median_ms,
            gflops: 6.0 * forward as f64 / steps / 1e6 / step.median_ms,
            step,
            peak_tensor_bytes: device.usage().1,
            peak_resident_bytes: peak_resident(),
            ops: by_op(&events, steps),
        })
    }

    /// Whether the ops have times.
    pub fn is_timed(&self) -> bool {
        self.ops.iter().any(|op| op.milliseconds.is_some())
    }
}

/// A line of the step, one of its memory, and a table of its ops.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Profile { config, images_per_second, gflops, .. } = self;
        let Timing { median_ms, least_ms, most_ms, .. } = self.step;
        writeln!(
            f,
            "{config}: {median_ms:.1} ms ({least_ms:.1} - {most_ms:.1}), \
             {images_per_second:.1} images/s, {gflops:.1} GFLOP/s",
        )?;
        let [tensors, process] =
            [readable_bytes(self.peak_tensor_bytes), peak_in_words(self.peak_resident_bytes)];
        writeln!(f, "memory: tensors {tensors}, process {process}")?;
        if !self.is_timed() {
            writeln!(f, "this adapter has no timestamps: only the whole step is timed")?;
        }
        f.write_str(&OpTime::table(&self.ops))
    }
}

#[cfg(test)]
#[path = "../../tests/unit/bench/profile.rs"]
mod tests;
