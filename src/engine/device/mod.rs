//! The machine: which devices there are, which one `auto` takes, and what each offers to the ops.
//!
//! ```
//! # use vista::{Device, Tensor};
//! let device = Device::open("cpu")?; // or auto, gpu, gpu:N, gpu:NAME
//! assert!(device.name().starts_with("CPU"));
//! assert!(Device::open("tpu").unwrap_err().to_string().contains("use auto, cpu, gpu"));
//! # Ok::<(), vista::Error>(())
//! ```

pub mod adapter;
mod arena;
pub(crate) mod cache;
pub mod cpu;
pub(crate) mod deferred;
pub mod gpu;
pub mod kernel;
mod pages;
pub mod params;
mod poll;
pub(crate) mod pool;
pub mod real;
mod recent;
mod recorder;
pub(crate) mod scratch;
mod stamps;
pub mod trace;
pub mod tuned;
pub(crate) mod vector;

pub use adapter::AdapterSummary;
pub use cpu::{Cpu, Precision};
pub use gpu::{Gpu, GpuOptions};
pub use trace::{Events, KernelRun, OpRun};

use crate::error::Result;
use std::sync::Arc;
use trace::Trace;

/// Where tensors live and ops run. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Device {
    /// The CPU twins, in f32 or (as the definition of every op) f64.
    Cpu(Arc<Cpu>),
    /// A wgpu adapter.
    Gpu(Arc<Gpu>),
}

impl Device {
    /// The CPU device: f32 twins, parallel over the cores.
    pub fn cpu() -> Device {
        Device::Cpu(Arc::new(Cpu::new(Precision::F32)))
    }

    /// The reference device: the same twins in f64. Slow; the definition that all else is checked against.
    pub fn reference() -> Device {
        Device::Cpu(Arc::new(Cpu::new(Precision::F64)))
    }

    /// A GPU by its number in [`adapter::adapters`] or a part of its name; if `None` the first, which is a real one
    /// before a software driver.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if there is none, several fit or it can't be opened, naming those there are.
    pub fn gpu_named(name: Option<&str>, options: GpuOptions) -> Result<Device> {
        Ok(Device::Gpu(Arc::new(Gpu::open(name, options)?)))
    }

    /// A GPU that only plans: kernels are chosen and recorded as for a discrete GPU, and counted by the trace, but
    /// tensors have no elements and nothing runs: what is read are zeros.
    pub fn plan() -> Device {
        Device::Gpu(Arc::new(Gpu::plan()))
    }

    /// A plan of this device, which takes the memory that the device takes: ops choose the same kernels on a GPU, and none
    /// on the CPU, whose twins need no memory but for their results.
    pub fn planned(&self) -> Device {
        match self {
            Device::Cpu(_) => Device::Gpu(Arc::new(Gpu::plan_of_cpu())),
            Device::Gpu(gpu) => Device::Gpu(Arc::new(gpu.planned())),
        }
    }

    /// Opens what `--device` asks for: `auto`, `cpu`, `gpu`, `gpu:N` or `gpu:NAME`. A GPU uses what earlier runs have kept in the
    /// user's cache.
    ///
    /// `auto` takes a discrete GPU, else an integrated one, else the CPU device; a software driver is only
    /// taken when asked for, because the CPU device is far faster.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for another word; [`crate::Error::Device`] if the GPU asked for is not there.
    pub fn open(request: &str) -> Result<Device> {
        Device::open_one_of(request, 0)
    }

    /// The same for one of several processes on this machine, by its number: where the request names no GPU, each takes another real
    /// one, and the first again when there are no more.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn open_one_of(request: &str, process: usize) -> Result<Device> {
        let options = GpuOptions { cache: cache::folder(), ..GpuOptions::default() };
        let real = || {
            let all = adapter::adapters();
            let real: Vec<usize> = (0..all.len()).filter(|&number| all[number].is_real()).collect();
            real.get(process % real.len().max(1)).map(usize::to_string)
        };
        match request {
            "auto" => match real() {
                Some(number) => Device::gpu_named(Some(&number), options),
                None => Ok(Device::cpu()),
            },
            "cpu" => Ok(Device::cpu()),
            "gpu" => Device::gpu_named(real().as_deref(), options),
            _ => match request.strip_prefix("gpu:") {
                Some(name) => Device::gpu_named(Some(name), options),
                None => Err(crate::Error::input(
                    "unknown device",
                    format!("--device {request}"),
                    "use auto, cpu, gpu, gpu:N or gpu:NAME (`vista devices` lists numbers and names)",
                )),
            },
        }
    }

    /// A readable name: `CPU (2 threads)` or the adapter's.
    pub fn name(&self) -> String {
        match self {
            Device::Cpu(cpu) => match cpu.precision {
                Precision::F32 => format!("CPU ({} threads)", rayon::current_num_threads()),
                Precision::F64 => "CPU reference (f64)".into(),
            },
            Device::Gpu(gpu) => gpu.summary.name.clone(),
        }
    }

    /// Whether both are the same device (not merely of the same kind).
    pub fn same(&self, other: &Device) -> bool {
        match (self, other) {
            (Device::Cpu(a), Device::Cpu(b)) => Arc::ptr_eq(a, b),
            (Device::Gpu(a), Device::Gpu(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Submits what is recorded and waits until the device is idle.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device has failed.
    pub fn wait(&self) -> Result<()> {
        match self {
            Device::Cpu(_) => Ok(()),
            Device::Gpu(gpu) => gpu.wait(),
        }
    }

    /// Ends a GPU as a driver that is reset does: what is recorded from now on fails with
    /// [`crate::Error::DeviceLost`]. Nothing happens to the CPU device.
    pub fn destroy(&self) {
        if let Device::Gpu(gpu) = self {
            gpu.destroy();
        }
    }

    /// Bytes of tensors in use, now and at most.
    pub fn usage(&self) -> (u64, u64) {
        match self {
            Device::Cpu(cpu) => cpu.arena.usage(),
            Device::Gpu(gpu) => gpu.pool.usage(),
        }
    }

    /// How many parameters an op that moves them takes at once, [packed](crate::engine::tensor::Tensor::pack): all on a GPU, where
    /// each kernel costs a dispatch; one on the CPU, where a call costs nothing and a copy takes memory.
    pub fn bundle(&self) -> usize {
        match self {
            Device::Gpu(gpu) if gpu.records => usize::MAX,
            _ => 1,
        }
    }

    pub(crate) fn trace(&self) -> &Trace {
        match self {
            Device::Cpu(cpu) => &cpu.trace,
            Device::Gpu(gpu) => &gpu.trace,
        }
    }

    /// Starts to note every op and kernel that runs. While it does, a GPU waits after each submission and runs each
    /// kernel alone.
    pub fn start_trace(&self) {
        self.trace().start();
    }

    /// Waits for the device; what ran since the start of the trace or the last call.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device has failed.
    pub fn take_trace(&self) -> Result<Events> {
        self.wait()?;
        Ok(self.trace().take())
    }

    /// Ends what [`Device::start_trace`] started.
    pub fn stop_trace(&self) {
        self.trace().stop();
    }
}
