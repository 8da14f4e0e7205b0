//! The ops as methods of variables.

use super::Var;
use crate::engine::ops::{
    AdaptiveAvgPool, BilinearResize, Concat, Conv2d, Coordinates, CrossEntropy, Dropout, GatherRows,
    L2Normalize, Map, Matmul, MaxPool, Op, Over, Reduce, Reshape, SmoothAp,
};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::{Error, Result};
use crate::rng::KeyedRng;
use std::ops::Range;

impl<'t> Var<'t> {
    fn apply(&self, op: impl Op + 'static, others: &[&Var<'t>]) -> Result<Var<'t>> {
        let mut inputs = vec![self];
        inputs.extend(others);
        Ok(self.tape().apply(op, &inputs)?.0)
    }

    /// `self + other`; dimensions that are 1 or missing in one of them are repeated
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit.
    pub fn add(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Map::Add, &[other])
    }

    /// `self - other`; dimensions that are 1 or missing in one of them are repeated
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit.
    pub fn sub(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Map::Sub, &[other])
    }

    /// `self * other`, elementwise; dimensions that are 1 or missing in one of them are repeated
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit.
    pub fn mul(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Map::Mul, &[other])
    }

    /// `self / other`, elementwise; dimensions that are 1 or missing in one of them are repeated
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit.
    pub fn div(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Map::Div, &[other])
    }

    /// The larger of the two, elementwise; dimensions that are 1 or missing in one of them are repeated
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit.
    pub fn max(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Map::Max, &[other])
    }

    /// The smaller of the two, elementwise; dimensions that are 1 or missing in one of them are repeated
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit.
    pub fn min(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Map::Min, &[other])
    }

    /// `-self`
    ///
    /// # Errors
    /// The device's.
    pub fn neg(&self) -> Result<Var<'t>> {
        self.scale(-1.0)
    }

    /// `factor * self`
    ///
    /// # Errors
    /// The device's.
    pub fn scale(&self, factor: f32) -> Result<Var<'t>> {
        self.apply(Map::Scale(factor), &[])
    }

    /// `self + constant`
    ///
    /// # Errors
    /// The device's.
    pub fn offset(&self, constant: f32) -> Result<Var<'t>> {
        self.apply(Map::Offset(constant), &[])
    }

    /// `exp(self)`
    ///
    /// # Errors
    /// The device's.
    pub fn exp(&self) -> Result<Var<'t>> {
        self.apply(Map::Exp, &[])
    }

    /// The natural logarithm
    ///
    /// # Errors
    /// The device's.
    pub fn log(&self) -> Result<Var<'t>> {
        self.apply(Map::Log, &[])
    }

    /// The square root
    ///
    /// # Errors
    /// The device's.
    pub fn sqrt(&self) -> Result<Var<'t>> {
        self.apply(Map::Sqrt, &[])
    }

    /// `self * self`
    ///
    /// # Errors
    /// The device's.
    pub fn square(&self) -> Result<Var<'t>> {
        self.apply(Map::Square, &[])
    }

    /// The absolute value
    ///
    /// # Errors
    /// The device's.
    pub fn abs(&self) -> Result<Var<'t>> {
        self.apply(Map::Abs, &[])
    }

    /// `1 / (1 + exp(-self))`
    ///
    /// # Errors
    /// The device's.
    pub fn sigmoid(&self) -> Result<Var<'t>> {
        self.apply(Map::Sigmoid, &[])
    }

    /// `ln(1 + exp(self))`
    ///
    /// # Errors
    /// The device's.
    pub fn softplus(&self) -> Result<Var<'t>> {
        self.apply(Map::Softplus, &[])
    }

    /// `max(self, 0)`
    ///
    /// # Errors
    /// The device's.
    pub fn relu(&self) -> Result<Var<'t>> {
        self.apply(Map::Relu, &[])
    }

    /// The nearest value from `low` to `high`
    ///
    /// # Errors
    /// The device's.
    pub fn clamp(&self, low: f32, high: f32) -> Result<Var<'t>> {
        self.apply(Map::Clamp(low, high), &[])
    }

    /// Every row of `[.., C]` divided by its length
    ///
    /// # Errors
    /// [`crate::Error::Shape`] of a scalar.
    pub fn l2_normalize(&self) -> Result<Var<'t>> {
        self.apply(L2Normalize, &[])
    }

    /// The sum over everything (`[]`), each row (`[.., C] -> [..]`), each channel (`[.., C] -> [C]`) or the pixels of each image
    /// (`[n, .., C] -> [n, C]`)
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if there is nothing to add up.
    pub fn sum(&self, over: Over) -> Result<Var<'t>> {
        self.apply(Reduce { over, mean: false }, &[])
    }

    /// The mean over everything (`[]`), each row (`[.., C] -> [..]`), each channel (`[.., C] -> [C]`) or the pixels of each image
    /// (`[n, .., C] -> [n, C]`)
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if there is nothing to add up.
    pub fn mean(&self, over: Over) -> Result<Var<'t>> {
        self.apply(Reduce { over, mean: true }, &[])
    }

    /// One minus the mean smoothed AP of similarities `[n, n]` with `views` rows per image, and the AP of each query
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if this is not a square of whole images with at least 2 views each.
    pub fn smooth_ap(&self, views: usize, tau: f32) -> Result<(Var<'t>, Tensor)> {
        let (loss, mut extras) = self.tape().apply(SmoothAp { views, tau }, &[self])?;
        Ok((loss, extras.swap_remove(0)))
    }

    /// Mean softmax cross-entropy of the rows of `[.., D]` against `labels` `[..]`, whole numbers below D
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit.
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Var<'t>> {
        self.apply(CrossEntropy::default(), &[&self.tape().constant(labels.clone())])
    }

    /// The same over the rows that have another label than `ignore`; 0 if there is none
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit.
    pub fn cross_entropy_ignoring(&self, labels: &Tensor, ignore: usize) -> Result<Var<'t>> {
        self.apply(CrossEntropy { ignore: Some(ignore) }, &[&self.tape().constant(labels.clone())])
    }

    /// Rows `self[index[i]]` over the first dimension; no gradient flows to the index
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the index is not a vector.
    pub fn gather_rows(&self, index: &Tensor) -> Result<Var<'t>> {
        self.apply(GatherRows, &[&self.tape().constant(index.clone())])
    }

    /// Rows of a range over the first dimension: with all first views above all second ones, `0..B` are the first
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if there are fewer rows.
    pub fn rows(&self, range: Range<usize>) -> Result<Var<'t>> {
        let rows = self.shape().first().copied().unwrap_or(0);
        if range.start > range.end || range.end > rows {
            return Err(Error::shape("rows", format!("{range:?} of {rows} rows")));
        }
        let index = |i: &[usize]| (range.start + i[0]) as f32;
        self.gather_rows(&Tensor::from_fn(self.tape().device(), [range.len()], index)?)
    }

    /// `[self, other]` along the last dimension
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the other dimensions differ.
    pub fn concat(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Concat, &[other])
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the counts differ.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Var<'t>> {
        self.apply(Reshape(shape.into()), &[])
    }

    /// `self other`: `[M, K] x [K, N] -> [M, N]`, or of each pair of as many matrices, `[B, M, K] x [B, K, N] -> [B, M, N]`
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if K differs.
    pub fn matmul(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Matmul::NN, &[other])
    }

    /// `self^T other`: `[K, M] x [K, N] -> [M, N]`, as the products of channels over a batch
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if K differs.
    pub fn matmul_tn(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Matmul::TN, &[other])
    }

    /// `self other^T`: `[M, K] x [N, K] -> [M, N]`
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if K differs.
    pub fn matmul_nt(&self, other: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Matmul::NT, &[other])
    }

    /// `self weight^T + bias`: `[N, in] x [out, in] + [out] -> [N, out]`
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the widths differ.
    pub fn linear(&self, weight: &Var<'t>, bias: &Var<'t>) -> Result<Var<'t>> {
        self.apply(Matmul::NT, &[weight, bias])
    }

    /// Cross-correlation of `[N, H, W, C]` with `[O, KH, KW, C]`; pairs are [vertical, horizontal].
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ or the kernel is larger than the padded image.
    pub fn conv2d(
        &self,
        weight: &Var<'t>,
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<Var<'t>> {
        self.apply(Conv2d { stride, padding, dilation, algorithm: None }, &[weight])
    }

    /// Maximum over square windows of `[N, H, W, C]`, padded with minus infinity.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if a window does not fit.
    pub fn max_pool(&self, kernel: usize, stride: usize, padding: usize) -> Result<Var<'t>> {
        self.apply(MaxPool { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }, &[])
    }

    /// Mean over the pixels: `[N, H, W, C] -> [N, C]`
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if there are none.
    pub fn global_avg_pool(&self) -> Result<Var<'t>> {
        self.mean(Over::Pixels)
    }

    /// Mean over what lies under each of `bins[0] x bins[1]` cells: `[N, H, W, C] -> [N, bins[0], bins[1], C]`
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if this is no batch of images or a side is 0.
    pub fn adaptive_avg_pool(&self, bins: [usize; 2]) -> Result<Var<'t>> {
        self.apply(AdaptiveAvgPool { bins }, &[])
    }

    /// `[N, H, W, C]` at another height and width, by bilinear interpolation without antialiasing
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if this is no batch of images or a side is 0.
    pub fn bilinear_resize(&self, size: [usize; 2], coordinates: Coordinates) -> Result<Var<'t>> {
        self.apply(BilinearResize { size, coordinates }, &[])
    }

    /// Elements, or with `channels` whole channels of an image of `[N, .., C]`, set to 0 with probability p as the stream says, the others
    /// divided by 1 - p
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if p is not at least 0 and below 1.
    pub fn dropout(&self, p: f64, channels: bool, draws: KeyedRng) -> Result<Var<'t>> {
        self.apply(Dropout { p, channels, draws }, &[])
    }
}
