//! What a training step asks of a GPU, without running it.
//!
//! The step is recorded on a [plan](Device::plan): the same ops choose the same kernels, and each dispatch is counted
//! where a GPU would record it. It is the second step, whose momentum buffers exist.
//!
//! **Least bytes.** Each op reads every input once and writes every result once, in f32. A convolution gathers the
//! statistics that batch norm needs while it writes its output, and may normalise what it reads: nothing is read or written
//! for that. Backward, batch norm must read what it reads twice, since it needs two sums over the batch, and so must a
//! convolution with the norm before it, `norm_conv2d`. The gradient between those two is no input and no result, so that it
//! is not counted, though it has to be written once and read twice.
//!
//! **Moved bytes.** Each dispatch reads every binding once and writes every binding once, whatever it reads again from
//! caches: partial sums and repeated reads by several kernels count, the traffic between tiles of one kernel does not.
//! Params structs are left out.
//!
//! **FLOPs.** 2 for each multiply-add of a convolution or matrix product, by its definition.

use super::op_time::label;
use super::step::{self, StepConfig, TrainingStep};
use crate::engine::device::{Device, Events};
use crate::engine::optim::ema_update;
use crate::error::{Result, readable_bytes};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// All dispatches of one kernel for one kind of op.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KernelRow {
    /// `conv2d/tiled`: shader and entry point.
    pub kernel: String,
    /// How often it is dispatched.
    pub dispatches: usize,
    /// Bytes that it reads and writes.
    pub moved_bytes: u64,
}

/// All calls of one op, forward or backward.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OpRow {
    /// `conv2d`, `conv2d backward`.
    pub op: String,
    /// Calls.
    pub calls: usize,
    /// Dispatches of its kernels.
    pub dispatches: usize,
    /// Bytes that it must read and write.
    pub least_bytes: u64,
    /// Bytes that its kernels read and write.
    pub moved_bytes: u64,
    /// Floating-point operations.
    pub flops: u64,
    /// Its kernels.
    pub kernels: Vec<KernelRow>,
}

/// One phase of a step, or the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PhaseRow {
    /// `forward`, `backward`, `statistics`, `sgd`, `ema`, `total`.
    pub phase: String,
    /// Dispatches.
    pub dispatches: usize,
    /// Bytes that its ops must read and write.
    pub least_bytes: u64,
    /// Bytes that its kernels read and write.
    pub moved_bytes: u64,
    /// Moved bytes over least bytes.
    pub ratio: f64,
    /// Floating-point operations.
    pub flops: u64,
    /// Its ops, those that move most first; none in the total.
    pub ops: Vec<OpRow>,
}

/// What a training step asks of a GPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The network and its images.
    #[serde(flatten)]
    pub config: StepConfig,
    /// The most bytes of tensors in use at once: parameters, momentum buffers, activations, gradients, key encoder.
    pub peak_tensor_bytes: u64,
    /// In the order of the step; the last is the total.
    pub phases: Vec<PhaseRow>,
}

/// What is counted, and a table of phases, their ops and their kernels.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{}, one training step on a discrete GPU, not run", self.config)?;
        writeln!(f, "memory: tensors {}", readable_bytes(self.peak_tensor_bytes))?;
        f.write_str(
            "least: every op reads each input once (backward of batch norm twice) and writes each result once;\n\
             moved: every dispatch reads and writes each of its bindings once\n",
        )?;
        let row = |cells: [&str; 7]| {
            let [name, calls, dispatches, least, moved, ratio, flops] = cells;
            let row =
                format!("{name:34} {calls:>6} {dispatches:>10} {least:>9} {moved:>9} {ratio:>6} {flops:>8}");
            row.trim_end().to_string()
        };
        let heads = ["phase, op, kernel", "calls", "dispatches", "GB least", "GB moved", "ratio", "GFLOP"];
        f.write_str(&row(heads))?;
        let giga = |count: u64| format!("{:.3}", count as f64 / 1e9);
        let mut line =
            |name: &str, calls: &str, dispatches: usize, least: Option<u64>, moved: u64, flops: u64| {
                let ratio = least.map(|least| format!("{:.2}", moved as f64 / least.max(1) as f64));
                let [least, flops] =
                    [least, Some(flops).filter(|&n| n > 0)].map(|n| n.map(giga).unwrap_or_default());
                let (dispatches, ratio) = (dispatches.to_string(), ratio.unwrap_or_default());
                write!(f, "\n{}", row([name, calls, &dispatches, &least, &giga(moved), &ratio, &flops]))
            };
        for PhaseRow { phase, dispatches, least_bytes, moved_bytes, flops, ops, .. } in &self.phases {
            line(phase, "", *dispatches, Some(*least_bytes), *moved_bytes, *flops)?;
            for op in ops {
                let (name, calls) = (format!("  {}", op.op), op.calls.to_string());
                line(&name, &calls, op.dispatches, Some(op.least_bytes), op.moved_bytes, op.flops)?;
                for KernelRow { kernel, dispatches, moved_bytes } in &op.kernels {
                    line(&format!("    {kernel}"), "", *dispatches, None, *moved_bytes, 0)?;
                }
            }
        }
        Ok(())
    }
}

