//! What ran on a device: each op, each kernel, their bytes and their time, what was read back; and the debug ladder.
//!
//! `VISTA_DEBUG`: 1 adapter, limits, configuration; 2 milliseconds per kernel, bytes in use per submission, what is read back; 3 every
//! new pipeline's WGSL and constants; 4 kernels with all of wgpu's checks. Levels 1 to 3 never change a result.
//!
//! `vista bench` reads a trace between [`Device::start_trace`](super::Device::start_trace) and
//! [`Device::stop_trace`](super::Device::stop_trace).
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Map, run}};
//! let device = Device::cpu();
//! let x = Tensor::full(&device, [4], 2.0)?;
//! device.start_trace();
//! run(&Map::Square, &[&x])?;
//! assert_eq!(device.take_trace()?.ops[0].op, "map");
//! device.stop_trace();
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Dispatch, reflect};
use crate::error::{Result, readable_bytes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

/// The level asked for in `VISTA_DEBUG`, 0 if none.
pub fn level() -> u32 {
    static LEVEL: OnceLock<u32> = OnceLock::new();
    *LEVEL.get_or_init(|| std::env::var("VISTA_DEBUG").ok().and_then(|v| v.parse().ok()).unwrap_or(0))
}

/// One op, forward or backward.
#[derive(Clone, Debug, PartialEq)]
pub struct OpRun {
    /// The op's name.
    pub op: &'static str,
    /// Whether its gradient was computed rather than its value.
    pub backward: bool,
    /// Multiply-adds of matrix products and convolutions; other arithmetic is not counted.
    pub work: u64,
    /// Bytes that it must read and write at least: every input and output once, inputs as often as the algorithm must
    /// ([`Kernel::READS`](crate::engine::ops::Kernel::READS)).
    pub bytes: u64,
    /// On the CPU the time that it took. On a GPU its kernels have the time.
    pub milliseconds: Option<f64>,
}

/// One dispatch of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelRun {
    /// The shader's file name without `.wgsl`.
    pub shader: &'static str,
    /// Its entry point.
    pub entry: &'static str,
    /// Values of the constants that its pipeline is built with.
    pub constants: Vec<(&'static str, f64)>,
    /// The op that it belongs to, by its place in [`Events::ops`].
    pub op: Option<usize>,
    /// Bytes of the bindings that the entry point reads and of those that it writes, each part of a buffer once.
    pub bytes: u64,
    /// By the adapter's timestamps, if it has them.
    pub milliseconds: Option<f64>,
}

impl KernelRun {
    pub(super) fn of(dispatch: &Dispatch) -> Result<KernelRun> {
        let slots = reflect(dispatch.shader)?.entry(dispatch.entry)?;
        let (mut seen, mut bytes) = (BTreeSet::new(), 0);
        for (slot, (tensor, range)) in slots.storage.iter().zip(&dispatch.tensors) {
            let range = range.clone().unwrap_or(0..tensor.elements());
            let part = (tensor.gpu_buffer().id(), range.start, range.end);
            // A tensor that stands in for an absent one (a bias) is bound twice, and read once at most.
            // LIMIT: reads behind a constant that is off (matmul's ADD) count as well.
            let read = slot.reads && seen.insert(part);
            bytes += 4 * range.len() as u64 * (u64::from(read) + u64::from(slot.writes));
        }
        let Dispatch { shader, entry, .. } = *dispatch;
        let constants = dispatch.constants.clone();
        Ok(KernelRun { shader, entry, constants, op: None, bytes, milliseconds: None })
    }
}

/// What ran, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events {
    /// The ops.
    pub ops: Vec<OpRun>,
    /// The kernels that they recorded; none on the CPU.
    pub kernels: Vec<KernelRun>,
    /// Elements of each tensor whose values the host asked for: a GPU runs all that is recorded while the host waits.
    pub reads: Vec<usize>,
}

/// The trace of one device. It costs nothing while it is off.
#[derive(Debug)]
pub struct Trace {
    /// Whether an op has run when its function returns: on the CPU.
    synchronous: bool,
    /// Whether to print the kernels of every submission.
    prints: bool,
    collects: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: Events,
    /// The op that is being recorded.
    op: Option<usize>,
}

