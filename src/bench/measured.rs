//! A piece of work, measured.

use super::kinds::Name;
use super::op_time::{OpTime, by_op, traced};
use super::timing::{Timing, figure, peak_in_words, peak_resident, reset_peak_resident};
use crate::engine::device::Device;
use crate::error::{Result, readable_bytes};
use serde::Serialize;
use std::fmt;

/// How long a piece of work takes, and what that comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Its name.
    pub test: String,
    /// Its times.
    pub timing: Timing,
    /// Billions of floating-point operations in a second, if it counts any.
    pub gflops: Option<f64>,
    /// Views that one core makes in a second, if it makes any.
    pub views_per_second_and_core: Option<f64>,
    /// The most bytes of tensors in use at once.
    pub peak_tensor_bytes: u64,
    /// The most bytes that the process held; only on Linux.
    pub peak_resident_bytes: Option<u64>,
    /// By op, the longest first, if that was asked; from runs of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<OpTime>,
}

impl Measured {
    /// Prepares the work and runs it so often to warm up, and so often for the count; then, if it is to be measured by op, as often again.
    ///
    /// # Errors
    /// As [`Name::prepare`] and the work itself.
    pub fn of(device: &Device, name: &Name, [warmup, repeats]: [usize; 2], by: bool) -> Result<Measured> {
        let mut workload = name.prepare(device)?;
        reset_peak_resident();
        let timing = Timing::of(warmup, repeats, || workload.run())?;
        let peak_resident_bytes = peak_resident();
        let ops = match by {
            true => by_op(&traced(device, repeats, || workload.run())?, repeats as f64),
            false => Vec::new(),
        };
        let views = workload.views as f64 * 1e3 / timing.median_ms;
        Ok(Measured {
            test: name.to_string(),
            gflops: (workload.work > 0).then(|| 2.0 * workload.work as f64 / 1e6 / timing.median_ms),
            views_per_second_and_core: (workload.views > 0).then_some(views),
            peak_tensor_bytes: device.usage().1,
            peak_resident_bytes,
            timing,
            ops,
        })
    }

    /// The line above a table of several.
    pub fn heading() -> String {
        format!("{:36} {:>28} {:>9}", "test", "median ms (least - most)", "GFLOP/s")
    }
}

/// A line of the table.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Timing { median_ms, least_ms, most_ms, .. } = self.timing;
        let times = format!("{median_ms:.2} ({least_ms:.2} - {most_ms:.2})");
        write!(f, "{:36} {times:>28} {:>9}  ", self.test, figure(self.gflops))?;
        if self.peak_tensor_bytes > 0 {
            write!(f, "tensors {}, ", readable_bytes(self.peak_tensor_bytes))?;
        }
        write!(f, "process {}", peak_in_words(self.peak_resident_bytes))?;
        if let Some(views) = self.views_per_second_and_core {
            write!(f, ", {views:.1} views per second and core")?;
        }
        match self.ops.is_empty() {
            true => Ok(()),
            false => write!(f, "\n{}", OpTime::table(&self.ops)),
        }
    }
}
