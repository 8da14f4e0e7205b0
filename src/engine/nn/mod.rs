//! Networks: parameters and composition, no kernels.

mod conv;
mod conv_norm;
mod linear;
mod loss;
mod module;
mod norm;
mod projector;
mod resnet;

pub use conv::Conv2d;
pub use conv_norm::ConvNorm;
pub use linear::Linear;
pub use module::{Mode, Module, Param, fingerprint};
pub use norm::{BatchNorm, RunningStatistics};
pub use projector::Projector;
pub use resnet::{Architecture, ResNet, ResNetConfig, Stem};
