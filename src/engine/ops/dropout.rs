//! Random elements, or whole channels, set to 0.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{Dropout, run}, rng::KeyedRng};
//! # let device = &Device::cpu();
//! let x = Tensor::full(device, [1000], 1.0)?;
//! let draws = KeyedRng::new("dropout", 7, [12, 0, 0]); // seed, step, layer
//! let y = run(&Dropout { p: 0.5, channels: false, draws }, &[&x])?[0].to_vec()?;
//! assert!(y.iter().all(|&y| y == 0.0 || y == 2.0));
//! assert!(y.iter().filter(|&&y| y == 0.0).count().abs_diff(500) < 60);
//! # Ok::<(), vista::Error>(())
//! ```

use super::kernel::{Differentiable, Kernel};
use super::{Case, Input};
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::{Gpu, real::Real};
use crate::engine::tensor::{Shape, Tensor, View, ViewMut};
use crate::error::{Error, Result};
use crate::rng::KeyedRng;
use rayon::prelude::*;

/// `y = x / (1 - p)` with probability `1 - p`, else `0 x`
///
/// Element i, or with `channels` channel c of image n of `[N, .., C]`, is dropped if the upper 32 bits of number i, or `n C + c`, of the
/// [stream](KeyedRng::nth) are below `p 2^32`: the same on every device, and in a run that goes on from a checkpoint if the stream is
/// named by seed, step and layer. Nothing is kept for the gradient, `dx` = the same of `dy`: it is drawn again.
///
/// # Errors
/// [`Error::Shape`] if p is not at least 0 and below 1, or x has no channels.
/// # Source
/// Srivastava et al. 2014, Sec. 4, scaled in training; whole channels: Tompson et al. 2015, Sec. 3.2, `torch.nn.Dropout2d`.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// The probability to be dropped.
    pub p: f64,
    /// Whether an image's channel is dropped as a whole.
    pub channels: bool,
    /// The stream that decides.
    pub draws: KeyedRng,
}

/// Elements per parallel task of the twin.
const CHUNK: usize = 1 << 14;

impl Dropout {
    /// Below this the upper half of a draw drops.
    fn bound(&self) -> u32 {
        (self.p * 2f64.powi(32)) as u32
    }

    /// Elements of what is drawn for in a row, and how many draws that takes: element i is decided by draw `i / row draws + i % draws`.
    fn period(&self, x: &Shape) -> [usize; 2] {
        if self.channels { [x.row(), x[x.len() - 1]] } else { [1, 1] }
    }

    /// What an element is multiplied by that this draw decides.
    fn factor<T: Real>(&self, draw: usize) -> T {
        let dropped = ((self.draws.nth(draw as u64) >> 32) as u32) < self.bound();
        if dropped { T::zero() } else { T::of(1.0 / (1.0 - self.p)) }
    }

    fn apply<T: Real>(&self, x: View<T>, y: &mut [T]) {
        if !self.channels {
            let tasks = y.par_chunks_mut(CHUNK).zip(x.data.par_chunks(CHUNK)).enumerate();
            return tasks.for_each(|(task, (y, x))| {
                for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
                    *y = x * self.factor(task * CHUNK + i);
                }
            });
        }
        // One draw for all pixels of an image.
        let [row, draws] = self.period(x.shape).map(|length| length.max(1));
        let factors: Vec<T> = (0..y.len() / row * draws).map(|draw| self.factor(draw)).collect();
        let pixels = y.par_chunks_mut(draws).zip(x.data.par_chunks(draws)).enumerate();
        pixels.with_min_len(CHUNK / draws + 1).for_each(|(pixel, (y, x))| {
            let factors = &factors[pixel * draws / row * draws..][..draws];
            y.iter_mut().zip(x).zip(factors).for_each(|((y, &x), &factor)| *y = x * factor);
        });
    }

    fn record(&self, gpu: &Gpu, x: &Tensor, y: &Tensor) -> Result<()> {
        let [row, draws] = self.period(x.shape());
        gpu.run_rows(x.elements() / row.max(1), &[(x, row), (y, row)], |rows| {
            let count = rows.len() * row;
            let words = |key: u64| [key as u32, (key >> 32) as u32].into();
            let keys = self.draws.keys((rows.start * draws) as u64).map(words);
            let params = [
                ("k0", keys[0]),
                ("k1", keys[1]),
                ("count", count.into()),
                ("row", row.into()),
                ("draws", draws.into()),
                ("bound", self.bound().into()),
                ("kept", ((1.0 / (1.0 - self.p)) as f32).into()),
            ];
            Dispatch::new(Self::NAME, "apply", params, &[], count.div_ceil(256))
        })
    }
}

impl Kernel for Dropout {
    const NAME: &'static str = "dropout";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        match inputs {
            [x] if (0.0..1.0).contains(&self.p) && (!self.channels || x.len() > 1) => Ok(vec![(*x).clone()]),
            _ => {
                let what = "takes one x, for channels of at least two dimensions, and a p from 0 to below 1";
                Err(Error::shape(Self::NAME, format!("{what}, got {inputs:?} and p {}", self.p)))
            }
        }
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        self.apply(x[0], y[0].data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        self.record(gpu, x[0], &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, p, channels, x: &[usize]| {
            let draws = KeyedRng::new("dropout", 1, [2, 3, 0]);
            Case::new(name, Dropout { p, channels, draws }, vec![Input::normal(x)])
        };
        vec![
            case("elements", 0.1, false, &[3, 5, 7, 4]),
            case("nothing", 0.0, false, &[1030]),
            case("channels", 0.5, true, &[4, 3, 5, 9]),
            case("most columns", 0.9, true, &[70, 65]),
        ]
    }
}

impl Differentiable for Dropout {
    fn twin_backward<T: Real>(&self, _saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        if let [Some(dx)] = dx {
            self.apply(dy, dx.data);
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, _saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        if let [Some(dx)] = dx { self.record(gpu, dy, dx) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::{Device, GpuOptions};
    use crate::engine::ops::run;

    #[test]
    fn every_device_drops_what_the_stream_says() {
        let draws = KeyedRng::new("dropout", 3, [41, 2, 0]);
        let split = |max_binding| GpuOptions { max_binding, ..Default::default() };
        let gpus =
            [split(None), split(Some(1 << 14))].map(|options| Device::gpu_named(None, options).unwrap());
        for (channels, shape) in [(false, [10, 8, 8, 15]), (true, [200, 3, 2, 8])] {
            let of = |i: usize| if channels { i / 48 * 8 + i % 8 } else { i };
            let dropped = |i: usize| (draws.nth(of(i) as u64) >> 32) < 3 << 30;
            let expected: Vec<f32> = (0..9600).map(|i| if dropped(i) { 0.0 } else { 4.0 }).collect();
            assert!(expected.iter().filter(|&&y| y == 0.0).count().abs_diff(7200) < 400);
            for device in gpus.iter().chain([&Device::cpu(), &Device::reference()]) {
                let x = Tensor::full(device, shape, 1.0).unwrap();
                let op = Dropout { p: 0.75, channels, draws: draws.clone() };
                let y = run(&op, &[&x]).unwrap()[0].to_vec().unwrap();
                assert!(y.iter().zip(&expected).all(|(y, e)| y == e), "{} {channels}", device.name());
            }
        }
    }
}
