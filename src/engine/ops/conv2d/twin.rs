//! Convolution on the CPU: images NHWC, weights OHWI.
//!
//! A convolution is the product of pixels gathered under the kernel `[pixels, kh kw c]` with the weights. The gathered
//! matrix is never whole: each task gathers a tile that stays in its core's cache and multiplies it at once.
//! A 1x1 convolution of stride 1 needs no gathering.
//! In f32 a 3x3 convolution of stride 1, dilated or not, goes through `winograd.rs` where that is faster.
//!
//! Tiles and their order are fixed by the shapes and the number of threads, so results do not depend on scheduling.

use super::gather::{Axis, Gather};
use super::geometry::Geometry;
use super::winograd::Winograd;
use crate::engine::device::real::Real;
use crate::engine::device::scratch::with_scratch;
use crate::engine::device::vector::vectorised;
use crate::engine::ops::matmul::twin::{Blocks, Strided, matmul, product, product_into, with_rows};
use gemm::Parallelism;
use rayon::prelude::*;

/// Elements of a gathered tile: 512 KiB of f32, half of a usual second-level cache.
const TILE: usize = 1 << 17;
/// Pixels that a tile has at least, if there are enough for all threads.
const TILE_PIXELS: usize = 128;

/// Below this depth the gathered matrix is too narrow for several tasks: the gradient of the weights is summed in parts.
const SHALLOW: usize = 256;

/// Winograd's algorithm where it is faster; the f64 definition is always direct.
fn winograd<T: Real>(g: &Geometry) -> Option<Winograd> {
    if size_of::<T>() == size_of::<f32>() { Winograd::choose(g) } else { None }
}

/// What is known to be f32.
fn f32s<T: Real>(x: &[T]) -> &[f32] {
    bytemuck::cast_slice(x)
}

/// `y[n,i,j,o] = sum_(ky,kx,c) x[n, i s + ky d - p, j s + kx d - p, c] w[o,ky,kx,c]`
pub fn forward<T: Real>(g: &Geometry, x: &[T], w: &[T], y: &mut [T]) {
    match winograd::<T>(g) {
        Some(algorithm) => algorithm.forward(g, f32s(x), f32s(w), bytemuck::cast_slice_mut(y)),
        None => direct_forward(g, x, w, y),
    }
}

/// `dx[n,a,b,c] = sum over all (i,j,ky,kx,o) with i s + ky d - p = a, j s + kx d - p = b of dy[n,i,j,o] w[o,ky,kx,c]`
///
/// With `add` it is added to what `dx` holds.
pub fn grad_input<T: Real>(g: &Geometry, w: &[T], dy: &[T], dx: &mut [T], add: bool) {
    match winograd::<T>(g) {
        Some(algorithm) => algorithm.grad_input(g, f32s(w), f32s(dy), bytemuck::cast_slice_mut(dx), add),
        None => direct_grad_input(g, w, dy, dx, add),
    }
}

/// `dw[o,ky,kx,c] = sum_(n,i,j) dy[n,i,j,o] x[n, i s + ky d - p, j s + kx d - p, c]`
pub fn grad_weight<T: Real>(g: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
    match winograd::<T>(g) {
        Some(algorithm) => algorithm.grad_weight(g, f32s(x), f32s(dy), bytemuck::cast_slice_mut(dw)),
        None => direct_grad_weight(g, x, dy, dw),
    }
}

/// `y[n,i,j,o] = sum_(ky,kx,c) x[n, i s + ky d - p, j s + kx d - p, c] w[o,ky,kx,c]`
pub fn direct_forward<T: Real>(g: &Geometry, x: &[T], w: &[T], y: &mut [T]) {
    if g.is_pointwise() {
        return matmul(false, true, g.pixels(), g.o, g.c, x, w, None, y);
    }
    let gather = Gather::new(Axis::forward(g, 0), Axis::forward(g, 1), [g.h, g.w, g.c]);
    correlate(&[(gather, Strided::new(w, g.depth(), true))], x, [g.oh, g.ow, g.o], false, y);
}

