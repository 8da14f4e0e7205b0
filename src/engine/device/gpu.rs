//! A wgpu adapter: its limits, its pool of buffers, and the kernels that ops record.
//!
//! Nothing runs until a value is read, `wait` is called or the work budget of one submission is reached (so that no
//! submission nears a desktop driver's time-out). A plan is a GPU without an adapter: ops choose and record the same
//! kernels, which are counted and go no further; its tensors have no elements.
//!
//! ```
//! # use vista::{Device, Tensor};
//! let device = Device::plan(); // a GPU that chooses and counts kernels, and runs none
//! let x = Tensor::full(&device, [1 << 20], 1.0)?;
//! assert_eq!(x.to_vec()?.len(), 1 << 20);
//! assert!(device.usage().0 >= 4 << 20); // bytes that it would take
//! # Ok::<(), vista::Error>(())
//! ```

use super::adapter::{self, AdapterSummary};
use super::cache;
use super::deferred::{self, Deferred, Sum};
use super::kernel::Dispatch;
use super::pool::{Buffer, Pool, size_class};
use super::recorder::Recorder;
use super::trace::{self, KernelRun, Trace};
use super::tuned::{self, Choice, Class, Tuned};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result, readable_bytes};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// How to open a GPU.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Let wgpu add bounds checks and loop bounds to every kernel (slow; for tests and debugging).
    pub checked: bool,
    /// Pretend that the adapter binds no more than this many bytes at once.
    pub max_binding: Option<u64>,
    /// Treat a software driver like a GPU: its kernels and tilings (slow; to test them).
    pub as_real: bool,
    /// Folder that keeps built pipelines and tuned choices between runs; none by default.
    pub cache: Option<PathBuf>,
}

/// A pooled buffer of a GPU; `None` in a plan.
pub(crate) type GpuBuffer = Buffer<Option<wgpu::Buffer>>;
pub(super) type GpuPool = Pool<Option<wgpu::Buffer>>;

impl GpuBuffer {
    pub(super) fn raw(&self) -> &wgpu::Buffer {
        self.as_ref().expect("an adapter's buffer has memory")
    }
}

/// An open GPU, or a plan.
pub struct Gpu {
    /// Facts of the adapter.
    pub summary: AdapterSummary,
    /// The most bytes that one binding may hold.
    pub max_binding: u64,
    /// Whether the adapter is a software driver, which wants other tilings.
    pub is_cpu: bool,
    pub(super) pool: Arc<GpuPool>,
    pub(super) trace: Arc<Trace>,
    deferred: Deferred,
    tuned: Mutex<Tuned>,
    tuned_path: Option<PathBuf>,
    /// Whether ops record their kernels.
    pub records: bool,
    /// `None` in a plan.
    recorder: Option<Recorder>,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Gpu({})", self.summary.name)
    }
}

impl Gpu {
    /// Opens the first adapter whose name contains `name`, ignoring case.
    ///
    /// # Errors
    /// [`Error::Device`] if there is none or it can't be opened.
    pub fn open(name: Option<&str>, options: GpuOptions) -> Result<Gpu> {
        let (summary, adapter) = adapter::find(name)?;
        if trace::level() >= 1 {
            eprintln!("adapter {summary:?}");
        }
        let is_cpu = summary.kind == wgpu::DeviceType::Cpu && !options.as_real;
        let max_binding = options.max_binding.unwrap_or(u64::MAX).min(summary.max_binding);
        let work_budget = if is_cpu { 4_000_000_000 } else { 200_000_000_000 };
        let checked = options.checked || trace::level() >= 4;
        let trace = Arc::new(Trace::of_gpu(trace::level() >= 2 && summary.timestamps));
        let pool = Arc::<GpuPool>::default();
        let shared = (trace.clone(), pool.clone());
        let kept = options.cache.as_deref();
        let recorder = Some(Recorder::open(&adapter, &summary, checked, work_budget, kept, shared)?);
        let file = cache::file_name("tuned", &summary.name, &summary.driver);
        let tuned_path = options.cache.map(|folder| folder.join(file));
        let tuned = tuned_path.as_deref().map(tuned::read).unwrap_or_default();
        let plan = Gpu::plan_as(summary, is_cpu, tuned);
        Ok(Gpu { max_binding, pool, trace, tuned_path, recorder, ..plan })
    }

    /// A plan for a discrete GPU that binds 2 GiB at once, as most do.
    pub fn plan() -> Gpu {
        let summary = AdapterSummary {
            name: "a plan".into(),
            kind: wgpu::DeviceType::DiscreteGpu,
            backend: wgpu::Backend::Noop,
            driver: String::new(),
            max_binding: 2 << 30,
            max_buffer: u64::MAX,
            timestamps: false,
        };
        Gpu::plan_as(summary, false, Tuned::default())
    }

