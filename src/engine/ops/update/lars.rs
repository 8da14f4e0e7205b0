//! LARS's factor: a sum over a whole tensor before any element can move.

use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::ops::rows::sum_of;
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;

/// Elements whose squares one workgroup adds up.
const PART: usize = 1 << 14;

fn norm<T: Real>(x: &[T]) -> T {
    sum_of(x, |v| v * v).sqrt()
}

/// `trust |p| / (|g| + decay |p| + eps)`, or 1 if one of the norms is 0.
pub(super) fn factor<T: Real>(p: &[T], g: &[T], [trust, decay, eps]: [T; 3]) -> T {
    let (p_norm, g_norm) = (norm(p), norm(g));
    let still = p_norm == T::zero() || g_norm == T::zero();
    if still { T::one() } else { trust * p_norm / (g_norm + decay * p_norm + eps) }
}

/// The kernels that write the factor.
pub(super) fn gpu_factor(
    gpu: &Gpu,
    [p, g, factor]: [&Tensor; 3],
    [trust, weight_decay, eps]: [f64; 3],
) -> Result<()> {
    let count = p.elements();
    let parts = count.div_ceil(PART);
    let params = |count: usize, first: usize| {
        [
            ("count", count.into()),
            ("first", first.into()),
            ("parts", parts.into()),
            ("weight_decay", (weight_decay as f32).into()),
            ("trust", (trust as f32).into()),
            ("eps", (eps as f32).into()),
        ]
    };
    let sums = Tensor::uninit(p.device(), Shape::from([parts, 2]))?;
    gpu.run_rows(parts, &[(p, PART), (g, PART), (&sums, 0)], |some| {
        let terms = count.min(some.end * PART) - some.start * PART;
        Dispatch::new("update", "squares", params(terms, some.start), &[], some.len())
    })?;
    gpu.run(Dispatch::new("update", "trust", params(count, 0), &[&sums, factor], 1))
}
