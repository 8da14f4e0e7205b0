//! The machine: tensors, kernels, gradients. It knows no photo, no method and no command line.
//!
//! **In:** arrays of f32, NHWC, and what to do with them. **Out:** other arrays, and their gradients.
//!
//! A [`device`] holds [`tensor`]s: a CPU or a GPU. [`ops`] compute on them, each a plain loop in f64 (its definition) and a
//! WGSL kernel. [`autograd`] records ops on a tape and walks it back. [`nn`] composes them into layers with parameters, which
//! [`optim`] moves. With an [`exchange`] a batch spans processes.
//!
//! ```
//! # use vista::{Device, Tensor, engine::autograd::Tape, engine::ops::Over};
//! let device = Device::cpu();
//! let tape = Tape::new(&device);
//! let x = tape.leaf(Tensor::new(&device, [2], &[3.0, 4.0])?);
//! let length = x.square()?.sum(Over::All)?.sqrt()?;
//! assert_eq!(length.value().item()?, 5.0);
//! assert_eq!(length.backward()?.of(&x).expect("it depends on x").to_vec()?, [0.6, 0.8]);
//! # Ok::<(), vista::Error>(())
//! ```

pub mod device;
pub mod tensor;

pub mod exchange;

pub mod ops;

pub mod autograd;
pub mod nn;
pub mod optim;
