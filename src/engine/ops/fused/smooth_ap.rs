//! Smoothed average precision: every view ranks all others, and its image's views should come first.
//!
//! `R(i,X) = 1 + sum_{j in X, j != i} sigmoid((s_qj - s_qi) / tau)`,
//! `AP_q = 1/(K-1) sum_{i in P} R(i,P) / R(i, P u N)`, `loss = 1 - mean_q AP_q`
//!
//! P are the other K-1 views of the query's image, N the views of the other images; the query itself is in
//! neither.
//!
//! **The gradient.** For one query q, i and j always other than q (so `s_qq` has none), write `s_j` for `s_qj`,
//! `t_ij = sigmoid((s_j - s_i)/tau)`, `P_i = R(i,P)`, `N_i = sum_{j in N} t_ij` and `A_i = P_i + N_i = R(i, P u N)`. Then
//!
//! ```text
//! d(P_i/A_i) = (A_i dP_i - P_i dA_i)/A_i^2 = (N_i dP_i - P_i dN_i)/A_i^2     since A = P + N
//! d t_ij     = t_ij (1 - t_ij) (d s_j - d s_i)/tau
//! dP_i       = sum_{j in P, j != i} d t_ij,   dN_i = sum_{j in N} d t_ij
//! ```
//!
//! So in `dAP_q/ds` pair (i, j) adds `w_ij t_ij (1 - t_ij)/((K-1) tau)` at j and takes it away at i, with `w_ij = N_i/A_i^2` for a
//! positive j and `-P_i/A_i^2` for a negative one; the loss's gradient is `-1/n` times that. Besides s only `P_i` and `N_i` need be
//! kept, and each row of the gradient sums to zero.
//!
//! | value | shape | |
//! |---|---|---|
//! | `s` | `[n, n]` | similarities, n = B K; rows `b K .. b K + K` are the views of image b |
//! | returns | `[]` | 0 to 1; `1 - 1/B` if all similarities are equal |
//! | by-product: AP of each query | `[n]` | |
//! | by-product: `P_i`, `N_i` of each positive | `[n, K-1, 2]` | |
//!
//! Memory is that of `s` and its gradient; nothing cubic is stored. Fused because the composition's `[n, n, n]` is 8 GiB at n 1280.
//!
//! Source: S2R2, Eq. 1-3.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{SmoothAp, run}};
//! # let device = &Device::cpu();
//! let similarities = Tensor::full(device, [4, 4], 0.5)?; // two views of each of two images, all alike
//! let loss = run(&SmoothAp { views: 2, tau: 0.1 }, &[&similarities])?[0].item()?;
//! assert!((loss - 0.5).abs() < 1e-6); // 1 - 1/B
//! # Ok::<(), vista::Error>(())
//! ```

mod exact;
#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/fused/smooth_ap.rs"]
mod tests;
mod twin;

pub use exact::exact_ap;

use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::ops::kernel::{Differentiable, Keep, Kernel};
use crate::engine::ops::reduce::sum_axis;
use crate::engine::ops::rows::sum_of;
use crate::engine::ops::{Case, Draw, Input};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;
use twin::Query;

/// One minus the mean smoothed average precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothAp {
    /// Views per image, K.
    pub views: usize,
    /// Temperature of the smoothed indicator.
    pub tau: f32,
}

/// That n similarities are those of images with K views each.
fn check_views(n: usize, views: usize) -> Result<()> {
    if views < 2 {
        return Err(Error::shape(SmoothAp::NAME, format!("needs at least 2 views per image, got {views}")));
    }
    if n == 0 || !n.is_multiple_of(views) {
        let detail = format!("{n} rows are not a whole number of images with {views} views each");
        return Err(Error::shape(SmoothAp::NAME, detail));
    }
    Ok(())
}

impl SmoothAp {
    /// `dloss/dAP * dAP/ds` without the part of each positive: `-1 / (n (K-1) tau)`.
    fn gradient_factor(self, n: usize) -> f64 {
        -1.0 / ((n * (self.views - 1)) as f64 * f64::from(self.tau))
    }

