//! The CPU device: pooled memory and a precision; the work itself is in the ops' twins.
//!
//! ```
//! # use vista::{Device, Tensor};
//! let third = |device: &Device| Tensor::from_f64(device, [], &[1.0 / 3.0])?.to_f64();
//! assert_eq!(third(&Device::reference())?, [1.0 / 3.0]); // f64: the definition of every op
//! assert_eq!(third(&Device::cpu())?, [f64::from(1.0f32 / 3.0)]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::pages::zeros;
use super::pool::{Buffer, Pool, size_class};
use super::trace::Trace;
use std::sync::Arc;

/// Which number type the twins run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The CPU device.
    F32,
    /// The reference: the definition of every op.
    F64,
}

/// Elements of either number type: f64, so that they are aligned for both.
pub(crate) type CpuBuffer = Buffer<Vec<f64>>;

/// The CPU as a device.
#[derive(Debug)]
pub struct Cpu {
    /// The twins' number type.
    pub precision: Precision,
    pub(super) pool: Arc<Pool<Vec<f64>>>,
    pub(super) trace: Trace,
}

impl Cpu {
    pub(crate) fn new(precision: Precision) -> Cpu {
        Cpu { precision, pool: Arc::default(), trace: Trace::of_cpu() }
    }

    /// A pooled buffer for so many elements, with arbitrary (but initialised) contents.
    pub(crate) fn take(&self, count: usize) -> CpuBuffer {
        let class = size_class(count);
        let bytes = class * if self.precision == Precision::F32 { 4 } else { 8 };
        self.pool.take(class, bytes as u64, || Ok(zeros(bytes / 8))).expect("a vector can be made")
    }
}
