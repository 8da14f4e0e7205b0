//! 3x3 convolution of stride 1 on a GPU by Winograd's minimal filtering.
//!
//! `y = A' [(G w G') * (B' x B)] A` for every tile of `M x M` outputs and pair of channels, `*` being elementwise: with
//! `T = (M + 2)^2` elements of a tile, 2.25 (M = 2) or 4 (M = 4) times fewer multiplications than a direct sum. Summed
//! over channels, each element is a matrix product of its own; see `conv2d/winograd.rs` for the numerics.
//!
//! The T products are one dispatch of the matrix product's kernel: tiles keep their elements one behind the other in a
//! row of `T c` steps, and the parts of c steps into which a long sum is cut are what is wanted here, left unsummed.
//!
//! # Source
//! Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, Section 4.

use super::conv2d::geometry::{Geometry, Winograd};
use super::matmul::{part_products, tiling::STEP};
use crate::engine::device::Gpu;
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::device::tuned::{Choice, Class};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;
use std::ops::Range;

/// A convolution as the kernels see it: a forward pass, or the gradient of the input, which is one too, of `dy`.
#[derive(Clone, Copy)]
struct Pass {
    algorithm: Winograd,
    /// Whether the weights are turned and their channels exchanged.
    back: bool,
    /// Images, and their height and width in x and in y.
    n: usize,
    image: [usize; 2],
    size: [usize; 2],
    padding: [usize; 2],
    /// Channels of x and y.
    channels: [usize; 2],
}

impl Pass {
    fn new(algorithm: Winograd, g: &Geometry, back: bool) -> Pass {
        let (image, size) = ([g.h, g.w], [g.oh, g.ow]);
        let forward = Pass { algorithm, back, n: g.n, image, size, padding: g.padding, channels: [g.c, g.o] };
        if !back {
            return forward;
        }
        let padding = g.padding.map(|p| 2 - p);
        Pass { image: size, size: image, padding, channels: [g.o, g.c], ..forward }
    }

    /// T
    fn elements(&self) -> usize {
        self.algorithm.inputs().pow(2)
    }

    /// Rows of tiles in an image and tiles in a row.
    fn grid(&self) -> [usize; 2] {
        self.size.map(|size| size.div_ceil(self.algorithm.outputs()))
    }

    /// Steps of a product, and its columns: the channels with zeros behind them.
    fn depth(&self) -> usize {
        self.channels[0].next_multiple_of(STEP)
    }

    fn width(&self) -> usize {
        self.channels[1].next_multiple_of(4)
    }

    /// Elements of a tile's row: never a multiple of a page, whose lines would all fall into one set of a cache.
    fn row(&self) -> usize {
        self.elements() * self.depth() + 16
    }

    /// Elements of one image in x, y, v and m.
    fn sizes(&self) -> [usize; 4] {
        let tiles: usize = self.grid().iter().product();
        let pixels = |size: [usize; 2], channels: usize| size[0] * size[1] * channels;
        let [x, y] = [pixels(self.image, self.channels[0]), pixels(self.size, self.channels[1])];
        [x, y, tiles * self.row(), tiles * self.elements() * self.width()]
    }

    /// Whether bindings hold the transformed weights, and all that belongs to the fewest images of a block.
    fn fits(&self, gpu: &Gpu) -> bool {
        let weights = self.elements() * self.depth() * self.width();
        let sizes = self.sizes();
        let images = gpu.batches(self.n, &sizes).first().map_or(0, |block| block.len());
        let largest = sizes.into_iter().max().unwrap_or(0);
        weights.max(images * largest) <= gpu.max_binding as usize / 4
    }