/// `dx[n,a,b,c] = sum over all (i,j,ky,kx,o) with i s + ky d - p = a, j s + kx d - p = b of dy[n,i,j,o] w[o,ky,kx,c]`
///
/// Input pixels whose coordinates have the same remainders by the stride are reached by the same taps: for each pair
/// of remainders this is a convolution of `dy` of stride 1 with those taps, flipped, and input and output exchanged.
pub fn direct_grad_input<T: Real>(g: &Geometry, w: &[T], dy: &[T], dx: &mut [T], add: bool) {
    if g.is_pointwise() {
        let (dy, w) = (Strided::new(dy, g.o, false), Strided::new(w, g.c, false));
        return product(g.pixels(), g.c, g.o, dy, w, dx, g.c, add, Parallelism::Rayon(0));
    }
    let (ys, xs) = (Axis::backward(g, 0), Axis::backward(g, 1));
    with_scratch(g.depth() * g.o, |mut weights: &mut [T]| {
        let mut parts = Vec::new();
        for y in &ys {
            for x in &xs {
                let gather = Gather::new(y.clone(), x.clone(), [g.oh, g.ow, g.o]);
                let (part, rest) = weights.split_at_mut(gather.depth() * g.c);
                weights = rest;
                part.par_chunks_mut(g.o * g.c).enumerate().for_each(|(tap, part)| {
                    let (ky, kx) = (y.taps[tap / x.taps.len()].index, x.taps[tap % x.taps.len()].index);
                    for (o, row) in part.chunks_exact_mut(g.c).enumerate() {
                        row.copy_from_slice(&w[((o * g.kh + ky) * g.kw + kx) * g.c..][..g.c]);
                    }
                });
                parts.push((gather, Strided::new(&*part, g.c, false)));
            }
        }
        correlate(&parts, dy, [g.h, g.w, g.c], add, dx);
    });
}

/// `dw[o,ky,kx,c] = sum_(n,i,j) dy[n,i,j,o] x[n, i s + ky d - p, j s + kx d - p, c]`
///
/// Each task owns a block of `dw` (some output channels, some columns of the gathered matrix) and adds up all pixels
/// in order: nothing is shared, and nothing has to be reduced afterwards. How many are added up at once follows from the shapes,
/// how many blocks there are from the number of threads: the sums are the same to the bit on any number.
pub fn direct_grad_weight<T: Real>(g: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
    let depth = g.depth();
    if g.pixels() == 0 || dw.is_empty() {
        return dw.fill(T::zero());
    }
    if depth < SHALLOW && !g.is_pointwise() {
        return sum_of_parts(g, x, dy, dw);
    }
    let threads = rayon::current_num_threads();
    let column_blocks = (depth / 128).clamp(1, 2 * threads);
    let row_blocks =
        if column_blocks >= threads { 1 } else { threads.div_ceil(column_blocks).min(g.o.div_ceil(32)) };
    let width = depth.div_ceil(column_blocks).next_multiple_of(8);
    let usual_width = depth.div_ceil((depth / 128).clamp(1, 4)).next_multiple_of(8);
    let height = g.o.div_ceil(row_blocks).next_multiple_of(8);
    let gather = Gather::new(Axis::forward(g, 0), Axis::forward(g, 1), [g.h, g.w, g.c]);
    let dw = Blocks { data: dw.as_mut_ptr(), row: depth };
    let tasks = depth.div_ceil(width) * row_blocks;
    (0..tasks).into_par_iter().for_each(|task| {
        let columns = task / row_blocks * width..depth.min((task / row_blocks + 1) * width);
        let rows = task % row_blocks * height..g.o.min((task % row_blocks + 1) * height);
        if rows.is_empty() {
            return;
        }
        let block = dw.at(rows.start, columns.start);
        let add = |pixel: usize, pixels: usize, cells: Strided<T>| {
            let dy = Strided { data: &dy[pixel * g.o + rows.start..], row: 1, column: g.o };
            // SAFETY: tasks differ in their rows or in their columns, and the block lies within `dw`.
            unsafe {
                product_into(
                    rows.len(),
                    columns.len(),
                    pixels,
                    dy,
                    cells,
                    block,
                    dw.row,
                    pixel > 0,
                    Parallelism::None,
                )
            };
        };
        if g.is_pointwise() {
            for pixel in (0..g.pixels()).step_by(1024) {
                let cells = Strided { data: &x[pixel * g.c + columns.start..], row: g.c, column: 1 };
                add(pixel, (g.pixels() - pixel).min(1024), cells);
            }
            return;
        }
        let lines = (TILE / (usual_width * g.ow)).clamp(1, g.n * g.oh);
        with_scratch(lines * g.ow * columns.len(), |cells: &mut [T]| {
            for start in (0..g.n * g.oh).step_by(lines) {
                let lines = lines.min(g.n * g.oh - start);
                let cells = &mut cells[..lines * g.ow * columns.len()];
                vectorised(
                    #[inline(always)]
                    || {
                        for (line, cells) in cells.chunks_exact_mut(g.ow * columns.len()).enumerate() {
                            let (n, i) = ((start + line) / g.oh, (start + line) % g.oh);
                            gather.row(&x[n * g.h * g.w * g.c..][..g.h * g.w * g.c], i, &columns, cells);
                        }
                    },
                );
                add(start * g.ow, lines * g.ow, Strided::new(cells, columns.len(), false));
            }
        });
    });
}

