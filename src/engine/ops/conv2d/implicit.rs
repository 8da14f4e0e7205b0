//! Convolution on a GPU as implicit matrix products: what `shaders/conv2d.wgsl` is given for each of the three passes.

use super::Conv2d;
use super::gather::Axis;
use super::geometry::Geometry;
use super::images::Images;
use crate::engine::device::Gpu;
use crate::engine::device::deferred::Job;
use crate::engine::device::kernel::Dispatch;
use crate::engine::ops::kernel::Kernel;
use crate::engine::ops::matmul::tiling::Tiling;
use crate::engine::ops::{SumParts, winograd as on_gpu};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;
use bytemuck::{Pod, Zeroable, bytes_of};
use std::ops::Range;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    part: u32,
    parts: u32,
    bias: u32,
    cells: [u32; 2],
    image: [u32; 2],
    image_c: u32,
    w_taps: i32,
    taps: [u32; 2],
    stride: [i32; 2],
    first: [i32; 2],
    dilation: [i32; 2],
    w_step: [i32; 2],
    w_first: i32,
    y_image: u32,
    y_step: [u32; 2],
    y_first: u32,
    y_part: u32,
    group: u32,
    channels: u32,
    spare: [u32; 2],
}

/// What the shader computes: its constant `KIND`.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Forward = 0,
    GradInput = 1,
    GradWeight = 2,
}

impl Params {
    /// The cells of two axes and what they see of images `[h, w, c]`.
    fn cells(axes: [&Axis; 2], [h, w, c]: [usize; 3]) -> Params {
        let between = |axis: &Axis| match axis.taps[..] {
            [a, b, ..] => b.offset - a.offset,
            _ => 1,
        };
        let each = |f: &dyn Fn(&Axis) -> isize| axes.map(|axis| f(axis) as i32);
        Params {
            cells: axes.map(|axis| axis.count as u32),
            image: [h as u32, w as u32],
            image_c: c as u32,
            taps: axes.map(|axis| axis.taps.len() as u32),
            stride: each(&|axis| axis.stride as isize),
            first: each(&|axis| axis.taps.first().map_or(0, |tap| tap.offset)),
            dilation: each(&between),
            ..Params::zeroed()
        }
    }

    /// Where groups of images begin, in the images and in their coefficients.
    fn grouped(self, images: &Images) -> Params {
        let groups = images.groups().max(1);
        let (group, channels) = (images.x.elements() / groups, self.image_c as usize * groups);
        Params { group: group as u32, channels: channels as u32, ..self }
    }

