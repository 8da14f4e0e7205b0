//! What an open adapter still has to do: one list of commands, submitted when a value is read, on `wait`, or when the
//! work budget of one submission is reached.

use super::adapter::AdapterSummary;
use super::cache::Pipelines;
use super::gpu::{GpuBuffer, GpuPool};
use super::kernel::{Dispatch, Kernels};
use super::poll;
use super::recent::Recent;
use super::stamps::Stamps;
use super::trace::Trace;
use crate::error::{Error, Result};
use crate::topic::Topic;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

enum Command {
    Run {
        pipeline: wgpu::ComputePipeline,
        group: wgpu::BindGroup,
        offset: u32,
        groups: [u32; 2],
        /// Its place in the trace, while there is one.
        traced: Option<usize>,
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

struct Recording {
    commands: Vec<Command>,
    /// Params structs of the recorded dispatches, each aligned for a dynamic uniform offset.
    params: Vec<u8>,
    work: u64,
    groups: Recent<GroupKey, wgpu::BindGroup>,
    stamps: Option<Stamps>,
}

type GroupKey = (u64, Vec<(u64, u64, u64)>);

/// Room for the params of about 2,000 dispatches.
const PARAMS_BYTES: usize = 512 * 1024;
const PARAMS_ALIGN: usize = 256;
/// Bind groups that are kept, and at most as many older ones. A step of a ResNet-50 takes some hundreds for each chunk.
const BIND_GROUPS: usize = 8192;

/// An open adapter's queue.
pub(super) struct Recorder {
    name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    kernels: Kernels,
    params: wgpu::Buffer,
    /// Multiply-adds that one submission may hold.
    work_budget: u64,
    recording: Mutex<Recording>,
    trace: Arc<Trace>,
    pool: Arc<GpuPool>,
    failure: Arc<Mutex<Option<String>>>,
    lost: Arc<AtomicBool>,
}

impl Recorder {
    /// Opens an adapter; `kept` is the folder of pipelines that earlier runs have built.
    pub fn open(
        adapter: &wgpu::Adapter,
        summary: &AdapterSummary,
        checked: bool,
        work_budget: u64,
        kept: Option<&Path>,
        (trace, pool): (Arc<Trace>, Arc<GpuPool>),
    ) -> Result<Recorder> {
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
            let message = match error {
                wgpu::Error::OutOfMemory { .. } => {
                    let advice = "lower --batch or --image-size, set train.chunk, or use --half";
                    format!("its memory is full: {advice} ({})", Topic::Memory)
                }
                other => other.to_string(),
            };
            seen.lock().expect("failure lock").get_or_insert(message);
        }));
        let lost = Arc::new(AtomicBool::new(false));
        let (seen, noted) = (failure.clone(), lost.clone());
        device.set_device_lost_callback(move |reason, message| {
            noted.store(true, Ordering::Relaxed);
            let message = if message.is_empty() { format!("{reason:?}") } else { message };
            *seen.lock().expect("failure lock") = Some(format!("the device was lost ({message})"));
        });
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: PARAMS_BYTES as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let pipelines = kept.and_then(|folder| Pipelines::open(folder, &device, &adapter.get_info()));
        let recording = Recording {
            commands: Vec::new(),
            params: Vec::new(),
            work: 0,
            groups: Recent::new(BIND_GROUPS),
            stamps: Stamps::new(&device, &queue),
        };
        Ok(Recorder {
            name: summary.name.clone(),
            kernels: Kernels::new(device.clone(), checked, pipelines),
            device,
            queue,
            params,
            work_budget,
            recording: Mutex::new(recording),
            trace,
            pool,
            failure,
            lost,
        })
    }

    /// A new buffer for tensors.
    ///
    /// # Errors
    /// [`Error::Device`] if the device has failed, such as for want of memory.
    pub fn buffer(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.check().map(|()| buffer)
    }

    /// Records a kernel; `traced` is its place in the trace.
    pub fn run(&self, dispatch: &Dispatch, traced: Option<usize>) -> Result<()> {
        let kernel = self.kernels.get(dispatch.shader, dispatch.entry, &dispatch.constants)?;
        let mut recording = self.lock();
        let size = (kernel.slots.params_size() as usize).next_multiple_of(PARAMS_ALIGN);
        if recording.params.len() + size > PARAMS_BYTES {
            self.submit(&mut recording)?;
        }
        let offset = recording.params.len() as u32;
        kernel.write_params(dispatch, &mut recording.params);
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
        let group = recording.groups.get_or_make((kernel.id, bindings), |(_, bindings)| {
            let mut entries = Vec::with_capacity(dispatch.tensors.len() + 1);
            entries.push(binding(0, &self.params, 0, kernel.slots.params_size()));
            for ((slot, (tensor, _)), (_, at, bytes)) in
                kernel.slots.storage.iter().zip(&dispatch.tensors).zip(bindings)
            {
                entries.push(binding(slot.binding, tensor.gpu_buffer().raw(), *at, *bytes));
            }
            assert_eq!(
                kernel.slots.storage.len(),
                dispatch.tensors.len(),
                "{}/{} binds another number of tensors",
                dispatch.shader,
                dispatch.entry
            );
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(dispatch.entry),
                layout: &kernel.layout,
                entries: &entries,
            })
        });
        recording.commands.push(Command::Run {
            pipeline: kernel.pipeline.clone(),
            group,
            offset,
            groups: fold(dispatch.groups),
            traced,
        });
        recording.work += dispatch.work.max(dispatch.tensors.iter().map(|(t, _)| t.elements() as u64).sum());
        if recording.work > self.work_budget {
            self.submit(&mut recording)?;
        }
        Ok(())
    }

    /// Bind groups that are kept, and those made since the device was opened.
    pub fn bind_groups(&self) -> [usize; 2] {
        self.lock().groups.count()
    }

    /// Records a copy of bytes.
    pub fn copy(&self, from: &GpuBuffer, from_at: u64, into: &GpuBuffer, into_at: u64, bytes: u64) {
        let (from, into) = (from.raw().clone(), into.raw().clone());
        self.lock().commands.push(Command::Copy { from, from_at, into, into_at, bytes });
    }

    /// Records zeroing of bytes.
    pub fn clear(&self, buffer: &GpuBuffer, at: u64, bytes: u64) {
        self.lock().commands.push(Command::Clear { buffer: buffer.raw().clone(), at, bytes });
    }

    /// Writes values into a buffer.
    pub fn upload(&self, values: &[f32], into: &GpuBuffer) -> Result<()> {
        // ORDER: queue writes run before the next submission, so what is recorded must be submitted first:
        // the buffer may be one that a recorded command still reads.
        let mut recording = self.lock();
        self.submit(&mut recording)?;
        self.queue.write_buffer(into.raw(), 0, bytemuck::cast_slice(values));
        Ok(())
    }

    /// Submits what is recorded, waits, and reads a buffer back.
    pub fn download(&self, buffer: &GpuBuffer, from_at: u64, count: usize) -> Result<Vec<f32>> {
        let bytes = 4 * count as u64;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut recording = self.lock();
        let (from, into) = (buffer.raw().clone(), staging.clone());
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

    /// Ends the device, as a driver that is reset does.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Submits what is recorded and waits until the device is idle.
    ///
    /// # Errors
    /// [`Error::Device`] if the device has failed.
    pub fn wait(&self) -> Result<()> {
        let mut recording = self.lock();
        self.submit(&mut recording)?;
        drop(recording);
        self.poll()
    }

    fn poll(&self) -> Result<()> {
        poll::wait(&self.device).map_err(|what| self.failed(&what))?;
        self.check()
    }

    fn submit(&self, recording: &mut Recording) -> Result<()> {
        if recording.commands.is_empty() {
            return self.check();
        }
        self.queue.write_buffer(&self.params, 0, &recording.params);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let commands = std::mem::take(&mut recording.commands);
        let Recording { stamps, params, .. } = recording;
        let mut stamps = stamps.as_mut().filter(|_| self.trace.is_on());
        let traces = stamps.is_some();
        let mut at = 0;
        while at < commands.len() {
            match &commands[at] {
                Command::Copy { from, from_at, into, into_at, bytes } => {
                    encoder.copy_buffer_to_buffer(from, *from_at, into, *into_at, Some(*bytes));
                    at += 1;
                }
                Command::Clear { buffer, at: start, bytes } => {
                    encoder.clear_buffer(buffer, *start, Some(*bytes));
                    at += 1;
                }
                // One pass holds all dispatches up to the next copy or clearing; when tracing, each has its own to be timed.
                Command::Run { traced, .. } => {
                    let timestamp_writes =
                        stamps.as_mut().zip(*traced).and_then(|(stamps, at)| stamps.writes(at));
                    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
                    let mut pass = encoder.begin_compute_pass(&descriptor);
                    while let Some(Command::Run { pipeline, group, offset, groups, .. }) = commands.get(at) {
                        pass.set_pipeline(pipeline);
                        pass.set_bind_group(0, group, &[*offset]);
                        pass.dispatch_workgroups(groups[0], groups[1], 1);
                        at += 1;
                        if traces {
                            break;
                        }
                    }
                }
            }
        }
        if let Some(stamps) = &stamps {
            stamps.resolve(&mut encoder);
        }
        self.queue.submit([encoder.finish()]);
        params.clear();
        recording.work = 0;
        if let Some(stamps) = stamps {
            self.poll()?;
            self.trace.timed(&stamps.read(&self.device), self.pool.usage());
        }
        self.check()
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording.lock().expect("recording lock")
    }

    fn check(&self) -> Result<()> {
        let failure = || self.failure.lock().expect("failure lock").clone();
        if failure().is_none() {
            return Ok(());
        }
        // ORDER: of a lost device its callback tells in a poll, and what fails for want of it may be told before.
        let _ = poll::wait(&self.device);
        match failure() {
            None => Ok(()),
            Some(message) if self.lost.load(Ordering::Relaxed) => {
                Err(Error::DeviceLost(format!("{}: {message}", self.name)))
            }
            Some(message) => Err(Error::Device(format!("{}: {message}", self.name))),
        }
    }

    fn failed(&self, what: &str) -> Error {
        self.check().err().unwrap_or_else(|| {
            Error::Device(format!("{}: {what}: try a smaller --batch, or --device cpu", self.name))
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
