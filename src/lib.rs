//! Vista: image encoders pretrained on photos of whole scenes, from WGSL kernels up.

#![warn(missing_docs)]

pub mod error;

pub mod device;
pub mod tensor;

pub mod ops;

pub mod autograd;
pub mod nn;

pub mod rng;

pub mod data;
pub mod views;

pub mod optim;

pub mod eval;

pub use device::Device;
pub use error::{Error, Result};
pub use tensor::{Shape, Tensor};
