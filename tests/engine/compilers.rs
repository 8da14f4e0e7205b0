//! Other compilers than naga: Tint, Chrome's, on the WGSL, and `spirv-val` on naga's SPIR-V, for every pipeline that ops
//! build. Tint is the npm package `webgpu`, which `./check` installs and runs these by.

use naga::back::{PipelineConstants, pipeline_constants::process_overrides, spv};
use rand::{SeedableRng, rngs::StdRng};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use vista::engine::autograd::Tape;
use vista::engine::device::GpuOptions;
use vista::engine::device::kernel::{Reflection, shader_names, shader_source};
use vista::engine::device::tuned::{Choice, Class};
use vista::engine::nn::{Architecture, Mode, ResNet, ResNetConfig, Stem};
use vista::engine::ops::{Over, all_cases};
use vista::{Device, Tensor};

/// A shader, its entry point and the bits of its constants by name.
type Pipeline = (&'static str, String, BTreeMap<&'static str, u64>);

/// The pipelines that are built for a device while `work` runs on it.
fn built(device: &Device, pipelines: &mut BTreeSet<Pipeline>, work: impl Fn(&Device)) {
    device.start_trace();
    work(device);
    for run in device.take_trace().expect("trace").kernels {
        let constants = run.constants.iter().map(|(name, value)| (*name, value.to_bits())).collect();
        pipelines.insert((run.shader, run.entry.to_string(), constants));
    }
}

fn train(device: &Device, architecture: Architecture, stem: Stem, [batch, size]: [usize; 2]) {
    let config = ResNetConfig { architecture, width: 64, stem, zero_init: false, dilated: 0 };
    let net = ResNet::new(device, &mut StdRng::seed_from_u64(0), &config).expect("network");
    let tape = Tape::new(device);
    let images = tape.constant(Tensor::full(device, [batch, size, size, 3], 0.0).expect("images"));
    let y = net.forward(&images, Mode::Train { groups: 1 }).expect("forward");
    y.mul(&y).and_then(|square| square.mean(Over::All)).and_then(|loss| loss.backward()).expect("backward");
}

/// Of every case of every op and of steps of ResNets, for GPUs and for software drivers, with every tile that can be
/// tuned; and each entry point as it stands.
fn pipelines() -> BTreeSet<Pipeline> {
    let mut found = BTreeSet::new();
    for name in shader_names() {
        let reflection = Reflection::of(name, &shader_source(name).expect("source")).expect("valid WGSL");
        for entry in &reflection.module.entry_points {
            found.insert((name, entry.name.clone(), BTreeMap::new()));
        }
    }
    let software = Device::gpu_named(None, GpuOptions::default()).expect("a device").planned();
    for device in [Device::plan(), software] {
        for case in all_cases() {
            built(&device, &mut found, |device| {
                case.evaluate(device, 7).unwrap_or_else(|e| panic!("{}: {e}", case.full_name()));
            });
        }
        built(&device, &mut found, |device| {
            train(device, Architecture::Resnet50, Stem::Imagenet, [64, 224]);
            train(device, Architecture::Resnet18, Stem::Cifar, [32, 33]);
        });
    }
    let tiles = Class::product([1, 1, 1]).candidates();
    for (shader, entry, constants) in found.clone() {
        for tile in tiles.iter().filter(|_| constants.contains_key("TY")) {
            let Choice::Tile([down, across]) = *tile else { continue };
            let mut constants = constants.clone();
            constants.extend([("TY", (down as f64).to_bits()), ("TX", (across as f64).to_bits())]);
            found.insert((shader, entry.clone(), constants));
        }
    }
    found
}

