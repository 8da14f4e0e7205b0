//! `vista export`.

use super::judged::Chosen;
use super::paths::{Files, Mark, Output, absolute};
use crate::engine::device::Device;
use crate::error::{Error, Result, counted, readable_bytes};
use crate::files;
use crate::interop::{Library, Transform, Weights, onnx, python};
use crate::run::{DETECTORS, Settings, untrusted};
use crate::transfer::detect;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Write a checkpoint's backbone, or a whole detector, as another library wants it, and print the Python that uses it.
///
/// torchvision, timm and detectron2 get safetensors under their own names; ONNX gets the network itself, normalised images `[N, 3,
/// H, W]` to pooled features and the last map. What is printed is a whole program: it loads the file and embeds `photo.jpg` as Vista
/// does. The file's metadata hold the same transform of photos. Heads (projector, predictor, prototypes) stay behind.
///
/// A detector of `vista detect` goes to detectron2, whole: the program sets the configuration that makes the same network there, and
/// finds the same boxes and masks. torchvision's detectors have no place for it: they find other boxes with the same parameters.
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
    /// File to write; `backbone-FORMAT.safetensors`, `backbone.onnx` or `detector-detectron2.safetensors` beside the checkpoint if absent.
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
    /// Whether a whole detector is exported.
    fn is_whole(&self) -> bool {
        self.format == Format::Detectron2 && untrusted::kind(&*self.chosen.checkpoint) == Some(&DETECTORS)
    }

    fn target(&self) -> PathBuf {
        let library = self.format.library();
        let what = if self.is_whole() { "detector" } else { "backbone" };
        let name = library.map_or("backbone.onnx".into(), |l| format!("{what}-{}.safetensors", l.name()));
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
    if args.is_whole() {
        return detector(args);
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
            Weights(renamed.collect()).write(&out, facts.chain(writer()).collect())?;
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

/// What wrote a file, as transformers' and timm's readers look for it.
fn writer() -> [(String, String); 2] {
    let writer = format!("vista {}", env!("CARGO_PKG_VERSION"));
    [("format".into(), "pt".into()), (WRITER.into(), writer)]
}

/// A whole detector for detectron2.
fn detector(args: &Args) -> Result<Value> {
    let (checkpoint, out) = (&*args.chosen.checkpoint, args.target());
    let place = || checkpoint.display().to_string();
    if args.chosen.image_size.is_some() {
        let advice = "leave out --image-size: INPUT.MIN_SIZE_TEST is in the program that is printed";
        return Err(Error::input("a detector sees photos of any size", place(), advice));
    }
    let (net, config, classes) = detect::load(checkpoint, &Device::open(&args.chosen.device)?)?;
    let theirs = config.detectron2(&classes);
    let unlike = |why: String| Error::input(why, place(), "use it by `vista detect --checkpoint`");
    let (settings, program) = (theirs.config().map_err(unlike)?, theirs.python(&out).map_err(unlike)?);
    let flat: Vec<Value> = settings.iter().flat_map(|(key, value)| [json!(key), value.clone()]).collect();
    let facts = [
        ("channels", "RGB".to_string()),
        ("pixel_mean", format!("{:?}", config.scenes.mean)),
        ("pixel_std", format!("{:?}", config.scenes.std)),
        ("classes", json!(classes.names).to_string()),
        ("detectron2", json!(flat).to_string()),
        ("vista_config", config.to_toml()),
    ];
    let facts = facts.map(|(key, value)| (key.to_string(), value)).into_iter();
    theirs.weights(Weights::of(&net)?).write(&out, facts.chain(writer()).collect())?;
    let bytes = std::fs::metadata(&out).map_err(|e| Error::io(&out, e))?.len();
    println!("# {} ({})", out.display(), readable_bytes(bytes));
    let (kind, backbone, count) = (config.model.kind, config.model.backbone, classes.names.len());
    println!("# {kind}, {backbone}, {}", counted(count, "class", "classes"));
    print!("{program}");
    Ok(json!({ "file": absolute(&out), "bytes": bytes, "network": kind, "classes": classes.names,
        "python": program, "detectron2": flat }))
}
