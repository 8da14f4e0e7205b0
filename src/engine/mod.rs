//! The machine: tensors, kernels, gradients. It knows no photo, no method and no command line.
//!
//! **In:** arrays of f32, NHWC, and what to do with them. **Out:** other arrays, and their gradients.
//!
//! A [`device`] holds [`tensor`]s: a CPU or a GPU. [`ops`] compute on them, each a plain loop in f64 (its definition) and a
//! WGSL kernel. [`autograd`] records ops on a tape and walks it back. [`nn`] composes them into layers with parameters, which
//! [`optim`] moves. With an [`exchange`] a batch spans processes.

pub mod device;
pub mod tensor;

pub mod exchange;

pub mod ops;

pub mod autograd;
pub mod nn;
pub mod optim;
