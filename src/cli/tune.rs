//! `vista tune`: times the tilings of the convolutions on a GPU once and keeps the fastest for later runs.

use crate::device::{Device, cache};
use crate::error::{Error, Result};
use crate::ops::tune::products;
use std::time::Duration;

/// Find the fastest kernels for this machine's GPU, once for each GPU and driver.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The device to tune: `auto`, `gpu` or `gpu:NAME`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Images in a batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Runs of each kernel, of which the shortest counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let device = Device::open(&args.device)?;
    let place = format!("--device {}", args.device);
    let gpu = match &device {
        Device::Gpu(gpu) if !gpu.is_cpu() => gpu,
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
        let timing = product.tune(&device, gpu, args.repeats as usize)?;
        let time =
            |threads| timing.times.iter().find(|(t, _)| *t == threads).map_or(Duration::ZERO, |(_, t)| *t);
        let (built_in, best) = (timing.built_in, timing.best());
        usual += time(built_in);
        tuned += time(best);
        let [m, n, k] = timing.sizes;
        println!(
            "{:2}/{} {:11} [{m}, {n}, {k}]: {}x{} {:.2} ms, built in {}x{} {:.2} ms",
            i + 1,
            all.len(),
            format!("{:?}", product.pass),
            8 * best[0],
            8 * best[1],
            time(best).as_secs_f64() * 1e3,
            8 * built_in[0],
            8 * built_in[1],
            time(built_in).as_secs_f64() * 1e3,
        );
    }
    let path = gpu.save_tilings()?;
    println!("{:.1} ms in all, {:.1} ms built in", tuned.as_secs_f64() * 1e3, usual.as_secs_f64() * 1e3);
    println!("kept in {}", path.display());
    Ok(())
}
