//! Networks: parameters and composition, no kernels.

mod module;

pub use module::{Module, Param};
