//! Convolution on a GPU as implicit matrix products: what `shaders/conv2d.wgsl` is given for each of the three passes.

use super::gather::Axis;
use super::geometry::Geometry;
use crate::engine::device::Gpu;
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::ops::batch_norm::Waiting;
use crate::engine::ops::matmul::tiling::Tiling;
use crate::engine::ops::winograd as on_gpu;
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;
use std::ops::Range;

/// The name of the op and of its shader.
pub(super) const NAME: &str = "conv2d";

/// What a convolution reads.
type Images<'a> = Waiting<&'a Tensor>;

/// Whether it is faster to apply coefficients to each element as it is loaded than in a pass before.
///
/// A load takes some five instructions more, for every tap and every 128 output channels; the pass writes and reads
/// 8 bytes more. A usual GPU does 10 to 20 instructions in the time of a byte, so that 12 loads, in the forward pass and
/// again in the gradient of the weight, cost about as much as the two passes before them.
fn suits_loading(gpu: &Gpu, g: &Geometry) -> bool {
    let loads = g.kh * g.kw * g.o.div_ceil(128) / (g.stride[0] * g.stride[1]);
    let in_one = gpu.batches(g.n, &[g.h * g.w * g.c, g.oh * g.ow * g.o]).len() == 1;
    loads <= 12 && in_one && g.c.is_multiple_of(4) && !gpu.is_cpu
}

/// What the shader computes: its constant `KIND`.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Forward = 0,
    GradInput = 1,
    GradWeight = 2,
}

/// The cells of two axes and what they see of images `[h, w, c]`.
fn cells(axes: [&Axis; 2], [h, w, c]: [usize; 3]) -> Vec<Param> {
    let between = |axis: &Axis| match axis.taps[..] {
        [a, b, ..] => b.offset - a.offset,
        _ => 1,
    };
    let each = |f: &dyn Fn(&Axis) -> isize| axes.map(|axis| f(axis) as i32);
    vec![
        ("cells", axes.map(|axis| axis.count).into()),
        ("image", [h, w].into()),
        ("image_c", c.into()),
        ("taps", axes.map(|axis| axis.taps.len()).into()),
        ("stride", each(&|axis| axis.stride as isize).into()),
        ("first", each(&|axis| axis.taps.first().map_or(0, |tap| tap.offset)).into()),
        ("dilation", each(&between).into()),
    ]
}

/// Where groups of images `[n, h, w, c]` begin, in the images and in their coefficients.
fn grouped(images: &Images) -> [Param; 2] {
    let groups = images.groups().max(1);
    let channels = images.x.shape()[3] * groups;
    [("group", (images.x.elements() / groups).into()), ("channels", channels.into())]
}

/// The product's sizes, cut as `tiling` says.
fn sized([m, n, k]: [usize; 3], tiling: &Tiling) -> [Param; 5] {
    let (part, parts) = (tiling.part, tiling.parts);
    [("m", m.into()), ("n", n.into()), ("k", k.into()), ("part", part.into()), ("parts", parts.into())]
}

/// All params of the shader: these, and zeros for what a pass has no use for.
fn complete(given: &[&[Param]]) -> Vec<Param> {
    let unused: [Param; 8] = [
        ("bias", 0u32.into()),
        ("w_taps", 0i32.into()),
        ("w_step", [0i32; 2].into()),
        ("w_first", 0i32.into()),
        ("y_image", 0u32.into()),
        ("y_step", [0u32; 2].into()),
        ("y_first", 0u32.into()),
        ("y_part", 0u32.into()),
    ];
    let mut params = given.concat();
    let missing = |(name, _): &Param| params.iter().all(|(other, _)| other != name);
    let unused: Vec<Param> = unused.into_iter().filter(missing).collect();
    params.extend(unused);
    params
}

