//! 3x3 convolution of stride 1 on the CPU by Winograd's minimal filtering.
//!
//! A tile of `M x M` outputs needs `(M + 2)^2` multiplications a channel pair instead of `9 M^2`: 2.25 times fewer for
//! F(2x2,3x3), 4 times fewer for F(4x4,3x3). Per axis, with the matrices A, B and G of the algorithm, and `*` the
//! elementwise product,
//!
//! `y = A' [(G w G') * (B' x B)] A`,  and backward  `dw = G' [(A dy A') * (B' x B)] G`.
//!
//! Summed over channels, each of the `(M + 2)^2` elements of a tile is a matrix product of its own: tiles by input
//! channels by output channels. The gradient of the input is a convolution of `dy` with the flipped weights.
//!
//! PRECISION: the transforms add and subtract before they multiply. Against f64, F(2x2,3x3) in f32 is as close as a
//! direct sum and F(4x4,3x3) 3 to 9 times as far. f64, the definition of the op, never comes here.
//! A NaN or infinity spreads over all outputs of the tiles that read it, where a direct sum keeps it within a kernel's reach.
//!
//! # Source
//! Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, Section 4.

// Iterators over two arrays at once would hide which of their elements stay in registers.
#![allow(clippy::needless_range_loop)]

use super::geometry::{Geometry, Winograd};
use super::transforms::{Algorithm, F2, F4, LANES, Lanes, both_axes};
use crate::engine::device::real::Real;
use crate::engine::device::scratch::with_scratch;
use crate::engine::device::vector::vectorised;
use crate::engine::ops::matmul::twin::{Strided, product};
use gemm::Parallelism;
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that a task of a forward pass multiplies at a time, at least.
const TILES: usize = 96;
/// Elements that the transformed tiles of a task should not exceed: 1 MiB of f32.
const BLOCK: usize = 1 << 18;
/// Tiles that a weight gradient adds up at a time.
const GRAD_TILES: usize = 256;

impl Winograd {
    /// The algorithm that needs the least work for a convolution, `None` for a direct one.
    ///
    /// Work is counted in multiply-adds: those of the products, and what the transforms of weights, inputs and outputs
    /// cost per element at the rates measured beside those of products.
    pub fn choose(g: &Geometry) -> Option<Winograd> {
        /// Multiply-adds in the time that one element of a transformed weight or tile takes, from timings of F(2x2,3x3)
        /// and F(4x4,3x3) at 64 to 512 channels.
        const WEIGHT: usize = 120;
        const TILE: usize = 24;
        if !Winograd::applies(g) || !g.c.is_multiple_of(LANES) || !g.o.is_multiple_of(LANES) {
            return None;
        }
        let work = |algorithm: Winograd| {
            let (m, elements) = (algorithm.outputs(), algorithm.inputs().pow(2));
            let tiles = g.n * g.oh.div_ceil(m) * g.ow.div_ceil(m);
            elements * (tiles * g.c * g.o + TILE * tiles * (g.c + g.o) + WEIGHT * g.c * g.o)
        };
        let direct = g.pixels() * 9 * g.c * g.o;
        [Winograd::F4, Winograd::F2].into_iter().filter(|&a| work(a) < direct).min_by_key(|&a| work(a))
    }

    /// `y = x w` over the geometry's window.
    pub fn forward<T: Real>(self, g: &Geometry, x: &[T], w: &[T], y: &mut [T]) {
        let images = Images { data: x, size: [g.h, g.w], channels: g.c, padding: g.padding };
        match self {
            Winograd::F2 => correlate::<F2, T>(&images, [g.oh, g.ow, g.o], w, [false; 2], y),
            Winograd::F4 => correlate::<F4, T>(&images, [g.oh, g.ow, g.o], w, [false; 2], y),
        }
    }

