//! `vista bench`: pieces of work by name, a training step by op, or a step planned for a GPU.

use super::paths::{Files, Mark, Output};
use crate::bench::{
    KINDS, Name, OpTime, Plan, Profile, StepConfig, Timing, parse_architecture, peak_resident,
    reset_peak_resident,
};
use crate::engine::device::Device;
use crate::error::{Error, Result, readable_bytes};
use serde_json::{Value, json};

/// Measure speed and memory: of a training step by op, or of pieces of work by name (--test), or count what a step asks
/// of a GPU without running it (--plan).
#[derive(Debug, clap::Args)]
#[command(after_help = kinds())]
pub(super) struct Args {
    /// A piece of work, such as resnet18:16,96 or conv:16,64,24,24,64,3,1,1; may be given several times.
    #[arg(long = "test", value_name = "NAME")]
    tests: Vec<String>,
    /// Count dispatches, bytes and FLOPs of a training step of this network on a GPU, without running it.
    #[arg(long, value_name = "MODEL", conflicts_with = "tests")]
    plan: Option<String>,
    /// The networks whose step is timed by op.
    #[arg(long, value_name = "MODEL", value_delimiter = ',', default_value = "resnet18,resnet50")]
    model: Vec<String>,
    /// Images in a step.
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Their side in pixels.
    #[arg(long, value_name = "N", default_value = "96", value_parser = clap::value_parser!(u32).range(1..=8192))]
    image_size: u32,
    /// Keep the activations of a step as f16 until its backward.
    #[arg(long, conflicts_with = "tests")]
    half: bool,
    /// Runs before the first that counts.
    #[arg(long, value_name = "N", default_value = "2")]
    warmup: usize,
    /// Runs that count.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// `auto`, `cpu`, `gpu`, `gpu:N` as `vista devices` numbers them, or `gpu:NAME`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// File for all figures; `-` prints them to standard output, and all else to standard error.
    #[arg(long, value_name = "FILE")]
    json: Option<Output>,
}

/// The list of tests below the options.
fn kinds() -> String {
    let mut text = "Tests:\n".to_string();
    for kind in KINDS {
        text += &format!("  {kind}\n          {}\n", kind.what);
    }
    text + "FLOPs: 2 for each multiply-add of products and convolutions; a training step counts as three forward passes."
}

pub(super) fn files(args: &Args) -> Files {
    match args.json.as_ref().filter(|path| !path.is_printed()) {
        Some(path) => Files::none().file("--json", path, Mark::Words("\"command\": \"bench\"")),
        None => Files::none(),
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let sizes = [args.batch as usize, args.image_size as usize];
    let step = |model: &str| {
        Ok(StepConfig { half: args.half, ..StepConfig::new(parse_architecture(model)?, sizes) })
    };
    let figures = match &args.plan {
        Some(model) => json!({ "plan": plan(step(model)?)? }),
        None => {
            let names = args.tests.iter().map(|name| Name::parse(name)).collect::<Result<Vec<_>>>()?;
            let models = args.model.iter().map(|model| step(model)).collect::<Result<Vec<_>>>()?;
            // One of its own for each: pooled memory of one measurement is not held in the next.
            let open = || Device::open(&args.device);
            let device = open()?.name();
            say!("device  {device}");
            let runs = [args.warmup, args.repeats as usize];
            let (key, rows) = if names.is_empty() {
                let profile = |model| Ok(json!(profile(&open()?, model, runs)?));
                ("steps", models.into_iter().map(profile).collect::<Result<Vec<Value>>>()?)
            } else {
                say!("{:36} {:>28} {:>9}", "test", "median ms (least - most)", "GFLOP/s");
                let test = |name: Name| test(&open()?, &name, runs);
                ("tests", names.into_iter().map(test).collect::<Result<Vec<Value>>>()?)
            };
            json!({ "device": device, "threads": rayon::current_num_threads(), key: rows })
        }
    };
    let Some(path) = &args.json else { return Ok(()) };
    let mut all = json!({ "command": "bench", "vista": env!("CARGO_PKG_VERSION") });
    if let (Some(all), Value::Object(figures)) = (all.as_object_mut(), figures) {
        all.extend(figures);
    }
    if path.is_printed() {
        println!("{all:#}");
        return Ok(());
    }
    std::fs::write(path, format!("{all:#}\n")).map_err(|e| Error::io(path, e))
}

fn test(device: &Device, name: &Name, [warmup, repeats]: [usize; 2]) -> Result<Value> {
    let mut workload = name.prepare(device)?;
    reset_peak_resident();
    let timing = Timing::of(warmup, repeats, || workload.run())?;
    let resident = peak_resident();
    let Timing { median_ms, least_ms, most_ms, .. } = timing;
    let gflops = (workload.work > 0).then(|| timing.giga(2 * workload.work));
    let views = (workload.views > 0).then(|| workload.views as f64 * 1e3 / median_ms);
    let mut notes = vec![resident_note(resident)];
    notes.extend(views.map(|views| format!("{views:.1} views per second and core")));
    let times = format!("{median_ms:.2} ({least_ms:.2} - {most_ms:.2})");
    say!("{:36} {times:>28} {:>9}  {}", name.to_string(), figure(gflops), notes.join(", "));
    Ok(json!({
        "test": name.to_string(),
        "timing": timing,
        "gflops": gflops,
        "views_per_second_and_core": views,
        "peak_resident_bytes": resident,
    }))
}

fn resident_note(bytes: Option<u64>) -> String {
    bytes.map_or("peak memory is only known on Linux".into(), |bytes| {
        format!("{} at most", readable_bytes(bytes))
    })
}

/// One decimal, or a dash.
fn figure(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.1}"))
}