/// What a command says, and whether it found no fault.
fn said(command: &mut Command, missing: &str) -> (bool, String) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: {missing}, or run ./check"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Gives modules and pipelines to Tint.
fn tint(modules: &[(&str, String)], pipelines: &BTreeSet<Pipeline>) -> (bool, String) {
    let folder = tempfile::tempdir().expect("folder");
    for (name, source) in modules {
        std::fs::write(folder.path().join(format!("{name}.wgsl")), source).expect("written");
    }
    let listed = |(shader, entry, constants): &Pipeline| {
        let constants: BTreeMap<_, _> = constants.iter().map(|(k, v)| (*k, f64::from_bits(*v))).collect();
        serde_json::json!({ "shader": shader, "entry": entry, "constants": constants })
    };
    let list: Vec<_> = pipelines.iter().map(listed).collect();
    std::fs::write(folder.path().join("pipelines.json"), serde_json::json!(list).to_string())
        .expect("written");
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tint/node_modules");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tint/check.mjs");
    let paths: [PathBuf; 3] = [script, installed, folder.path().into()];
    said(Command::new("node").args(paths), "install Node.js 20 or newer")
}

/// Gives one entry point's SPIR-V to `spirv-val`, as Vulkan 1.1 takes it.
fn spirv_val(words: &[u32]) -> (bool, String) {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), bytemuck::cast_slice(words)).expect("written");
    let mut command = Command::new("spirv-val");
    said(command.args(["--target-env", "vulkan1.1"]).arg(file.path()), "install spirv-tools")
}

#[test]
#[ignore = "needs Tint and spirv-val, which ./check installs"]
fn tint_takes_every_module_and_pipeline() {
    let modules: Vec<_> =
        shader_names().into_iter().map(|n| (n, shader_source(n).expect("source"))).collect();
    let (well, text) = tint(&modules, &pipelines());
    println!("{text}");
    assert!(well, "{text}");
}

#[test]
#[ignore = "needs Tint and spirv-val, which ./check installs"]
fn tint_refuses_a_barrier_that_not_all_lanes_reach_and_a_pipeline_over_the_limits() {
    let text = "override WIDTH: u32 = 1u;
        var<workgroup> shared_by_all: array<vec4<f32>, WIDTH>;
        @compute @workgroup_size(64)
        fn f(@builtin(local_invocation_index) lane: u32) {
            if lane == 0u { workgroupBarrier(); }
        }
        @compute @workgroup_size(64) fn g() { shared_by_all[0] = vec4(1.0); }";
    Reflection::of("uneven", text).expect("naga takes it");
    let wide = BTreeMap::from([("WIDTH", 2000f64.to_bits())]);
    let (well, said) =
        tint(&[("uneven", text.into())], &BTreeSet::from([("uneven", "g".into(), wide.clone())]));
    assert!(!well && said.contains("uneven.wgsl: error") && said.contains("if lane == 0u"), "{said}");
    let text = text.replace("lane == 0u", "WIDTH == 1u");
    let (well, said) = tint(&[("uneven", text.clone())], &BTreeSet::from([("uneven", "g".into(), wide)]));
    assert!(!well && said.contains("uneven/g") && said.contains("1 faults"), "{said}");
    let (well, said) = tint(&[("uneven", text)], &BTreeSet::from([("uneven", "g".into(), BTreeMap::new())]));
    assert!(well, "{said}");
}

#[test]
#[ignore = "needs Tint and spirv-val, which ./check installs"]
fn spirv_val_takes_every_pipeline_and_refuses_a_damaged_one() {
    let mut words = Vec::new();
    for (shader, entry, constants) in pipelines() {
        let reflection = Reflection::of(shader, &shader_source(shader).expect("source")).expect("valid WGSL");
        let constants: PipelineConstants =
            constants.iter().map(|(name, bits)| (name.to_string(), f64::from_bits(*bits))).collect();
        let stage = Some((naga::ShaderStage::Compute, entry.as_str()));
        let at = format!("{shader}/{entry} {constants:?}");
        let (module, info) = process_overrides(&reflection.module, &reflection.info, stage, &constants)
            .unwrap_or_else(|e| panic!("{at}: {e}"));
        let options = spv::Options { lang_version: (1, 3), ..Default::default() };
        words = spv::write_vec(&module, &info, &options, None).unwrap_or_else(|e| panic!("{at}: {e}"));
        let (well, text) = spirv_val(&words);
        assert!(well, "{at}: {text}");
    }
    // The first word behind the five of the header is an instruction's length and code.
    words[5] = 0;
    assert!(!spirv_val(&words).0);
}
