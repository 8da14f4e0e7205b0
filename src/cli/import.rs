//! `vista import`.

use super::judged::check_folder_of;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::interop::Found;
use crate::nn::Stem;
use crate::train::checkpoint::{self, Progress};
use std::path::PathBuf;

/// Make a checkpoint of another library's ResNet, for `vista knn`, `probe`, `voc`, `finetune`, `embed` and `pretrain --init`.
///
/// Reads safetensors with the names of torchvision, timm or detectron2, behind any prefix (MoCo's `module.encoder_q.`,
/// DenseCL's `backbone.`), and a head of two layers if there is one. PyTorch's own files are turned into safetensors by
/// `safetensors.torch.save_file(torch.load(FILE)["state_dict"], NEW)`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A .safetensors file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Checkpoint to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What stands before the names, where the file holds several networks.
    #[arg(long)]
    prefix: Option<String>,
    /// What follows a 3x3 first convolution: nothing (cifar) or pooling (small).
    #[arg(long, value_enum)]
    stem: Option<Small>,
    /// Side of a view in pixels; 224, or 32 with a 3x3 stem, if absent.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Small {
    Cifar,
    Small,
}

pub(super) fn run(args: &Args) -> Result<()> {
    check_folder_of(&args.out, "--out")?;
    if args.out == args.file {
        let place = args.file.display().to_string();
        return Err(Error::input("--out is the file itself", place, "name another file"));
    }
    let stem = args.stem.map(|stem| match stem {
        Small::Cifar => Stem::Cifar,
        Small::Small => Stem::Small,
    });
    let mut found = Found::in_file(&args.file, args.prefix.as_deref(), stem, &Device::cpu())?;
    if let Some(size) = args.image_size {
        found.config = found.config.with_size(size);
        found.config.check()?;
    }
    checkpoint::save(&args.out, &found.encoder, &found.config, Progress { epoch: 0, step: 0 })?;
    let Found { config, source, left_out, .. } = found;
    let (net, prefix) = (source.backbone, &source.prefix);
    println!("backbone   {:?}, width {}, stem {:?}", net.architecture, net.width, net.stem);
    println!(
        "names      {}'s{}",
        source.library.name(),
        match prefix.as_str() {
            "" => String::new(),
            prefix => format!(" behind `{prefix}`"),
        }
    );
    match &source.head {
        Some(head) => println!("projector  {:?}, from `{}`", head.widths, head.prefix),
        None => println!("projector  none in the file, so it is random: kNN and probes do not use it"),
    }
    if !left_out.is_empty() {
        let shown = left_out.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = left_out.len().saturating_sub(3);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        println!("left out   {shown}{more}");
    }
    println!(
        "views      {} px, mean {:?}, deviation {:?}",
        config.views.size, config.views.mean, config.views.std
    );
    println!("checkpoint {}", args.out.display());
    Ok(())
}
