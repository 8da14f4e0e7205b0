//! Max pooling.

pub mod twin;
