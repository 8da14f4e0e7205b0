//! `vista export`.

use super::judged::Chosen;
use super::paths::{Files, Mark, Output, absolute};
use crate::error::{Error, Result, readable_bytes};
use crate::files;
use crate::interop::{Library, Transform, Weights, onnx, python};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Write a checkpoint's backbone as another library wants it, and print the Python that uses it.
///
/// torchvision, timm and detectron2 get safetensors under their own names; ONNX gets the network itself, normalised images `[N, 3,
/// H, W]` to pooled features and the last map. What is printed is a whole program: it loads the file and embeds `photo.jpg` as Vista
/// does. The file's metadata hold the same transform of photos. Heads (projector, predictor, prototypes) stay behind.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    chosen: Chosen,
    /// For which library.
    #[arg(long, value_enum)]
    format: Format,
    /// ONNX: the graph transforms photos itself. It takes decoded ones, u8 `[N, H, W, 3]` of one size, crops, resizes and normalises.
    #[arg(long)]
    with_transform: bool,
    /// File to write; `backbone-FORMAT.safetensors` or `backbone.onnx` beside the checkpoint if absent.
    #[arg(long, value_name = "FILE")]
    out: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Torchvision,
    Timm,
    Detectron2,
    Onnx,
}

impl Format {
    fn library(self) -> Option<Library> {
        match self {
            Format::Torchvision => Some(Library::Torchvision),
            Format::Timm => Some(Library::Timm),
            Format::Detectron2 => Some(Library::Detectron2),
            Format::Onnx => None,
        }
    }
}

/// Key of what wrote a file, among its facts.
const WRITER: &str = "writer";
const MARK: &str = "\"writer\":\"vista";
/// The producer of an ONNX model, as field 2 of it.
const ONNX_MARK: &str = "\x12\x05vista";

impl Args {
    fn target(&self) -> PathBuf {
        let library = self.format.library();
        let name = library.map_or("backbone.onnx".into(), |l| format!("backbone-{}.safetensors", l.name()));
        let beside = || self.chosen.checkpoint.with_file_name(name);
        self.out.as_ref().map_or_else(beside, |out| out.to_path_buf())
    }
}

pub(super) fn files(args: &Args) -> Files {
    let mark = if args.format == Format::Onnx { ONNX_MARK } else { MARK };
    Files::default().file("--out", Some(&args.target()), Mark::Words(mark))
}

pub(super) fn run(args: &Args) -> Result<Value> {
    let (library, out) = (args.format.library(), args.target());
    if let (Some(library), true) = (library, args.with_transform) {
        let what = format!("{} has no place for the transform of photos in its network", library.name());
        let advice = "use --format onnx, or the transform in the file's metadata";
        return Err(Error::input(what, "--with-transform", advice));
    }
    let opened = args.chosen.open()?;
    let resnet = opened.config.resnet();
    let change = library.map_or(Ok(None), |library| library.fit(&resnet)).map_err(|why| {
        let advice = "use --format onnx, which brings its own network";
        Error::input(why, args.chosen.checkpoint.display().to_string(), advice)
    })?;
    let transform = Transform::of(&opened.views, opened.config.detail());
    let weights = Weights::of(&opened.encoder.backbone)?;
    let network =
        [("architecture", resnet.architecture.to_string()), ("features", resnet.features().to_string())];
    let facts = network.map(|(key, value)| (key.to_string(), value)).into_iter().chain(transform.facts());
    match library {
        None => {
            let inner = args.with_transform.then_some(&transform);
            files::replace(&out, &onnx(&resnet, &weights, inner, &facts.collect::<Vec<_>>()))?;
        }
        Some(library) => {
            let renamed = weights.0.into_iter().map(|(name, array)| (library.rename(&name), array));
            // What transformers' and timm's readers look for.
            let writer = format!("vista {}", env!("CARGO_PKG_VERSION"));
            let more = [("format", "pt"), (WRITER, &writer)].map(|(k, v)| (k.to_string(), v.to_string()));
            Weights(renamed.collect()).write(&out, facts.chain(more).collect())?;
        }
    }
    let bytes = std::fs::metadata(&out).map_err(|e| Error::io(&out, e))?.len();
    let program = python(library, &resnet, change, &transform, args.with_transform, &out);
    // All of it is Python, to be pasted or kept: `vista export .. > embed.py`.
    println!("# {} ({})", out.display(), readable_bytes(bytes));
    println!(
        "# {}, {} features of RGB photos at {} px",
        resnet.architecture,
        resnet.features(),
        transform.size
    );
    print!("{program}");
    Ok(json!({ "file": absolute(&out), "bytes": bytes, "network": resnet.architecture.to_string(),
        "features": resnet.features(), "python": program, "transform": transform.facts().into_iter().collect::<std::collections::BTreeMap<_, _>>() }))
}
