//! WGSL kernels: load with the prelude, reflect the bindings, build pipelines once, dispatch.
//!
//! ```
//! # use vista::engine::device::kernel::{Reflection, shader_source};
//! let map = Reflection::of("map", &shader_source("map")?)?;
//! assert!(map.entry("no such").is_err());
//! assert!(map.module.entry_points.iter().all(|entry| map.entry(&entry.name).is_ok()));
//! # Ok::<(), vista::Error>(())
//! ```

use super::cache::Pipelines;
use super::params::{Layout, Param};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use include_dir::{Dir, include_dir};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

static SHADERS: Dir = include_dir!("$CARGO_MANIFEST_DIR/shaders");

/// One kernel to run.
#[derive(Clone, Debug)]
pub struct Dispatch<'a> {
    /// File name in `shaders/` without `.wgsl`: also the op's name in errors.
    pub shader: &'static str,
    /// Entry point.
    pub entry: &'static str,
    /// Values of pipeline-overridable constants.
    pub constants: Vec<(&'static str, f64)>,
    /// The values of the uniform struct (binding 0), by name.
    pub params: Vec<Param>,
    /// Tensors in the order of their binding numbers; a range binds only those elements (its start must be a
    /// multiple of 64).
    pub tensors: Vec<(&'a Tensor, Option<Range<usize>>)>,
    /// Workgroups in total, folded over two dimensions.
    pub groups: u64,
    /// Multiply-adds, for the work budget; 0 counts the elements bound.
    pub work: u64,
}

impl<'a> Dispatch<'a> {
    /// A dispatch without constants over whole tensors.
    pub fn new(
        shader: &'static str,
        entry: &'static str,
        params: impl Into<Vec<Param>>,
        tensors: &[&'a Tensor],
        groups: usize,
    ) -> Dispatch<'a> {
        let (params, groups) = (params.into(), groups as u64);
        let tensors = tensors.iter().map(|t| (*t, None)).collect();
        Dispatch { shader, entry, constants: Vec::new(), params, tensors, groups, work: 0 }
    }
}

/// The names of all shader files, without the prelude.
pub fn shader_names() -> Vec<&'static str> {
    let stems = SHADERS.files().filter_map(|f| f.path().file_stem()?.to_str());
    stems.filter(|s| *s != "prelude").collect()
}

/// Shaders that a user of the library has added, by name.
static ADDED: Mutex<BTreeMap<&'static str, &'static str>> = Mutex::new(BTreeMap::new());

/// Adds a shader for an op of one's own: WGSL that may use what the prelude has. It is run with all checks on.
///
/// # Errors
/// [`Error::Input`] if the name is taken; [`Error::Device`] if the text is not valid, with line and column.
pub fn add_shader(name: &'static str, wgsl: &'static str) -> Result<()> {
    let mut added = ADDED.lock().expect("shaders lock");
    if SHADERS.contains(format!("{name}.wgsl")) || added.get(name).is_some_and(|known| *known != wgsl) {
        let advice = "choose another name";
        return Err(Error::input("a shader of this name is there already", name, advice));
    }
    let prelude = SHADERS.get_file("prelude.wgsl").and_then(|f| f.contents_utf8()).unwrap_or_default();
    Reflection::of(name, &format!("{prelude}\n{wgsl}"))?;
    added.insert(name, wgsl);
    Ok(())
}

/// A shader's whole text: the prelude, then the file or what was [added](add_shader).
///
/// # Errors
/// [`Error::Device`] if there is no such shader.
pub fn shader_source(name: &str) -> Result<String> {
    let file = |name: &str| {
        SHADERS
            .get_file(format!("{name}.wgsl"))
            .and_then(|f| f.contents_utf8())
            .or_else(|| ADDED.lock().expect("shaders lock").get(name).copied())
            .ok_or_else(|| Error::Device(format!("{name}.wgsl: no such shader is built in or was added")))
    };
    Ok(format!("{}\n{}", file("prelude")?, file(name)?))
}

/// A built pipeline and what it binds.
pub(super) struct Kernel {
    pub id: u64,
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// The uniform struct and the storage buffers.
    pub slots: Slots,
}

impl Kernel {
    /// Appends the uniform struct of a dispatch.
    pub fn write_params(&self, dispatch: &Dispatch, into: &mut Vec<u8>) {
        match &self.slots.params {
            Some(layout) => layout.write(dispatch.shader, &dispatch.params, into),
            None => assert!(dispatch.params.is_empty(), "{}.wgsl: has no params", dispatch.shader),
        }
    }
}

