//! The gradient of the weights.

use super::tiles::{Grid, Images, Panelled, Shared, plane};
use crate::engine::device::scratch::with_scratch;
use crate::engine::ops::conv2d::geometry::Geometry;
use crate::engine::ops::conv2d::transforms::{Input, Lanes, OutputBack, Transform, WeightBack, both_axes};
use crate::engine::ops::matmul::micro::{self, Panels, Rows};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that a weight gradient adds up at a time, and that a task transforms of them.
const GRAD_TILES: usize = 192;
const PART: usize = 8;
/// Output channels whose sums stay in a task's cache: two blocks of rows of [`micro::multiply`].
const ROWS: usize = 24;

/// `dw = G' [sum over tiles of (A dy A') (B' x B)] G`.
///
/// Tiles are transformed a block at a time, then every element's product adds its part; both share their work among the threads.
/// Where there are few tiles the sums are what is large: then all tiles are one block, and a task takes the sums of some output
/// channels from their products to the gradient, so that they never leave its cache. Of many input channels a block is taken at a time.
pub(super) fn grad_weight<const M: usize, const IN: usize>(
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) where
    Input<M>: Transform<IN, IN>,
    OutputBack<M>: Transform<M, IN>,
    WeightBack<M>: Transform<IN, 3>,
{
    let zeros = vec![0.0; g.c.max(g.o)];
    let outputs = Images::outputs(g, dy, [0, 0], &zeros);
    for inputs in Images::inputs(g, x, &zeros).blocks() {
        grad_block::<M, IN>(g, inputs, outputs, dw);
    }
}

fn grad_block<const M: usize, const IN: usize>(g: &Geometry, inputs: Images, outputs: Images, dw: &mut [f32])
where
    Input<M>: Transform<IN, IN>,
    OutputBack<M>: Transform<M, IN>,
    WeightBack<M>: Transform<IN, 3>,
{
    let channels = inputs.channels;
    let elements = IN * IN;
    let grid = Grid::new([g.oh, g.ow], M, g.dilation);
    let tiles = g.n * grid.tiles();
    let few = 2 * tiles <= g.o;
    let block = if few { tiles } else { GRAD_TILES.min(tiles) };
    let layout = Panelled { rows: block, pair: 2 * micro::lanes() };
    let planes @ [v_plane, d_plane] = [plane(layout.len(channels)), plane(block * g.o)];
    let transform = |start: usize, v: &mut [f32], d: &mut [f32]| {
        let (count, to) = (block.min(tiles - start), [Shared::new(v), Shared::new(d)]);
        (0..count.div_ceil(PART)).into_par_iter().for_each(|part| {
            let (first, last) = (part * PART, count.min((part + 1) * PART));
            let tiles = start + first..start + last;
            Arch::new().dispatch(GradTiles::<M, IN> {
                images: [inputs, outputs],
                grid,
                tiles,
                first,
                layout,
                planes,
                to,
            });
        });
    };
    with_scratch(elements * (v_plane + d_plane), |scratch: &mut [f32]| {
        let (v, d) = scratch.split_at_mut(elements * v_plane);
        // The product of an element for some output channels from `first` on, and some tiles.
        let product =
            |element: usize, [first, rows, count]: [usize; 3], v: &[f32], d: &[f32], u: &mut [f32], add| {
                let d = Rows { data: &d[element * d_plane + first..], row: 1, column: g.o };
                let v = layout.of(&v[element * v_plane..]);
                Arch::new().dispatch(GradProduct { sizes: [rows, channels, count], d, v, u, add });
            };
        let back = |u: &[f32], plane: usize, dw: &mut [f32]| {
            let channels = [inputs.first, channels];
            Arch::new().dispatch(GradBack::<M, IN> { u, plane, channels, dw });
        };
        if few {
            transform(0, v, d);
            let (v, d) = (&*v, &*d);
            return dw.par_chunks_mut(ROWS * 9 * g.c).enumerate().for_each(|(index, dw)| {
                let rows = dw.len() / (9 * g.c);
                let u_plane = plane(rows * channels);
                with_scratch(elements * u_plane, |u: &mut [f32]| {
                    for (element, u) in u.chunks_exact_mut(u_plane).enumerate() {
                        product(element, [index * ROWS, rows, tiles], v, d, u, false);
                    }
                    for (row, dw) in dw.chunks_exact_mut(9 * g.c).enumerate() {
                        back(&u[row * channels..], u_plane, dw);
                    }
                });
            });
        }
        let u_plane = plane(g.o * channels);
        with_scratch(elements * u_plane, |u: &mut [f32]| {
            for start in (0..tiles).step_by(block) {
                transform(start, v, d);
                let (v, d) = (&*v, &*d);
                u.par_chunks_mut(u_plane).enumerate().for_each(|(element, u)| {
                    product(element, [0, g.o, block.min(tiles - start)], v, d, u, start > 0);
                });
            }
            let u = &*u;
            dw.par_chunks_mut(9 * g.c).enumerate().with_min_len(8).for_each(|(o, dw)| {
                back(&u[o * channels..], u_plane, dw);
            });
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

/// `dw = G' u G` of one output channel, `[3, 3, c]`, and some input channels: the first, and how many.
struct GradBack<'a, const M: usize, const IN: usize> {
    u: &'a [f32],
    plane: usize,
    channels: [usize; 2],
    dw: &'a mut [f32],
}

impl<const M: usize, const IN: usize> WithSimd for GradBack<'_, M, IN>
where
    WeightBack<M>: Transform<IN, 3>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (all, [first, channels]) = (self.dw.len() / 9, self.channels);
        for c in (0..channels).step_by(S::F32_LANES) {
            let load = |i: usize, j: usize| Lanes::load(simd, self.u, (i * IN + j) * self.plane + c);
            both_axes::<_, WeightBack<M>, IN, 3>(
                Lanes::zero(simd),
                load,
                #[inline(always)]
                |i, j, value| {
                    value.store(&mut *self.dw, (3 * i + j) * all + first + c);
                },
            );
        }
    }
}
