//! The adapters of this machine, ranked.
//!
//! ```
//! # use vista::engine::device::adapter::adapters;
//! for adapter in adapters() {
//!     println!("{}, driver {}, a real GPU: {}", adapter.name, adapter.driver, adapter.is_real());
//! }
//! ```

use crate::error::{Error, Result};
use crate::topic::Topic;
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

    fn rank(&self) -> Option<usize> {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        [DiscreteGpu, IntegratedGpu, VirtualGpu, Other, Cpu].iter().position(|kind| *kind == self.kind)
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

/// The number, in [`adapters`], of the adapter that is asked for: that number itself, a part of one name, or the first if
/// nothing is asked for.
///
/// # Errors
/// [`Error::Device`] if there is none, or several have such a name.
fn chosen(request: Option<&str>, names: &[&str]) -> Result<usize> {
    let list = |numbers: &[usize]| {
        numbers.iter().map(|&i| format!("gpu:{i} {}", names[i])).collect::<Vec<_>>().join(", ")
    };
    let all: Vec<usize> = (0..names.len()).collect();
    let wanted = request.unwrap_or("").trim().to_lowercase();
    // A long number is part of a name, as in `RTX 4090`.
    let number = wanted.parse::<usize>().ok().filter(|_| wanted.len() < 3);
    let like = |i: &usize| names[*i].to_lowercase().contains(&wanted);
    let found: Vec<usize> = match (request, number) {
        (None, _) => all.iter().copied().take(1).collect(),
        (_, Some(number)) => all.iter().copied().filter(|&i| i == number).collect(),
        (_, None) => {
            let exact =
                all.iter().copied().filter(|&i| names[i].to_lowercase() == wanted).collect::<Vec<_>>();
            if exact.is_empty() { all.iter().copied().filter(like).collect() } else { exact }
        }
    };
    let advice = match (&found[..], number) {
        (&[one], _) => return Ok(one),
        _ if names.is_empty() => {
            "no Vulkan, Metal or DirectX 12 driver was found: install one (a software one on Debian and Ubuntu: apt-get \
             install mesa-vulkan-drivers) or use --device cpu"
                .to_string()
        }
        ([], Some(number)) => format!("there is no gpu:{number}: there are {}", list(&all)),
        ([], None) => format!("no GPU is named like `{wanted}`: there are {}", list(&all)),
        (several, _) => format!("several GPUs are named like `{wanted}`: choose one of {}", list(several)),
    };
    Err(Error::Device(advice).see(Topic::Devices))
}

/// The adapter that is asked for, by its number in [`adapters`] or a part of its name.
///
/// # Errors
/// [`Error::Device`] if there is none, or several have such a name.
pub(super) fn find(request: Option<&str>) -> Result<(AdapterSummary, wgpu::Adapter)> {
    let mut all = ranked();
    let names: Vec<String> = all.iter().map(|(summary, _)| summary.name.clone()).collect();
    let number = chosen(request, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(all.swap_remove(number))
}

fn ranked() -> Vec<(AdapterSummary, wgpu::Adapter)> {
    let adapters = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    let mut all: Vec<_> = adapters.into_iter().map(|a| (AdapterSummary::of(&a), a)).collect();
    all.sort_by_key(|(summary, _)| summary.rank());
    all
}

/// All adapters, the one that `--device gpu` takes first.
pub fn adapters() -> Vec<AdapterSummary> {
    ranked().into_iter().map(|(summary, _)| summary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["RTX 3080 Ti", "RTX 3080", "Radeon 4090", "Radeon 4090"];

    #[test]
    fn every_adapter_can_be_taken_by_its_number_and_no_number_is_a_part_of_a_name() {
        for number in 0..NAMES.len() {
            assert_eq!(chosen(Some(&number.to_string()), &NAMES).expect("there"), number);
        }
        let message = chosen(Some("8"), &NAMES).unwrap_err().to_string();
        assert!(message.contains("there is no gpu:8") && message.contains("gpu:3 Radeon"), "{message}");
        assert_eq!(chosen(None, &NAMES).expect("the first"), 0);
    }

    #[test]
    fn a_name_takes_the_adapter_that_has_it_and_one_that_fits_several_is_refused_with_their_numbers() {
        assert_eq!(chosen(Some("rtx 3080"), &NAMES).expect("the whole name of one"), 1);
        assert_eq!(chosen(Some("ti"), &NAMES).expect("part of one name"), 0);
        let message = |request: &str| chosen(Some(request), &NAMES).unwrap_err().to_string();
        assert!(message("4090").contains("choose one of gpu:2 Radeon 4090, gpu:3 Radeon 4090"));
        assert!(message("rtx").contains("gpu:0 RTX 3080 Ti, gpu:1 RTX 3080"));
        assert!(message("arc").contains("no GPU is named like `arc`"));
        assert!(chosen(None, &[]).unwrap_err().to_string().contains("mesa-vulkan-drivers"));
    }
}
