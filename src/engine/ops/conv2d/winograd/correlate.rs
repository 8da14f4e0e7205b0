//! Images under weights: a forward pass, or a gradient of the input.

use super::tiles::{Grid, Images, Panelled, Shared, plane};
use crate::engine::device::scratch::with_scratch;
use crate::engine::ops::conv2d::transforms::{Input, Lanes, Output, Transform, Weight, both_axes};
use crate::engine::ops::matmul::micro::{self, Panels, Rows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that a task transforms and multiplies at a time: two blocks of rows of [`micro::multiply`].
const TILES: usize = 24;
/// Input channels whose weights a task transforms and multiplies at a time: some 400 KB.
const CHANNELS: usize = 128;
/// The largest vector, f32.
const MAX_LANES: usize = 16;
/// Elements between transformed tiles: rows of a power of two would drive one another out of the cache.
const GAP: usize = 16;

/// What is computed, of [`correlate`].
#[derive(Clone, Copy)]
pub(super) struct Correlation<'a> {
    pub(super) images: Images<'a>,
    /// Height, width and channels of the outputs.
    pub(super) size: [usize; 3],
    /// `[o, 3, 3, c]`
    pub(super) w: &'a [f32],
    /// Whether o and c are exchanged and the kernel is turned by 180 degrees.
    pub(super) back: bool,
    /// Whether outputs are added to what is there.
    pub(super) add: bool,
}

/// Writes outputs `y` `[n, h, w, channels]`: the images under the weights.
///
/// Where there are more tiles than channels a task takes some tiles: their transforms, their products with all weights
/// and their outputs stay in its cache. Otherwise the weights are what is large, and a task takes those of some
/// output channels, from their transform to the outputs.
///
/// Of many input channels a block is taken at a time, and what the next give is added.
pub(super) fn correlate<const M: usize, const IN: usize>(job: Correlation, y: &mut [f32])
where
    Weight<M>: Transform<3, IN>,
    Input<M>: Transform<IN, IN>,
    Output<M>: Transform<IN, M>,
{
    for images in job.images.blocks() {
        correlate_block::<M, IN>(Correlation { images, add: job.add || images.first > 0, ..job }, y);
    }
}

fn correlate_block<const M: usize, const IN: usize>(job: Correlation, y: &mut [f32])
where
    Weight<M>: Transform<3, IN>,
    Input<M>: Transform<IN, IN>,
    Output<M>: Transform<IN, M>,
{
    let ([h, w, to], from) = (job.size, job.images.channels);
    let (lanes, elements) = (micro::lanes(), IN * IN);
    let grid = Grid::new([h, w], M, job.images.dilation);
    let tiles = y.len() / (h * w * to).max(1) * grid.tiles();
    let y = Shared::new(y);
    let run = |task: Task| Arch::new().dispatch(Correlate::<M, IN> { job, grid, y, task });
    if tiles >= to {
        let layout = Panelled { rows: from, pair: 2 * lanes };
        return with_scratch(elements * plane(layout.len(to)), |u: &mut [f32]| {
            let shared = Shared::new(u);
            (0..to / lanes).into_par_iter().for_each(|index| {
                run(Task::Weights { channels: index * lanes..(index + 1) * lanes, layout, u: shared });
            });
            let step = TILES.max((tiles / (8 * rayon::current_num_threads())).next_multiple_of(TILES));
            (0..tiles.div_ceil(step)).into_par_iter().for_each(|index| {
                let tiles = index * step..tiles.min((index + 1) * step);
                let scratch = plane(TILES * (from + GAP)) + plane(TILES * to);
                with_scratch(elements * scratch, |scratch: &mut [f32]| {
                    run(Task::Tiles { tiles, layout, u, scratch });
                });
            });
        });
    }
    with_scratch(elements * plane(tiles * (from + GAP)), |v: &mut [f32]| {
        let shared = Shared::new(v);
        let part = 4;
        (0..tiles.div_ceil(part)).into_par_iter().for_each(|index| {
            run(Task::Inputs { tiles: index * part..tiles.min((index + 1) * part), of: tiles, v: shared });
        });
        (0..to.div_ceil(2 * lanes)).into_par_iter().for_each(|index| {
            let channels = index * 2 * lanes..to.min((index + 1) * 2 * lanes);
            let scratch = plane(CHANNELS * 2 * lanes) + plane(tiles * channels.len());
            with_scratch(elements * scratch, |scratch: &mut [f32]| {
                run(Task::Channels { channels, tiles, v, scratch });
            });
        });
    });
}

