//! The Python that loads an exported backbone and embeds a photo as Vista's own judging does: the templates in `python/`, filled in.

use super::transform::{bytes, filled};
use super::{Library, Transform};
use crate::engine::nn::{Architecture, ResNetConfig};
use std::path::Path;

/// A program that reads the `file` that was written for a library (`None`: for ONNX, with `photos` as its input instead of views
/// if `decoded`), and ends with the `features` of `photo.jpg`, `[1, C]`. `change` is what [`Library::fit`] asks for.
pub fn python(
    library: Option<Library>,
    backbone: &ResNetConfig,
    change: Option<&str>,
    transform: &Transform,
    decoded: bool,
    file: &Path,
) -> String {
    let template = match library {
        Some(Library::Torchvision | Library::Numbered(_)) => include_str!("python/torchvision.py"),
        Some(Library::Timm) => include_str!("python/timm.py"),
        Some(Library::Detectron2) => include_str!("python/detectron2.py"),
        None if decoded => include_str!("python/onnx_photos.py"),
        None => include_str!("python/onnx.py"),
    };
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    let network = backbone.architecture.to_string();
    let [decode, view] = transform.functions();
    filled(
        template,
        &[
            ("decode", decode),
            ("view", view),
            ("change", change.map_or(String::new(), |line| format!("{line}\n"))),
            ("depth", network.trim_start_matches("resnet").into()),
            ("network", network),
            ("res2", if backbone.architecture == Architecture::Resnet50 { "256" } else { "64" }.into()),
            ("features", backbone.features().to_string()),
            ("mean_255", format!("{:?}", bytes(transform.mean))),
            ("std_255", format!("{:?}", bytes(transform.std))),
            // A text of JSON is one of Python.
            ("file", serde_json::json!(file.to_string_lossy()).to_string()),
        ],
    )
}
