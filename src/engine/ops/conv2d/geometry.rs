//! Sizes of a convolution.

use crate::error::{Error, Result};

/// All sizes of one convolution, checked to fit together.
///
/// `oh = (h + 2 padding - dilation (kh - 1) - 1) / stride + 1`, rounded down; `ow` likewise. Pairs are
/// [vertical, horizontal].
///
/// | tensor | shape |
/// |---|---|
/// | input x | `[n, h, w, c]` |
/// | weight w | `[o, kh, kw, c]` |
/// | output y | `[n, oh, ow, o]` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Images in the batch.
    pub n: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Input channels.
    pub c: usize,
    /// Output channels.
    pub o: usize,
    /// Kernel height.
    pub kh: usize,
    /// Kernel width.
    pub kw: usize,
    /// Input pixels from one output pixel to the next.
    pub stride: [usize; 2],
    /// Zero pixels around the input.
    pub padding: [usize; 2],
    /// Input pixels from one kernel tap to the next.
    pub dilation: [usize; 2],
    /// Output height.
    pub oh: usize,
    /// Output width.
    pub ow: usize,
    /// What a GPU must take; left to the adapter without.
    pub algorithm: Option<Winograd>,
}

/// An algorithm of Winograd's for a 3x3 convolution, by the side M of a tile of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winograd {
    /// F(2x2,3x3)
    F2,
    /// F(4x4,3x3)
    F4,
}

impl Winograd {
    /// Whether the convolution is one of 3x3 neighbouring pixels, of stride 1, padded by 2 at most.
    pub fn applies(g: &Geometry) -> bool {
        g.slides_3x3() && g.dilation == [1, 1]
    }

    /// The algorithm with tiles of `M x M` outputs, if there is one.
    pub fn of(outputs: usize) -> Option<Winograd> {
        [Winograd::F2, Winograd::F4].into_iter().find(|algorithm| algorithm.outputs() == outputs)
    }

    /// M
    pub fn outputs(self) -> usize {
        match self {
            Winograd::F2 => 2,
            Winograd::F4 => 4,
        }
    }

    /// M + 2
    pub fn inputs(self) -> usize {
        self.outputs() + 2
    }
}

impl Geometry {
    /// The geometry of an input of shape `x` and a weight of shape `weight`.
    ///
    /// # Errors
    /// [`Error::Shape`] if a rank is not 4, the channels differ, a stride, dilation or kernel size is zero, or the
    /// kernel is larger than the padded input.
    pub fn new(
        x: &[usize],
        weight: &[usize],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<Geometry> {
        let (&[n, h, w, c], &[o, kh, kw, wc]) = (x, weight) else {
            return Err(Error::shape(
                "conv2d",
                format!("input {x:?} and weight {weight:?} must be [n,h,w,c] and [o,kh,kw,c]: reshape them"),
            ));
        };
        if c != wc {
            return Err(Error::shape(
                "conv2d",
                format!(
                    "weight expects {wc} input channels, input has {c} (input {x:?}, weight {weight:?}): \
                     check the width of the layer before"
                ),
            ));
        }
        if kh == 0 || kw == 0 || stride.contains(&0) || dilation.contains(&0) {
            return Err(Error::shape(
                "conv2d",
                format!(
                    "kernel [{kh},{kw}], stride {stride:?} and dilation {dilation:?} must be at least 1: \
                     check the layer's settings"
                ),
            ));
        }
        let size = |axis: usize, input: usize, kernel: usize| {
            let padded = input + 2 * padding[axis];
            let reach = dilation[axis] * (kernel - 1) + 1;
            padded.checked_sub(reach).map(|rest| rest / stride[axis] + 1).ok_or_else(|| {
                Error::shape(
                    "conv2d",
                    format!(
                        "a kernel reaching over {reach} pixels does not fit the padded input of {padded} (input {x:?}, \
                         weight {weight:?}): use larger images or fewer strides"
                    ),
                )
            })
        };
        let (oh, ow) = (size(0, h, kh)?, size(1, w, kw)?);
        Ok(Geometry { n, h, w, c, o, kh, kw, stride, padding, dilation, oh, ow, algorithm: None })
    }

    /// Shape of the output, `[n, oh, ow, o]`.
    pub fn output(&self) -> [usize; 4] {
        [self.n, self.oh, self.ow, self.o]
    }

    /// Number of output pixels `n oh ow`: rows of the product that a convolution is.
    pub fn pixels(&self) -> usize {
        self.n * self.oh * self.ow
    }

    /// Weights of one output channel, `kh kw c`: the inner size of that product.
    pub fn depth(&self) -> usize {
        self.kh * self.kw * self.c
    }

    /// Whether it is a 3x3 convolution of stride 1 whose gradient of the input has a padding too.
    pub fn slides_3x3(&self) -> bool {
        let padded = (0..2).all(|axis| self.padding[axis] <= 2 * self.dilation[axis]);
        (self.kh, self.kw, self.stride) == (3, 3, [1, 1]) && padded
    }

    /// Whether the convolution is a plain product of pixels and weights, without gathering.
    pub fn is_pointwise(&self) -> bool {
        self.kh * self.kw == 1 && self.stride == [1, 1] && self.padding == [0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_size_rounds_down() {
        let g = Geometry::new(&[2, 13, 10, 3], &[8, 3, 5, 3], [2, 1], [1, 0], [1, 2]).unwrap();
        assert_eq!(g.output(), [2, 7, 2, 8]);
        assert_eq!((g.pixels(), g.depth()), (28, 45));
    }

    #[test]
    fn impossible_sizes_are_errors_that_name_both_shapes() {
        let channels =
            Geometry::new(&[1, 8, 8, 3], &[4, 3, 3, 64], [1, 1], [1, 1], [1, 1]).unwrap_err().to_string();
        assert!(channels.contains("64 input channels") && channels.contains("[1, 8, 8, 3]"), "{channels}");
        assert!(Geometry::new(&[1, 2, 2, 3], &[4, 3, 3, 3], [1, 1], [0, 0], [1, 1]).is_err());
        assert!(Geometry::new(&[1, 8, 8, 3], &[4, 3, 3, 3], [0, 1], [1, 1], [1, 1]).is_err());
        assert!(Geometry::new(&[8, 8, 3], &[4, 3, 3, 3], [1, 1], [1, 1], [1, 1]).is_err());
    }
}
