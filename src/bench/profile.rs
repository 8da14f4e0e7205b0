//! A training step by op: time, share, rates.

use super::step::{StepConfig, TrainingStep};
use super::timing::{Timing, figure, peak_in_words, peak_resident, reset_peak_resident};
use crate::engine::device::{Device, Events, OpRun};
use crate::error::{Result, readable_bytes};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// What all calls of one op, forward or backward, take in one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OpTime {
    /// `conv2d`, `conv2d backward`.
    pub op: String,
    /// Calls in one step.
    pub calls: f64,
    /// On the CPU the time in the op; on a GPU that of its kernels, absent where the adapter has no timestamps.
    pub milliseconds: Option<f64>,
    /// Of the time of all ops, 0 to 1.
    pub share: Option<f64>,
    /// Bytes that the op must read and write at least, see [`crate::engine::device::OpRun::bytes`].
    pub least_bytes: f64,
    /// Floating-point operations.
    pub flops: f64,
}

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
        device.start_trace();
        let traced = (0..step.repeats).try_for_each(|_| run()).and_then(|()| device.take_trace());
        device.stop_trace();
        let events = traced?;
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
        let heads = ["calls", "ms", "share", "MB least", "GB/s", "GFLOP/s"];
        let [calls, ms, share, bytes, bandwidth, speed] = heads;
        write!(f, "{:28} {calls:>6} {ms:>9} {share:>6} {bytes:>9} {bandwidth:>7} {speed:>8}", "op")?;
        for OpTime { op, calls, milliseconds, share, least_bytes, flops } in &self.ops {
            let rate = |count: f64| milliseconds.filter(|_| count > 0.0).map(|ms| count / 1e6 / ms);
            let share = share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
            let time = milliseconds.map_or("-".into(), |ms| format!("{ms:.2}"));
            let [bandwidth, speed] = [*least_bytes, *flops].map(|count| figure(rate(count)));
            let bytes = least_bytes / 1e6;
            write!(f, "\n{op:28} {calls:>6.0} {time:>9} {share:>6} {bytes:>9.1} {bandwidth:>7} {speed:>8}")?;
        }
        Ok(())
    }
}

/// The ops of one step, from the events of several.
fn by_op(events: &Events, steps: f64) -> Vec<OpTime> {
    let mut times: Vec<Option<f64>> = events.ops.iter().map(|op| op.milliseconds).collect();
    for kernel in &events.kernels {
        if let (Some(op), Some(milliseconds)) = (kernel.op, kernel.milliseconds) {
            *times[op].get_or_insert(0.0) += milliseconds;
        }
    }
    let total: f64 = times.iter().flatten().sum();
    let mut rows: BTreeMap<String, OpTime> = BTreeMap::new();
    for (op, milliseconds) in events.ops.iter().zip(times) {
        let row = rows.entry(label(op)).or_default();
        row.calls += 1.0 / steps;
        row.least_bytes += op.bytes as f64 / steps;
        row.flops += 2.0 * op.work as f64 / steps;
        if let Some(milliseconds) = milliseconds {
            *row.milliseconds.get_or_insert(0.0) += milliseconds / steps;
            *row.share.get_or_insert(0.0) += milliseconds / total;
        }
    }
    let mut rows: Vec<OpTime> = rows.into_iter().map(|(op, row)| OpTime { op, ..row }).collect();
    rows.sort_by(|a, b| b.milliseconds.unwrap_or(0.0).total_cmp(&a.milliseconds.unwrap_or(0.0)));
    rows
}

/// `conv2d`, `conv2d backward`.
pub(super) fn label(op: &OpRun) -> String {
    if op.backward { format!("{} backward", op.op) } else { op.op.to_string() }
}

#[cfg(test)]
#[path = "../../tests/unit/bench/profile.rs"]
mod tests;
