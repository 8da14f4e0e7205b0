//! The CPU device: pooled memory and a precision; the work itself is in the ops' twins.
//!
//! ```
//! # use vista::{Device, Tensor};
//! let third = |device: &Device| Tensor::from_f64(device, [], &[1.0 / 3.0])?.to_f64();
//! assert_eq!(third(&Device::reference())?, [1.0 / 3.0]); // f64: the definition of every op
//! assert_eq!(third(&Device::cpu())?, [f64::from(1.0f32 / 3.0)]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::arena::{Arena, Memory};
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
pub(crate) type CpuBuffer = Memory;

/// The CPU as a device.
#[derive(Debug)]
pub struct Cpu {
    /// The twins' number type.
    pub precision: Precision,
    pub(super) arena: Arc<Arena>,
    pub(super) trace: Trace,
}

impl Cpu {
    pub(crate) fn new(precision: Precision) -> Cpu {
        Cpu { precision, arena: Arc::default(), trace: Trace::of_cpu() }
    }

    /// Memory for so many elements, with arbitrary (but initialised) contents.
    pub(crate) fn take(&self, count: usize) -> CpuBuffer {
        match self.precision {
            Precision::F32 => self.arena.take(count.div_ceil(2)),
            Precision::F64 => self.arena.take(count),
        }
    }
}