    /// The gradient of the input; with `add` it is added to what `dx` holds.
    pub fn grad_input<T: Real>(self, g: &Geometry, w: &[T], dy: &[T], dx: &mut [T], add: bool) {
        let padding = g.padding.map(|p| 2 - p);
        let images = Images { data: dy, size: [g.oh, g.ow], channels: g.o, padding };
        match self {
            Winograd::F2 => correlate::<F2, T>(&images, [g.h, g.w, g.c], w, [true, add], dx),
            Winograd::F4 => correlate::<F4, T>(&images, [g.h, g.w, g.c], w, [true, add], dx),
        }
    }

    /// The gradient of the weight.
    pub fn grad_weight<T: Real>(self, g: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
        match self {
            Winograd::F2 => grad_weight::<F2, T>(g, x, dy, dw),
            Winograd::F4 => grad_weight::<F4, T>(g, x, dy, dw),
        }
    }
}

/// Images `[n, h, w, channels]` that tiles are read from; what lies outside is zero.
struct Images<'a, T> {
    data: &'a [T],
    size: [usize; 2],
    channels: usize,
    padding: [usize; 2],
}

/// What stands for a pixel outside of its image.
const OUTSIDE: usize = usize::MAX;

impl<T: Real> Images<'_, T> {
    /// Where the `side x side` pixels from row `y` and column `x` of padded image `n` begin.
    #[inline(always)]
    fn window(&self, n: usize, [y, x]: [usize; 2], side: usize) -> [[usize; 6]; 6] {
        let [h, w] = self.size;
        let mut window = [[OUTSIDE; 6]; 6];
        for i in 0..side {
            let y = (y + i).wrapping_sub(self.padding[0]);
            for j in 0..side {
                let x = (x + j).wrapping_sub(self.padding[1]);
                if y < h && x < w {
                    window[i][j] = ((n * h + y) * w + x) * self.channels;
                }
            }
        }
        window
    }

    /// Channels from `c` on of a pixel of a window.
    #[inline(always)]
    fn pixel(&self, start: usize, c: usize) -> Lanes<T> {
        if start == OUTSIDE { Lanes::zero() } else { Lanes::load(&self.data[start + c..]) }
    }
}

/// The grid of tiles over a batch of outputs.
#[derive(Clone, Copy)]
struct Grid {
    /// Rows of tiles in an image, tiles in a row.
    down: usize,
    across: usize,
    /// M
    side: usize,
}

impl Grid {
    fn new([h, w]: [usize; 2], side: usize) -> Grid {
        Grid { down: h.div_ceil(side), across: w.div_ceil(side), side }
    }

    /// Image, and first row and column of outputs of a tile.
    fn at(&self, tile: usize) -> (usize, [usize; 2]) {
        let line = tile / self.across;
        (line / self.down, [line % self.down * self.side, tile % self.across * self.side])
    }
}

/// Elements from one element of a transformed tile to the next: not a multiple of a page, whose lines would all fall
/// into one set of the cache.
fn plane(tiles: usize, channels: usize) -> usize {
    tiles * channels + 16
}

/// Writes the transform of the windows of some tiles into planes of `[tiles, channels]`, from tile `first` on.
#[inline(always)]
fn transform<T: Real>(
    images: &Images<T>,
    grid: Grid,
    tiles: Range<usize>,
    [from, to]: [usize; 2],
    along: impl Fn([Lanes<T>; 6]) -> [Lanes<T>; 6],
    planes: &Planes<T>,
    first: usize,
) {
    let channels = images.channels;
    for (index, tile) in tiles.enumerate() {
        let (n, corner) = grid.at(tile);
        let window = images.window(n, corner, from);
        for c in (0..channels).step_by(LANES) {
            let load = |i: usize, j: usize| images.pixel(window[i][j], c);
            let at = (first + index) * channels + c;
            both_axes([from, to], load, &along, |i, j, value| planes.put(i * to + j, at, value));
        }
    }
}

/// Planes that tasks write disjoint elements of.
struct Planes<T> {
    data: *mut T,
    len: usize,
    plane: usize,
}

// SAFETY: tasks write elements of disjoint tiles (or channels).
unsafe impl<T> Sync for Planes<T> {}

impl<T: Real> Planes<T> {
    fn new(data: &mut [T], plane: usize) -> Self {
        Planes { data: data.as_mut_ptr(), len: data.len(), plane }
    }

