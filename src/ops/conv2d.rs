//! Convolution of NHWC images with OHWI weights, as an implicit matrix product.

mod gather;
pub mod geometry;
mod transforms;
pub mod twin;
mod winograd;

pub use winograd::Winograd;

use super::kernel::{Differentiable, Kernel};
use super::matmul::{sum_rows, sum_rows_twin, tiling::Tiling};
use super::{Case, Input, SumParts, winograd as on_gpu};
use crate::device::deferred::Job;
use crate::device::kernel::Dispatch;
use crate::device::{Gpu, real::Real};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor, View, ViewMut};
use bytemuck::{Pod, Zeroable, bytes_of};
use gather::Axis;
use geometry::Geometry;
use rayon::prelude::*;
use std::ops::Range;

/// `y[n,i,j,o] = sum_(ky,kx,c) x[n, i s + ky d - p, j s + kx d - p, c] w[o,ky,kx,c] (+ bias[o])`
///
/// Cross-correlation (the kernel is not flipped) with zero padding; s, p, d are stride, padding and dilation, each
/// [vertical, horizontal].
///
/// | value | shape |
/// |---|---|
/// | `x` | `[n, h, w, c]` |
/// | `w` | `[o, kh, kw, c]` |
/// | `bias` (optional third input) | `[o]` |
/// | returns | `[n, oh, ow, o]`, `oh = (h + 2 p - d (kh - 1) - 1) / s + 1` rounded down |
///
/// # Errors
/// [`Error::Shape`] if the shapes do not fit together; see [`Geometry::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Input pixels from one output pixel to the next.
    pub stride: [usize; 2],
    /// Zero pixels around the input.
    pub padding: [usize; 2],
    /// Input pixels from one kernel tap to the next.
    pub dilation: [usize; 2],
}

impl Conv2d {
    /// The same stride and padding in both directions, no dilation.
    pub const fn new(stride: usize, padding: usize) -> Conv2d {
        Conv2d { stride: [stride; 2], padding: [padding; 2], dilation: [1; 2] }
    }

    /// All sizes for an input and a weight.
    ///
    /// # Errors
    /// As [`Geometry::new`].
    pub fn geometry(&self, x: &[usize], w: &[usize]) -> Result<Geometry> {
        Geometry::new(x, w, self.stride, self.padding, self.dilation)
    }

    pub(super) fn known(&self, x: &[usize], w: &[usize]) -> Geometry {
        self.geometry(x, w).expect("the shape rule has passed these shapes")
    }
}

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

    /// The product's sizes, cut as `tiling` says.
    fn sized(self, [m, n, k]: [usize; 3], tiling: &Tiling) -> Params {
        let (part, parts) = (tiling.part as u32, tiling.parts as u32);
        Params { m: m as u32, n: n as u32, k: k as u32, part, parts, ..self }
    }
}

/// Blocks of images that one binding holds, each starting where a binding may start; `image` is the elements of one
/// image in the largest tensor, `all` those of one image in each tensor.
fn image_blocks(gpu: &Gpu, images: usize, all: [usize; 2]) -> impl Iterator<Item = Range<usize>> {
    let fits = gpu.max_binding() as usize / 4 / all[0].max(all[1]).max(1);
    // LIMIT: bindings start at multiples of 64 elements.
    let unit = (1..=64).find(|unit| all.iter().all(|size| size * unit % 64 == 0)).unwrap_or(64);
    let step = if images <= fits { images } else { (fits / unit * unit).max(unit) };
    (0..images).step_by(step.max(1)).map(move |start| start..images.min(start + step))
}