    /// A plan of the CPU device: ops take memory for their results and nothing else, and no kernels are chosen.
    pub fn plan_of_cpu() -> Gpu {
        Gpu { records: false, ..Gpu::plan() }
    }

    /// A plan of this adapter.
    pub fn planned(&self) -> Gpu {
        let tuned = self.tuned.lock().expect("tuned lock").clone();
        Gpu { max_binding: self.max_binding, ..Gpu::plan_as(self.summary.clone(), self.is_cpu, tuned) }
    }

    fn plan_as(summary: AdapterSummary, is_cpu: bool, tuned: Tuned) -> Gpu {
        Gpu {
            max_binding: summary.max_binding,
            summary,
            is_cpu,
            pool: Arc::default(),
            trace: Arc::new(Trace::of_gpu(false)),
            deferred: Deferred::default(),
            tuned: Mutex::new(tuned),
            tuned_path: None,
            records: true,
            recorder: None,
        }
    }

    /// Whether its memory is that of the CPU: an integrated GPU, or a software driver.
    pub fn shares_memory(&self) -> bool {
        matches!(self.summary.kind, wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::Cpu)
    }

    /// Whether nothing runs here.
    pub fn is_plan(&self) -> bool {
        self.recorder.is_none()
    }

    /// Splits rows of `row` elements into ranges that one binding holds, each starting where a binding may.
    pub fn row_chunks(&self, rows: usize, row: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let most = (self.max_binding as usize / 4 / row.max(1) / 64 * 64).max(64);
        (0..rows).step_by(most).map(move |start| start..(start + most).min(rows))
    }

    /// Ranges of a batch of `n` samples whose part of each tensor fits one binding and may start one. `sizes` are the
    /// elements of one sample in each tensor.
    pub fn batches(&self, n: usize, sizes: &[usize]) -> Vec<Range<usize>> {
        let largest = sizes.iter().copied().max().unwrap_or(1).max(1);
        // Bindings start on a multiple of 64 elements.
        let step = sizes.iter().map(|size| 64 >> size.trailing_zeros().min(6)).max().unwrap_or(1);
        let most = self.max_binding as usize / 4 / largest;
        let fits = if n <= most { n.max(1) } else { (most / step * step).max(step) };
        (0..n).step_by(fits).map(|start| start..(start + fits).min(n)).collect()
    }

    /// Bind groups that are kept, and those made since it was opened; none in a plan.
    pub fn bind_groups(&self) -> [usize; 2] {
        self.recorder.as_ref().map(Recorder::bind_groups).unwrap_or_default()
    }

    /// The tuned choice for a class, if there is one.
    pub fn tuned(&self, class: Class) -> Option<Choice> {
        self.tuned.lock().expect("tuned lock").get(&class).copied()
    }

    /// Sets the choice for a class until the adapter is closed.
    pub fn set_tuned(&self, class: Class, choice: Choice) {
        self.tuned.lock().expect("tuned lock").insert(class, choice);
    }

    /// Keeps the choices for later openings of this adapter with this driver; returns the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written; [`Error::Device`] if the adapter was opened without a cache folder.
    pub fn save_tuned(&self) -> Result<PathBuf> {
        let Some(path) = &self.tuned_path else {
            return Err(Error::Device("no cache folder: set VISTA_CACHE to one that can be written".into()));
        };
        tuned::write(&self.tuned.lock().expect("tuned lock"), path)?;
        Ok(path.clone())
    }

    /// Records the sum over the first dimension of `parts`, together with later ones but before anything that needs it.
    pub(crate) fn sum_parts(&self, parts: Tensor, sum: Tensor) -> Result<()> {
        self.record_sums(&self.deferred.add([parts, sum]))
    }

    fn record_sums(&self, sums: &[Sum]) -> Result<()> {
        if sums.is_empty() {
            return Ok(());
        }
        self.trace.aside(|| deferred::record(self, sums))
    }

    /// Records all sums that wait.
    fn settle(&self) -> Result<()> {
        self.record_sums(&self.deferred.due(|_| true))
    }

