//! Sums over the parts that long products were cut into: they wait for each other, so that one dispatch makes several of them.

use super::Gpu;
use super::kernel::Dispatch;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::sync::Mutex;

/// Sums that one dispatch makes: as many as there are bindings for.
pub(crate) const MOST: usize = 4;

/// Parts `[P, ..]` and the tensor `[..]` that gets their sum.
pub(super) type Sum = [Tensor; 2];

/// Sums that are not recorded yet. They keep their tensors, whose memory no one else gets before they have run.
#[derive(Default)]
pub(super) struct Deferred(Mutex<Vec<Sum>>);

impl Deferred {
    /// Adds a sum; returns those that are due: as many as one dispatch makes.
    pub fn add(&self, sum: Sum) -> Vec<Sum> {
        let mut sums = self.0.lock().expect("deferred lock");
        sums.push(sum);
        if sums.len() < MOST { Vec::new() } else { std::mem::take(&mut *sums) }
    }

    /// The sums that are due because `needs` is true of one of them: all, or none.
    pub fn due(&self, needs: impl Fn(&Tensor) -> bool) -> Vec<Sum> {
        let mut sums = self.0.lock().expect("deferred lock");
        let due = sums.iter().any(|[_, sum]| needs(sum));
        if due { std::mem::take(&mut *sums) } else { Vec::new() }
    }
}

/// Records one dispatch that makes one to [`MOST`] sums.
pub(super) fn record(gpu: &Gpu, pairs: &[Sum]) -> Result<()> {
    let [any, _] = &pairs[0];
    let [mut sizes, mut parts_of] = [[0; MOST]; 2];
    let mut groups = 0;
    for (i, [parts, sum]) in pairs.iter().enumerate() {
        sizes[i] = sum.elements();
        parts_of[i] = parts.shape()[0];
        groups += sum.elements().div_ceil(256);
    }
    let unused = (pairs.len()..MOST).map(|_| Tensor::uninit(any.device(), [1usize].into()));
    let unused = unused.collect::<Result<Vec<_>>>()?;
    let parts = (0..MOST).map(|i| pairs.get(i).map_or(any, |[parts, _]| parts));
    let sums = pairs.iter().map(|[_, sum]| sum).chain(&unused);
    let tensors: Vec<&Tensor> = parts.chain(sums).collect();
    let params = [("sizes", sizes.into()), ("parts", parts_of.into())];
    gpu.run(Dispatch::new("sum_parts", "forward", params, &tensors, groups))
}
