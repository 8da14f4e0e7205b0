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
//! A task takes a few tiles at a time, so that what it transforms stays in its core's cache, and every transform writes
//! the order in which [`micro`] multiplies: nothing is copied in between.
//!
//! PRECISION: the transforms add and subtract before they multiply. Against f64, F(2x2,3x3) in f32 is as close as a
//! direct sum, F(3x3,3x3) and F(4x4,3x3) 3 to 9 times as far. f64, the definition of the op, never comes here.
//! A NaN or infinity spreads over all outputs of the tiles that read it, where a direct sum keeps it within a kernel's reach.
//!
//! # Source
//! Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, Section 4.

use super::geometry::{self, Geometry};
use super::transforms::{Input, Lanes, Output, OutputBack, Transform, Weight, WeightBack, both_axes};
use crate::engine::device::scratch::with_scratch;
use crate::engine::ops::matmul::micro::{self, Panels, Rows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that a task transforms and multiplies at a time: two blocks of rows of [`micro::multiply`].
const TILES: usize = 24;
/// Tiles that a weight gradient adds up at a time.
const GRAD_TILES: usize = 192;

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
        const WEIGHT: usize = 40;
        const TILE: usize = 16;
        let lanes = Arch::new().dispatch(VectorLanes);
        if !geometry::Winograd::applies(g)
            || lanes == 1
            || !g.c.is_multiple_of(lanes)
            || !g.o.is_multiple_of(lanes)
        {
            return None;
        }
        let work = |&Winograd { m }: &Winograd| {
            let tiles = g.n * g.oh.div_ceil(m) * g.ow.div_ceil(m);
            (m + 2).pow(2) * (tiles * g.c * g.o + TILE * tiles * (g.c + g.o) + WEIGHT * g.c * g.o)
        };
        let direct = g.pixels() * 9 * g.c * g.o;
        Winograd::ALL.into_iter().filter(|algorithm| work(algorithm) < direct).min_by_key(work)
    }

    /// `y = x w` over the geometry's window.
    pub fn forward(self, g: &Geometry, x: &[f32], w: &[f32], y: &mut [f32]) {
        let zeros = &vec![0.0; g.c];
        let images = Images { data: x, size: [g.h, g.w], channels: g.c, padding: g.padding, zeros };
        self.correlate(images, [g.oh, g.ow, g.o], w, [false; 2], y);
    }

    /// The gradient of the input; with `add` it is added to what `dx` holds.
    pub fn grad_input(self, g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32], add: bool) {
        let padding = g.padding.map(|p| 2 - p);
        let zeros = &vec![0.0; g.o];
        let images = Images { data: dy, size: [g.oh, g.ow], channels: g.o, padding, zeros };
        self.correlate(images, [g.h, g.w, g.c], w, [true, add], dx);
    }

    /// The gradient of the weight.
    pub fn grad_weight(self, g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        match self.m {
            2 => grad_weight::<2, 4>(g, x, dy, dw),
            3 => grad_weight::<3, 5>(g, x, dy, dw),
            _ => grad_weight::<4, 6>(g, x, dy, dw),
        }
    }

    fn correlate(self, images: Images, size: [usize; 3], w: &[f32], flags: [bool; 2], y: &mut [f32]) {
        match self.m {
            2 => correlate::<2, 4>(images, size, w, flags, y),
            3 => correlate::<3, 5>(images, size, w, flags, y),
            _ => correlate::<4, 6>(images, size, w, flags, y),
        }
    }
}

/// f32 that a vector of the processor at hand holds.
struct VectorLanes;

impl WithSimd for VectorLanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Images `[n, h, w, channels]` that tiles are read from; what lies outside is zero.
#[derive(Clone, Copy)]
struct Images<'a> {
    data: &'a [f32],
    size: [usize; 2],
    channels: usize,
    padding: [usize; 2],
    /// A pixel outside of its image.
    zeros: &'a [f32],
}

