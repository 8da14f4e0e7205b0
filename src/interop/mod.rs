//! Encoders that leave and arrive: backbones under the names that torchvision, timm and detectron2 use, as an ONNX
//! graph, and back.
//!
//! ```text
//! ResNetEncoder   --Weights::of-->   Weights   --rename-->   safetensors | ONNX      (vista export)
//!                 --Transform-->     the same photo to the same features, in Python, metadata, or the graph
//! Detector        --Detectron2-->    the same under detectron2's names, and the program that makes its network there
//! safetensors     --Weights::read->  Weights   --Found::in_file-->  ResNetEncoder    (vista import, --init)
//! ```
//!
//! ```
//! # use vista::interop::Library;
//! assert_eq!(Library::Detectron2.rename("layer1.0.conv1.weight"), "res2.0.conv1.weight");
//! ```

mod detectron2;
mod import;
mod names;
mod nodes;
mod onnx;
mod program;
mod proto;
mod transform;
mod weights;

pub use detectron2::Detectron2;
pub use import::{Head, Source};
pub use names::Library;
pub use onnx::onnx;
pub use program::python;
pub use transform::Transform;
pub use weights::{Array, Weights};