/// A part of the work.
enum Task<'a> {
    /// The transforms of the weights of some output channels.
    Weights { channels: Range<usize>, layout: Panelled, u: Shared },
    /// The outputs of some tiles, from transformed weights.
    Tiles { tiles: Range<usize>, layout: Panelled, u: &'a [f32], scratch: &'a mut [f32] },
    /// The transforms of some of all tiles.
    Inputs { tiles: Range<usize>, of: usize, v: Shared },
    /// Some channels of the outputs, from transformed tiles.
    Channels { channels: Range<usize>, tiles: usize, v: &'a [f32], scratch: &'a mut [f32] },
}

struct Correlate<'a, const M: usize, const IN: usize> {
    job: Correlation<'a>,
    grid: Grid,
    y: Shared,
    task: Task<'a>,
}

impl<const M: usize, const IN: usize> WithSimd for Correlate<'_, M, IN>
where
    Weight<M>: Transform<3, IN>,
    Input<M>: Transform<IN, IN>,
    Output<M>: Transform<IN, M>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Correlate { job, grid, y, task } = self;
        let ([.., to], from) = (job.size, job.images.channels);
        let elements = IN * IN;
        match task {
            Task::Weights { channels, layout, u } => {
                let (first, planes) = (channels.start, plane(layout.len(to)));
                weights::<S, M, IN>(
                    simd,
                    job,
                    [0..from, channels],
                    #[inline(always)]
                    |element, row, column, value| {
                        u.put(element * planes + layout.at(row, first + column), value);
                    },
                );
            }
            Task::Tiles { tiles, layout, u, scratch } => {
                let [u_plane, v_plane] = [plane(layout.len(to)), plane(TILES * (from + GAP))];
                let m_plane = plane(TILES * to);
                let (v, m) = scratch.split_at_mut(elements * v_plane);
                for start in tiles.clone().step_by(TILES) {
                    let block = start..tiles.end.min(start + TILES);
                    job.images.transform::<S, Input<M>, IN, IN>(
                        simd,
                        grid,
                        block.clone(),
                        #[inline(always)]
                        |element, tile, c, value| {
                            value.store(v, element * v_plane + tile * (from + GAP) + c);
                        },
                    );
                    for element in 0..elements {
                        let v = Rows { data: &v[element * v_plane..], row: from + GAP, column: 1 };
                        let u = layout.of(&u[element * u_plane..]);
                        let m = &mut m[element * m_plane..];
                        micro::multiply(simd, [block.len(), to, from], v, u, m, to, false);
                    }
                    outputs::<S, M, IN>(simd, job, grid, block, 0..to, m, m_plane, y);
                }
            }
            Task::Inputs { tiles, of, v } => {
                let (first, planes) = (tiles.start, plane(of * (from + GAP)));
                job.images.transform::<S, Input<M>, IN, IN>(
                    simd,
                    grid,
                    tiles,
                    #[inline(always)]
                    |element, tile, c, value| {
                        v.put(element * planes + (first + tile) * (from + GAP) + c, value);
                    },
                );
            }
            Task::Channels { channels, tiles, v, scratch } => {
                let (count, pair) = (channels.len(), micro::columns::<S>());
                let [u_plane, v_plane] = [CHANNELS * pair, tiles * (from + GAP)].map(plane);
                let m_plane = plane(tiles * count);
                let (u, m) = scratch.split_at_mut(elements * u_plane);
                for first in (0..from).step_by(CHANNELS) {
                    let inputs = first..from.min(first + CHANNELS);
                    weights::<S, M, IN>(
                        simd,
                        job,
                        [inputs.clone(), channels.clone()],
                        #[inline(always)]
                        |element, row, column, value| value.store(u, element * u_plane + row * pair + column),
                    );
                    for element in 0..elements {
                        let v = Rows { data: &v[element * v_plane + first..], row: from + GAP, column: 1 };
                        let u = Panels { data: &u[element * u_plane..], row: pair, panel: 0 };
                        let m = &mut m[element * m_plane..];
                        micro::multiply(simd, [tiles, count, inputs.len()], v, u, m, count, first > 0);
                    }
                }
                outputs::<S, M, IN>(simd, job, grid, 0..tiles, channels, m, m_plane, y);
            }
        }
    }
}

