//! Vista pretrains image encoders on photos of whole scenes, without labels: a deep-learning stack from WGSL kernels
//! up. This page is the tour.
//!
//! Data flows one way; each stage's page has its formula, why it is so, the trap in it, and the test that holds it:
//!
//! 1. [`photos`]: photos become batches of [`views`](photos::views) (crop, colour, blur, flip), made by worker threads ahead of
//!    the device, every draw keyed by (seed, epoch, image, view) through [`rng`];
//! 2. [`pretrain`]: a step's numbered lines, the only place where state changes, and the run around it;
//!    [`encoder`](pretrain::encoder): features g and projections z, the momentum copy; [`queue`](pretrain::queue): rings of keys
//!    at one pointer; [`methods`](pretrain::methods): S2R2, MLS and those they are compared with;
//! 3. [`transfer`]: frozen features judged by kNN, linear classifiers and multi-label precision; fine-tuning;
//! 4. [`show`]: figures, and a run to look at, in a browser;
//! 5. [`interop`]: encoders leave for torchvision, timm, detectron2 and ONNX, and others' arrive.
//!
//! Under it lies the [`engine`]: devices, tensors, ops (a CPU twin and a WGSL kernel each), gradients, layers, optimisers.
//! [`run`] is what a long job is made of; [`bench`](mod@bench) measures; [`cli`] is the `vista` command. A module uses those
//! before it in the file's list, never one behind: `docs/ARCHITECTURE.md`.
//!
//! ```
//! use vista::{Device, Tensor, engine::autograd::Tape, engine::ops::Over};
//!
//! let device = Device::cpu();
//! let tape = Tape::new(&device);
//! let x = tape.leaf(Tensor::new(&device, [3], &[1.0, 2.0, -3.0])?);
//! let loss = x.mul(&x)?.sum(Over::All)?; // sum of squares
//! let grads = loss.backward()?;
//! assert_eq!(grads.of(&x).expect("the loss depends on x").to_vec()?, [2.0, 4.0, -6.0]);
//! # Ok::<(), vista::Error>(())
//! ```

#![warn(missing_docs)]

#[macro_use]
mod print;

pub mod error;
mod files;
pub mod rng;
mod shell;
pub mod topic;

pub mod engine;

pub mod photos;

pub mod interop;

pub mod run;

pub mod pretrain;

pub mod transfer;

pub mod show;

pub mod bench;

pub mod cli;

pub mod prelude;

pub use engine::device::Device;
pub use engine::tensor::{Shape, Tensor};
pub use error::{Error, Result};
pub use topic::Topic;
