//! A wgpu adapter: limits, queue, and one recorded list of commands per step.
//!
//! Ops record dispatches; nothing runs until a value is read, `wait` is called or the work budget of one
//! submission is reached (so that no submission nears a desktop driver's time-out).

use super::adapter::{AdapterSummary, ranked};
use super::cache::{self, Pipelines};
use super::deferred::{Deferred, Job};
use super::kernel::{Dispatch, Kernels};
use super::pool::{FreeList, Usage, size_class};
use super::trace::{self, Trace};
use super::tuned::{Class, Tuned};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// How to open a GPU.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Let wgpu add bounds checks and loop bounds to every kernel (slow; for tests and debugging).
    pub checked: bool,
    /// Pretend that the adapter binds no more than this many bytes at once.
    pub max_binding: Option<u64>,
    /// Treat a software driver like a GPU: its kernels and tilings (slow; to test them).
    pub as_real: bool,
    /// Folder that keeps built pipelines and tuned tilings between runs; none by default.
    pub cache: Option<PathBuf>,
}

/// A pooled GPU buffer: goes back to its pool when dropped.
#[derive(Debug)]
pub struct GpuBuffer {
    raw: Option<Raw>,
    pool: Arc<GpuPool>,
}

#[derive(Debug)]
struct Raw {
    buffer: wgpu::Buffer,
    id: u64,
    class: usize,
}

#[derive(Debug, Default)]
struct GpuPool {
    free: FreeList<Raw>,
    usage: Usage,
    next_id: AtomicU64,
}

impl GpuBuffer {
    pub(super) fn raw(&self) -> &wgpu::Buffer {
        &self.raw.as_ref().expect("a buffer keeps its memory until dropped").buffer
    }
    pub(super) fn id(&self) -> u64 {
        self.raw.as_ref().expect("a buffer keeps its memory until dropped").id
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            self.pool.usage.sub(4 * raw.class as u64);
            self.pool.free.put(raw.class, raw);
        }
    }
}

enum Command {
    Run {
        pipeline: wgpu::ComputePipeline,
        group: wgpu::BindGroup,
        offset: u32,
        groups: [u32; 2],
        label: String,
    },
    Clear {
        buffer: wgpu::Buffer,
        at: u64,
        bytes: u64,
    },
    Copy {
        from: wgpu::Buffer,
        from_at: u64,
        into: wgpu::Buffer,
        into_at: u64,
        bytes: u64,
    },
}

#[derive(Default)]
struct Recording {
    commands: Vec<Command>,
    /// Params structs of the recorded dispatches, each aligned for a dynamic uniform offset.
    params: Vec<u8>,
    work: u64,
    groups: HashMap<GroupKey, wgpu::BindGroup>,
    trace: Trace,
}

type GroupKey = (u64, Vec<(u64, u64, u64)>);

/// An open GPU.
pub struct Gpu {
    /// Facts of the adapter.
    pub summary: AdapterSummary,
    device: wgpu::Device,
    queue: wgpu::Queue,
    max_binding: u64,
    is_cpu: bool,
    kernels: Kernels,
    pool: Arc<GpuPool>,
    params: wgpu::Buffer,
    recording: Mutex<Recording>,
    deferred: Deferred,
    dispatches: AtomicU64,
    tuned: Mutex<Tuned>,
    tilings_path: Option<PathBuf>,
    failure: Arc<Mutex<Option<String>>>,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Gpu({})", self.summary.name)
    }
}

/// Room for the params of about 2,000 dispatches.
const PARAMS_BYTES: usize = 512 * 1024;
const PARAMS_ALIGN: usize = 256;