    #[inline(always)]
    fn put(&self, element: usize, at: usize, value: Lanes<T>) {
        let at = element * self.plane + at;
        assert!(at + LANES <= self.len, "a tile outside of its planes");
        // SAFETY: bounded above; no other task writes this tile's elements.
        unsafe { std::ptr::copy_nonoverlapping(value.0.as_ptr(), self.data.add(at), LANES) };
    }
}

/// Writes `U = G w G'`, planes of `[o, c]`, of weights `[o, 3, 3, c]`, turned by 180 degrees if `flipped`.
fn transform_weights<A: Algorithm, T: Real>(w: &[T], o: usize, c: usize, flipped: bool, u: &mut [T]) {
    let planes = Planes::new(u, plane(o, c));
    (0..o).into_par_iter().with_min_len(8).for_each(|row| {
        vectorised(
            #[inline(always)]
            || {
                for channel in (0..c).step_by(LANES) {
                    let load = |i: usize, j: usize| {
                        let tap = if flipped { 8 - 3 * i - j } else { 3 * i + j };
                        Lanes::load(&w[(row * 9 + tap) * c + channel..])
                    };
                    let at = row * c + channel;
                    both_axes([3, A::IN], load, A::weight, |i, j, value| {
                        planes.put(i * A::IN + j, at, value)
                    });
                }
            },
        );
    });
}

/// Writes outputs `y` `[n, h, w, to]`, or with `add` adds them: the images under the weights `[o, 3, 3, c]`, where `back`
/// exchanges o and c and turns the kernel.
fn correlate<A: Algorithm, T: Real>(
    images: &Images<T>,
    [h, w, to]: [usize; 3],
    weights: &[T],
    [back, add]: [bool; 2],
    y: &mut [T],
) {
    let from = images.channels;
    let (o, c) = if back { (from, to) } else { (to, from) };
    let elements = A::IN * A::IN;
    let grid = Grid::new([h, w], A::OUT);
    let lines = y.len() / (h * w * to).max(1) * grid.down;
    // A task takes whole rows of tiles, so that its outputs are one block of y.
    let wanted = (BLOCK / (elements * (from + to))).max(TILES).div_ceil(grid.across.max(1));
    let per_task = wanted.min(lines.div_ceil(rayon::current_num_threads())).max(1);
    with_scratch(elements * plane(o, c), |u: &mut [T]| {
        transform_weights::<A, T>(weights, o, c, back, u);
        let u = &*u;
        let mut rest = y;
        let mut tasks = Vec::new();
        for first in (0..lines).step_by(per_task) {
            let task = first..lines.min(first + per_task);
            // Output rows before a row of tiles: the last one of an image may be cut.
            let rows_before = |line: usize| line / grid.down * h + (line % grid.down * A::OUT).min(h);
            let rows = rows_before(task.end) - rows_before(task.start);
            let (mine, others) = std::mem::take(&mut rest).split_at_mut(rows * w * to);
            rest = others;
            tasks.push((task, mine));
        }
        tasks.into_par_iter().for_each(|(lines, y)| {
            let tiles = lines.start * grid.across..lines.end * grid.across;
            let count = tiles.len();
            let (v_plane, m_plane) = (plane(count, from), plane(count, to));
            with_scratch(elements * (v_plane + m_plane), |scratch: &mut [T]| {
                let (v, m) = scratch.split_at_mut(elements * v_plane);
                let planes = Planes::new(v, v_plane);
                let sides = [A::IN, A::IN];
                vectorised(
                    #[inline(always)]
                    || transform(images, grid, tiles.clone(), sides, A::input, &planes, 0),
                );
                for element in 0..elements {
                    let v = Strided::new(&v[element * v_plane..][..count * from], from, false);
                    let u = Strided::new(&u[element * plane(o, c)..][..o * c], c, !back);
                    let m = &mut m[element * m_plane..][..count * to];
                    product(count, to, from, v, u, m, to, false, Parallelism::None);
                }
                vectorised(
                    #[inline(always)]
                    || write_outputs::<A, T>(grid, [h, w, to], tiles.clone(), m, m_plane, add, y),
                );
            });
        });
    });
}

