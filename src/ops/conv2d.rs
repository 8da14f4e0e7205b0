//! Convolution.

mod gather;
pub mod geometry;
pub mod twin;
