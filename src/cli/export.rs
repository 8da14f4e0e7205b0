//! `vista export`.

use super::judged::Chosen;
use super::paths::{Files, Mark, Output};
use crate::engine::nn::Architecture;
use crate::error::{Error, Result, readable_bytes};
use crate::interop::{Library, Weights, onnx};
use std::path::PathBuf;

/// Write a checkpoint's backbone as another library wants it.
///
/// torchvision, timm and detectron2 get safetensors under their own names; ONNX gets the network itself, images `[N, 3, H,
/// W]` to pooled features and the last map. All take RGB images in [0, 1], normalised by the mean and deviation in the
/// file's metadata. Heads (projector, predictor, prototypes) stay behind.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    chosen: Chosen,
    /// For which library.
    #[arg(long, value_enum)]
    format: Format,
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

pub(super) fn run(args: &Args) -> Result<()> {
    let (library, out) = (args.format.library(), args.target());
    let opened = args.chosen.open()?;
    let resnet = opened.config.resnet();
    let architecture = resnet.architecture;
    let change = library.map_or(Ok(None), |library| library.fit(&resnet)).map_err(|why| {
        let advice = "use --format onnx, which brings its own network";
        Error::input(why, args.chosen.checkpoint.display().to_string(), advice)
    })?;
    let weights = Weights::of(&opened.encoder.backbone)?;
    let facts = [
        ("architecture".to_string(), architecture.to_string()),
        ("features".to_string(), resnet.features().to_string()),
        ("channels".to_string(), "RGB, values in [0, 1]".to_string()),
        ("mean".to_string(), format!("{:?}", opened.views.mean)),
        ("std".to_string(), format!("{:?}", opened.views.std)),
        ("image_size".to_string(), opened.views.size.to_string()),
    ];
    match library {
        None => std::fs::write(&out, onnx(&resnet, &weights, &facts)).map_err(|e| Error::io(&out, e))?,
        Some(library) => {
            let renamed = weights.0.into_iter().map(|(name, array)| (library.rename(&name), array));
            // What transformers' and timm's readers look for.
            let writer = format!("vista {}", env!("CARGO_PKG_VERSION"));
            let more = [("format", "pt"), (WRITER, &writer)].map(|(k, v)| (k.to_string(), v.to_string()));
            let facts = facts.into_iter().chain(more).collect();
            Weights(renamed.collect()).write(&out, facts)?;
        }
    }
    let bytes = std::fs::metadata(&out).map_err(|e| Error::io(&out, e))?.len();
    println!("backbone {} ({})", out.display(), readable_bytes(bytes));
    println!("network  {architecture}, {} features", resnet.features());
    println!("images   RGB in [0, 1], mean {:?}, deviation {:?}", opened.views.mean, opened.views.std);
    println!("load");
    for line in loading(args.format, architecture, change, &out.display().to_string()) {
        println!("  {line}");
    }
    Ok(())
}

/// The lines of Python (of a configuration for detectron2) that load it.
fn loading(format: Format, network: Architecture, change: Option<&str>, file: &str) -> Vec<String> {
    let load = format!("net.load_state_dict(safetensors.torch.load_file({file:?}))");
    let mut lines = match format {
        Format::Torchvision => {
            vec![format!("net = torchvision.models.{network}()"), "net.fc = torch.nn.Identity()".into(), load]
        }
        Format::Timm => vec![format!("net = timm.create_model(\"{network}\", num_classes=0)"), load],
        Format::Onnx => vec![
            format!("net = onnxruntime.InferenceSession({file:?})"),
            "features, map = net.run([\"features\", \"map\"], {\"images\": images})".into(),
        ],
        Format::Detectron2 => vec![
            format!("weights = safetensors.numpy.load_file({file:?})"),
            // The heuristics find the backbone inside a detector.
            "model = {\"model\": weights, \"__author__\": \"vista\", \"matching_heuristics\": True}".into(),
            "pickle.dump(model, open(\"backbone.pkl\", \"wb\"))".into(),
            format!(
                "# MODEL.WEIGHTS backbone.pkl  MODEL.RESNETS.DEPTH {}  MODEL.RESNETS.STRIDE_IN_1X1 False",
                network.to_string().trim_start_matches("resnet"),
            ),
            "# INPUT.FORMAT RGB  MODEL.PIXEL_MEAN 255 x mean  MODEL.PIXEL_STD 255 x deviation".into(),
        ],
    };
    if format == Format::Detectron2 && network != Architecture::Resnet50 {
        lines.push("# MODEL.RESNETS.RES2_OUT_CHANNELS 64".into());
    }
    if let Some(change) = change {
        lines.insert(lines.len() - 1, change.into());
    }
    lines
}