fn profile(device: &Device, config: StepConfig, runs: [usize; 2]) -> Result<Profile> {
    let profile = Profile::of(device, config, runs)?;
    let Timing { median_ms, least_ms, most_ms, .. } = profile.step;
    say!();
    say!(
        "{}{}, {} x 3 x {size} x {size}: {median_ms:.1} ms ({least_ms:.1} - {most_ms:.1}), {:.1} images/s, {:.1} GFLOP/s",
        profile.model,
        half_note(profile.half),
        profile.batch,
        profile.images_per_second,
        profile.gflops,
        size = profile.image_size,
    );
    say!(
        "memory: tensors {}, process {}",
        readable_bytes(profile.peak_tensor_bytes),
        resident_note(profile.peak_resident_bytes)
    );
    if !profile.is_timed() {
        say!("this adapter has no timestamps: only the whole step is timed");
    }
    say!(
        "{:28} {:>6} {:>9} {:>6} {:>9} {:>7} {:>8}",
        "op",
        "calls",
        "ms",
        "share",
        "MB least",
        "GB/s",
        "GFLOP/s"
    );
    for OpTime { op, calls, milliseconds, share, least_bytes, flops } in &profile.ops {
        let rate = |count: f64| milliseconds.filter(|_| count > 0.0).map(|ms| count / 1e6 / ms);
        let share = share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
        let time = milliseconds.map_or("-".into(), |ms| format!("{ms:.2}"));
        let [bandwidth, speed] = [*least_bytes, *flops].map(|count| figure(rate(count)));
        say!(
            "{op:28} {calls:>6.0} {time:>9} {share:>6} {:>9.1} {bandwidth:>7} {speed:>8}",
            least_bytes / 1e6
        );
    }
    Ok(profile)
}

fn half_note(half: bool) -> &'static str {
    if half { " with activations in f16" } else { "" }
}

fn plan(config: StepConfig) -> Result<Plan> {
    let plan = Plan::of(config)?;
    let Plan { model, batch, image_size: size, .. } = &plan;
    say!(
        "{model}{}, {batch} x 3 x {size} x {size}, one training step on a discrete GPU, not run",
        half_note(plan.half)
    );
    say!("memory: tensors {}", readable_bytes(plan.peak_tensor_bytes));
    say!("least: every op reads each input once (backward of batch norm twice) and writes each result once;");
    say!("moved: every dispatch reads and writes each of its bindings once");
    say!(
        "{:34} {:>6} {:>10} {:>9} {:>9} {:>6} {:>8}",
        "phase, op, kernel",
        "calls",
        "dispatches",
        "GB least",
        "GB moved",
        "ratio",
        "GFLOP"
    );
    let giga = |count: u64| format!("{:.3}", count as f64 / 1e9);
    let line =
        |name: String, calls: String, dispatches: usize, least: Option<u64>, moved: u64, flops: u64| {
            let ratio =
                least.map_or(String::new(), |least| format!("{:.2}", moved as f64 / least.max(1) as f64));
            let [least, flops] =
                [least, Some(flops).filter(|&f| f > 0)].map(|n| n.map_or(String::new(), giga));
            let row = format!(
                "{name:34} {calls:>6} {dispatches:>10} {least:>9} {:>9} {ratio:>6} {flops:>8}",
                giga(moved)
            );
            say!("{}", row.trim_end());
        };
    for phase in &plan.phases {
        let (least, moved) = (Some(phase.least_bytes), phase.moved_bytes);
        line(phase.phase.clone(), String::new(), phase.dispatches, least, moved, phase.flops);
        for op in &phase.ops {
            let (name, calls) = (format!("  {}", op.op), op.calls.to_string());
            line(name, calls, op.dispatches, Some(op.least_bytes), op.moved_bytes, op.flops);
            for kernel in &op.kernels {
                line(
                    format!("    {}", kernel.kernel),
                    String::new(),
                    kernel.dispatches,
                    None,
                    kernel.moved_bytes,
                    0,
                );
            }
        }
    }
    Ok(plan)
}