    /// The product's sizes, cut as `tiling` says.
    fn sized(self, [m, n, k]: [usize; 3], tiling: &Tiling) -> Params {
        let (part, parts) = (tiling.part as u32, tiling.parts as u32);
        Params { m: m as u32, n: n as u32, k: k as u32, part, parts, ..self }
    }
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

/// One dense product that writes the pixels of `y` (with parts, through their sums): a forward pass or a phase of
/// a gradient of the input, for the images of one block.
struct Product<'a> {
    kind: Kind,
    params: Params,
    sizes: [usize; 3],
    vec: [bool; 2],
    x: (Images<'a>, Range<usize>),
    w: &'a Tensor,
    y: (&'a Tensor, Range<usize>),
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
}

impl Product<'_> {
    fn record(self, gpu: &Gpu) -> Result<()> {
        let [m, n, k] = self.sizes;
        let tiling = Tiling::choose(gpu, m, n, k);
        let (entry, third) = match self.ending {
            Ending::Write(bias) => (tiling.entry, Some(bias.unwrap_or(self.w))),
            Ending::Add => ("tiled_add", None),
            Ending::Statistics(blocks) => ("tiled_statistics", Some(blocks)),
        };
        let bias = if let Ending::Write(bias) = self.ending { bias } else { None };
        let (images, x) = (self.x.0, (self.x.0.x, Some(self.x.1)));
        let params = self.params.sized(self.sizes, &tiling).grouped(&images);
        let params = Params { bias: u32::from(bias.is_some()), ..params };
        let part_sums = match tiling.parts {
            1 => None,
            parts => Some(Tensor::uninit(self.y.0.device(), Shape::from([parts, m, n]))?),
        };
        let y = (self.y.0, Some(self.y.1));
        let mut tensors = vec![x.clone(), (self.w, None)];
        tensors.extend(third.map(|tensor| (tensor, None)));
        tensors.push(part_sums.as_ref().map_or(y.clone(), |parts| (parts, None)));
        tensors.push(images.coefficients.map_or(x, |coefficients| (coefficients, None)));
        gpu.run(Dispatch {
            shader: Conv2d::NAME,
            entry,
            constants: constants(self.kind, &tiling, &images, self.vec),
            params: &[],
            bytes: bytes_of(&params),
            tensors,
            groups: tiling.groups(m, n) as u64,
            work: (m * n * k) as u64,
        })?;
        match &part_sums {
            Some(parts) => sum_parts(gpu, &params, parts, bias, y),
            None => Ok(()),
        }
    }
}

fn sum_parts(
    gpu: &Gpu,
    params: &Params,
    parts: &Tensor,
    bias: Option<&Tensor>,
    y: (&Tensor, Option<Range<usize>>),
) -> Result<()> {
    gpu.run(Dispatch {
        shader: Conv2d::NAME,
        entry: "sum_parts",
        constants: Vec::new(),
        params: &[],
        bytes: bytes_of(params),
        tensors: vec![(parts, None), (bias.unwrap_or(parts), None), y],
        groups: (u64::from(params.m) * u64::from(params.n)).div_ceil(256),
        work: 0,
    })
}

pub(in crate::engine::ops) fn forward(
    gpu: &Gpu,
    g: &Geometry,
    images: Images,
    [w, y]: [&Tensor; 2],
    bias: Option<&Tensor>,
) -> Result<()> {
    let algorithm = on_gpu::choose(gpu, g, false);
    let on_load = algorithm.is_none() && images.suit_loading(gpu, g);
    images.read(gpu, on_load, |images| match algorithm {
        Some(algorithm) => on_gpu::forward(gpu, algorithm, g, [images.x, w], bias, y),
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
    images.read(gpu, images.suit_loading(gpu, g), |images| {
        products(gpu, g, images, [w, y], Ending::Statistics(blocks))
    })
}

fn products(gpu: &Gpu, g: &Geometry, images: Images, [w, y]: [&Tensor; 2], ending: Ending) -> Result<()> {
    let axes = [Axis::forward(g, 0), Axis::forward(g, 1)];
    let params = Params { y_step: [g.ow as u32, 1], ..Params::cells([&axes[0], &axes[1]], [g.h, g.w, g.c]) };
    let (from, to) = (g.h * g.w * g.c, g.oh * g.ow * g.o);
    gpu.batches(g.n, &[from, to]).into_iter().try_for_each(|block| {
        Product {
            kind: Kind::Forward,
            params,
            sizes: [block.len() * g.oh * g.ow, g.o, g.depth()],
            vec: [g.c.is_multiple_of(4); 2],
            x: (images, block.start * from..block.end * from),
            w,
            y: (y, block.start * to..block.end * to),
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
        return on_gpu::grad_input(gpu, algorithm, g, [w, dy], dx);
    }
    let phases = phases(g);
    let (from, to) = (g.oh * g.ow * g.o, g.h * g.w * g.c);
    let reached: usize = phases.iter().map(|[v, h]| v.count * h.count).sum();
    if reached < g.h * g.w && !add {
        gpu.clear(dx.gpu_buffer(), dx.start()..dx.start() + dx.elements());
    }
    for phase in &phases {
        let [v, h] = phase;
        let first = |axis: &Axis| axis.taps.first().map_or(0, |tap| tap.index);
        let between = |axis: &Axis| match axis.taps[..] {
            [a, b, ..] => b.index as i32 - a.index as i32,
            _ => 1,
        };
        let params = Params {
            w_taps: (g.kh * g.kw) as i32,
            w_first: (first(v) * g.kw + first(h)) as i32,
            w_step: [between(v) * g.kw as i32, between(h)],
            y_image: (g.h * g.w) as u32,
            y_first: (v.first * g.w + h.first) as u32,
            y_step: [(v.step * g.w) as u32, h.step as u32],
            ..Params::cells([v, h], [g.oh, g.ow, g.o])
        };
        for images in gpu.batches(g.n, &[from, to]) {
            Product {
                kind: Kind::GradInput,
                params,
                sizes: phase_sizes(g, phase, images.len()),
                vec: [g.o.is_multiple_of(4), g.c.is_multiple_of(4)],
                x: (dy.into(), images.start * from..images.end * from),
                w,
                y: (dx, images.start * to..images.end * to),
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
    images.read(gpu, images.suit_loading(gpu, g), |images| weight_products(gpu, g, images, [dy, dw]))
}

/// Each block of images adds its parts to one list, which is summed in ascending order.
fn weight_products(gpu: &Gpu, g: &Geometry, images: Images, [dy, dw]: [&Tensor; 2]) -> Result<()> {
    let axes = [Axis::forward(g, 0), Axis::forward(g, 1)];
    let cells = Params::cells([&axes[0], &axes[1]], [g.h, g.w, g.c]).grouped(&images);
    let (m, n) = (g.o, g.depth());
    let all = [g.h * g.w * g.c, g.oh * g.ow * g.o];
    let blocks: Vec<(Range<usize>, Tiling)> = gpu
        .batches(g.n, &all)
        .into_iter()
        .map(|block| (block.clone(), Tiling::choose(gpu, m, n, block.len() * g.oh * g.ow)))
        .collect();
    let total: usize = blocks.iter().map(|(_, tiling)| tiling.parts).sum();
    let part_sums = match total {
        1 => None,
        total => Some(Tensor::uninit(dw.device(), Shape::from([total, m, n]))?),
    };
    let mut y_part = 0;
    for (block, tiling) in &blocks {
        let sizes = [m, n, block.len() * g.oh * g.ow];
        let params = Params { y_part, ..cells.sized(sizes, tiling) };
        let x = (images.x, Some(block.start * all[0]..block.end * all[0]));
        let dy = (dy, Some(block.start * all[1]..block.end * all[1]));
        y_part += params.parts;
        gpu.run(Dispatch {
            shader: Conv2d::NAME,
            entry: tiling.entry,
            constants: constants(
                Kind::GradWeight,
                tiling,
                &images,
                [g.c.is_multiple_of(4), g.o.is_multiple_of(4)],
            ),
            params: &[],
            bytes: bytes_of(&params),
            tensors: vec![
                x.clone(),
                dy.clone(),
                dy,
                (part_sums.as_ref().unwrap_or(dw), None),
                images.coefficients.map_or(x, |coefficients| (coefficients, None)),
            ],
            groups: tiling.groups(m, n) as u64,
            work: sizes.iter().product::<usize>() as u64,
        })?;
    }
    // No one reads a weight's gradient before the others are there too.
    part_sums.map_or(Ok(()), |parts| {
        gpu.defer(Job { record: SumParts::record, most: SumParts::MOST, tensors: [parts, dw.clone()] })
    })
}