    fn params(self, block: &Range<usize>, n: usize) -> [Param; 6] {
        [
            ("queries", block.len().into()),
            ("first", block.start.into()),
            ("n", n.into()),
            ("views", self.views.into()),
            ("per_tau", (1.0 / self.tau).into()),
            ("factor", (self.gradient_factor(n) as f32).into()),
        ]
    }

    /// Runs one entry point over blocks of queries: `tensors` of so many elements per query, 0 for whole ones.
    fn dispatch(self, gpu: &Gpu, entry: &'static str, n: usize, tensors: &[(&Tensor, usize)]) -> Result<()> {
        gpu.run_rows(n, tensors, |block| Dispatch {
            work: (block.len() * (self.views - 1) * n * 16) as u64,
            ..Dispatch::new(Self::NAME, entry, self.params(block, n), &[], block.len())
        })
    }
}

impl Kernel for SmoothAp {
    const NAME: &'static str = "smooth_ap";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let n = match inputs {
            [s] if s.len() == 2 && s[0] == s[1] => s[0],
            _ => return Err(Error::shape(Self::NAME, format!("needs similarities [n,n], got {inputs:?}"))),
        };
        check_views(n, self.views)?;
        if self.tau.is_nan() || self.tau <= 0.0 {
            return Err(Error::shape(Self::NAME, format!("needs a tau above 0, got {}", self.tau)));
        }
        Ok(vec![Shape::from([]), Shape::from([n]), Shape::from([n, self.views - 1, 2])])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let n = x[0].shape[0];
        let [loss, ap, ranks] = y else { unreachable!("three outputs") };
        let rows = x[0].data.par_chunks(n).zip(ranks.data.par_chunks_mut(2 * (self.views - 1)));
        rows.zip(ap.data.par_iter_mut()).enumerate().for_each(|(q, ((row, ranks), ap))| {
            *ap = Query::new(q, self.views, self.tau, row).rank(ranks);
        });
        loss.data[0] = T::one() - sum_of(ap.data, |v| v) / T::of(n as f64);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let n = x[0].shape()[0];
        self.dispatch(gpu, "forward", n, &[(x[0], n), (&y[1], 1), (&y[2], 2 * (self.views - 1))])?;
        // PRECISION: 1 - sum / n in this form is 0 where every AP is 1; a fused multiply-add leaves half an ulp of 1.
        sum_axis(gpu, &y[1], [1, n, 1], -1.0 / n as f32, n as f32, &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, images, views, tau| {
            let n = images * views;
            let s = Input::of([n, n], Draw::Uniform(-1.0, 1.0));
            Case::new(name, SmoothAp { views, tau }, vec![s])
        };
        vec![
            case("pairs", 2, 2, 0.1),
            case("odd", 3, 5, 0.05),
            case("sharp", 8, 5, 0.01),
            case("one image", 1, 6, 0.1),
            case("more candidates than lanes", 70, 4, 0.1),
        ]
    }
}

impl Differentiable for SmoothAp {
    fn save(&self, x: &[&Tensor], y: &[Tensor]) -> Vec<Keep> {
        vec![x[0].into(), (&y[2]).into()]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let [Some(ds)] = dx else { return };
        let n = ds.shape[0];
        let scale = dy.data[0] * T::of(self.gradient_factor(n));
        let rows = saved[0].data.par_chunks(n).zip(saved[1].data.par_chunks(2 * (self.views - 1)));
        ds.data.par_chunks_mut(n).zip(rows).enumerate().for_each(|(q, (ds, (row, ranks)))| {
            Query::new(q, self.views, self.tau, row).gradient(ranks, scale, ds);
        });
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let [Some(ds)] = dx else { return Ok(()) };
        let n = ds.shape()[0];
        let ranks = (saved[1], 2 * (self.views - 1));
        self.dispatch(gpu, "backward", n, &[(saved[0], n), ranks, (dy, 0), (ds, n)])
    }
}
