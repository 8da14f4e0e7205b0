//! The adapters of this machine, ranked.

use std::sync::OnceLock;

/// What `vista devices` shows of an adapter.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// The adapter's name.
    pub name: String,
    /// Discrete, integrated, virtual or software.
    pub kind: wgpu::DeviceType,
    /// Vulkan, Metal or DirectX 12.
    pub backend: wgpu::Backend,
    /// Driver and its version.
    pub driver: String,
    /// The largest storage-buffer binding, bytes.
    pub max_binding: u64,
    /// The largest buffer, bytes.
    pub max_buffer: u64,
    /// Whether kernels can be timed on the device.
    pub timestamps: bool,
}

impl AdapterSummary {
    fn of(adapter: &wgpu::Adapter) -> AdapterSummary {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        AdapterSummary {
            name: info.name,
            kind: info.device_type,
            backend: info.backend,
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            timestamps: adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY),
        }
    }

    /// Whether this is a GPU rather than a driver that runs on the CPU.
    pub fn is_real(&self) -> bool {
        matches!(self.kind, wgpu::DeviceType::DiscreteGpu | wgpu::DeviceType::IntegratedGpu)
    }

    fn rank(&self) -> u32 {
        match self.kind {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        }
    }
}

/// One for the process: a driver that is loaded anew for each device was not found any more after some thirty (NVIDIA 580).
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
        wgpu::Instance::new(descriptor)
    })
}

pub(super) fn ranked() -> Vec<(AdapterSummary, wgpu::Adapter)> {
    let adapters = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    let mut all: Vec<_> = adapters.into_iter().map(|a| (AdapterSummary::of(&a), a)).collect();
    all.sort_by_key(|(summary, _)| summary.rank());
    all
}

/// All adapters, the one that `--device gpu` takes first.
pub fn adapters() -> Vec<AdapterSummary> {
    ranked().into_iter().map(|(summary, _)| summary).collect()
}