impl Gpu {
    /// Opens the first adapter whose name contains `name`, ignoring case.
    ///
    /// # Errors
    /// [`Error::Device`] if there is none or it can't be opened.
    pub fn open(name: Option<&str>, options: GpuOptions) -> Result<Gpu> {
        let all = ranked();
        let names = all.iter().map(|(s, _)| s.name.clone()).collect::<Vec<_>>().join(", ");
        let wanted = name.unwrap_or("").to_lowercase();
        let found = all.into_iter().find(|(s, _)| s.name.to_lowercase().contains(&wanted));
        let Some((summary, adapter)) = found else {
            let advice = if names.is_empty() {
                "no Vulkan, Metal or DirectX 12 driver was found: install one (a software one on Debian and \
                 Ubuntu: apt-get install mesa-vulkan-drivers) or use --device cpu"
                    .to_string()
            } else {
                format!("no GPU is named like `{wanted}`: there are {names}")
            };
            return Err(Error::Device(advice));
        };
        let mut limits = wgpu::Limits::default();
        let offered = adapter.limits();
        limits.max_storage_buffer_binding_size = offered.max_storage_buffer_binding_size;
        limits.max_buffer_size = offered.max_buffer_size;
        let features =
            adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE);
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("vista"),
            required_features: features,
            required_limits: limits,
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request).map_err(|e| {
            Error::Device(format!("{}: cannot be opened ({e}): use --device cpu", summary.name))
        })?;
        let failure = Arc::new(Mutex::new(None));
        let seen = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            seen.lock().expect("failure lock").get_or_insert(error.to_string());
        }));
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: PARAMS_BYTES as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let is_cpu = summary.kind == wgpu::DeviceType::Cpu && !options.as_real;
        let max_binding = options.max_binding.unwrap_or(u64::MAX).min(summary.max_binding);
        let pipelines =
            options.cache.as_ref().and_then(|folder| Pipelines::open(folder, &device, &adapter.get_info()));
        let tilings = cache::file_name("tilings", &summary.name, &summary.driver);
        let tilings_path = options.cache.map(|folder| folder.join(tilings));
        let recording = Recording { trace: Trace::new(&device, &queue), ..Default::default() };
        if trace::level() >= 1 {
            eprintln!("adapter {summary:?}");
        }
        Ok(Gpu {
            kernels: Kernels::new(device.clone(), options.checked || trace::level() >= 4, pipelines),
            max_binding,
            is_cpu,
            summary,
            device,
            queue,
            pool: Arc::default(),
            params,
            recording: Mutex::new(recording),
            deferred: Deferred::default(),
            dispatches: AtomicU64::new(0),
            tuned: Mutex::new(tilings_path.as_deref().map(Tuned::read).unwrap_or_default()),
            tilings_path,
            failure,
        })
    }

    /// The most bytes that one binding may hold.
    pub fn max_binding(&self) -> u64 {
        self.max_binding
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
        let fits = (self.max_binding as usize / 4 / largest / step * step).max(step);
        (0..n).step_by(fits).map(|start| start..(start + fits).min(n)).collect()
    }

    /// Whether the adapter is a software driver, which wants other tilings.
    pub fn is_cpu(&self) -> bool {
        self.is_cpu
    }

    /// Bytes in use, now and at most.
    pub fn usage(&self) -> (u64, u64) {
        (self.pool.usage.bytes(), self.pool.usage.peak())
    }

    /// The tuned tiling of a class of products, if there is one.
    pub fn tiling(&self, class: Class) -> Option<[usize; 2]> {
        self.tuned.lock().expect("tilings lock").get(class)
    }

    /// Sets the tiling of a class of products until the adapter is closed.
    pub fn set_tiling(&self, class: Class, threads: [usize; 2]) {
        self.tuned.lock().expect("tilings lock").set(class, threads);
    }

    /// Keeps the tilings for later openings of this adapter with this driver; returns the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written; [`Error::Device`] if the adapter was opened without a cache folder.
    pub fn save_tilings(&self) -> Result<PathBuf> {
        let Some(path) = &self.tilings_path else {
            return Err(Error::Device("no cache folder: set VISTA_CACHE to one that can be written".into()));
        };
        self.tuned.lock().expect("tilings lock").write(path)?;
        Ok(path.clone())
    }

    /// Dispatches recorded since the adapter was opened.
    pub fn dispatches(&self) -> u64 {
        self.dispatches.load(Ordering::Relaxed)
    }

    /// Records a job together with later ones of its kind, but before anything that needs what it writes.
    pub(crate) fn defer(&self, job: Job) -> Result<()> {
        self.record_jobs(&self.deferred.add(job))
    }

    fn record_jobs(&self, jobs: &[Job]) -> Result<()> {
        let Some(Job { record, .. }) = jobs.first() else { return Ok(()) };
        record(self, &jobs.iter().map(|job| job.tensors.clone()).collect::<Vec<_>>())
    }

    /// Records all jobs that wait.
    fn settle(&self) -> Result<()> {
        self.record_jobs(&self.deferred.due(|_| true))
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
                return Err(Error::Limit {
                    op: dispatch.shader,
                    what: "a tensor",
                    needed: crate::error::readable_bytes(bytes),
                    available: crate::error::readable_bytes(self.max_binding),
                });
            }
        }
        let bound = |output: &Tensor| {
            dispatch.tensors.iter().any(|(t, _)| t.gpu_buffer().id() == output.gpu_buffer().id())
        };
        self.record_jobs(&self.deferred.due(bound))?;
        self.dispatches.fetch_add(1, Ordering::Relaxed);
        let kernel = self.kernels.get(dispatch.shader, dispatch.entry, &dispatch.constants)?;
        let mut recording = self.lock();
        if recording.params.len() + dispatch.params.len().next_multiple_of(PARAMS_ALIGN) > PARAMS_BYTES {
            self.submit(&mut recording)?;
        }
        let offset = recording.params.len() as u32;
        recording.params.extend_from_slice(dispatch.params);
        let padded = recording.params.len().next_multiple_of(PARAMS_ALIGN);
        recording.params.resize(padded, 0);
        let bindings: Vec<(u64, u64, u64)> = dispatch
            .tensors
            .iter()
            .map(|(tensor, range)| {
                let (start, count) = range.as_ref().map_or((0, tensor.elements()), |r| (r.start, r.len()));
                let start = tensor.start() + start;
                // Bindings end on a multiple of 16 bytes so that the last vec4 is whole.
                (tensor.gpu_buffer().id(), 4 * start as u64, (4 * count as u64).next_multiple_of(16).max(16))
            })
            .collect();
        let key = (kernel.id, bindings);
        let group = match recording.groups.get(&key) {
            Some(group) => group.clone(),
            None => {
                let mut entries = Vec::with_capacity(dispatch.tensors.len() + 1);
                if let Some(size) = kernel.params_size {
                    entries.push(binding(0, &self.params, 0, size));
                }
                for ((slot, (tensor, _)), (_, at, bytes)) in
                    kernel.slots.iter().zip(&dispatch.tensors).zip(&key.1)
                {
                    entries.push(binding(*slot, tensor.gpu_buffer().raw(), *at, *bytes));
                }
                assert_eq!(
                    kernel.slots.len(),
                    dispatch.tensors.len(),
                    "{}/{} binds another number of tensors",
                    dispatch.shader,
                    dispatch.entry
                );
                let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: Some(dispatch.entry),
                    layout: &kernel.layout,
                    entries: &entries,
                });
                recording.groups.insert(key, group.clone());
                group
            }
        };
        let label = if trace::level() >= 2 {
            format!("{}/{}", dispatch.shader, dispatch.entry)
        } else {
            String::new()
        };
        recording.commands.push(Command::Run {
            pipeline: kernel.pipeline.clone(),
            group,
            offset,
            groups: fold(dispatch.groups),
            label,
        });
        recording.work += dispatch.work.max(dispatch.tensors.iter().map(|(t, _)| t.elements() as u64).sum());
        if recording.work > self.work_budget() {
            self.submit(&mut recording)?;
        }
        Ok(())
    }

    /// Records a kernel that treats elements on their own, one thread per vec4 in workgroups of 256, in chunks
    /// that one binding holds. `params` makes the params struct from the number of vec4s.
    ///
    /// # Errors
    /// [`Error::Device`] if the kernel can't be built.
    pub fn run_flat<P: bytemuck::Pod>(
        &self,
        shader: &'static str,
        entry: &'static str,
        constants: &[(&'static str, f64)],
        tensors: &[&Tensor],
        params: impl Fn(u32) -> P,
    ) -> Result<()> {
        for range in self.row_chunks(tensors[0].elements(), 1) {
            let vec4s = range.len().div_ceil(4);
            self.run(Dispatch {
                shader,
                entry,
                constants: constants.to_vec(),
                params: bytemuck::bytes_of(&params(vec4s as u32)),
                tensors: tensors.iter().map(|t| (*t, Some(range.clone()))).collect(),
                groups: vec4s.div_ceil(256) as u64,
                work: 0,
            })?;
        }
        Ok(())
    }

    /// Records a copy of `count` elements.
    pub(crate) fn copy(
        &self,
        from: &GpuBuffer,
        from_at: usize,
        into: &GpuBuffer,
        into_at: usize,
        count: usize,
    ) -> Result<()> {
        self.settle()?;
        let (from, into) = (from.raw().clone(), into.raw().clone());
        let (from_at, into_at, bytes) = (4 * from_at as u64, 4 * into_at as u64, 4 * count as u64);
        self.lock().commands.push(Command::Copy { from, from_at, into, into_at, bytes });
        Ok(())
    }

    /// Records zeroing of elements.
    pub(crate) fn clear(&self, buffer: &GpuBuffer, elements: Range<usize>) {
        if !elements.is_empty() {
            let (at, bytes) = (4 * elements.start as u64, 4 * elements.len() as u64);
            self.lock().commands.push(Command::Clear { buffer: buffer.raw().clone(), at, bytes });
        }
    }

    /// A pooled buffer with arbitrary contents.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is larger than the adapter's largest buffer.
    pub(crate) fn take(&self, count: usize) -> Result<GpuBuffer> {
        // One spare vec4, so that kernels may read and write whole vec4s past an odd end.
        let class = size_class(count + 4);
        let bytes = 4 * class as u64;
        if bytes > self.summary.max_buffer {
            return Err(Error::Limit {
                op: "tensor",
                what: "a tensor",
                needed: crate::error::readable_bytes(bytes),
                available: crate::error::readable_bytes(self.summary.max_buffer),
            });
        }
        let raw = self.pool.free.take(class).unwrap_or_else(|| Raw {
            buffer: self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            id: self.pool.next_id.fetch_add(1, Ordering::Relaxed),
            class,
        });
        self.pool.usage.add(bytes);
        Ok(GpuBuffer { raw: Some(raw), pool: self.pool.clone() })
    }

    /// A buffer holding `values`.
    pub(crate) fn upload(&self, values: &[f32]) -> Result<GpuBuffer> {
        let buffer = self.take(values.len())?;
        // ORDER: queue writes run before the next submission, so what is recorded must be submitted first:
        // the buffer may be one that a recorded command still reads.
        let mut recording = self.lock();
        self.submit(&mut recording)?;
        self.queue.write_buffer(buffer.raw(), 0, bytemuck::cast_slice(values));
        Ok(buffer)
    }

    /// Submits what is recorded, waits, and reads a buffer back.
    pub(crate) fn download(&self, buffer: &GpuBuffer, start: usize, count: usize) -> Result<Vec<f32>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let bytes = 4 * count as u64;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.settle()?;
        let mut recording = self.lock();
        let (from, into) = (buffer.raw().clone(), staging.clone());
        let from_at = 4 * start as u64;
        recording.commands.push(Command::Copy { from, from_at, into, into_at: 0, bytes });
        self.submit(&mut recording)?;
        drop(recording);
        // The callback may run in another thread's poll and after this one's, so its answer is waited for.
        let (answer, mapped) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            let _ = answer.send(result);
        });
        self.poll()?;
        if !matches!(mapped.recv(), Ok(Ok(()))) {
            return Err(self.failed("the result of the last step could not be read back"));
        }
        let range = staging
            .get_mapped_range(..)
            .map_err(|_| self.failed("the result of the last step could not be mapped"))?;
        Ok(bytemuck::pod_collect_to_vec(&range))
    }

    /// Submits what is recorded and waits until the device is idle.
    ///
    /// # Errors
    /// [`Error::Device`] if the device has failed.
    pub fn wait(&self) -> Result<()> {
        self.settle()?;
        let mut recording = self.lock();
        self.submit(&mut recording)?;
        drop(recording);
        self.poll()
    }

    fn poll(&self) -> Result<()> {
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| self.failed(&format!("the device stopped answering ({e})")))?;
        self.check()
    }

    fn submit(&self, recording: &mut Recording) -> Result<()> {
        if recording.commands.is_empty() {
            return self.check();
        }
        self.queue.write_buffer(&self.params, 0, &recording.params);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let commands = std::mem::take(&mut recording.commands);
        let timed = recording.trace.is_on();
        let mut at = 0;
        while at < commands.len() {
            if let Command::Copy { from, from_at, into, into_at, bytes } = &commands[at] {
                encoder.copy_buffer_to_buffer(from, *from_at, into, *into_at, Some(*bytes));
                at += 1;
                continue;
            }
            if let Command::Clear { buffer, at: start, bytes } = &commands[at] {
                encoder.clear_buffer(buffer, *start, Some(*bytes));
                at += 1;
                continue;
            }
            // One pass holds all dispatches up to the next copy or clearing; when tracing, each has its own to be timed.
            let label = if let Command::Run { label, .. } = &commands[at] { label.as_str() } else { "" };
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: recording.trace.writes(label),
            });
            while let Some(Command::Run { pipeline, group, offset, groups, .. }) = commands.get(at) {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[*offset]);
                pass.dispatch_workgroups(groups[0], groups[1], 1);
                at += 1;
                if timed {
                    break;
                }
            }
        }
        recording.trace.resolve(&mut encoder);
        self.queue.submit([encoder.finish()]);
        recording.params.clear();
        recording.work = 0;
        if timed {
            self.device
                .poll(wgpu::PollType::wait_indefinitely())
                .map_err(|e| self.failed(&format!("the device stopped answering ({e})")))?;
            recording.trace.report(&self.device, self.usage());
        }
        self.check()
    }

    /// Multiply-adds that one submission may hold.
    fn work_budget(&self) -> u64 {
        if self.is_cpu() { 4_000_000_000 } else { 200_000_000_000 }
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().expect("recording lock")
    }

    fn check(&self) -> Result<()> {
        match self.failure.lock().expect("failure lock").as_ref() {
            None => Ok(()),
            Some(message) => Err(Error::Device(format!("{}: {message}", self.summary.name))),
        }
    }

    fn failed(&self, what: &str) -> Error {
        self.check().err().unwrap_or_else(|| {
            Error::Device(format!("{}: {what}: try a smaller --batch, or --device cpu", self.summary.name))
        })
    }
}

fn binding(slot: u32, buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindGroupEntry<'_> {
    let size = std::num::NonZeroU64::new(size);
    let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
    wgpu::BindGroupEntry { binding: slot, resource }
}

/// Folds a count of workgroups over two dimensions of at most 65,535; kernels undo it with `flat_group`.
fn fold(groups: u64) -> [u32; 2] {
    let columns = groups.min(65_535);
    [columns as u32, groups.div_ceil(columns) as u32]
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn folded_groups_cover_five_million_within_the_limit() {
        for groups in [1, 65_535, 65_536, 5_000_000, 65_535 * 65_535] {
            let [x, y] = fold(groups);
            assert!(x <= 65_535 && y <= 65_535 && u64::from(x) * u64::from(y) >= groups);
        }
    }
}
