//! A convolution and the batch norm behind it in one kernel: on a GPU the statistics are gathered while the convolution's
//! output is written, so that it is not read once more for them. On the CPU that gained nothing measurable.

use super::kernel::Kernel;
use super::{BatchNorm, Case, Conv2d, Input, batch_norm, conv2d};
use crate::device::{Gpu, real::Real};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor, View, ViewMut};

/// `z = conv(x, w)`, `y = act(gamma (z - mean) / sqrt(var + eps) + beta + residual)`, mean and var being those of z.
///
/// It has no gradient of its own: a tape [records](crate::autograd::Tape::record) its outputs as those of a [`Conv2d`] and a
/// [`BatchNorm`].
///
/// | value | shape |
/// |---|---|
/// | `x` | `[n, h, w, c]` |
/// | `w` | `[o, kh, kw, c]` |
/// | `gamma`, `beta` | `[o]` |
/// | `residual` (may be left out) | as `y` |
/// | returns `y`, `z` | `[n, oh, ow, o]` |
/// | returns `stats` | `[2, groups, o]`: mean, biased variance |
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together; see [`Conv2d`] and [`BatchNorm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvBatchNorm {
    /// The convolution.
    pub conv: Conv2d,
    /// The normalisation.
    pub norm: BatchNorm,
}

impl ConvBatchNorm {
    /// What [`BatchNorm`] takes, from what this op takes.
    fn norm_inputs<T: Copy>(z: T, inputs: &[T]) -> Vec<T> {
        [z].into_iter().chain(inputs[2..].iter().copied()).collect()
    }
}

impl Kernel for ConvBatchNorm {
    const NAME: &'static str = "conv_batch_norm";
    const READS: u64 = 2;

    fn reduced<'a>(_inputs: &[&'a Shape], outputs: &'a [Shape]) -> &'a Shape {
        &outputs[1]
    }

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let [x, w, _, _, ..] = inputs else {
            let detail = format!("needs x, w, gamma, beta and perhaps a residual, got {inputs:?}");
            return Err(Error::shape(Self::NAME, detail));
        };
        let z = self.conv.shapes(&[x, w])?.swap_remove(0);
        let mut outputs = self.norm.shapes(&Self::norm_inputs(&z, inputs))?;
        outputs.insert(1, z.clone());
        Ok(outputs)
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        self.conv.work(&inputs[..2])
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let [y, z, stats] = y else { unreachable!("three outputs") };
        let g = self.conv.known(x[0].shape, x[1].shape);
        conv2d::twin::forward(&g, x[0].data, x[1].data, z.data);
        let norm = self.norm.norm(x[2].data, x[3].data);
        batch_norm::twin::forward(&norm, z.data, x.get(4).map(|r| r.data), y.data, stats.data);
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let [y, z, stats] = y else { unreachable!("three outputs") };
        let g = self.conv.known(x[0].shape(), x[1].shape());
        let Some(rows) = conv2d::rows_of_statistics(gpu, &g, self.norm.groups) else {
            conv2d::forward(gpu, &g, x[0], x[1], None, z)?;
            return self.norm.gpu(gpu, &Self::norm_inputs(z, x), &[y.clone(), stats.clone()]);
        };
        let blocks = self.norm.blocks(gpu, z, rows)?;
        conv2d::forward_with_statistics(gpu, &g, [x[0], x[1], z, &blocks])?;
        self.norm.gpu_from_blocks(gpu, &Self::norm_inputs(z, x), rows, [&blocks, stats, y])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, conv, groups, residual: bool, x: [usize; 4], [o, kh, kw]: [usize; 3]| {
            let op = ConvBatchNorm { conv, norm: BatchNorm { groups, eps: 1e-5, relu: residual } };
            let shape = |dims: [usize; 4]| Shape::from(dims);
            let mut inputs = vec![Input::normal(x), Input::normal([o, kh, kw, x[3]])];
            inputs.extend([Input::normal([o]), Input::normal([o])]);
            let z = op.conv.shapes(&[&shape(x), &shape([o, kh, kw, x[3]])]).expect("a case's shapes fit");
            inputs.extend(residual.then(|| Input::normal(&z[0][..])));
            Case::new(name, op, inputs)
        };
        vec![
            case("3x3", Conv2d::new(1, 1), 1, false, [2, 7, 5, 8], [12, 3, 3]),
            case("1x1, odd channels", Conv2d::new(1, 0), 1, true, [2, 7, 5, 5], [13, 1, 1]),
            case("stem", Conv2d::new(2, 3), 1, false, [2, 17, 14, 3], [8, 7, 7]),
            case("several tiles, residual", Conv2d::new(1, 1), 1, true, [3, 12, 9, 4], [68, 3, 3]),
            case("groups of whole tiles", Conv2d::new(1, 0), 2, true, [4, 8, 8, 4], [36, 1, 1]),
            case("groups that cut tiles", Conv2d::new(1, 1), 3, false, [6, 5, 7, 4], [8, 3, 3]),
        ]
    }
}