fn constants(kind: Kind, tiling: &Tiling, images: &Images, vec: [bool; 2]) -> Vec<(&'static str, f64)> {
    let flag = |on: bool| f64::from(u8::from(on));
    let mut constants = vec![
        ("KIND", f64::from(kind as u8)),
        ("X_VEC", flag(vec[0])),
        ("W_VEC", flag(vec[1])),
        ("NORM", flag(images.groups() > 0)),
        ("GROUPED", flag(images.groups() > 1)),
    ];
    constants.extend(tiling.constants());
    constants
}

/// One dense product of the images of one block: a forward pass or a phase of a gradient of the input, which write the pixels of
/// `y` (with parts, through their sums), or parts of a gradient of the weight.
struct Product<'a> {
    kind: Kind,
    params: Vec<Param>,
    sizes: [usize; 3],
    vec: [bool; 2],
    x: (Images<'a>, Range<usize>),
    w: (&'a Tensor, Option<Range<usize>>),
    y: (&'a Tensor, Option<Range<usize>>),
    ending: Ending<'a>,
}

/// What a product does with its results.
#[derive(Clone, Copy)]
enum Ending<'a> {
    /// Writes them, with a bias.
    Write(Option<&'a Tensor>),
    /// Adds them to what is there.
    Add,
    /// Writes them, and the mean and the squared deviations of each tile of rows, `[tiles, 2, n]`.
    Statistics(&'a Tensor),
    /// Writes the parts as they are, from `y_part` on.
    Parts,
}

impl Product<'_> {
    fn record(self, gpu: &Gpu) -> Result<()> {
        let [m, n, k] = self.sizes;
        let tiling = Tiling::choose(gpu, m, n, k);
        let (entry, third) = match self.ending {
            Ending::Write(Some(bias)) => (tiling.entry, Some((bias, None))),
            Ending::Write(None) | Ending::Parts => (tiling.entry, Some(self.w.clone())),
            Ending::Add => ("tiled_add", None),
            Ending::Statistics(blocks) => ("tiled_statistics", Some((blocks, None))),
        };
        let bias = if let Ending::Write(bias) = self.ending { bias } else { None };
        let (images, x) = (self.x.0, (self.x.0.x, Some(self.x.1)));
        let with_bias = [("bias", u32::from(bias.is_some()).into())];
        let params = complete(&[&self.params, &sized(self.sizes, &tiling), &grouped(&images), &with_bias]);
        let part_sums = match (tiling.parts, self.ending) {
            (1, _) | (_, Ending::Parts) => None,
            (parts, _) => Some(Tensor::uninit(self.y.0.device(), Shape::from([parts, m, n]))?),
        };
        let mut tensors = vec![x.clone(), self.w];
        tensors.extend(third);
        tensors.push(part_sums.as_ref().map_or(self.y.clone(), |parts| (parts, None)));
        tensors.push(images.coefficients.map_or(x, |coefficients| (coefficients, None)));
        gpu.run(Dispatch {
            constants: constants(self.kind, &tiling, &images, self.vec),
            tensors,
            work: (m * n * k) as u64,
            ..Dispatch::new(NAME, entry, params.clone(), &[], tiling.groups(m, n))
        })?;
        let Some(parts) = &part_sums else { return Ok(()) };
        gpu.run(Dispatch {
            tensors: vec![(parts, None), (bias.unwrap_or(parts), None), self.y],
            ..Dispatch::new(NAME, "sum_parts", params, &[], (m * n).div_ceil(256))
        })
    }
}

pub(in crate::engine::ops) fn forward(
    gpu: &Gpu,
    g: &Geometry,
    images: Images,
    [w, y]: [&Tensor; 2],
    bias: Option<&Tensor>,
) -> Result<()> {
    let algorithm = on_gpu::choose(gpu, g, false);
    let on_load = algorithm.is_none() && suits_loading(gpu, g);
    images.read(gpu, on_load, |images| match algorithm {
        Some(algorithm) => on_gpu::record(gpu, algorithm, g, false, [images.x, w, y], bias),
        None => products(gpu, g, images, [w, y], Ending::Write(bias)),
    })
}

/// The rows of y `[rows, o]` in one tile of a forward pass whose tiles can note the statistics of their columns; `None` if
/// they can't: where a tile is a part of a sum or would reach over the end of a group of rows, or where Winograd's algorithm
/// is taken.
pub(in crate::engine::ops) fn rows_of_statistics(gpu: &Gpu, g: &Geometry, groups: usize) -> Option<usize> {
    if on_gpu::choose(gpu, g, false).is_some() {
        return None;
    }
    let tiling = Tiling::choose(gpu, g.pixels(), g.o, g.depth());
    let rows = tiling.tile[0];
    let whole = groups == 1 || (g.pixels() / groups).is_multiple_of(rows);
    let blocks = gpu.batches(g.n, &[g.h * g.w * g.c, g.oh * g.ow * g.o]).len();
    (tiling.entry == "tiled" && tiling.parts == 1 && blocks == 1 && whole).then_some(rows)
}

/// A forward pass that writes the mean and the squared deviations of every [so many rows](rows_of_statistics) of y to
/// `blocks` `[tiles, 2, o]`.
pub(in crate::engine::ops) fn forward_with_statistics(
    gpu: &Gpu,
    g: &Geometry,
    images: Images,
    [w, y, blocks]: [&Tensor; 3],
) -> Result<()> {
    images.read(gpu, suits_loading(gpu, g), |images| {
        products(gpu, g, images, [w, y], Ending::Statistics(blocks))
    })
}

fn products(gpu: &Gpu, g: &Geometry, images: Images, [w, y]: [&Tensor; 2], ending: Ending) -> Result<()> {
    let axes = [Axis::forward(g, 0), Axis::forward(g, 1)];
    let mut params = cells([&axes[0], &axes[1]], [g.h, g.w, g.c]);
    params.push(("y_step", [g.ow, 1].into()));
    let (from, to) = (g.h * g.w * g.c, g.oh * g.ow * g.o);
    gpu.batches(g.n, &[from, to]).into_iter().try_for_each(|block| {
        Product {
            kind: Kind::Forward,
            params: params.clone(),
            sizes: [block.len() * g.oh * g.ow, g.o, g.depth()],
            vec: [g.c.is_multiple_of(4); 2],
            x: (images, block.start * from..block.end * from),
            w: (w, None),
            y: (y, Some(block.start * to..block.end * to)),
            ending,
        }
        .record(gpu)
    })
}

/// The phases of a gradient of the input: input pixels with the same remainders by the stride are one dense product, over
/// the taps that reach them ([`Axis::backward`]).
fn phases(g: &Geometry) -> Vec<[Axis; 2]> {
    let reached = |axis: &Axis| !axis.taps.is_empty();
    let (ys, xs) = (Axis::backward(g, 0), Axis::backward(g, 1));
    let rows = ys.into_iter().filter(reached);
    rows.flat_map(|y| xs.iter().filter(|x| reached(x)).map(move |x| [y.clone(), x.clone()])).collect()
}

/// Rows, columns and steps of the product of a phase, for some images.
fn phase_sizes(g: &Geometry, [v, h]: &[Axis; 2], images: usize) -> [usize; 3] {
    [images * v.count * h.count, g.c, v.taps.len() * h.taps.len() * g.o]
}

/// Whether [`grad_input`] can add to what is there: where each product writes its result at once.
pub(super) fn adds(gpu: &Gpu, g: &Geometry) -> bool {
    let blocks = gpu.batches(g.n, &[g.oh * g.ow * g.o, g.h * g.w * g.c]);
    on_gpu::choose(gpu, g, true).is_none()
        && phases(g).iter().all(|phase| {
            blocks.iter().all(|images| {
                let [m, n, k] = phase_sizes(g, phase, images.len());
                let tiling = Tiling::choose(gpu, m, n, k);
                tiling.entry == "tiled" && tiling.parts == 1
            })
        })
}

/// The gradient of the input; with `add`, where that is [possible](adds), added to what `dx` holds.
pub(in crate::engine::ops) fn grad_input(
    gpu: &Gpu,
    g: &Geometry,
    [w, dy, dx]: [&Tensor; 3],
    add: bool,
) -> Result<()> {
    if let Some(algorithm) = on_gpu::choose(gpu, g, true) {
        assert!(!add, "Winograd's algorithm writes: ask `adds` first");
        return on_gpu::record(gpu, algorithm, g, true, [dy, w, dx], None);
    }
    let phases = phases(g);
    let (from, to) = (g.oh * g.ow * g.o, g.h * g.w * g.c);
    let reached: usize = phases.iter().map(|[v, h]| v.count * h.count).sum();
    if reached < g.h * g.w && !add {
        gpu.clear(dx, 0..dx.elements());
    }
    for phase in &phases {
        let [v, h] = phase;
        let first = |axis: &Axis| axis.taps.first().map_or(0, |tap| tap.index);
        let between = |axis: &Axis| match axis.taps[..] {
            [a, b, ..] => b.index as i32 - a.index as i32,
            _ => 1,
        };
        let mut params = cells([v, h], [g.oh, g.ow, g.o]);
        params.extend([
            ("w_taps", ((g.kh * g.kw) as i32).into()),
            ("w_first", ((first(v) * g.kw + first(h)) as i32).into()),
            ("w_step", [between(v) * g.kw as i32, between(h)].into()),
            ("y_image", (g.h * g.w).into()),
            ("y_first", (v.first * g.w + h.first).into()),
            ("y_step", [v.step * g.w, h.step].into()),
        ]);
        for images in gpu.batches(g.n, &[from, to]) {
            Product {
                kind: Kind::GradInput,
                params: params.clone(),
                sizes: phase_sizes(g, phase, images.len()),
                vec: [g.o.is_multiple_of(4), g.c.is_multiple_of(4)],
                x: (dy.into(), images.start * from..images.end * from),
                w: (w, None),
                y: (dx, Some(images.start * to..images.end * to)),
                ending: if add { Ending::Add } else { Ending::Write(None) },
            }
            .record(gpu)?;
        }
    }
    Ok(())
}

pub(in crate::engine::ops) fn grad_weight(
    gpu: &Gpu,
    g: &Geometry,
    images: Images,
    [dy, dw]: [&Tensor; 2],
) -> Result<()> {
    images.read(gpu, suits_loading(gpu, g), |images| weight_products(gpu, g, images, [dy, dw]))
}

/// Each block of images adds its parts to one list, which is summed in ascending order.
fn weight_products(gpu: &Gpu, g: &Geometry, images: Images, [dy, dw]: [&Tensor; 2]) -> Result<()> {
    let axes = [Axis::forward(g, 0), Axis::forward(g, 1)];
    let cells = cells([&axes[0], &axes[1]], [g.h, g.w, g.c]);
    let (m, n) = (g.o, g.depth());
    let all = [g.h * g.w * g.c, g.oh * g.ow * g.o];
    let blocks = gpu.batches(g.n, &all);
    let steps = |block: &Range<usize>| block.len() * g.oh * g.ow;
    let parts = |block: &Range<usize>| Tiling::choose(gpu, m, n, steps(block)).parts;
    let part_sums = match blocks.iter().map(parts).sum() {
        1 => None,
        total => Some(Tensor::uninit(dw.device(), Shape::from([total, m, n]))?),
    };
    let mut y_part = 0usize;
    for block in &blocks {
        let [x_part, dy_part] = all.map(|size| block.start * size..block.end * size);
        Product {
            kind: Kind::GradWeight,
            params: [&cells[..], &[("y_part", y_part.into())]].concat(),
            sizes: [m, n, steps(block)],
            vec: [g.c.is_multiple_of(4), g.o.is_multiple_of(4)],
            x: (images, x_part),
            w: (dy, Some(dy_part)),
            y: (part_sums.as_ref().unwrap_or(dw), None),
            ending: Ending::Parts,
        }
        .record(gpu)?;
        y_part += parts(block);
    }
    // No one reads a weight's gradient before the others are there too.
    part_sums.map_or(Ok(()), |parts| gpu.sum_parts(parts, dw.clone()))
}