fn constants(kind: Kind, tiling: &Tiling, x_vec: bool, w_vec: bool) -> Vec<(&'static str, f64)> {
    let flag = |on: bool| f64::from(u8::from(on));
    let mut constants = vec![("KIND", f64::from(kind as u8)), ("X_VEC", flag(x_vec)), ("W_VEC", flag(w_vec))];
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
    x: (&'a Tensor, Range<usize>),
    w: &'a Tensor,
    bias: Option<&'a Tensor>,
    y: (&'a Tensor, Range<usize>),
    /// Room for the mean and the squared deviations of each tile of rows, `[tiles, 2, n]`, instead of a bias.
    statistics: Option<&'a Tensor>,
}

impl Product<'_> {
    fn record(self, gpu: &Gpu) -> Result<()> {
        let [m, n, k] = self.sizes;
        let tiling = Tiling::choose(gpu, m, n, k);
        let bias = u32::from(self.bias.is_some());
        let params = Params { bias, ..self.params.sized(self.sizes, &tiling) };
        let part_sums = match tiling.parts {
            1 => None,
            parts => Some(Tensor::uninit(self.y.0.device(), Shape::from([parts, m, n]))?),
        };
        let y = (self.y.0, Some(self.y.1));
        let into = part_sums.as_ref().map_or(y.clone(), |parts| (parts, None));
        gpu.run(Dispatch {
            shader: Conv2d::NAME,
            entry: if self.statistics.is_some() { "tiled_statistics" } else { tiling.entry },
            constants: constants(self.kind, &tiling, self.vec[0], self.vec[1]),
            params: bytes_of(&params),
            tensors: vec![
                (self.x.0, Some(self.x.1)),
                (self.w, None),
                (self.statistics.or(self.bias).unwrap_or(self.w), None),
                into,
            ],
            groups: tiling.groups(m, n) as u64,
            work: (m * n * k) as u64,
        })?;
        match &part_sums {
            Some(parts) => sum_parts(gpu, &params, parts, self.bias, y),
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
        params: bytes_of(params),
        tensors: vec![(parts, None), (bias.unwrap_or(parts), None), y],
        groups: (u64::from(params.m) * u64::from(params.n)).div_ceil(256),
        work: 0,
    })
}

pub(super) fn forward(
    gpu: &Gpu,
    g: &Geometry,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    y: &Tensor,
) -> Result<()> {
    match on_gpu::choose(gpu, g, false) {
        Some(algorithm) => on_gpu::forward(gpu, algorithm, g, [x, w], bias, y),
        None => products(gpu, g, [x, w, y], bias, None),
    }
}

/// The rows of y `[rows, o]` in one tile of a forward pass whose tiles can note the statistics of their columns; `None` if
/// they can't: where a tile is a part of a sum, would reach over the end of a group of rows, or where Winograd's algorithm is faster.
pub(super) fn rows_of_statistics(gpu: &Gpu, g: &Geometry, groups: usize) -> Option<usize> {
    if on_gpu::choose(gpu, g, false).is_some() {
        return None;
    }
    let tiling = Tiling::choose(gpu, g.pixels(), g.o, g.depth());
    let rows = tiling.tile[0];
    let whole = groups == 1 || (g.pixels() / groups).is_multiple_of(rows);
    let blocks = image_blocks(gpu, g.n, [g.h * g.w * g.c, g.oh * g.ow * g.o]).count();
    (tiling.entry == "tiled" && tiling.parts == 1 && blocks == 1 && whole).then_some(rows)
}

/// A forward pass that writes the mean and the squared deviations of every [so many rows](rows_of_statistics) of y to
/// `blocks` `[tiles, 2, o]`.
pub(super) fn forward_with_statistics(
    gpu: &Gpu,
    g: &Geometry,
    [x, w, y, blocks]: [&Tensor; 4],
) -> Result<()> {
    products(gpu, g, [x, w, y], None, Some(blocks))
}

fn products(
    gpu: &Gpu,
    g: &Geometry,
    [x, w, y]: [&Tensor; 3],
    bias: Option<&Tensor>,
    statistics: Option<&Tensor>,
) -> Result<()> {
    let axes = [Axis::forward(g, 0), Axis::forward(g, 1)];
    let params = Params { y_step: [g.ow as u32, 1], ..Params::cells([&axes[0], &axes[1]], [g.h, g.w, g.c]) };
    let (from, to) = (g.h * g.w * g.c, g.oh * g.ow * g.o);
    image_blocks(gpu, g.n, [from, to]).try_for_each(|images| {
        Product {
            kind: Kind::Forward,
            params,
            sizes: [images.len() * g.oh * g.ow, g.o, g.depth()],
            vec: [g.c.is_multiple_of(4); 2],
            x: (x, images.start * from..images.end * from),
            w,
            bias,
            y: (y, images.start * to..images.end * to),
            statistics,
        }
        .record(gpu)
    })
}

/// Input pixels with the same remainders by the stride are one dense product: see [`Axis::backward`]. Where no tap
/// reaches, zeros are written first.
fn grad_input(gpu: &Gpu, g: &Geometry, w: &Tensor, dy: &Tensor, dx: &Tensor) -> Result<()> {
    if let Some(algorithm) = on_gpu::choose(gpu, g, true) {
        return on_gpu::grad_input(gpu, algorithm, g, [w, dy], dx);
    }
    let (ys, xs) = (Axis::backward(g, 0), Axis::backward(g, 1));
    let (from, to) = (g.oh * g.ow * g.o, g.h * g.w * g.c);
    let reached = |axis: &&Axis| !axis.taps.is_empty();
    if !ys.iter().chain(&xs).all(|axis| reached(&axis)) {
        gpu.clear(dx.gpu_buffer(), dx.start()..dx.start() + dx.elements());
    }
    let phases = ys.iter().filter(reached).flat_map(|v| xs.iter().filter(reached).map(move |h| (v, h)));
    for (v, h) in phases {
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
        for images in image_blocks(gpu, g.n, [from, to]) {
            Product {
                kind: Kind::GradInput,
                params,
                sizes: [images.len() * v.count * h.count, g.c, v.taps.len() * h.taps.len() * g.o],
                vec: [g.o.is_multiple_of(4), g.c.is_multiple_of(4)],
                x: (dy, images.start * from..images.end * from),
                w,
                bias: None,
                y: (dx, images.start * to..images.end * to),
                statistics: None,
            }
            .record(gpu)?;
        }
    }
    Ok(())
}

/// Each block of images adds its parts to one list, which is summed in ascending order.
fn grad_weight(gpu: &Gpu, g: &Geometry, x: &Tensor, dy: &Tensor, dw: &Tensor) -> Result<()> {
    let axes = [Axis::forward(g, 0), Axis::forward(g, 1)];
    let cells = Params::cells([&axes[0], &axes[1]], [g.h, g.w, g.c]);
    let (m, n) = (g.o, g.depth());
    let all = [g.h * g.w * g.c, g.oh * g.ow * g.o];
    let blocks: Vec<(Range<usize>, Tiling)> = image_blocks(gpu, g.n, all)
        .map(|images| (images.clone(), Tiling::choose(gpu, m, n, images.len() * g.oh * g.ow)))
        .collect();
    let total: usize = blocks.iter().map(|(_, tiling)| tiling.parts).sum();
    let part_sums = match total {
        1 => None,
        total => Some(Tensor::uninit(dw.device(), Shape::from([total, m, n]))?),
    };
    let mut y_part = 0;
    for (images, tiling) in &blocks {
        let sizes = [m, n, images.len() * g.oh * g.ow];
        let params = Params { y_part, ..cells.sized(sizes, tiling) };
        let dy = (dy, Some(images.start * all[1]..images.end * all[1]));
        y_part += params.parts;
        gpu.run(Dispatch {
            shader: Conv2d::NAME,
            entry: tiling.entry,
            constants: constants(Kind::GradWeight, tiling, g.c.is_multiple_of(4), g.o.is_multiple_of(4)),
            params: bytes_of(&params),
            tensors: vec![
                (x, Some(images.start * all[0]..images.end * all[0])),
                dy.clone(),
                dy,
                (part_sums.as_ref().unwrap_or(dw), None),
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

impl Kernel for Conv2d {
    const NAME: &'static str = "conv2d";

    fn shapes(&self, inputs: &[&Shape]) -> Result<Vec<Shape>> {
        let ([x, w] | [x, w, _]) = inputs else {
            return Err(Error::shape(Self::NAME, format!("needs x, w and perhaps a bias, got {inputs:?}")));
        };
        let g = self.geometry(x, w)?;
        match inputs.get(2) {
            Some(bias) if bias.elements() != g.o => {
                let detail =
                    format!("the bias {bias} must hold one value for each of {} output channels", g.o);
                Err(Error::shape(Self::NAME, detail))
            }
            _ => Ok(vec![Shape::from(g.output())]),
        }
    }

    fn work(&self, inputs: &[&Shape]) -> u64 {
        let g = self.known(inputs[0], inputs[1]);
        (g.n * g.oh * g.ow * g.o * g.depth()) as u64
    }

    fn twin<T: Real>(&self, x: &[View<T>], y: &mut [ViewMut<T>]) {
        let g = self.known(x[0].shape, x[1].shape);
        twin::forward(&g, x[0].data, x[1].data, y[0].data);
        if let Some(bias) = x.get(2) {
            y[0].data.par_chunks_mut(g.o.max(1)).with_min_len(64).for_each(|pixel| {
                pixel.iter_mut().zip(bias.data).for_each(|(y, &bias)| *y += bias);
            });
        }
    }

    fn gpu(&self, gpu: &Gpu, x: &[&Tensor], y: &[Tensor]) -> Result<()> {
        let g = self.known(x[0].shape(), x[1].shape());
        forward(gpu, &g, x[0], x[1], x.get(2).copied(), &y[0])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |name, op: Conv2d, x: [usize; 4], [o, kh, kw]: [usize; 3]| {
            Case::new(name, op, vec![Input::normal(x), Input::normal([o, kh, kw, x[3]])])
        };
        let asymmetric = Conv2d { stride: [2, 1], padding: [0, 2], dilation: [1, 2] };
        let dilated = Conv2d { stride: [2, 3], padding: [2, 4], dilation: [3, 2] };
        let mut with_bias = case("bias", Conv2d::new(1, 1), [2, 5, 6, 4], [7, 3, 3]);
        with_bias.inputs.push(Input::normal([7]));
        vec![
            case("3x3", Conv2d::new(1, 1), [2, 7, 5, 8], [12, 3, 3]),
            case("3x3 odd channels", Conv2d::new(1, 1), [1, 6, 7, 5], [9, 3, 3]),
            case("3x3 stride 2", Conv2d::new(2, 1), [2, 9, 8, 4], [8, 3, 3]),
            case("1x1", Conv2d::new(1, 0), [2, 5, 7, 12], [20, 1, 1]),
            case("1x1 stride 2", Conv2d::new(2, 0), [2, 7, 6, 8], [4, 1, 1]),
            case("stem", Conv2d::new(2, 3), [2, 17, 14, 3], [8, 7, 7]),
            case("asymmetric", asymmetric, [1, 9, 8, 4], [6, 3, 2]),
            case("dilated", dilated, [1, 11, 13, 4], [5, 3, 3]),
            case("no tap reaches", Conv2d::new(3, 0), [2, 7, 8, 3], [4, 2, 1]),
            case("one pixel", Conv2d::new(1, 1), [3, 1, 1, 4], [4, 3, 3]),
            case("several tiles", Conv2d::new(1, 1), [2, 12, 9, 20], [101, 3, 3]),
            case("long sum", Conv2d::new(1, 1), [1, 3, 3, 68], [8, 3, 3]),
            case("many pixels", Conv2d::new(1, 0), [3, 20, 16, 4], [5, 1, 1]),
            with_bias,
        ]
    }
}

impl Differentiable for Conv2d {
    fn save(&self, x: &[&Tensor], _y: &[Tensor]) -> Vec<Tensor> {
        vec![x[0].clone(), x[1].clone()]
    }

    fn activations(&self) -> &'static [usize] {
        &[0]
    }

    fn twin_backward<T: Real>(&self, saved: &[View<T>], dy: View<T>, dx: &mut [Option<ViewMut<T>>]) {
        let (x, w) = (saved[0], saved[1]);
        let g = self.known(x.shape, w.shape);
        for (input, dx) in dx.iter_mut().enumerate() {
            let Some(dx) = dx else { continue };
            match input {
                0 => twin::grad_input(&g, w.data, dy.data, dx.data),
                1 => twin::grad_weight(&g, x.data, dy.data, dx.data),
                _ => sum_rows_twin(dy.data, dx.data),
            }
        }
    }

    fn gpu_backward(&self, gpu: &Gpu, saved: &[&Tensor], dy: &Tensor, dx: &[Option<Tensor>]) -> Result<()> {
        let (x, w) = (saved[0], saved[1]);
        let g = self.known(x.shape(), w.shape());
        for (input, dx) in dx.iter().enumerate() {
            let Some(dx) = dx else { continue };
            match input {
                0 => grad_input(gpu, &g, w, dy, dx)?,
                1 => grad_weight(gpu, &g, x, dy, dx)?,
                _ => sum_rows(gpu, dy, dx)?,
            }
        }
        Ok(())
    }
}