impl Images<'_> {
    /// The `SIDE x SIDE` pixels from row `y` and column `x` of padded image `n` on.
    #[inline(always)]
    fn window<const SIDE: usize>(&self, n: usize, [y, x]: [usize; 2]) -> [[&[f32]; SIDE]; SIDE] {
        let [h, w] = self.size;
        let mut window = [[self.zeros; SIDE]; SIDE];
        for (i, row) in window.iter_mut().enumerate() {
            let y = (y + i).wrapping_sub(self.padding[0]);
            for (j, pixel) in row.iter_mut().enumerate() {
                let x = (x + j).wrapping_sub(self.padding[1]);
                if y < h && x < w {
                    *pixel = &self.data[((n * h + y) * w + x) * self.channels..][..self.channels];
                }
            }
        }
        window
    }

    /// Writes the transform of the windows of some tiles: element (i, j) of channels from `c` on of a tile goes where
    /// `put(i, j, index of the tile, c)` says.
    #[inline(always)]
    fn transform<S: Simd, F: Transform<FROM, TO>, const FROM: usize, const TO: usize>(
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
fn plane(elements: usize) -> usize {
    elements + 16
}

/// Where elements of a matrix lie that is read in panels of `pair` columns: see [`Panels`].
#[derive(Clone, Copy)]
struct Panelled {
    rows: usize,
    pair: usize,
}

impl Panelled {
    #[inline(always)]
    fn at(self, row: usize, column: usize) -> usize {
        (column / self.pair * self.rows + row) * self.pair + column % self.pair
    }

    fn of(self, data: &[f32]) -> Panels<'_> {
        Panels { data, row: self.pair, panel: self.rows * self.pair }
    }

    fn len(self, columns: usize) -> usize {
        self.rows * columns.next_multiple_of(self.pair)
    }
}

/// Memory of which tasks write disjoint vectors.
#[derive(Clone, Copy)]
struct Shared {
    data: *mut f32,
    len: usize,
}

// SAFETY: tasks write vectors of disjoint tiles, or of disjoint channels.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    fn new(data: &mut [f32]) -> Shared {
        Shared { data: data.as_mut_ptr(), len: data.len() }
    }

    #[inline(always)]
    fn put<S: Simd>(self, at: usize, value: Lanes<S>) {
        assert!(at + S::F32_LANES <= self.len, "a vector outside of its planes");
        // SAFETY: bounded above; no other task writes these elements.
        value.store(unsafe { std::slice::from_raw_parts_mut(self.data.add(at), S::F32_LANES) }, 0);
    }
}

/// The largest vector, f32.
const MAX_LANES: usize = 16;

/// Writes `U = G w G'` of weights `[o, 3, 3, c]` for a vector of output channels from `first` on: for each element a matrix
/// in panels, `[c, o]`, or with `back` `[o, c]` of the kernel turned by 180 degrees.
struct Weights<'a, const M: usize, const IN: usize> {
    w: &'a [f32],
    sizes: [usize; 2],
    first: usize,
    back: bool,
    u: Shared,
}

impl<const M: usize, const IN: usize> WithSimd for Weights<'_, M, IN>
where
    Weight<M>: Transform<3, IN>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Weights { w, sizes: [o, c], first, back, u, .. } = self;
        let (lanes, zero) = (S::F32_LANES, Lanes::zero(simd));
        let layout = Panelled { rows: if back { o } else { c }, pair: micro::columns::<S>() };
        let plane = plane(layout.len(if back { c } else { o }));
        // A vector of output channels for each of a few input channels: what `w` has the other way round.
        let mut turned = [0.0; 9 * MAX_LANES * MAX_LANES];
        for channel in (0..c).step_by(lanes) {
            if back {
                for row in first..first + lanes {
                    let tap = |i: usize, j: usize| (row * 9 + 8 - 3 * i - j) * c + channel;
                    let put = |i, j, value| u.put((i * IN + j) * plane + layout.at(row, channel), value);
                    both_axes::<_, Weight<M>, 3, IN>(
                        zero,
                        #[inline(always)]
                        |i, j| Lanes::load(simd, w, tap(i, j)),
                        put,
                    );
                }
                continue;
            }
            for tap in 0..9 {
                for row in 0..lanes {
                    let from = &w[((first + row) * 9 + tap) * c + channel..][..lanes];
                    for column in 0..lanes {
                        turned[(tap * lanes + column) * lanes + row] = from[column];
                    }
                }
            }
            for column in 0..lanes {
                let tap = |i: usize, j: usize| ((3 * i + j) * lanes + column) * lanes;
                let put =
                    |i, j, value| u.put((i * IN + j) * plane + layout.at(channel + column, first), value);
                both_axes::<_, Weight<M>, 3, IN>(
                    zero,
                    #[inline(always)]
                    |i, j| Lanes::load(simd, &turned, tap(i, j)),
                    put,
                );
            }
        }
    }
}