/// `U = G w G'` of some input and output channels: `put(element, index of the input channel, index of the output channel,
/// vector of output channels)`.
#[inline(always)]
fn weights<S: Simd, const M: usize, const IN: usize>(
    simd: S,
    job: Correlation,
    [inputs, outputs]: [Range<usize>; 2],
    mut put: impl FnMut(usize, usize, usize, Lanes<S>),
) where
    Weight<M>: Transform<3, IN>,
{
    let (to, lanes, zero) = (job.size[2], S::F32_LANES, Lanes::zero(simd));
    let Images { all, first: block, .. } = job.images;
    if job.back {
        for row in inputs.clone() {
            for channel in outputs.clone().step_by(lanes) {
                let tap = |i: usize, j: usize| ((block + row) * 9 + 8 - 3 * i - j) * to + channel;
                both_axes::<_, Weight<M>, 3, IN>(
                    zero,
                    #[inline(always)]
                    |i, j| Lanes::load(simd, job.w, tap(i, j)),
                    #[inline(always)]
                    |i, j, value| put(i * IN + j, row - inputs.start, channel - outputs.start, value),
                );
            }
        }
        return;
    }
    // A vector of output channels for each of a few input channels: what `w` has the other way round.
    let mut turned = [0.0; 9 * MAX_LANES * MAX_LANES];
    for channel in outputs.clone().step_by(lanes) {
        for first in inputs.clone().step_by(lanes) {
            for tap in 0..9 {
                for row in 0..lanes {
                    let w = &job.w[((channel + row) * 9 + tap) * all + block + first..][..lanes];
                    for column in 0..lanes {
                        turned[(tap * lanes + column) * lanes + row] = w[column];
                    }
                }
            }
            for column in 0..lanes {
                both_axes::<_, Weight<M>, 3, IN>(
                    zero,
                    #[inline(always)]
                    |i, j| Lanes::load(simd, &turned, ((3 * i + j) * lanes + column) * lanes),
                    #[inline(always)]
                    |i, j, value| {
                        put(i * IN + j, first + column - inputs.start, channel - outputs.start, value)
                    },
                );
            }
        }
    }
}

/// Writes the outputs `A' m A` of some tiles and channels.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn outputs<S: Simd, const M: usize, const IN: usize>(
    simd: S,
    job: Correlation,
    grid: Grid,
    tiles: Range<usize>,
    channels: Range<usize>,
    m: &[f32],
    m_plane: usize,
    y: Shared,
) where
    Output<M>: Transform<IN, M>,
{
    let ([h, w, to], [down, across]) = (job.size, job.images.dilation);
    for (index, tile) in tiles.enumerate() {
        let (n, [top, left]) = grid.at(tile);
        for c in (0..channels.len()).step_by(S::F32_LANES) {
            let at = index * channels.len() + c;
            let load = |i: usize, j: usize| Lanes::load(simd, m, (i * IN + j) * m_plane + at);
            both_axes::<_, Output<M>, IN, M>(
                Lanes::zero(simd),
                load,
                #[inline(always)]
                |i, j, value| {
                    let (row, column) = (top + i * down, left + j * across);
                    if row < h && column < w {
                        let at = ((n * h + row) * w + column) * to + channels.start + c;
                        y.put(at, if job.add { y.get(simd, at) + value } else { value });
                    }
                },
            );
        }
    }
}
