//! Vista pretrains image encoders on photos of whole scenes, without labels: a deep-learning stack from WGSL kernels
//! up. This page is the tour.
//!
//! Data flows one way; each stage's page has its formula, why it is so, the trap in it, and the test that holds it:
//!
//! 1. [`data`]: photos become batches of views, made by worker threads ahead of the device;
//! 2. [`views`]: crop, colour, blur and flip, every draw keyed by (seed, epoch, image, view) through [`rng`];
//! 3. [`encoder`]: features g of a ResNet ([`nn`]) and projections z; the momentum copy;
//! 4. [`queue`]: two rings of keys at one pointer;
//! 5. [`objective`]: S2R2, MLS and those they are compared with: pure functions of embeddings;
//! 6. [`optim`]: SGD, Adam, schedules, the moving average of the key encoder;
//! 7. [`train`]: the numbered lines of a step, the only place where state changes, and the run around it;
//! 8. [`eval`]: frozen features judged by kNN, linear classifiers and multi-label precision; fine-tuning;
//! 9. [`interop`]: encoders leave for torchvision, timm, detectron2 and ONNX, and others' arrive;
//! 10. [`report`]: a run to look at, in a browser.
//!
//! Under it lies the machine: a [`device`] holds [`tensor`]s, [`ops`] compute on them (a CPU twin and a WGSL kernel
//! each), [`autograd`] records ops on a tape and walks it back. [`bench`](mod@bench) measures it; [`cli`] is the `vista`
//! command.
//!
//! ```
//! use vista::{Device, Tensor, autograd::Tape, ops::Over};
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
mod shell;
pub mod topic;

pub mod device;
pub mod tensor;

pub mod ops;

pub mod autograd;
pub mod nn;

pub mod rng;

pub mod data;
pub mod views;

pub mod encoder;
pub mod queue;

pub mod objective;

pub mod optim;

pub mod train;

pub mod eval;

pub mod interop;

pub mod report;

pub mod bench;

pub mod cli;

pub mod prelude;

pub use device::Device;
pub use error::{Error, Result};
pub use tensor::{Shape, Tensor};
pub use topic::Topic;