/// Writes outputs `y` `[n, h, w, to]`, or with `add` adds them: the images under the weights `[o, 3, 3, c]`, where `back`
/// exchanges o and c and turns the kernel.
fn correlate<const M: usize, const IN: usize>(
    images: Images,
    size: [usize; 3],
    w: &[f32],
    [back, add]: [bool; 2],
    y: &mut [f32],
) where
    Weight<M>: Transform<3, IN>,
    Input<M>: Transform<IN, IN>,
    Output<M>: Transform<IN, M>,
{
    let ([h, width, to], from) = (size, images.channels);
    let [o, c] = if back { [from, to] } else { [to, from] };
    let (lanes, elements) = (Arch::new().dispatch(VectorLanes), IN * IN);
    let layout = Panelled { rows: from, pair: 2 * lanes };
    let grid = Grid::new([h, width], M);
    let lines = y.len() / (h * width * to).max(1) * grid.down;
    // A task takes whole rows of tiles, so that its outputs are one block of y.
    let per_task = TILES.div_ceil(grid.across.max(1)).max(lines / (8 * rayon::current_num_threads())).max(1);
    with_scratch(elements * plane(layout.len(to)), |u: &mut [f32]| {
        let shared = Shared::new(u);
        (0..o / lanes).into_par_iter().for_each(|row| {
            let first = row * lanes;
            Arch::new().dispatch(Weights::<M, IN> { w, sizes: [o, c], first, back, u: shared });
        });
        let (u, mut rest, mut tasks) = (&*u, y, Vec::new());
        for first in (0..lines).step_by(per_task) {
            let task = first..lines.min(first + per_task);
            // Output rows before a row of tiles: the last one of an image may be cut.
            let rows_before = |line: usize| line / grid.down * h + (line % grid.down * M).min(h);
            let rows = rows_before(task.end) - rows_before(task.start);
            let (mine, others) = std::mem::take(&mut rest).split_at_mut(rows * width * to);
            rest = others;
            tasks.push((task.start * grid.across..task.end * grid.across, mine));
        }
        tasks.into_par_iter().for_each(|(tiles, y)| {
            with_scratch(elements * (plane(TILES * from) + plane(TILES * to)), |scratch: &mut [f32]| {
                Arch::new().dispatch(Correlate::<M, IN> { images, grid, size, tiles, u, add, y, scratch });
            });
        });
    });
}

/// The outputs of some rows of tiles.
struct Correlate<'a, const M: usize, const IN: usize> {
    images: Images<'a>,
    grid: Grid,
    /// Height, width and channels of the outputs.
    size: [usize; 3],
    tiles: Range<usize>,
    u: &'a [f32],
    add: bool,
    /// From the first tile's first row on.
    y: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl<const M: usize, const IN: usize> WithSimd for Correlate<'_, M, IN>
where
    Input<M>: Transform<IN, IN>,
    Output<M>: Transform<IN, M>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Correlate { images, grid, size: [h, w, to], tiles, u, add, y, scratch, .. } = self;
        let from = images.channels;
        let layout = Panelled { rows: from, pair: micro::columns::<S>() };
        let (u_plane, v_plane, m_plane) = (plane(layout.len(to)), plane(TILES * from), plane(TILES * to));
        let (v, m) = scratch.split_at_mut(IN * IN * v_plane);
        let row = |(n, [i, _]): (usize, [usize; 2])| n * h + i;
        let first = row(grid.at(tiles.start));
        for start in tiles.clone().step_by(TILES) {
            let block = start..tiles.end.min(start + TILES);
            let count = block.len();
            let put = |element, tile, c, value: Lanes<S>| {
                value.store(v, element * v_plane + tile * from + c);
            };
            images.transform::<S, Input<M>, IN, IN>(simd, grid, block.clone(), put);
            for element in 0..IN * IN {
                let v = Rows { data: &v[element * v_plane..], row: from, column: 1 };
                let u = layout.of(&u[element * u_plane..]);
                let m = &mut m[element * m_plane..];
                micro::multiply(simd, [count, to, from], v, u, m, to, false);
            }
            for (index, tile) in block.enumerate() {
                let (n, [top, left]) = grid.at(tile);
                let top_row = row((n, [top, left])) - first;
                for c in (0..to).step_by(S::F32_LANES) {
                    let at = index * to + c;
                    let load = |i: usize, j: usize| Lanes::load(simd, m, (i * IN + j) * m_plane + at);
                    both_axes::<_, Output<M>, IN, M>(
                        Lanes::zero(simd),
                        load,
                        #[inline(always)]
                        |i, j, value| {
                            if top + i < h && left + j < w {
                                let at = ((top_row + i) * w + left + j) * to + c;
                                let value = if add { Lanes::load(simd, y, at) + value } else { value };
                                value.store(y, at);
                            }
                        },
                    );
                }
            }
        }
    }
}

