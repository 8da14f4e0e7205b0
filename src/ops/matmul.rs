//! Matrix product.

pub mod twin;
