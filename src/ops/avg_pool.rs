//! Global average pooling.

pub mod twin;