    /// Records one kernel over the given tensors.
    ///
    /// # Errors
    /// [`Error::Limit`] if a tensor is larger than one binding; [`Error::Device`] if the kernel can't be built.
    pub fn run(&self, dispatch: Dispatch) -> Result<()> {
        if dispatch.groups == 0 {
            return Ok(());
        }
        for (tensor, range) in &dispatch.tensors {
            let bytes = 4 * range.as_ref().map_or(tensor.elements(), |r| r.len()) as u64;
            if bytes > self.max_binding {
                return Err(over(dispatch.shader, bytes, self.max_binding));
            }
        }
        let bound = |output: &Tensor| {
            dispatch.tensors.iter().any(|(t, _)| t.gpu_buffer().id() == output.gpu_buffer().id())
        };
        self.record_sums(&self.deferred.due(bound))?;
        let traced = match self.trace.is_on() {
            true => Some(self.trace.kernel(KernelRun::of(&dispatch)?)),
            false => None,
        };
        self.recorder.as_ref().map_or(Ok(()), |recorder| recorder.run(&dispatch, traced))
    }

    /// Records a kernel over rows that it treats on their own, as many at once as a binding holds and may begin with. Each tensor is
    /// given with its elements a row (the last row may have fewer); one with 0 is bound whole. `of` makes the dispatch of some rows,
    /// without its tensors.
    ///
    /// # Errors
    /// As [`Gpu::run`].
    pub fn run_rows<'a>(
        &self,
        rows: usize,
        tensors: &[(&'a Tensor, usize)],
        of: impl Fn(&Range<usize>) -> Dispatch<'a>,
    ) -> Result<()> {
        let sizes: Vec<usize> = tensors.iter().map(|(_, size)| *size).collect();
        self.batches(rows, &sizes).into_iter().try_for_each(|rows| {
            let part = |tensor: &Tensor, size: usize| {
                (size > 0).then(|| rows.start * size..tensor.elements().min(rows.end * size))
            };
            let tensors = tensors.iter().map(|&(tensor, size)| (tensor, part(tensor, size))).collect();
            self.run(Dispatch { tensors, ..of(&rows) })
        })
    }

    /// Records a copy of all elements to those of another tensor from `at` on.
    pub(crate) fn copy(&self, from: &Tensor, into: &Tensor, at: usize) -> Result<()> {
        self.settle()?;
        if let Some(recorder) = &self.recorder {
            let [from_at, into_at] = [from.start(), into.start() + at].map(|at| 4 * at as u64);
            let (source, target) = (from.gpu_buffer(), into.gpu_buffer());
            recorder.copy(source, from_at, target, into_at, 4 * from.elements() as u64);
        }
        Ok(())
    }

    /// Records zeroing of some elements.
    pub(crate) fn clear(&self, tensor: &Tensor, elements: Range<usize>) {
        if let (Some(recorder), false) = (&self.recorder, elements.is_empty()) {
            let at = 4 * (tensor.start() + elements.start) as u64;
            recorder.clear(tensor.gpu_buffer(), at, 4 * elements.len() as u64);
        }
    }

    /// A pooled buffer with arbitrary contents.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is larger than the adapter's largest buffer; [`Error::Device`] if there is no memory for it.
    pub(crate) fn take(&self, count: usize) -> Result<GpuBuffer> {
        let class = size_class(count);
        // One vec4 is spare, so that kernels may read and write whole ones past an odd end.
        let bytes = 4 * (class as u64 + 4);
        if bytes > self.summary.max_buffer {
            return Err(over("tensor", bytes, self.summary.max_buffer));
        }
        let make = || self.recorder.as_ref().map(|recorder| recorder.buffer(bytes)).transpose();
        self.pool.take(class, bytes, make)
    }

    /// A buffer holding `values`.
    pub(crate) fn upload(&self, values: &[f32]) -> Result<GpuBuffer> {
        let buffer = self.take(values.len())?;
        if let Some(recorder) = &self.recorder {
            recorder.upload(values, &buffer)?;
        }
        Ok(buffer)
    }

    /// Submits what is recorded, waits, and reads a buffer back; a plan has no values, zeros stand for them.
    pub(crate) fn download(&self, buffer: &GpuBuffer, start: usize, count: usize) -> Result<Vec<f32>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        self.settle()?;
        match &self.recorder {
            Some(recorder) => recorder.download(buffer, 4 * start as u64, count),
            None => Ok(vec![0.0; count]),
        }
    }

    /// Ends the device, as a driver that is reset does.
    pub fn destroy(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.destroy();
        }
    }

    /// Submits what is recorded and waits until the device is idle.
    ///
    /// # Errors
    /// [`Error::Device`] if the device has failed.
    pub fn wait(&self) -> Result<()> {
        self.settle()?;
        self.recorder.as_ref().map_or(Ok(()), Recorder::wait)
    }
}

fn over(op: &'static str, needed: u64, available: u64) -> Error {
    let [needed, available] = [needed, available].map(readable_bytes);
    Error::Limit { op, what: "a tensor", needed, available }
}
