//! Every shader file is valid WGSL, is headed as the style asks, stays under WebGPU's default limits and becomes
//! SPIR-V, MSL and HLSL.

use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv};
use vista::engine::device::kernel::{Reflection, shader_names, shader_source};

/// Module with its overrides at their defaults, as every back end wants it.
fn each_entry_point(mut check: impl FnMut(&str, &str, &naga::Module, &naga::valid::ModuleInfo)) {
    for name in shader_names() {
        let source = shader_source(name).expect("source");
        let reflection = Reflection::of(name, &source).expect("valid WGSL");
        for entry in &reflection.module().entry_points {
            let stage = Some((naga::ShaderStage::Compute, entry.name.as_str()));
            let constants = PipelineConstants::default();
            let (module, info) = process_overrides(reflection.module(), reflection.info(), stage, &constants)
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

/// The text of an op: `src/engine/ops/<name>.rs` and the files in a folder of that name.
fn op_text(name: &str) -> String {
    let base = format!("{}/src/engine/ops/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(format!("{base}.rs")).unwrap_or_default();
    let paths = std::fs::read_dir(&base).into_iter().flatten().map(|entry| entry.expect("entry").path());
    for path in paths.filter(|path| path.is_file()) {
        text += &std::fs::read_to_string(path).expect("the op's file");
    }
    text
}

/// Fields of a Rust struct as (name, type), in order.
fn rust_fields(text: &str, name: &str) -> Option<Vec<(String, String)>> {
    let head = format!("struct {name} {{");
    let body = text.split(&head).nth(1)?.split('}').next()?;
    let lines = body.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//"));
    let field = |line: &str| {
        let (name, ty) =
            line.trim_start_matches("pub ").trim_end_matches(',').split_once(": ").expect("a field");
        (name.to_string(), ty.to_string())
    };
    Some(lines.map(field).collect())
}

#[test]
fn params_structs_are_twins() {
    for name in shader_names() {
        let reflection = Reflection::of(name, &shader_source(name).expect("source")).expect("valid");
        let module = reflection.module();
        for (_, global) in
            module.global_variables.iter().filter(|(_, g)| g.space == naga::AddressSpace::Uniform)
        {
            let ty = &module.types[global.ty];
            let struct_name = ty.name.as_deref().expect("a named params struct");
            let naga::TypeInner::Struct { members, span } = &ty.inner else {
                panic!("{name}: params are no struct")
            };
            // Most are filled by name and have none.
            let Some(ours) = rust_fields(&op_text(name), struct_name) else { continue };
            let theirs: Vec<(String, String)> = members
                .iter()
                .map(|m| {
                    let scalar = module.types[m.ty].inner.scalar().expect("a scalar or vector");
                    let kind = if scalar.kind == naga::ScalarKind::Float {
                        "f32"
                    } else if scalar.kind == naga::ScalarKind::Uint {
                        "u32"
                    } else {
                        "i32"
                    };
                    let size = module.types[m.ty].inner.size(module.to_ctx()) / 4;
                    let ty = if size == 1 { kind.to_string() } else { format!("[{kind}; {size}]") };
                    (m.name.clone().expect("a name"), ty)
                })
                .collect();
            assert_eq!(ours, theirs, "{name}: {struct_name}");
            // With fields packed one behind the other, equal fields give equal offsets and sizes.
            let mut offset = 0;
            for member in members {
                assert_eq!(member.offset, offset, "{name}: {struct_name}.{:?}", member.name);
                offset += module.types[member.ty].inner.size(module.to_ctx());
            }
            assert_eq!(
                (*span, span % 16),
                (offset, 0),
                "{name}: {struct_name} must fill a multiple of 16 bytes"
            );
        }
    }
}
