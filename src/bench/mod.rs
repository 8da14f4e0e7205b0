//! Measuring: pieces of work by name ([`Workload`]), a step by op ([`Profile`]), and what a step needs of a GPU before
//! any of it runs ([`Plan`]). `vista bench` and `cargo bench` share all of it.
//!
//! FLOPs are 2 for each multiply-add of a matrix product or convolution; other arithmetic is not counted.
//!
//! ```
//! # use vista::bench::Name;
//! assert!(Name::parse("matmul:64").is_ok());
//! assert!(Name::parse("no such work").is_err());
//! ```

mod detector;
mod judging;
mod kinds;
mod measured;
mod op_time;
mod ops;
mod plan;
mod profile;
mod segmenter;
mod step;
mod timing;
mod views;
mod workload;

pub use kinds::{KINDS, Kind, Name};
pub use measured::Measured;
pub use op_time::OpTime;
pub use plan::{KernelRow, OpRow, PhaseRow, Plan};
pub use profile::Profile;
pub use step::{StepConfig, TrainingStep, parse_architecture};
pub use timing::{Timing, peak_resident, reset_peak_resident};
pub use workload::Workload;
