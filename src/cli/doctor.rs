//! `vista doctor`: every op's cases on a device against the f64 definition, a line each, and the facts that a bug
//! report needs.

use crate::engine::device::{Device, GpuOptions};
use crate::engine::ops::{AnyCase, all_cases, relative_l2};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::time::Instant;

/// Check every op of a device against its f64 definition.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The device to check: `gpu` (the first one, software drivers included), `gpu:N` as `vista devices` numbers them, `gpu:NAME` or `cpu`.
    #[arg(long, default_value = "gpu")]
    device: String,
}

/// Values must agree within this, relative L2; gradients within the second.
const BOUNDS: [f64; 2] = [1e-4, 1e-3];

pub(super) fn run(args: &Args) -> Result<Value> {
    let device = match args.device.as_str() {
        "gpu" => Device::gpu_named(None, GpuOptions::default())?,
        other => Device::open(other)?,
    };
    println!("vista    {}", env!("CARGO_PKG_VERSION"));
    println!("system   {} {}", std::env::consts::OS, std::env::consts::ARCH);
    println!("device   {}", device.name());
    if let Device::Gpu(gpu) = &device {
        let s = &gpu.summary;
        println!("adapter  {:?}, {:?}, {}", s.kind, s.backend, s.driver);
        println!("limits   {} a binding, {} a buffer", s.max_binding, s.max_buffer);
    }
    let reference = Device::reference();
    let began = Instant::now();
    let (mut passed, mut failed, mut rows) = (0, 0, Vec::new());
    for case in all_cases() {
        let start = Instant::now();
        let (verdict, ok) = match check(&case, &device, &reference) {
            Ok(errors) => {
                rows.push(json!({ "case": case.full_name(), "values": errors[0], "gradients": errors[1] }));
                let ok = errors[0] <= BOUNDS[0] && errors[1] <= BOUNDS[1];
                (format!("values {:.1e}  gradients {:.1e}", errors[0], errors[1]), ok)
            }
            Err(error) => (error.to_string(), false),
        };
        let word = if ok { "ok    " } else { "FAILED" };
        println!("{word} {:44} {verdict}  {:.0} ms", case.full_name(), start.elapsed().as_secs_f64() * 1e3);
        if ok { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed in {:.1} s", began.elapsed().as_secs_f64());
    if failed > 0 {
        return Err(Error::Run(format!(
            "{failed} cases disagree with the definition: do not train on {}; please report the lines above",
            device.name()
        )));
    }
    println!("{} computes every op as defined", device.name());
    Ok(json!({ "device": device.name(), "cases": rows }))
}

/// The largest relative L2 error of outputs, and of gradients. A NaN counts as infinite.
fn check(case: &AnyCase, device: &Device, reference: &Device) -> Result<[f64; 2]> {
    let (got, expected) = (case.evaluate(device, 7)?, case.evaluate(reference, 7)?);
    let mut worst = [0.0f64; 2];
    for ((name, got), (_, expected)) in got.iter().zip(&expected) {
        let error = relative_l2(got, expected);
        let slot = &mut worst[usize::from(name.starts_with("grad"))];
        *slot = slot.max(if error.is_nan() { f64::INFINITY } else { error });
    }
    Ok(worst)
}
