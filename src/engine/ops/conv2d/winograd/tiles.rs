//! Tiles of images, their transforms, and where these lie in memory.

use crate::engine::ops::conv2d::geometry::Geometry;
use crate::engine::ops::conv2d::transforms::{Lanes, Transform, both_axes};
use crate::engine::ops::matmul::micro::Panels;
use pulp::Simd;
use std::ops::Range;

/// Channels that are read at a time: the transforms of 4,096 would be ten times as large as the images, and in no cache.
pub(super) const BLOCK: usize = 512;

/// Some channels of images `[n, h, w, all]` that tiles are read from; what lies outside is zero.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) data: &'a [f32],
    pub(super) size: [usize; 2],
    /// Channels of a pixel.
    pub(super) all: usize,
    /// The first that is read, and how many are.
    pub(super) first: usize,
    pub(super) channels: usize,
    pub(super) padding: [usize; 2],
    /// Pixels from one pixel of a window to the next.
    pub(super) dilation: [usize; 2],
    /// A pixel outside of its image.
    pub(super) zeros: &'a [f32],
}

impl<'a> Images<'a> {
    /// Those that a convolution reads.
    pub(super) fn inputs(g: &Geometry, data: &'a [f32], zeros: &'a [f32]) -> Images<'a> {
        let (size, all, padding) = ([g.h, g.w], g.c, g.padding);
        Images { data, size, all, first: 0, channels: all, padding, dilation: g.dilation, zeros }
    }

    /// Those that it writes.
    pub(super) fn outputs(
        g: &Geometry,
        data: &'a [f32],
        padding: [usize; 2],
        zeros: &'a [f32],
    ) -> Images<'a> {
        let (size, all) = ([g.oh, g.ow], g.o);
        Images { data, size, all, first: 0, channels: all, padding, dilation: g.dilation, zeros }
    }

    /// The same in blocks of channels.
    pub(super) fn blocks(self) -> impl Iterator<Item = Images<'a>> {
        let block = move |first| Images { first, channels: BLOCK.min(self.all - first), ..self };
        (0..self.all).step_by(BLOCK).map(block)
    }

    /// The `SIDE x SIDE` pixels from row `y` and column `x` of padded image `n` on, one dilation apart.
    #[inline(always)]
    pub(super) fn window<const SIDE: usize>(&self, n: usize, [y, x]: [usize; 2]) -> [[&[f32]; SIDE]; SIDE] {
        let [h, w] = self.size;
        let mut window = [[&self.zeros[..self.channels]; SIDE]; SIDE];
        for (i, row) in window.iter_mut().enumerate() {
            let y = (y + i * self.dilation[0]).wrapping_sub(self.padding[0]);
            for (j, pixel) in row.iter_mut().enumerate() {
                let x = (x + j * self.dilation[1]).wrapping_sub(self.padding[1]);
                if y < h && x < w {
                    *pixel = &self.data[((n * h + y) * w + x) * self.all + self.first..][..self.channels];
                }
            }
        }
        window
    }

    /// Writes the transform of the windows of some tiles: element (i, j) of channels from `c` on of a tile goes where
    /// `put(i, j, index of the tile, c)` says.
    #[inline(always)]
    pub(super) fn transform<S: Simd, F: Transform<FROM, TO>, const FROM: usize, const TO: usize>(
        &self,
        simd: S,
        grid: Grid,
        tiles: Range<usize>,
        mut put: impl FnMut(usize, usize, usize, Lanes<S>),
    ) {
        for (index, tile) in tiles.enumerate() {
            let (n, corner) = grid.at(tile);
            let window = self.window::<FROM>(n, corner);
            for c in (0..self.channels).step_by(S::F32_LANES) {
                let load = |i: usize, j: usize| Lanes::load(simd, window[i][j], c);
                let put = |i: usize, j: usize, value| put(i * TO + j, index, c, value);
                both_axes::<_, F, FROM, TO>(Lanes::zero(simd), load, put);
            }
        }
    }
}

/// The grid of tiles over a batch of outputs.
///
/// Outputs of a tile are one dilation d apart: they read the same inputs, which outputs between them do not. An image is as many images as
/// there are remainders by d, interleaved, and tiles of neighbouring remainders are neighbours.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Rows of tiles in an image, tiles in a row.
    count: [usize; 2],
    /// Remainders of rows and columns.
    phases: [usize; 2],
    /// Outputs from the first of a tile to the first of the next of its remainder: M d.
    step: [usize; 2],
}

impl Grid {
    pub(super) fn new(size: [usize; 2], side: usize, dilation: [usize; 2]) -> Grid {
        let phases = [0, 1].map(|axis| dilation[axis].min(size[axis]));
        let count = [0, 1].map(|axis| size[axis].div_ceil(dilation[axis]).div_ceil(side) * phases[axis]);
        Grid { count, phases, step: dilation.map(|d| side * d) }
    }

    /// Tiles of an image.
    pub(super) fn tiles(&self) -> usize {
        self.count[0] * self.count[1]
    }

    /// Image, and first row and column of outputs of a tile.
    pub(super) fn at(&self, tile: usize) -> (usize, [usize; 2]) {
        let (line, column) = (tile / self.count[1], tile % self.count[1]);
        let first =
            |axis: usize, at: usize| at / self.phases[axis] * self.step[axis] + at % self.phases[axis];
        (line / self.count[0], [first(0, line % self.count[0]), first(1, column)])
    }
}

/// Elements from one element of a transformed tile to the next: not a multiple of a page, whose lines would all fall
/// into one set of the cache.
pub(super) fn plane(elements: usize) -> usize {
    elements + 16
}

/// Where elements of a matrix lie that is read in panels of `pair` columns: see [`Panels`].
#[derive(Clone, Copy)]
pub(super) struct Panelled {
    pub(super) rows: usize,
    pub(super) pair: usize,
}

impl Panelled {
    #[inline(always)]
    pub(super) fn at(self, row: usize, column: usize) -> usize {
        (column / self.pair * self.rows + row) * self.pair + column % self.pair
    }

    pub(super) fn of(self, data: &[f32]) -> Panels<'_> {
        Panels { data, row: self.pair, panel: self.rows * self.pair }
    }

    pub(super) fn len(self, columns: usize) -> usize {
        self.rows * columns.next_multiple_of(self.pair)
    }
}

/// Memory of which tasks write disjoint vectors.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    pub(super) data: *mut f32,
    pub(super) len: usize,
}

// SAFETY: tasks write vectors of disjoint tiles, or of disjoint channels.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    pub(super) fn new(data: &mut [f32]) -> Shared {
        Shared { data: data.as_mut_ptr(), len: data.len() }
    }

    #[inline(always)]
    pub(super) fn put<S: Simd>(self, at: usize, value: Lanes<S>) {
        assert!(at + S::F32_LANES <= self.len, "a vector outside of its planes");
        // SAFETY: bounded above; no other task writes these elements.
        value.store(unsafe { std::slice::from_raw_parts_mut(self.data.add(at), S::F32_LANES) }, 0);
    }

    #[inline(always)]
    pub(super) fn get<S: Simd>(self, simd: S, at: usize) -> Lanes<S> {
        assert!(at + S::F32_LANES <= self.len, "a vector outside of its planes");
        // SAFETY: bounded above; no other task writes these elements.
        Lanes::load(simd, unsafe { std::slice::from_raw_parts(self.data.add(at), S::F32_LANES) }, 0)
    }
}