type PipelineKey = (&'static str, &'static str, Vec<(&'static str, u64)>);

/// All pipelines of one device, built on first use.
pub(super) struct Kernels {
    device: wgpu::Device,
    checked: bool,
    kept: Option<Pipelines>,
    modules: Mutex<HashMap<&'static str, wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<PipelineKey, Arc<Kernel>>>,
}

impl Drop for Kernels {
    fn drop(&mut self) {
        let built = self.pipelines.get_mut().is_ok_and(|pipelines| !pipelines.is_empty());
        if let Some(kept) = self.kept.as_ref().filter(|_| built) {
            kept.save();
        }
    }
}

impl Kernels {
    pub fn new(device: wgpu::Device, checked: bool, kept: Option<Pipelines>) -> Kernels {
        Kernels { device, checked, kept, modules: Mutex::default(), pipelines: Mutex::default() }
    }

    pub fn get(
        &self,
        shader: &'static str,
        entry: &'static str,
        constants: &[(&'static str, f64)],
    ) -> Result<Arc<Kernel>> {
        let key = (shader, entry, constants.iter().map(|(n, v)| (*n, v.to_bits())).collect());
        let mut pipelines = self.pipelines.lock().expect("pipeline lock");
        if let Some(kernel) = pipelines.get(&key) {
            return Ok(kernel.clone());
        }
        let module = self.module(shader)?;
        let slots = reflect(shader)?.entry(entry)?;
        let mut entries = Vec::new();
        let buffer = |binding, ty, dynamic, size| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty,
                has_dynamic_offset: dynamic,
                min_binding_size: std::num::NonZeroU64::new(size),
            },
            count: None,
        };
        // A kernel without params still takes the dynamic offset, so that all dispatches are alike.
        entries.push(buffer(0, wgpu::BufferBindingType::Uniform, true, slots.params_size()));
        for slot in &slots.storage {
            let ty = wgpu::BufferBindingType::Storage { read_only: slot.read_only };
            entries.push(buffer(slot.binding, ty, false, 0));
        }
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(shader),
            entries: &entries,
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(shader),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: self.kept.as_ref().map(|kept| &kept.cache),
        });
        if super::trace::level() >= 3 {
            eprintln!("pipeline {shader}/{entry} {constants:?}\n{}", shader_source(shader)?);
        }
        let kernel = Arc::new(Kernel { id: pipelines.len() as u64, pipeline, layout, slots });
        pipelines.insert(key, kernel.clone());
        Ok(kernel)
    }

    fn module(&self, shader: &'static str) -> Result<wgpu::ShaderModule> {
        let mut modules = self.modules.lock().expect("module lock");
        if let Some(found) = modules.get(shader) {
            return Ok(found.clone());
        }
        let source = shader_source(shader)?;
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(shader),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let checks = match self.checked || !SHADERS.contains(format!("{shader}.wgsl")) {
            true => wgpu::ShaderRuntimeChecks::checked(),
            false => wgpu::ShaderRuntimeChecks::unchecked(),
        };
        // SAFETY: the built-in shaders stay inside their bindings and end their loops; the tests also run every
        // op with all checks on and compare.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        modules.insert(shader, module.clone());
        Ok(module)
    }
}

/// The reflection of a built-in shader, parsed and validated on first use.
pub(super) fn reflect(shader: &'static str) -> Result<Arc<Reflection>> {
    static KNOWN: OnceLock<Mutex<HashMap<&'static str, Arc<Reflection>>>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().expect("reflection lock");
    if let Some(found) = known.get(shader) {
        return Ok(found.clone());
    }
    let reflection = Arc::new(Reflection::of(shader, &shader_source(shader)?)?);
    known.insert(shader, reflection.clone());
    Ok(reflection)
}

/// What the entry points of a shader file bind.
pub struct Reflection {
    shader: &'static str,
    /// The parsed module.
    pub module: naga::Module,
    /// The validator's findings.
    pub info: naga::valid::ModuleInfo,
}

/// What one entry point binds.
pub struct Slots {
    /// The uniform struct, if the entry point reads one.
    pub params: Option<Layout>,
    /// The storage buffers, by ascending binding number.
    pub storage: Vec<Slot>,
}

impl Slots {
    /// Bytes to bind for the uniform struct.
    pub(super) fn params_size(&self) -> u64 {
        self.params.as_ref().map_or(16, |layout| layout.size)
    }
}

/// One storage buffer of an entry point.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Binding number.
    pub binding: u32,
    /// Whether it is declared as read-only.
    pub read_only: bool,
    /// Whether the entry point reads its elements.
    pub reads: bool,
    /// Whether the entry point writes its elements.
    pub writes: bool,
}

impl Reflection {
    /// Parses and validates a shader's whole text.
    ///
    /// # Errors
    /// [`Error::Device`] with the parser's or validator's message.
    pub fn of(shader: &'static str, source: &str) -> Result<Reflection> {
        let module = naga::front::wgsl::parse_str(source)
            .map_err(|e| Error::Device(format!("{shader}.wgsl: {}", e.emit_to_string(source))))?;
        let mut validator = naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::default(),
        );
        let info = validator
            .validate(&module)
            .map_err(|e| Error::Device(format!("{shader}.wgsl: {}", e.emit_to_string(source))))?;
        Ok(Reflection { shader, module, info })
    }

    /// What an entry point binds.
    ///
    /// # Errors
    /// [`Error::Device`] if there is no such entry point, or what is uniform is no struct of numbers and vectors.
    pub fn entry(&self, entry: &str) -> Result<Slots> {
        let index = self.module.entry_points.iter().position(|e| e.name == entry);
        let Some(index) = index else {
            return Err(Error::Device(format!("{}.wgsl: no entry point {entry}", self.shader)));
        };
        let uses = self.info.get_entry_point(index);
        let mut slots = Slots { params: None, storage: Vec::new() };
        for (handle, global) in self.module.global_variables.iter() {
            let Some(binding) = global.binding.filter(|_| !uses[handle].is_empty()) else { continue };
            match global.space {
                naga::AddressSpace::Uniform => {
                    let layout = Layout::of(&self.module, global);
                    let what = "params may hold numbers and vectors of them";
                    slots.params =
                        Some(layout.ok_or_else(|| Error::Device(format!("{}.wgsl: {what}", self.shader)))?);
                }
                naga::AddressSpace::Storage { access } => slots.storage.push(Slot {
                    binding: binding.binding,
                    read_only: !access.contains(naga::StorageAccess::STORE),
                    reads: uses[handle].contains(naga::valid::GlobalUse::READ),
                    writes: uses[handle].contains(naga::valid::GlobalUse::WRITE),
                }),
                _ => {}
            }
        }
        slots.storage.sort_unstable_by_key(|slot| slot.binding);
        Ok(slots)
    }
}
