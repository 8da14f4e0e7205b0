//! A piece of work, measured.

use super::kinds::Name;
use super::timing::{Timing, figure, peak_in_words, peak_resident, reset_peak_resident};
use crate::engine::device::Device;
use crate::error::Result;
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
    /// The most bytes that the process held; only on Linux.
    pub peak_resident_bytes: Option<u64>,
}

impl Measured {
    /// Prepares the work and runs it so often to warm up, and so often for the count.
    ///
    /// # Errors
    /// As [`Name::prepare`] and the work itself.
    pub fn of(device: &Device, name: &Name, [warmup, repeats]: [usize; 2]) -> Result<Measured> {
        let mut workload = name.prepare(device)?;
        reset_peak_resident();
        let timing = Timing::of(warmup, repeats, || workload.run())?;
        let views = workload.views as f64 * 1e3 / timing.median_ms;
        Ok(Measured {
            test: name.to_string(),
            gflops: (workload.work > 0).then(|| 2.0 * workload.work as f64 / 1e6 / timing.median_ms),
            views_per_second_and_core: (workload.views > 0).then_some(views),
            peak_resident_bytes: peak_resident(),
            timing,
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
        let memory = peak_in_words(self.peak_resident_bytes);
        write!(f, "{:36} {times:>28} {:>9}  {memory}", self.test, figure(self.gflops))?;
        match self.views_per_second_and_core {
            Some(views) => write!(f, ", {views:.1} views per second and core"),
            None => Ok(()),
        }
    }
}
