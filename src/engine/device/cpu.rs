//! The CPU device: pooled memory and a precision; the work itself is in the ops' twins.

use super::pool::{Buffer, CpuPools};
use super::real::Real;
use super::trace::Trace;

/// Which number type the twins run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The CPU device.
    F32,
    /// The reference: the definition of every op.
    F64,
}

/// The CPU as a device.
#[derive(Debug)]
pub struct Cpu {
    /// The twins' number type.
    pub precision: Precision,
    pub(crate) pools: CpuPools,
    pub(super) trace: Trace,
}

impl Cpu {
    pub(crate) fn new(precision: Precision) -> Cpu {
        Cpu { precision, pools: CpuPools::default(), trace: Trace::of_cpu() }
    }

    /// A pooled buffer with arbitrary contents.
    pub fn take<T: Real>(&self, count: usize) -> Buffer<T> {
        T::pool(&self.pools).take(count)
    }

    /// Bytes in use by tensors, now and at most.
    pub fn usage(&self) -> (u64, u64) {
        let (a, b) = (&self.pools.f32.usage, &self.pools.f64.usage);
        (a.bytes() + b.bytes(), a.peak() + b.peak())
    }
}