/// `dw = G' [sum over tiles of (A dy A') (B' x B)] G`: tiles are transformed a block at a time, then every element's
/// product adds its part; both share their work among the threads.
fn grad_weight<const M: usize, const IN: usize>(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32])
where
    Input<M>: Transform<IN, IN>,
    OutputBack<M>: Transform<M, IN>,
    WeightBack<M>: Transform<IN, 3>,
{
    let elements = IN * IN;
    let grid = Grid::new([g.oh, g.ow], M);
    let tiles = g.n * grid.down * grid.across;
    let block = GRAD_TILES.min(tiles);
    let zeros = vec![0.0; g.c.max(g.o)];
    let inputs =
        Images { data: x, size: [g.h, g.w], channels: g.c, padding: g.padding, zeros: &zeros[..g.c] };
    let outputs =
        Images { data: dy, size: [g.oh, g.ow], channels: g.o, padding: [0, 0], zeros: &zeros[..g.o] };
    let layout = Panelled { rows: block, pair: 2 * Arch::new().dispatch(VectorLanes) };
    let [u_plane, v_plane, d_plane] = [plane(g.o * g.c), plane(layout.len(g.c)), plane(block * g.o)];
    with_scratch(elements * (u_plane + v_plane + d_plane), |scratch: &mut [f32]| {
        let (u, scratch) = scratch.split_at_mut(elements * u_plane);
        let (v, d) = scratch.split_at_mut(elements * v_plane);
        for start in (0..tiles).step_by(block) {
            let count = block.min(tiles - start);
            let [v_shared, d_shared] = [Shared::new(v), Shared::new(d)];
            (0..count.div_ceil(16)).into_par_iter().for_each(|part| {
                let (first, last) = (part * 16, count.min(part * 16 + 16));
                Arch::new().dispatch(GradTiles::<M, IN> {
                    images: [inputs, outputs],
                    grid,
                    tiles: start + first..start + last,
                    first,
                    layout,
                    planes: [v_plane, d_plane],
                    to: [v_shared, d_shared],
                });
            });
            let (v, d) = (&*v, &*d);
            u.par_chunks_mut(u_plane).enumerate().for_each(|(element, u)| {
                Arch::new().dispatch(GradProduct {
                    sizes: [g.o, g.c, count],
                    d: Rows { data: &d[element * d_plane..], row: 1, column: g.o },
                    v: layout.of(&v[element * v_plane..]),
                    u,
                    add: start > 0,
                });
            });
        }
        let u = &*u;
        dw.par_chunks_mut(9 * g.c).enumerate().with_min_len(8).for_each(|(o, dw)| {
            let u = &u[o * g.c..];
            Arch::new().dispatch(GradBack::<M, IN> { u, plane: u_plane, dw });
        });
    });
}

/// Writes `B' x B` and `A dy A'` of some tiles, from the `first` of their block on.
struct GradTiles<'a, const M: usize, const IN: usize> {
    images: [Images<'a>; 2],
    grid: Grid,
    tiles: Range<usize>,
    first: usize,
    layout: Panelled,
    planes: [usize; 2],
    to: [Shared; 2],
}

impl<const M: usize, const IN: usize> WithSimd for GradTiles<'_, M, IN>
where
    Input<M>: Transform<IN, IN>,
    OutputBack<M>: Transform<M, IN>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GradTiles { images: [x, dy], grid, tiles, first, layout, planes, to: [v, d], .. } = self;
        x.transform::<S, Input<M>, IN, IN>(
            simd,
            grid,
            tiles.clone(),
            #[inline(always)]
            |element, tile, c, value| {
                v.put(element * planes[0] + layout.at(first + tile, c), value);
            },
        );
        dy.transform::<S, OutputBack<M>, M, IN>(
            simd,
            grid,
            tiles,
            #[inline(always)]
            |element, tile, c, value| {
                d.put(element * planes[1] + (first + tile) * dy.channels + c, value);
            },
        );
    }
}

/// The product of one element of the transforms: `u = d' v` or `u += d' v`, `[o, c]`.
struct GradProduct<'a> {
    sizes: [usize; 3],
    d: Rows<'a>,
    v: Panels<'a>,
    u: &'a mut [f32],
    add: bool,
}

impl WithSimd for GradProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        micro::multiply(simd, self.sizes, self.d, self.v, self.u, self.sizes[1], self.add);
    }
}

/// `dw = G' u G` of one output channel, `[3, 3, c]`.
struct GradBack<'a, const M: usize, const IN: usize> {
    u: &'a [f32],
    plane: usize,
    dw: &'a mut [f32],
}

impl<const M: usize, const IN: usize> WithSimd for GradBack<'_, M, IN>
where
    WeightBack<M>: Transform<IN, 3>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.dw.len() / 9;
        for c in (0..channels).step_by(S::F32_LANES) {
            let load = |i: usize, j: usize| Lanes::load(simd, self.u, (i * IN + j) * self.plane + c);
            both_axes::<_, WeightBack<M>, IN, 3>(
                Lanes::zero(simd),
                load,
                #[inline(always)]
                |i, j, value| {
                    value.store(&mut *self.dw, (3 * i + j) * channels + c);
                },
            );
        }
    }
}

#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/conv2d/winograd.rs"]
mod tests;
