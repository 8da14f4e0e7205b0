//! Networks: parameters and composition, no kernels.

mod backbone;
mod conv;
mod conv_norm;
mod linear;
mod loss;
mod mlp;
mod module;
mod norm;
mod resnet;

pub use crate::engine::autograd::{Param, RunningStatistics};
pub use backbone::Backbone;
pub use conv::Conv2d;
pub use conv_norm::ConvNorm;
pub use linear::Linear;
pub use mlp::{After, Mlp};
pub use module::{Mode, Module, fingerprint};
pub use norm::BatchNorm;
pub use resnet::{Architecture, ResNet, ResNetConfig, STAGES, Stem};