impl Plan {
    /// Plans forward, backward, running statistics, SGD and the moving average of a key encoder.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images are too small for batch statistics; [`crate::Error::Limit`] if a tensor is
    /// larger than what a GPU binds.
    pub fn of(config: StepConfig) -> Result<Plan> {
        let device = Device::plan();
        let mut training = TrainingStep::new(&device, config)?;
        let key = step::network(&device, config.architecture, config.width, 0)?;
        training.run(|_| Ok(()))?;
        device.start_trace();
        let mut phases = Vec::new();
        training.run(|name| {
            phases.push(PhaseRow::of(name, &device.take_trace()?));
            Ok(())
        })?;
        ema_update(&key, &training.net, 0.99)?;
        phases.push(PhaseRow::of("ema", &device.take_trace()?));
        phases.push(PhaseRow::total(&phases));
        Ok(Plan { config, peak_tensor_bytes: device.usage().1, phases })
    }
}

impl PhaseRow {
    fn of(phase: &str, events: &Events) -> PhaseRow {
        let mut rows: BTreeMap<String, (OpRow, BTreeMap<String, KernelRow>)> = BTreeMap::new();
        for op in &events.ops {
            let (row, _) = rows.entry(label(op)).or_default();
            row.calls += 1;
            row.least_bytes += op.bytes;
            row.flops += 2 * op.work;
        }
        for kernel in &events.kernels {
            let op = kernel.op.map_or(kernel.shader.to_string(), |op| label(&events.ops[op]));
            let (row, kernels) = rows.entry(op).or_default();
            let part = kernels.entry(format!("{}/{}", kernel.shader, kernel.entry)).or_default();
            part.dispatches += 1;
            part.moved_bytes += kernel.bytes;
            row.dispatches += 1;
            row.moved_bytes += kernel.bytes;
        }
        let named = |(op, (row, kernels)): (String, (OpRow, BTreeMap<String, KernelRow>))| {
            let kernels = kernels.into_iter().map(|(kernel, row)| KernelRow { kernel, ..row }).collect();
            OpRow { op, kernels, ..row }
        };
        let mut ops: Vec<OpRow> = rows.into_iter().map(named).collect();
        ops.sort_by_key(|row| std::cmp::Reverse(row.moved_bytes));
        PhaseRow::sum(phase, ops)
    }

    fn total(phases: &[PhaseRow]) -> PhaseRow {
        let ops = phases.iter().flat_map(|phase| phase.ops.iter().cloned()).collect();
        PhaseRow { ops: Vec::new(), ..PhaseRow::sum("total", ops) }
    }

    fn sum(phase: &str, ops: Vec<OpRow>) -> PhaseRow {
        let mut row = PhaseRow { phase: phase.to_string(), ..PhaseRow::default() };
        for op in &ops {
            row.dispatches += op.dispatches;
            row.least_bytes += op.least_bytes;
            row.moved_bytes += op.moved_bytes;
            row.flops += op.flops;
        }
        row.ratio = row.moved_bytes as f64 / row.least_bytes.max(1) as f64;
        PhaseRow { ops, ..row }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/bench/plan.rs"]
mod tests;