impl Trace {
    pub(super) fn of_cpu() -> Trace {
        Trace { synchronous: true, prints: false, collects: AtomicBool::new(false), state: Mutex::default() }
    }

    pub(super) fn of_gpu(prints: bool) -> Trace {
        Trace { synchronous: false, prints, ..Trace::of_cpu() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.prints || self.collects.load(Ordering::Relaxed)
    }

    /// Starts to collect, from nothing.
    pub(super) fn start(&self) {
        self.lock().events = Events::default();
        self.collects.store(true, Ordering::Relaxed);
    }

    /// What was collected since the start or the last call. The caller has waited for the device.
    pub(super) fn take(&self) -> Events {
        std::mem::take(&mut self.lock().events)
    }

    pub(super) fn stop(&self) {
        self.collects.store(false, Ordering::Relaxed);
    }

    /// Runs an op; `describe` is only called while the trace is on.
    pub(crate) fn op<R>(&self, describe: impl FnOnce() -> OpRun, run: impl FnOnce() -> R) -> R {
        if !self.is_on() {
            return run();
        }
        let op = describe();
        let mut state = self.lock();
        let at = state.events.ops.len();
        state.events.ops.push(op);
        state.op = Some(at);
        drop(state);
        let began = Instant::now();
        let result = run();
        let milliseconds = self.synchronous.then(|| began.elapsed().as_secs_f64() * 1e3);
        let mut state = self.lock();
        state.op = None;
        if let Some(op) = state.events.ops.get_mut(at) {
            op.milliseconds = milliseconds;
        }
        result
    }

    /// Records what belongs to no op, such as jobs that have waited for each other.
    pub(super) fn aside<R>(&self, record: impl FnOnce() -> R) -> R {
        let op = self.lock().op.take();
        let result = record();
        self.lock().op = op;
        result
    }

    /// Notes a kernel; returns its place in the list.
    pub(super) fn kernel(&self, kernel: KernelRun) -> usize {
        let mut state = self.lock();
        let op = state.op;
        state.events.kernels.push(KernelRun { op, ..kernel });
        state.events.kernels.len() - 1
    }

    /// Notes that the values of so many elements are read back.
    pub(crate) fn read(&self, elements: usize) {
        if self.prints {
            eprintln!("{elements} values are read back");
        }
        if self.collects.load(Ordering::Relaxed) {
            self.lock().events.reads.push(elements);
        }
    }

    /// Notes the time of the kernels of a submission that has ended; `(bytes, peak)` are those in use.
    pub(super) fn timed(&self, times: &[(usize, f64)], (bytes, peak): (u64, u64)) {
        let mut state = self.lock();
        for &(kernel, milliseconds) in times {
            if let Some(kernel) = state.events.kernels.get_mut(kernel) {
                kernel.milliseconds = Some(milliseconds);
            }
        }
        if self.prints {
            let kernels = times.iter().filter_map(|&(kernel, _)| state.events.kernels.get(kernel));
            print(kernels, bytes, peak);
        }
        if !self.collects.load(Ordering::Relaxed) {
            state.events = Events::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("trace lock")
    }
}

/// Prints the time of each kind of kernel, longest first.
fn print<'a>(kernels: impl Iterator<Item = &'a KernelRun>, bytes: u64, peak: u64) {
    let mut sums: BTreeMap<[&str; 2], (u32, f64, u64)> = BTreeMap::new();
    for kernel in kernels {
        let (count, milliseconds, moved) = sums.entry([kernel.shader, kernel.entry]).or_default();
        *count += 1;
        *milliseconds += kernel.milliseconds.unwrap_or(0.0);
        *moved += kernel.bytes;
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    let count: u32 = rows.iter().map(|(_, sum)| sum.0).sum();
    let [bytes, peak] = [bytes, peak].map(readable_bytes);
    eprintln!("submission of {count} timed kernels, {bytes} in use, {peak} at most");
    for ([shader, entry], (count, milliseconds, moved)) in rows {
        let rate = moved as f64 / 1e6 / milliseconds.max(1e-6);
        eprintln!("  {milliseconds:9.3} ms  {rate:7.1} GB/s  {count:4} x {shader}/{entry}");
    }
}
