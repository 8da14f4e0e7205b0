//! LARS's factor: a sum over a whole tensor before any element can move.

use super::{Case, Draw, Gpu, Input, Kernel, Real, Result, Shape, Tensor, Update};
use crate::engine::device::kernel::Dispatch;
use crate::engine::ops::rows::sum_of;

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
        Dispatch::new(Update::NAME, "squares", params(terms, some.start), &[], some.len())
    })?;
    gpu.run(Dispatch::new(Update::NAME, "trust", params(count, 0), &[&sums, factor], 1))
}

pub(super) fn cases() -> Vec<Case<Update>> {
    let op = |weight_decay, eps, first| Update::Lars {
        lr: 4.8,
        momentum: 0.9,
        weight_decay,
        trust: 0.02,
        eps,
        first,
    };
    let plain = || op(0.01, 1e-8, false);
    let case = |name, op, shape: &[usize]| Case::new(name, op, vec![Input::normal(shape); 3]);
    let with = |name, p: Draw, g: Draw| {
        let inputs = vec![Input::of([3, 11], p), Input::of([3, 11], g), Input::normal([3, 11])];
        Case::new(name, plain(), inputs)
    };
    let normal = |scale| Draw::Normal { scale, offset: 0.0 };
    vec![
        case("lars, momentum", plain(), &[7, 65]),
        case("lars, first step", op(0.01, 1e-8, true), &[7, 65]),
        case("lars, no decay, large eps", op(0.0, 0.5, false), &[2, 3, 3, 5]),
        case("lars, many parts", plain(), &[33, 1501]),
        case("lars, one element", plain(), &[1]),
        with("lars, p is 0", Draw::Index(1), normal(1.0)),
        with("lars, g is 0", normal(1.0), Draw::Index(1)),
        with("lars, small p, large g", normal(1e-10), normal(1e10)),
    ]
}
