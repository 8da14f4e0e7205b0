//! `vista finetune`.

use crate::cli::judged::{Chosen, LabelledPhotos, Watch, best_on_test};
use crate::cli::paths::{Files, Mark, Output};
use crate::error::Result;
use crate::pretrain::checkpoint;
use crate::pretrain::momentum::copy_state;
use crate::transfer::classify::finetune::{Finetune, FinetuneProgress, FinetuneSchedule};
use serde_json::{Value, json};

/// Fine-tune the whole network of a checkpoint on labelled photos.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    judged: Chosen,
    #[command(flatten)]
    photos: LabelledPhotos,
    /// Start from random parameters, not the checkpoint's: what its pretraining is worth. Batch norm starts with statistics
    /// of the train photos.
    #[arg(long)]
    random_init: bool,
    /// Passes over the train photos.
    #[arg(long, default_value_t = 120)]
    epochs: u64,
    /// Photos in a step.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Learning rate at the start [default: 0.02 batch / 64].
    #[arg(long)]
    lr: Option<f64>,
    /// Course of the learning rate.
    #[arg(long, value_enum, default_value_t = FinetuneSchedule::Cosine)]
    schedule: FinetuneSchedule,
    /// L2 decay of all parameters.
    #[arg(long, default_value_t = 5e-4)]
    weight_decay: f64,
    /// Smallest area of a training crop as a fraction of the photo's.
    #[arg(long, value_name = "AREA", default_value_t = 0.08)]
    crop_min: f64,
    /// Judge on the test photos every so many epochs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    judge_every: u64,
    /// Seed of the head, the order and the crops.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// File for the fine-tuned encoder, which the other commands read; its head is not kept.
    #[arg(long, value_name = "FILE")]
    out: Option<Output>,
}

pub(super) fn files(args: &Args) -> Result<Files> {
    let files = args.judged.files("finetune", args.photos.labelled(), args)?;
    Ok(files.file("--out", args.out.as_deref(), Mark::Words(checkpoint::ENCODER)))
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let judging = args.judged.begin(|| args.photos.open())?;
    let (opened, albums) = (&judging.opened, &judging.albums);
    if args.random_init {
        copy_state(&opened.encoder, &judging.untrained()?)?;
    }
    let usual = Finetune::scaled(args.batch);
    let finetune = Finetune {
        epochs: args.epochs,
        lr: args.lr.unwrap_or(usual.lr),
        weight_decay: args.weight_decay,
        schedule: args.schedule,
        crop_scale: [args.crop_min, 1.0],
        judge_every: args.judge_every,
        seed: args.seed,
        ..usual
    };
    println!("protocol {}", json!(finetune));
    let mut watch = Watch::new();
    let heard = &mut |p: FinetuneProgress| {
        let last = p.last.map_or(String::new(), |e| {
            let top1 = e.top1.map_or(String::new(), |top1| format!(", test top-1 {top1:.3}"));
            format!(", epoch {} of {}: loss {:.3}{top1}", e.epoch, args.epochs, e.train_loss)
        });
        let what = || format!("step {} of {}{last}", p.step, p.total);
        watch.at(p.step as usize, p.total as usize, what);
    };
    let features = opened.config.resnet().features();
    let result =
        finetune.fit(&opened.encoder.backbone, features, albums, &opened.views, &opened.device, heard)?;
    drop(watch);
    let classes = albums.test.photos().classes().iter().zip(&result.classes).map(|(class, right)| {
        let right = right.map_or("no test photo".into(), |r| format!("{r:.3}"));
        format!("  {class:24} {right}")
    });
    let mut lines: Vec<String> = classes.collect();
    let start = if args.random_init { "random parameters" } else { "the checkpoint" };
    lines.extend([
        format!("fine-tuned from {start} for {} epochs, {} steps", args.epochs, result.steps),
        format!("after the last epoch: top-1 {:.4}, mean per class {:.4}", result.top1, result.balanced),
        best_on_test(result.best_on_test),
        judging.counts(),
    ]);
    if let Some(out) = &args.out {
        let reached = checkpoint::Progress { epoch: args.epochs, step: result.steps };
        checkpoint::save(out, &opened.encoder, &opened.config, reached)?;
        lines.push(format!("encoder  {}", out.display()));
    }
    let facts = json!({ "random_init": args.random_init, "protocol": finetune, "results": result });
    judging.finish(&lines, facts)
}
