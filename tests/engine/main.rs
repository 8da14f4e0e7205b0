//! Tensors, ops, autodiff, optimisers and shaders, in one program: each file of its own would link the whole library again.

mod bench;
mod compilers;
#[path = "../helpers/config.rs"]
mod config;
mod dispatches;
mod exchange;
mod folds;
mod fused;
mod half;
mod map;
mod nonfinite;
mod ops;
mod optim;
mod properties;
mod shaders;
mod split;
mod top_k;