/// As [`direct_grad_weight`], where the gathered matrix is narrow: tasks add up some lines of pixels each, then their sums are
/// added in order. How many there are follows from the shapes alone.
fn sum_of_parts<T: Real>(g: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
    const PARTS: usize = 16;
    let (depth, lines) = (g.depth(), g.n * g.oh);
    let gather = Gather::new(Axis::forward(g, 0), Axis::forward(g, 1), [g.h, g.w, g.c]);
    let per_part = lines.div_ceil(PARTS);
    let per_tile = (TILE / (depth * g.ow)).clamp(1, per_part);
    // Sums are [depth, o], so that vectors of the product lie along the output channels.
    with_scratch(lines.div_ceil(per_part) * depth * g.o, |sums: &mut [T]| {
        sums.par_chunks_mut(depth * g.o).enumerate().for_each(|(part, sum)| {
            let part = part * per_part..lines.min((part + 1) * per_part);
            with_scratch(per_tile * g.ow * depth, |cells: &mut [T]| {
                for start in part.clone().step_by(per_tile) {
                    let lines = start..part.end.min(start + per_tile);
                    let pixels = lines.len() * g.ow;
                    let cells = &mut cells[..pixels * depth];
                    for (line, cells) in lines.zip(cells.chunks_exact_mut(g.ow * depth)) {
                        let image = &x[line / g.oh * g.h * g.w * g.c..][..g.h * g.w * g.c];
                        gather_row(&gather, image, line % g.oh, cells);
                    }
                    let cells = Strided::new(cells, depth, true);
                    let dy = Strided::new(&dy[start * g.ow * g.o..], g.o, false);
                    product(depth, g.o, pixels, cells, dy, sum, g.o, start > part.start, Parallelism::None);
                }
            });
        });
        let sums = &*sums;
        dw.par_chunks_mut(depth).enumerate().for_each(|(o, dw)| {
            for (l, dw) in dw.iter_mut().enumerate() {
                *dw = sums[l * g.o + o..].iter().step_by(depth * g.o).copied().sum();
            }
        });
    });
}

/// Writes images `y` `[n, h, w, c]`: for each part, the positions of its gather, as gathered rows of `x` times the
/// part's weights `[depth, c]`, or with `add` adds them. The parts' positions together are all pixels of `y`.
fn correlate<T: Real>(
    parts: &[(Gather, Strided<T>)],
    x: &[T],
    [h, w, c]: [usize; 3],
    add: bool,
    y: &mut [T],
) {
    let lines = y.len() / (w * c).max(1);
    if lines == 0 {
        return;
    }
    // Nothing is added where no tap reaches.
    for (gather, weights) in parts.iter().filter(|(gather, _)| !add || gather.depth() > 0) {
        let positions = lines / h * gather.y.count * gather.x.count;
        let to = Positions { gather, h, w, c, add };
        if positions < TILE_PIXELS * 2 * rayon::current_num_threads() {
            // Tasks of a few pixels each would all read all weights: the product divides these too.
            to.at_once(x, *weights, y);
        } else if weights.row == 1 {
            with_rows(*weights, [gather.depth(), c], |weights| to.in_tiles(x, weights, y));
        } else {
            to.in_tiles(x, *weights, y);
        }
    }
}

/// Where rows of a product go: the positions of a gather in images `[n, h, w, c]`.
#[derive(Clone, Copy)]
struct Positions<'a> {
    gather: &'a Gather,
    h: usize,
    w: usize,
    c: usize,
    add: bool,
}

