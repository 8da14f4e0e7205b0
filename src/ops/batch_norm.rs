//! Batch normalisation.

pub mod twin;
