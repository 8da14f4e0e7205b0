//! 3x3 convolution of stride 1 in f32 on the CPU by Winograd's minimal filtering.
//!
//! A tile of `M x M` outputs needs `(M + 2)^2` multiplications a channel pair instead of `9 M^2`: 2.25 times fewer for
//! F(2x2,3x3), 3.24 for F(3x3,3x3), 4 for F(4x4,3x3). Per axis, with the matrices A, B and G of the algorithm, and `*` the
//! elementwise product,
//!
//! `y = A' [(G w G') * (B' x B)] A`,  and backward  `dw = G' [(A dy A') * (B' x B)] G`.
//!
//! Summed over channels, each of the `(M + 2)^2` elements of a tile is a matrix product of its own: tiles by input
//! channels by output channels. The gradient of the input is a convolution of `dy` with the flipped weights.
//!
//! With a dilation d a tile's outputs are d apart, and so are the inputs that it reads: the rest is the same. Nothing is gathered or padded.
//!
//! A task takes a few tiles at a time, so that what it transforms stays in its core's cache, and every transform writes
//! the order in which [`micro`] multiplies: nothing is copied in between.
//!
//! PRECISION: the transforms add and subtract before they multiply. Against f64, F(2x2,3x3) in f32 is as close as a
//! direct sum, F(3x3,3x3) and F(4x4,3x3) 3 to 9 times as far. f64, the definition of the op, never comes here.
//! A NaN or infinity spreads over all outputs of the tiles that read it, where a direct sum keeps it within a kernel's reach.
//!
//! # Source
//! Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, Section 4.

mod correlate;
mod gradient;
mod tiles;

use self::correlate::{Correlation, correlate};
use self::gradient::grad_weight;
use self::tiles::{Grid, Images};
use super::geometry::Geometry;
use crate::engine::ops::matmul::micro;

/// The algorithm F(M x M, 3x3), M 2, 3 or 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Winograd {
    m: usize,
}

impl Winograd {
    /// All that there are.
    pub const ALL: [Winograd; 3] = [Winograd { m: 2 }, Winograd { m: 3 }, Winograd { m: 4 }];

    /// The algorithm that needs the least work for a convolution, `None` for a direct one.
    ///
    /// Work is counted in multiply-adds: those of the products, and what the transforms of weights, inputs and outputs
    /// cost per element at the rates measured beside those of products.
    pub fn choose(g: &Geometry) -> Option<Winograd> {
        /// Multiply-adds in the time that one element of a transformed weight or tile takes, at 64 to 512 channels.
        const WEIGHT: usize = 20;
        const TILE: usize = 16;
        let lanes = micro::lanes();
        if !g.slides_3x3() || lanes == 1 || !g.c.is_multiple_of(lanes) || !g.o.is_multiple_of(lanes) {
            return None;
        }
        let work = |&Winograd { m }: &Winograd| {
            let tiles = g.n * Grid::new([g.oh, g.ow], m, g.dilation).tiles();
            (m + 2).pow(2) * (tiles * g.c * g.o + TILE * tiles * (g.c + g.o) + WEIGHT * g.c * g.o)
        };
        let direct = g.pixels() * 9 * g.c * g.o;
        Winograd::ALL.into_iter().filter(|algorithm| work(algorithm) < direct).min_by_key(work)
    }

    /// `y = x w` over the geometry's window.
    pub fn forward(self, g: &Geometry, x: &[f32], w: &[f32], y: &mut [f32]) {
        let zeros = &vec![0.0; g.c];
        let images = Images::inputs(g, x, zeros);
        self.correlate(Correlation { images, size: [g.oh, g.ow, g.o], w, back: false, add: false }, y);
    }

    /// The gradient of the input; with `add` it is added to what `dx` holds.
    pub fn grad_input(self, g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32], add: bool) {
        let padding = [0, 1].map(|axis| 2 * g.dilation[axis] - g.padding[axis]);
        let zeros = &vec![0.0; g.o];
        let images = Images::outputs(g, dy, padding, zeros);
        self.correlate(Correlation { images, size: [g.h, g.w, g.c], w, back: true, add }, dx);
    }

    /// The gradient of the weight.
    pub fn grad_weight(self, g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        match self.m {
            2 => grad_weight::<2, 4>(g, x, dy, dw),
            3 => grad_weight::<3, 5>(g, x, dy, dw),
            _ => grad_weight::<4, 6>(g, x, dy, dw),
        }
    }

    fn correlate(self, job: Correlation, y: &mut [f32]) {
        match self.m {
            2 => correlate::<2, 4>(job, y),
            3 => correlate::<3, 5>(job, y),
            _ => correlate::<4, 6>(job, y),
        }
    }
}

#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/conv2d/winograd.rs"]
mod tests;
