//! `vista import`.

use super::paths::{Files, Input, Mark, Output, absolute};
use crate::engine::device::Device;
use crate::engine::nn::Stem;
use crate::error::Result;
use crate::photos::views::ViewConfig;
use crate::pretrain::Imported;
use crate::pretrain::checkpoint::{self, Progress};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

/// Make a checkpoint of another library's ResNet, for `vista knn`, `probe`, `voc`, `finetune`, `embed` and `pretrain --init`.
///
/// Reads safetensors with the names of torchvision, timm or detectron2, behind any prefix (MoCo's `module.encoder_q.`,
/// DenseCL's `backbone.`), and a head of two layers if there is one. Of PyTorch's own files it prints the command that turns
/// them into safetensors.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A .safetensors file.
    #[arg(value_name = "FILE")]
    file: Input,
    /// Checkpoint to write.
    #[arg(long, value_name = "FILE")]
    out: Output,
    /// What stands before the names, where the file holds several networks.
    #[arg(long)]
    prefix: Option<String>,
    /// What follows a 3x3 first convolution: nothing (cifar) or pooling (small).
    #[arg(long, value_parser = PossibleValuesParser::new(["cifar", "small"]).map(small_stem))]
    stem: Option<Stem>,
    /// Side of a view in pixels; 224, or 32 with a 3x3 stem, if absent.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
}

fn small_stem(name: String) -> Stem {
    if name == "cifar" { Stem::Cifar } else { Stem::Small }
}

pub(super) fn files(args: &Args) -> Files {
    Files::default().file("--out", Some(&args.out), Mark::Words(checkpoint::ENCODER))
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let mut found = Imported::from_file(&args.file, args.prefix.as_deref(), args.stem, &Device::cpu())?;
    if let Some(size) = args.image_size {
        found.config.views.size = size;
        found.config.check()?;
    }
    checkpoint::save(&args.out, &found.encoder, &found.config, Progress { epoch: 0, step: 0 })?;
    let Imported { config, source, left_out, .. } = found;
    let (net, prefix) = (source.backbone, &source.prefix);
    println!("backbone   {:?}, width {}, stem {:?}", net.architecture, net.width, net.stem);
    let behind = if prefix.is_empty() { String::new() } else { format!(" behind `{prefix}`") };
    println!("names      {}'s{behind}", source.library.name());
    let random = "so it is random: kNN and probes do not use it";
    match &source.head {
        Ok(Some(head)) => println!("projector  {:?}, from `{}`", head.widths, head.prefix),
        Err(why) => println!("projector  that of the file has another form ({why}), {random}"),
        Ok(None) => println!("projector  none in the file, {random}"),
    }
    if !left_out.is_empty() {
        let shown = left_out.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = left_out.len().saturating_sub(3);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        println!("left out   {shown}{more}");
    }
    let ViewConfig { size, mean, std, .. } = config.views;
    println!("views      {size} px, mean {mean:?}, deviation {std:?}");
    println!("checkpoint {}", args.out.display());
    Ok(json!({
        "checkpoint": absolute(&args.out),
        "backbone": config.model,
        "library": source.library.name(),
        "prefix": prefix,
        "has_projector": matches!(source.head, Ok(Some(_))),
        "left_out": left_out,
        "image_size": size,
    }))
}
