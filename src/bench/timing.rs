//! How long something takes, and how much memory the process held.

use crate::error::{Result, readable_bytes};
use serde::Serialize;
use std::time::Instant;

/// Times of repeats after a warm-up, milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// Runs before the first that counts.
    pub warmup: usize,
    /// Runs that count, at least 1.
    pub repeats: usize,
    /// The middle one, or the mean of the two middle ones.
    pub median_ms: f64,
    /// The fastest.
    pub least_ms: f64,
    /// The slowest.
    pub most_ms: f64,
}

impl Timing {
    /// Runs `f` as often as asked for; at least once after the warm-up.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn of(warmup: usize, repeats: usize, mut f: impl FnMut() -> Result<()>) -> Result<Timing> {
        (0..warmup).try_for_each(|_| f())?;
        let repeats = repeats.max(1);
        let mut times = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            let began = Instant::now();
            f()?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let median_ms = (times[(repeats - 1) / 2] + times[repeats / 2]) / 2.0;
        Ok(Timing { warmup, repeats, median_ms, least_ms: times[0], most_ms: times[repeats - 1] })
    }
}

/// The most bytes of memory that this process has held (VmHWM); `None` where the system is not Linux.
pub fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Starts [`peak_resident`] anew from what the process holds now, where the system lets it.
pub fn reset_peak_resident() {
    // Where this is refused the peak stays that of the whole process, which is what it then is called.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// A [`peak_resident`] in words.
pub(super) fn peak_in_words(bytes: Option<u64>) -> String {
    let most = |bytes| format!("{} at most", readable_bytes(bytes));
    bytes.map_or("peak memory is only known on Linux".into(), most)
}

/// One decimal, or a dash.
pub(super) fn figure(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_between_the_least_and_the_most_and_warm_up_runs_do_not_count() {
        let mut runs = 0u64;
        let timing = Timing::of(2, 4, || {
            runs += 1;
            let ms = if runs <= 2 { 60 } else { runs };
            std::thread::sleep(std::time::Duration::from_millis(ms));
            Ok(())
        })
        .expect("timing");
        assert_eq!((runs, timing.warmup, timing.repeats), (6, 2, 4));
        assert!(timing.least_ms >= 3.0 && timing.least_ms <= timing.median_ms, "{timing:?}");
        assert!(timing.median_ms <= timing.most_ms && timing.least_ms < 50.0, "{timing:?}");
    }

    #[test]
    fn the_process_holds_some_memory() {
        assert_eq!(peak_resident().is_some(), cfg!(target_os = "linux"));
        assert!(peak_resident().is_none_or(|bytes| bytes > 1 << 20));
    }
}
