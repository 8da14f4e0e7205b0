//! What an encoder is good for, measured by what others can be taught from it.

pub mod classify;
pub mod detect;
pub mod metrics;
