//! Any long job: what a training is made of that knows no method.

mod judge;

pub use judge::{Judge, Score, Scores};
