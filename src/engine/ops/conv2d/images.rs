//! What a convolution on a GPU reads: images that batch norm and relu may have yet to be applied to.

use super::geometry::Geometry;
use crate::engine::device::Gpu;
use crate::engine::ops::batch_norm;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// Images `[n, h, w, c]`, and with coefficients `[4, groups, c]` (mean, variance, scale, shift of each group of images)
/// what they stand for is `relu(scale (x - mean) + shift)`.
#[derive(Clone, Copy)]
pub(in crate::engine::ops) struct Images<'a> {
    pub x: &'a Tensor,
    pub coefficients: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Images<'a> {
    fn from(x: &'a Tensor) -> Images<'a> {
        Images { x, coefficients: None }
    }
}

impl Images<'_> {
    /// 0 where nothing is left to apply.
    pub fn groups(&self) -> usize {
        self.coefficients.map_or(0, |coefficients| coefficients.shape()[1])
    }

    /// Whether it is faster to apply the coefficients to each element as it is loaded than in a pass before.
    ///
    /// A load takes some five instructions more, for every tap and every 128 output channels; the pass writes and reads
    /// 8 bytes more. A usual GPU does 10 to 20 instructions in the time of a byte, so that 12 loads, in the forward pass and
    /// again in the gradient of the weight, cost about as much as the two passes before them.
    pub fn suit_loading(&self, gpu: &Gpu, g: &Geometry) -> bool {
        let loads = g.kh * g.kw * g.o.div_ceil(128) / (g.stride[0] * g.stride[1]);
        let in_one = gpu.batches(g.n, &[g.h * g.w * g.c, g.oh * g.ow * g.o]).len() == 1;
        loads <= 12 && in_one && g.c.is_multiple_of(4) && !gpu.is_cpu()
    }

    /// Calls `f` with these images, which it applies on load, or with what a pass before has made of them.
    pub fn read(self, gpu: &Gpu, on_load: bool, f: impl FnOnce(Images) -> Result<()>) -> Result<()> {
        let Some(coefficients) = self.coefficients.filter(|_| !on_load) else { return f(self) };
        let y = Tensor::uninit(self.x.device(), self.x.shape().clone())?;
        batch_norm::apply(gpu, [self.x, coefficients, &y], true, None)?;
        f(Images::from(&y))
    }
}