/// Writes `A' m A` of some tiles to `y`, or adds it, whose first row is the first tile's.
#[inline(always)]
fn write_outputs<A: Algorithm, T: Real>(
    grid: Grid,
    [h, w, channels]: [usize; 3],
    tiles: Range<usize>,
    m: &[T],
    plane: usize,
    add: bool,
    y: &mut [T],
) {
    let row = |(n, [i, _]): (usize, [usize; 2])| n * h + i;
    let first = row(grid.at(tiles.start));
    for (index, tile) in tiles.enumerate() {
        let (n, [top, left]) = grid.at(tile);
        let top_row = row((n, [top, left])) - first;
        for c in (0..channels).step_by(LANES) {
            let at = index * channels + c;
            let load = |i: usize, j: usize| Lanes::load(&m[(i * A::IN + j) * plane + at..]);
            both_axes([A::IN, A::OUT], load, A::output, |i, j, value| {
                if top + i < h && left + j < w {
                    let y = &mut y[((top_row + i) * w + left + j) * channels + c..];
                    let value = if add { Lanes::load(y) + value } else { value };
                    value.store(y);
                }
            });
        }
    }
}

/// `dw = G' [sum over tiles of (A dy A') (B' x B)] G`: tiles are transformed a block at a time, then every element's
/// product adds its part; both share their work among the threads.
fn grad_weight<A: Algorithm, T: Real>(g: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
    let elements = A::IN * A::IN;
    let grid = Grid::new([g.oh, g.ow], A::OUT);
    let tiles = g.n * grid.down * grid.across;
    let block = GRAD_TILES.min(tiles);
    let inputs = Images { data: x, size: [g.h, g.w], channels: g.c, padding: g.padding };
    let outputs = Images { data: dy, size: [g.oh, g.ow], channels: g.o, padding: [0, 0] };
    let [u_plane, v_plane, d_plane] = [plane(g.o, g.c), plane(block, g.c), plane(block, g.o)];
    with_scratch(elements * (u_plane + v_plane + d_plane), |scratch: &mut [T]| {
        let (u, scratch) = scratch.split_at_mut(elements * u_plane);
        let (v, d) = scratch.split_at_mut(elements * v_plane);
        for start in (0..tiles).step_by(block) {
            let count = block.min(tiles - start);
            let (v_planes, d_planes) = (Planes::new(v, v_plane), Planes::new(d, d_plane));
            (0..count.div_ceil(16)).into_par_iter().for_each(|part| {
                let (first, last) = (part * 16, count.min(part * 16 + 16));
                let mine = start + first..start + last;
                vectorised(
                    #[inline(always)]
                    || {
                        let sides = [A::IN, A::IN];
                        transform(&inputs, grid, mine.clone(), sides, A::input, &v_planes, first);
                        transform(
                            &outputs,
                            grid,
                            mine.clone(),
                            [A::OUT, A::IN],
                            A::output_back,
                            &d_planes,
                            first,
                        );
                    },
                );
            });
            let (v, d) = (&*v, &*d);
            u.par_chunks_mut(u_plane).enumerate().for_each(|(element, u)| {
                let v = Strided::new(&v[element * v_plane..][..count * g.c], g.c, false);
                let d = Strided::new(&d[element * d_plane..][..count * g.o], g.o, true);
                product(g.o, g.c, count, d, v, u, g.c, start > 0, Parallelism::None);
            });
        }
        let u = &*u;
        dw.par_chunks_mut(9 * g.c).enumerate().with_min_len(8).for_each(|(o, dw)| {
            vectorised(
                #[inline(always)]
                || {
                    for c in (0..g.c).step_by(LANES) {
                        let load =
                            |i: usize, j: usize| Lanes::load(&u[(i * A::IN + j) * u_plane + o * g.c + c..]);
                        both_axes([A::IN, 3], load, A::weight_back, |i, j, value| {
                            value.store(&mut dw[(3 * i + j) * g.c + c..]);
                        });
                    }
                },
            );
        });
    });
}

#[cfg(test)]
mod tests;