    fn record(&self, gpu: &Gpu, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, y: &Tensor) -> Result<()> {
        let ([down, across], [x_c, y_c]) = (self.grid(), self.channels);
        let (elements, depth, width, row) = (self.elements(), self.depth(), self.width(), self.row());
        let params = |tiles: usize| {
            [
                ("tiles", tiles.into()),
                ("down", down.into()),
                ("across", across.into()),
                ("row", row.into()),
                ("x_c", x_c.into()),
                ("y_c", y_c.into()),
                ("depth", depth.into()),
                ("width", width.into()),
                ("image", self.image.into()),
                ("size", self.size.into()),
                ("padding", self.padding.into()),
                ("bias", u32::from(bias.is_some()).into()),
            ]
        };
        let side = ("SIDE", self.algorithm.outputs() as f64);
        let flag = |on: bool| f64::from(u8::from(on));
        let new = |shape: [usize; 3]| Tensor::uninit(y.device(), Shape::from(shape));
        let u = new([elements, depth, width])?;
        let back = ("BACK", flag(self.back));
        run(gpu, "weights", vec![side, back], &params(0), vec![(w, None), (&u, None)], depth * width / 4)?;
        let sizes = self.sizes();
        for images in gpu.batches(self.n, &sizes) {
            let tiles = images.len() * down * across;
            let params = params(tiles);
            let part = |size: usize| Some(images.start * size..images.end * size);
            let v = new([1, tiles, row])?;
            let vec = ("X_VEC", flag(x_c.is_multiple_of(4)));
            let tensors = vec![(x, part(sizes[0])), (&v, None)];
            run(gpu, "input", vec![side, vec], &params, tensors, tiles * depth / 4)?;
            let m = new([elements, tiles, width])?;
            part_products(gpu, elements, [tiles, width, depth], (&v, row), &u, &m)?;
            let entry = if y_c.is_multiple_of(4) { "output" } else { "output_odd" };
            let tensors = vec![(&m, None), (bias.unwrap_or(w), None), (y, part(sizes[1]))];
            run(gpu, entry, vec![side], &params, tensors, tiles * width / 4)?;
        }
        Ok(())
    }
}

/// Records a kernel of one thread for each of `threads`.
fn run(
    gpu: &Gpu,
    entry: &'static str,
    constants: Vec<(&'static str, f64)>,
    params: &[Param],
    tensors: Vec<(&Tensor, Option<Range<usize>>)>,
    threads: usize,
) -> Result<()> {
    let groups = threads.div_ceil(64);
    let dispatch = Dispatch::new("winograd", entry, params, &[], groups);
    gpu.run(Dispatch { constants, tensors, ..dispatch })
}

/// Records `y = x w (+ bias)`, or with `back` the gradient of the input, y, where x is that of the output.
pub(super) fn record(
    gpu: &Gpu,
    algorithm: Winograd,
    g: &Geometry,
    back: bool,
    [x, w, y]: [&Tensor; 3],
    bias: Option<&Tensor>,
) -> Result<()> {
    Pass::new(algorithm, g, back).record(gpu, x, w, bias, y)
}

/// The algorithm that a forward pass, or a gradient of the input, takes on an adapter; `None` for the implicit product.
///
/// It is the one asked for, or the tuned one, if there is one. Without, a GPU has no other than the implicit product, and a software driver takes
/// F(2x2,3x3) where it needs less work, counted in the implicit product's multiply-adds: rates measured on lavapipe at 3
/// to 512 channels, where a product's columns fill blocks of 96.
///
/// PRECISION: F(4x4,3x3) is faster still on most shapes there, but with it one golden case, a ResNet-18's gradients, is
/// off by 1.25 times its tolerance.
pub(super) fn choose(gpu: &Gpu, g: &Geometry, back: bool) -> Option<Winograd> {
    /// Multiply-adds in the time that one element of transformed tiles takes, and a pair of channels of the weights.
    const TILE: usize = 12;
    const WEIGHT: usize = 450;
    if g.algorithm.is_some() || !Winograd::applies(g) {
        return g.algorithm;
    }
    let (algorithm, tuned) = match gpu.tuned(class(g, back)) {
        Some(Choice::Side(side)) => (Winograd::of(side)?, true),
        _ if gpu.is_cpu => (Winograd::F2, false),
        _ => return None,
    };
    let pass = Pass::new(algorithm, g, back);
    let wins = || {
        let (tiles, depth, width) = (g.n * pass.grid()[0] * pass.grid()[1], pass.depth(), pass.width());
        let products = tiles * depth * width.next_multiple_of(96) * 3 / 4;
        let work = pass.elements() * (products + TILE * tiles * (depth + width)) + WEIGHT * depth * width;
        let Pass { size: [h, w], channels: [from, to], .. } = pass;
        work < 9 * g.n * h * w * from * to.next_multiple_of(96)
    };
    ((tuned || wins()) && pass.fits(gpu)).then_some(algorithm)
}

/// Convolutions that are tuned together.
pub fn class(g: &Geometry, back: bool) -> Class {
    let Pass { n, size: [h, w], channels: [from, to], .. } = Pass::new(Winograd::F2, g, back);
    Class::conv3x3(back, [n * h * w, h.max(w), from, to])
}

#[cfg(test)]
#[path = "../../../tests/unit/engine/ops/winograd.rs"]
mod tests;
