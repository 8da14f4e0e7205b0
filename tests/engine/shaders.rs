//! Every shader file is valid WGSL, is headed as the style asks, stays under WebGPU's default limits and becomes
//! SPIR-V, MSL and HLSL.

use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv};
use vista::engine::device::kernel::{Reflection, shader_names, shader_source};

/// Module with its overrides at their defaults, as every back end wants it.
fn each_entry_point(mut check: impl FnMut(&str, &str, &naga::Module, &naga::valid::ModuleInfo)) {
    for name in shader_names() {
        let source = shader_source(name).expect("source");
        let reflection = Reflection::of(name, &source).expect("valid WGSL");
        for entry in &reflection.module.entry_points {
            let stage = Some((naga::ShaderStage::Compute, entry.name.as_str()));
            let constants = PipelineConstants::default();
            let (module, info) = process_overrides(&reflection.module, &reflection.info, stage, &constants)
                .expect("overrides");
            check(name, &entry.name, &module, &info);
        }
    }
}

#[test]
fn shaders_become_spirv_msl_and_hlsl() {
    let mut count = 0;
    each_entry_point(|name, entry, module, info| {
        let at = format!("{name}/{entry}");
        let words = spv::write_vec(module, info, &spv::Options::default(), None)
            .unwrap_or_else(|e| panic!("{at}: SPIR-V: {e}"));
        assert!(words.len() > 100, "{at}");
        let options = msl::Options { fake_missing_bindings: true, ..Default::default() };
        let (text, _) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{at}: MSL: {e}"));
        assert!(text.contains("kernel void"), "{at}");
        let mut text = String::new();
        let options = hlsl::Options { fake_missing_bindings: true, ..Default::default() };
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(module, info, None)
            .unwrap_or_else(|e| panic!("{at}: HLSL: {e}"));
        assert!(text.contains("numthreads"), "{at}");
        count += 1;
    });
    println!("{count} entry points");
    assert!(count >= 20);
}

#[test]
fn shaders_stay_under_the_default_limits() {
    each_entry_point(|name, entry, module, _| {
        let at = format!("{name}/{entry}");
        let slots = Reflection::of("test", &shader_source(name).expect("source"))
            .expect("valid")
            .entry(entry)
            .expect("entry");
        assert!(slots.storage.len() <= 8, "{at} binds {} storage buffers", slots.storage.len());
        let entry = module.entry_points.iter().find(|e| e.name == entry).expect("entry");
        assert!(entry.workgroup_size.iter().product::<u32>() <= 256, "{at}");
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup)
            .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
            .sum();
        assert!(shared <= 16 * 1024, "{at} has {shared} bytes of workgroup memory");
    });
}

#[test]
fn shaders_are_headed_and_have_a_twin_of_the_same_name() {
    for name in shader_names() {
        let path = format!("{}/shaders/{name}.wgsl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("shader");
        let head: Vec<&str> = text.lines().take_while(|l| l.starts_with("//")).collect();
        assert!(head[0].starts_with(&format!("// {name}.wgsl -- ")), "{name}: {}", head[0]);
        for part in ["entries", "parallel", "numerics", "limits", "twin"] {
            assert!(
                head.iter().any(|l| l.starts_with(&format!("// {part} "))),
                "{name} does not say `{part}`"
            );
        }
        let twin = head.iter().find_map(|line| line.strip_prefix("// twin      ")).expect("a twin");
        assert!(twin.replace("/twin.rs", ".rs").ends_with(&format!("/{name}.rs")), "{twin}");
        assert!(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(twin).exists(), "{twin}");
    }
}

#[test]
fn a_broken_shader_is_refused_with_its_line() {
    let error = Reflection::of("broken", "@compute @workgroup_size(1) fn f() { let x: i32 = 1.5; }")
        .err()
        .expect("an error");
    assert!(error.to_string().contains("broken.wgsl"), "{error}");
}

#[test]
fn params_are_numbers_with_names_and_no_padding() {
    for name in shader_names() {
        let reflection = Reflection::of(name, &shader_source(name).expect("source")).expect("valid");
        let module = &reflection.module;
        for entry in &module.entry_points {
            // That the layout is one to be filled by name is checked here.
            reflection.entry(&entry.name).unwrap_or_else(|e| panic!("{name}/{}: {e}", entry.name));
        }
        let uniforms = module.global_variables.iter().filter(|(_, g)| g.space == naga::AddressSpace::Uniform);
        for (_, global) in uniforms {
            let naga::TypeInner::Struct { members, .. } = &module.types[global.ty].inner else { continue };
            for member in members.iter().filter_map(|m| m.name.as_deref()) {
                let idle = ["spare", "unused"].iter().any(|word| member.starts_with(word));
                assert!(!idle, "{name}: {member} is there for its size alone, which the host looks after");
            }
        }
    }
}
