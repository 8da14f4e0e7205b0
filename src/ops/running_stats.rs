//! Batch norm's running statistics after one batch.
//!
//! `mean' = (1 - m) mean + m avg_g(mean_g)`, `var' = (1 - m) var + m n/(n-1) avg_g(var_g)`, where `mean_g` and the
//! biased `var_g` are those of group g of n values.
//!
//! | value | shape |
//! |---|---|
//! | `mean`, `var` | `[C]` |
//! | statistics of the batch | `[2, G, C]`, means then biased variances |
//! | returns new mean, new var | `[C]`, `[C]` |

use super::kernel::Kernel;
use super::{Case, Draw, Input};
use crate::device::kernel::Dispatch;
use crate::device::{Gpu, real::Real};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor, View, ViewMut};
use bytemuck::{Pod, Zeroable, bytes_of};

/// The update of one batch norm's running statistics.
#[derive(Clone, Copy, Debug)]
pub struct RunningStats {
    /// Weight of the batch, m; torch's default is 0.1.
    pub momentum: f32,
    /// Values per group and channel, n.
    pub count: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    channels: u32,
    groups: u32,
    momentum: f32,
    unbias: f32,
}

impl RunningStats {
    /// `n / (n - 1)`
    fn unbias(&self) -> f64 {
        self.count as f64 / (self.count as f64 - 1.0)
    }
}

impl Kernel for RunningStats {
    const NAME: &'static str = "running_stats";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        if self.count < 2 {
            let detail = "one value per channel has no variance: use a larger --batch or --image-size";
            return Err(Error::shape(Self::NAME, detail));
        }
        match inputs {
            [mean, var, statistics]
                if mean.len() == 1 && mean == var && statistics.len() == 3 && statistics[0] == 2 && statistics[2] == mean[0] =>
            {
                Ok(vec![(*mean).clone(), (*var).clone()])
            }
            _ => Err(Error::shape(Self::NAME, format!("expects [C], [C], [2,G,C], got {inputs:?}"))),
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let (groups, channels) = (x[2].shape[1], x[2].shape[2]);
        let momentum = T::of(f64::from(self.momentum));
        for (which, unbias) in [T::one(), T::of(self.unbias())].into_iter().enumerate() {
            let batch = &x[2].data[which * groups * channels..][..groups * channels];
            for c in 0..channels {
                let sum: T = (0..groups).map(|g| batch[g * channels + c]).sum();
                let target = unbias * sum / T::of(groups as f64);
                y[which].data[c] = (T::one() - momentum) * x[which].data[c] + momentum * target;
            }
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let (groups, channels) = (x[2].shape()[1], x[2].shape()[2]);
        let params = Params {
            channels: channels as u32,
            groups: groups as u32,
            momentum: self.momentum,
            unbias: self.unbias() as f32,
        };
        let tensors = [x[0], x[1], x[2], &y[0], &y[1]];
        gpu.run(Dispatch::new(Self::NAME, "forward", bytes_of(&params), &tensors, channels.div_ceil(64)))
    }

    fn cases() -> Vec<Case<Self>> {
        let positive = Draw::Uniform(0.1, 2.0);
        let case = |name, groups, channels| {
            let inputs = vec![
                Input::normal([channels]),
                Input::of([channels], positive),
                Input::of([2, groups, channels], positive),
            ];
            Case::new(name, RunningStats { momentum: 0.1, count: 7 }, inputs)
        };
        vec![case("one group", 1, 65), case("three groups", 3, 130)]
    }
}
