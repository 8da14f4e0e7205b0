//! Where the time of something that runs many ops goes.

use super::timing::figure;
use crate::engine::device::{Device, Events, OpRun};
use crate::error::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

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

impl OpTime {
    /// A table of several.
    pub(super) fn table(ops: &[OpTime]) -> String {
        let [calls, ms, share, bytes, bandwidth, speed] =
            ["calls", "ms", "share", "MB least", "GB/s", "GFLOP/s"];
        let mut table =
            format!("{:28} {calls:>6} {ms:>9} {share:>6} {bytes:>9} {bandwidth:>7} {speed:>8}", "op");
        for OpTime { op, calls, milliseconds, share, least_bytes, flops } in ops {
            let rate = |count: f64| milliseconds.filter(|_| count > 0.0).map(|ms| count / 1e6 / ms);
            let share = share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
            let time = milliseconds.map_or("-".into(), |ms| format!("{ms:.2}"));
            let [bandwidth, speed] = [*least_bytes, *flops].map(|count| figure(rate(count)));
            let bytes = least_bytes / 1e6;
            let _ = write!(
                table,
                "\n{op:28} {calls:>6.0} {time:>9} {share:>6} {bytes:>9.1} {bandwidth:>7} {speed:>8}"
            );
        }
        table
    }
}

/// What a device does while something is run so often.
///
/// # Errors
/// Those of what is run; the device's.
pub(super) fn traced(device: &Device, repeats: usize, mut run: impl FnMut() -> Result<()>) -> Result<Events> {
    device.start_trace();
    let events = (0..repeats).try_for_each(|_| run()).and_then(|()| device.take_trace());
    device.stop_trace();
    events
}

/// The ops of one step, from the events of several.
pub(super) fn by_op(events: &Events, steps: f64) -> Vec<OpTime> {
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