impl Positions<'_> {
    /// One gathered matrix and one product, both divided among the threads.
    fn at_once<T: Real>(self, x: &[T], weights: Strided<T>, y: &mut [T]) {
        let Positions { gather, h, w, c, add } = self;
        let depth = gather.depth();
        let across = gather.x.count;
        let images = y.len() / (h * w * c);
        let image = x.len() / images;
        let positions = images * gather.y.count * across;
        with_scratch(positions * (depth + c), |scratch: &mut [T]| {
            let (cells, result) = scratch.split_at_mut(positions * depth);
            cells.par_chunks_mut((across * depth).max(1)).enumerate().for_each(|(row, cells)| {
                let image = &x[row / gather.y.count * image..][..image];
                gather_row(gather, image, row % gather.y.count, cells);
            });
            let cells = Strided::new(&*cells, depth, false);
            if self.is_all() {
                return product(positions, c, depth, cells, weights, y, c, add, Parallelism::Rayon(0));
            }
            product(positions, c, depth, cells, weights, result, c, false, Parallelism::Rayon(0));
            let result = &*result;
            y.par_chunks_mut(w * c).enumerate().filter(|(line, _)| self.reaches(*line)).for_each(
                |(line, y)| {
                    let row = line / h * gather.y.count + line % h / gather.y.step;
                    self.scatter(&result[row * across * c..][..across * c], y);
                },
            );
        });
    }

    /// Tiles that are gathered and multiplied at once, in the cache of their core.
    fn in_tiles<T: Real>(self, x: &[T], weights: Strided<T>, y: &mut [T]) {
        let Positions { gather, h, w, c, add } = self;
        let (depth, across) = (gather.depth(), gather.x.count);
        let lines = y.len() / (w * c);
        let image = x.len() / (lines / h);
        let threads = rayon::current_num_threads();
        // Small enough for the cache, but large enough that reading all weights for each tile does not dominate.
        let positions = lines / gather.y.step * across;
        let cached = (positions * depth.max(1)).div_ceil(TILE).max(2 * threads);
        let tiles = cached.min(positions / TILE_PIXELS).max(threads);
        let tile = lines.div_ceil(tiles).next_multiple_of(gather.y.step);
        y.par_chunks_mut(tile * w * c).enumerate().for_each(|(index, y)| {
            let reached = (index * tile..index * tile + y.len() / (w * c)).filter(|&line| self.reaches(line));
            let positions = reached.clone().count() * across;
            with_scratch(positions * (depth + c), |scratch: &mut [T]| {
                let (cells, result) = scratch.split_at_mut(positions * depth);
                for (line, cells) in reached.clone().zip(cells.chunks_exact_mut((across * depth).max(1))) {
                    let image = &x[line / h * image..][..image];
                    gather_row(gather, image, line % h / gather.y.step, cells);
                }
                let cells = Strided::new(&*cells, depth, false);
                if self.is_all() {
                    return product(positions, c, depth, cells, weights, y, c, add, Parallelism::None);
                }
                product(positions, c, depth, cells, weights, result, c, false, Parallelism::None);
                for (line, result) in reached.zip(result.chunks_exact(across * c)) {
                    self.scatter(result, &mut y[(line - index * tile) * w * c..][..w * c]);
                }
            });
        });
    }

    /// Whether they are all pixels, in order.
    fn is_all(&self) -> bool {
        (self.gather.y.step, self.gather.x.step) == (1, 1)
    }

    /// Whether a line of the images holds some.
    fn reaches(&self, line: usize) -> bool {
        line % self.h % self.gather.y.step == self.gather.y.first
    }

    /// Writes a row of results into a line of an image.
    fn scatter<T: Real>(&self, result: &[T], line: &mut [T]) {
        let axis = &self.gather.x;
        let pixels = line.chunks_exact_mut(self.c).skip(axis.first).step_by(axis.step);
        for (y, result) in pixels.zip(result.chunks_exact(self.c)) {
            match self.add {
                true => y.iter_mut().zip(result).for_each(|(y, &result)| *y += result),
                false => y.copy_from_slice(result),
            }
        }
    }
}

/// Gathers a row of positions of one image.
fn gather_row<T: Real>(gather: &Gather, image: &[T], row: usize, cells: &mut [T]) {
    vectorised(
        #[inline(always)]
        || gather.row(image, row, &(0..gather.depth()), cells),
    );
}

#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/conv2d/twin.rs"]
mod tests;
