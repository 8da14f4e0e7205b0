//! What an encoder is good for, measured by what others can be taught from it.
//!
//! ```
//! # use vista::transfer::{classify::Knn, metrics::accuracy};
//! assert_eq!(Knn::default(), Knn { k: 20, tau: 0.07 });
//! assert_eq!(accuracy(&[0, 1, 1], &[0, 1, 2]), 2.0 / 3.0); // predicted, true
//! ```

pub mod classify;
pub mod detect;
pub mod metrics;
pub mod segment;
mod train;

pub use train::TrainConfig;
