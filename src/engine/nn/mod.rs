//! Networks: parameters and composition, no kernels.
//!
//! ```
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use vista::{Device, Tensor, engine::autograd::Tape, engine::nn::{After, Mlp, Mode, Module}};
//! let device = Device::cpu();
//! let widths = [(8, After::Relu), (2, After::Bias)];
//! let head = Mlp::new(&device, &mut StdRng::seed_from_u64(0), "projector", 4, &widths)?;
//! assert_eq!(head.trained()[0].name(), "projector.0.weight");
//! let tape = Tape::inert(&device);
//! let x = tape.constant(Tensor::full(&device, [3, 4], 1.0)?);
//! assert_eq!(head.forward(&x, Mode::Eval)?.shape()[..], [3, 2]);
//! # Ok::<(), vista::Error>(())
//! ```

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
