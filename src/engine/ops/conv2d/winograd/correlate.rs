//! Images under weights: a forward pass, or a gradient of the input.

use super::tiles::{Grid, Images, Panelled, Shared, plane};
use crate::engine::device::scratch::with_scratch;
use crate::engine::ops::conv2d::transforms::{Input, Lanes, Output, Transform, Weight, both_axes};
use crate::engine::ops::matmul::micro::{self, Rows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that a task transforms and multiplies at a time: two blocks of rows of [`micro::multiply`].
const TILES: usize = 24;
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
pub(super) fn correlate<const M: usize, const IN: usize>(
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
    let (lanes, elements) = (micro::lanes(), IN * IN);
    let layout = Panelled { rows: from, pair: 2 * lanes };
    let grid = Grid::new([h, width], M);
    let lines = y.len() / (h * width * to).max(1) * grid.down;
    // A task takes whole rows of tiles, so that its outputs are one block of y.
    let threads = rayon::current_num_threads();
    let wanted = TILES.div_ceil(grid.across.max(1)).max(lines / (8 * threads));
    let per_task = wanted.min(lines.div_ceil(threads)).max(1);
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
