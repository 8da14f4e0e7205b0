//! `vista bench`: pieces of work by name, a training step by op, or a step planned for a GPU.

use crate::bench::{KINDS, Measured, Name, Plan, Profile, StepConfig, parse_architecture};
use crate::engine::device::Device;
use crate::error::Result;
use crate::run::Provenance;
use serde_json::{Value, json};

/// Measure speed and memory: of a training step by op, or of pieces of work by name (--test), or count what a step asks
/// of a GPU without running it (--plan).
#[derive(Debug, clap::Args)]
#[command(after_help = kinds())]
pub(super) struct Args {
    /// A piece of work, such as resnet18:16,96 or conv:16,64,24,24,64,3,1,1; may be given several times.
    #[arg(long = "test", value_name = "NAME")]
    tests: Vec<String>,
    /// Tell each test by op too.
    #[arg(long, requires = "tests")]
    by_op: bool,
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
}

/// The list of tests below the options.
fn kinds() -> String {
    let mut text = "Tests:\n".to_string();
    for kind in KINDS {
        text += &format!("  {kind}\n          {}\n", kind.what);
    }
    text + "FLOPs: 2 for each multiply-add of products and convolutions; a training step counts as three forward passes."
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let sizes = [args.batch as usize, args.image_size as usize];
    let step = |model: &str| {
        Ok(StepConfig { half: args.half, ..StepConfig::new(parse_architecture(model)?, sizes) })
    };
    Ok(match &args.plan {
        Some(model) => {
            let plan = Plan::of(step(model)?)?;
            println!("{plan}");
            json!({ "plan": plan })
        }
        None => {
            let names = args.tests.iter().map(|name| Name::parse(name)).collect::<Result<Vec<_>>>()?;
            let models = args.model.iter().map(|model| step(model)).collect::<Result<Vec<_>>>()?;
            // One of its own for each: pooled memory of one measurement is not held in the next.
            let open = || Device::open(&args.device);
            let device = open()?;
            println!("device  {}", device.name());
            let runs = [args.warmup, args.repeats as usize];
            let (key, rows) = if names.is_empty() {
                let profile = |model| {
                    let profile = Profile::of(&open()?, model, runs)?;
                    println!("\n{profile}");
                    Ok(json!(profile))
                };
                ("steps", models.into_iter().map(profile).collect::<Result<Vec<Value>>>()?)
            } else {
                println!("{}", Measured::heading());
                let test = |name: Name| {
                    let measured = Measured::of(&open()?, &name, runs, args.by_op)?;
                    println!("{measured}");
                    Ok(json!(measured))
                };
                ("tests", names.into_iter().map(test).collect::<Result<Vec<Value>>>()?)
            };
            json!({ "provenance": Provenance::now(Some(&device)), "device": device.name(), "threads": rayon::current_num_threads(), key: rows })
        }
    })
}
