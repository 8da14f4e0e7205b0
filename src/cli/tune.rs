//! `vista tune`: times the kernels of convolutions on a GPU once and keeps the fastest for later runs.

use super::paths::absolute;
use crate::engine::device::{Device, cache};
use crate::engine::ops::tune::products;
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// Find the fastest kernels for this machine's GPU, once for each GPU and driver.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The device to tune: `auto`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Images in a batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Runs of each kernel, of which the shortest counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let device = Device::open(&args.device)?;
    let place = format!("--device {}", args.device);
    let gpu = match &device {
        Device::Gpu(gpu) if !gpu.is_cpu => gpu,
        _ => {
            let advice = "`vista devices` lists the GPUs; other devices have one kernel for each op and need no tuning";
            return Err(Error::input(format!("{} is not a GPU", device.name()), place, advice));
        }
    };
    if cache::folder().is_none() {
        let advice = "set VISTA_CACHE to a folder that can be written";
        return Err(Error::input("there is no folder to keep the result in", "VISTA_CACHE", advice));
    }
    println!("tuning {} ({})", gpu.summary.name, gpu.summary.driver);
    let all = products(args.batch as usize);
    let (mut usual, mut tuned) = (Duration::ZERO, Duration::ZERO);
    for (i, product) in all.iter().enumerate() {
        let timings = product.tune(&device, gpu, args.repeats as usize)?;
        for timing in &timings {
            let [best, built_in] = [timing.best(), timing.built_in]
                .map(|choice| format!("{choice} {:.2} ms", timing.time(choice).as_secs_f64() * 1e3));
            let (at, pass, sizes) = (i + 1, format!("{:?}", product.pass), product.sizes());
            println!("{at:2}/{} {pass:11} {sizes:?}: {best}, built in {built_in}", all.len());
        }
        if let (Some(first), Some(last)) = (timings.first(), timings.last()) {
            usual += first.time(first.built_in);
            tuned += last.time(last.best());
        }
    }
    let path = gpu.save_tuned()?;
    println!("{:.1} ms in all, {:.1} ms built in", tuned.as_secs_f64() * 1e3, usual.as_secs_f64() * 1e3);
    println!("kept in {}", path.display());
    let [usual, tuned] = [usual, tuned].map(|time| time.as_secs_f64() * 1e3);
    Ok(json!({ "device": device.name(), "built_in_ms": usual, "tuned_ms": tuned, "file": absolute(&path) }))
}
