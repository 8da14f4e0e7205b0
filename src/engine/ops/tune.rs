//! Times the kernels of the convolutions of a ResNet on a GPU and takes the fastest of each.

use super::matmul::tiling::Tiling;
use super::{Conv2d, Op};
use crate::engine::device::tuned::{Choice, Class};
use crate::engine::device::{Device, Gpu};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::time::{Duration, Instant};

/// One product: a convolution's forward pass or one of its gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// `[n, h, w, c]`
    pub x: [usize; 4],
    /// `[o, k, k, c]`
    pub w: [usize; 4],
    /// Which of them.
    pub pass: Pass,
}

/// A pass of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The value.
    Forward,
    /// The gradient of the images.
    GradInput,
    /// The gradient of the weight.
    GradWeight,
}

/// What was measured for a class.
#[derive(Clone, Debug)]
pub struct Timing {
    /// What is taken without tuning.
    pub built_in: Choice,
    /// Each choice and the shortest of its times.
    pub times: Vec<(Choice, Duration)>,
}

impl Timing {
    /// The time of a choice.
    pub fn time(&self, choice: Choice) -> Duration {
        self.times.iter().find(|(c, _)| *c == choice).map_or(Duration::MAX, |(_, time)| *time)
    }

    /// The fastest choice: the built-in one unless another is 3 % faster.
    pub fn best(&self) -> Choice {
        match self.times.iter().min_by_key(|(_, time)| *time) {
            Some((choice, fast)) if fast.as_secs_f64() < 0.97 * self.time(self.built_in).as_secs_f64() => {
                *choice
            }
            _ => self.built_in,
        }
    }
}

/// The products of ResNet-18 and -50 on 224-pixel images, at `batch` images of which a quarter in the first stage.
pub fn products(batch: usize) -> Vec<Product> {
    // Side of the map, channels in and out, kernel.
    const LAYERS: [[usize; 4]; 14] = [
        [56, 64, 64, 1],
        [56, 64, 64, 3],
        [56, 64, 256, 1],
        [56, 256, 64, 1],
        [28, 128, 128, 3],
        [28, 128, 512, 1],
        [28, 512, 128, 1],
        [14, 256, 256, 3],
        [14, 256, 1024, 1],
        [14, 1024, 256, 1],
        [7, 512, 512, 3],
        [7, 512, 2048, 1],
        [7, 2048, 512, 1],
        [14, 1024, 512, 1],
    ];
    let passes = [Pass::Forward, Pass::GradInput, Pass::GradWeight];
    let of = |[side, c, o, kernel]: [usize; 4]| {
        let n = if side == 56 { batch.div_ceil(4) } else { batch };
        passes.map(|pass| Product { x: [n, side, side, c], w: [o, kernel, kernel, c], pass })
    };
    LAYERS.into_iter().flat_map(of).collect()
}

impl Product {
    /// Rows, columns and steps.
    pub fn sizes(&self) -> [usize; 3] {
        let ([n, h, w, c], [o, kh, kw, _]) = (self.x, self.w);
        match self.pass {
            Pass::Forward => [n * h * w, o, kh * kw * c],
            Pass::GradInput => [n * h * w, c, kh * kw * o],
            Pass::GradWeight => [o, kh * kw * c, n * h * w],
        }
    }

    /// What there is to choose, and what is chosen without tuning: the tiles of the product, then whether a 3x3
    /// convolution is that product.
    pub fn classes(&self) -> Vec<(Class, Choice)> {
        let [m, n, k] = self.sizes();
        let tile = (Class::product([m, n, k]), Choice::Tile(Tiling::built_in(m, n, k)));
        let back = self.pass == Pass::GradInput;
        let ([_, h, w, c], [o, kernel, ..]) = (self.x, self.w);
        let [from, to] = if back { [o, c] } else { [c, o] };
        let algorithm = (Class::conv3x3(back, [m, h.max(w), from, to]), Choice::Side(1));
        match (self.pass, kernel) {
            (Pass::Forward | Pass::GradInput, 3) => vec![tile, algorithm],
            _ => vec![tile],
        }
    }

    /// Times every choice: the shortest of `repeats` runs after one that builds the kernels. The adapter keeps the best
    /// for work of the same class until it is closed.
    ///
    /// # Errors
    /// The device's.
    pub fn tune(self, device: &Device, gpu: &Gpu, repeats: usize) -> Result<Vec<Timing>> {
        let full = |shape: [usize; 4]| Tensor::full(device, shape, 0.5);
        let (x, w) = (full(self.x)?, full(self.w)?);
        let conv = Conv2d::new(1, self.w[1] / 2);
        let (y, saved) = conv.forward(&[&x, &w])?;
        let run = || match self.pass {
            Pass::Forward => conv.forward(&[&x, &w]).map(drop),
            Pass::GradInput => conv.backward(&saved, &y[0], &[true, false]).map(drop),
            Pass::GradWeight => conv.backward(&saved, &y[0], &[false, true]).map(drop),
        };
        let classes = self.classes();
        // ORDER: tiles are timed in the implicit product, whatever was kept before.
        classes.iter().for_each(|(class, built_in)| gpu.set_tuned(*class, *built_in));
        let timing = |(class, built_in): (Class, Choice)| {
            let mut timing = Timing { built_in, times: Vec::new() };
            for &choice in class.candidates() {
                gpu.set_tuned(class, choice);
                let mut shortest = Duration::MAX;
                for repeat in 0..=repeats {
                    gpu.wait()?;
                    let began = Instant::now();
                    run()?;
                    gpu.wait()?;
                    if repeat > 0 {
                        shortest = shortest.min(began.elapsed());
                    }
                }
                timing.times.push((choice, shortest));
            }
            gpu.set_tuned(class, timing.best());
            Ok(timing)
        };
        classes.into_iter().map(timing).collect()
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/engine/ops/tune.rs"]
mod tests;
