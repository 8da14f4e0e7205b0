//! Times the tilings of the convolutions of a ResNet on a GPU and takes the fastest of each.

use super::{Conv2d, Op};
use crate::device::tuned::{CANDIDATES, class};
use crate::device::{Device, Gpu};
use crate::error::Result;
use crate::tensor::Tensor;
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

/// What was measured of a product.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The product.
    pub product: Product,
    /// Rows, columns and steps.
    pub sizes: [usize; 3],
    /// The tiling that is taken without tuning.
    pub built_in: [usize; 2],
    /// Each tiling and the shortest of its times.
    pub times: Vec<([usize; 2], Duration)>,
}

impl Timing {
    /// The fastest tiling: the built-in one unless another is 3 % faster.
    pub fn best(&self) -> [usize; 2] {
        let time =
            |threads: [usize; 2]| self.times.iter().find(|(t, _)| *t == threads).map(|(_, time)| *time);
        let fastest = self.times.iter().min_by_key(|(_, time)| *time);
        match (fastest, time(self.built_in)) {
            (Some((threads, fast)), Some(usual)) if fast.as_secs_f64() < 0.97 * usual.as_secs_f64() => {
                *threads
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

    /// Times every tiling: the shortest of `repeats` runs after one that builds the kernel. The adapter keeps the best
    /// for products of this class until it is closed.
    ///
    /// # Errors
    /// The device's.
    pub fn tune(self, device: &Device, gpu: &Gpu, repeats: usize) -> Result<Timing> {
        let full = |shape: [usize; 4]| Tensor::full(device, shape, 0.5);
        let (x, w) = (full(self.x)?, full(self.w)?);
        let conv = Conv2d::new(1, self.w[1] / 2);
        let (y, saved) = conv.forward(&[&x, &w])?;
        let run = || match self.pass {
            Pass::Forward => conv.forward(&[&x, &w]).map(drop),
            Pass::GradInput => conv.backward(&saved, &y[0], &[true, false]).map(drop),
            Pass::GradWeight => conv.backward(&saved, &y[0], &[false, true]).map(drop),
        };
        let [m, n, k] = self.sizes();
        let built_in = super::matmul::tiling::Tiling::built_in(m, n, k);
        let mut timing = Timing { product: self, sizes: [m, n, k], built_in, times: Vec::new() };
        for threads in CANDIDATES {
            gpu.set_tiling(class([m, n, k]), threads);
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
            timing.times.push((threads, shortest));
        }
        gpu.set_tiling(class([m, n, k]), timing.best());
        Ok(timing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::GpuOptions;

    #[test]
    fn another_tiling_is_taken_only_if_clearly_faster() {
        let product = products(4)[0];
        let timing = |usual, other| Timing {
            product,
            sizes: product.sizes(),
            built_in: [16, 16],
            times: vec![([16, 16], Duration::from_micros(usual)), ([8, 8], Duration::from_micros(other))],
        };
        assert_eq!(timing(1000, 980).best(), [16, 16]);
        assert_eq!(timing(1000, 900).best(), [8, 8]);
    }

    #[test]
    fn tuned_tilings_are_kept_for_the_next_opening_and_change_no_value_but_by_rounding() {
        let folder = tempfile::tempdir().expect("folder");
        let options = || GpuOptions {
            as_real: true,
            cache: Some(folder.path().to_path_buf()),
            ..GpuOptions::default()
        };
        let product = Product { x: [1, 6, 6, 8], w: [40, 3, 3, 8], pass: Pass::Forward };
        let value = |device: &Device| {
            let x: Vec<f32> = (0..288).map(|i| (i % 17) as f32 - 8.0).collect();
            let w: Vec<f32> = (0..2880).map(|i| (i % 13) as f32 - 6.0).collect();
            let tensor =
                |shape: [usize; 4], values: &[f32]| Tensor::new(device, shape, values).expect("tensor");
            let inputs = [tensor(product.x, &x), tensor(product.w, &w)];
            Conv2d::new(1, 1).forward(&[&inputs[0], &inputs[1]]).expect("forward").0[0]
                .to_vec()
                .expect("values")
        };
        let device = Device::gpu_named(None, options()).expect("a Vulkan, Metal or DirectX 12 device");
        let before = value(&device);
        let Device::Gpu(gpu) = &device else { unreachable!("a GPU was asked for") };
        let timing = product.tune(&device, gpu, 1).expect("tune");
        assert_eq!(timing.times.len(), CANDIDATES.len());
        gpu.set_tiling(class(product.sizes()), [4, 16]);
        gpu.save_tilings().expect("save");
        let again = Device::gpu_named(None, options()).expect("device");
        assert_eq!(again.gpu().tiling(class(product.sizes())), Some([4, 16]));
        // Whole numbers below 2^24 add up exactly in any order.
        assert_eq!(value(&again), before);
    }
}
