//! Gathering image pixels under a kernel into rows of a product ("im2col"), a tile at a time.

use super::geometry::Geometry;
use std::ops::Range;

/// One tap of the kernel along one axis: its index in the kernel, and the source coordinate it reads for position 0.
#[derive(Clone, Copy, Debug)]
pub struct Tap {
    pub index: usize,
    pub offset: isize,
}

/// Positions along one image axis and the source coordinates that their taps read: position `i` is destination
/// coordinate `first + i step`, and its tap reads source coordinate `i stride + offset`.
#[derive(Clone, Debug)]
pub struct Axis {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    pub stride: usize,
    /// In ascending order of `offset`.
    pub taps: Vec<Tap>,
}

impl Axis {
    /// Output positions that read the input: axis 0 is vertical, 1 horizontal.
    pub fn forward(g: &Geometry, axis: usize) -> Axis {
        let (count, kernel) = if axis == 0 { (g.oh, g.kh) } else { (g.ow, g.kw) };
        let offset = |k: usize| (k * g.dilation[axis]) as isize - g.padding[axis] as isize;
        let taps = (0..kernel).map(|index| Tap { index, offset: offset(index) }).collect();
        Axis { first: 0, step: 1, count, stride: g.stride[axis], taps }
    }

    /// Input positions that read the output's gradient, one axis for each remainder of the coordinate by the stride:
    /// positions of one remainder are reached by the same taps, `output = (input + padding - tap dilation) / stride`.
    pub fn backward(g: &Geometry, axis: usize) -> Vec<Axis> {
        let (size, kernel) = if axis == 0 { (g.h, g.kh) } else { (g.w, g.kw) };
        let (stride, padding, dilation) = (g.stride[axis], g.padding[axis], g.dilation[axis]);
        (0..stride.min(size))
            .map(|first| {
                let reached =
                    (0..kernel).rev().filter(|k| (k * dilation) % stride == (first + padding) % stride);
                let offset =
                    |k: usize| ((first + padding) as isize - (k * dilation) as isize) / stride as isize;
                let taps = reached.map(|index| Tap { index, offset: offset(index) }).collect();
                Axis { first, step: stride, count: (size - first).div_ceil(stride), stride: 1, taps }
            })
            .collect()
    }
}

/// Columns of a gathered row that are neighbours in the source too.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// First column.
    column: usize,
    /// Length in elements.
    length: usize,
    /// Source row for row position 0.
    y: isize,
    /// First element within the source row for column position 0.
    x: isize,
}

/// Reads, for every position of a grid, the source pixels under all taps: columns in the order (ty, tx, channel).
#[derive(Clone, Debug)]
pub struct Gather {
    pub y: Axis,
    pub x: Axis,
    runs: Vec<Run>,
    h: usize,
    row: usize,
    c: usize,
}

impl Gather {
    /// A gather from images of `h` rows, `w` columns and `c` channels.
    pub fn new(y: Axis, x: Axis, [h, w, c]: [usize; 3]) -> Gather {
        let consecutive = x.taps.windows(2).all(|t| t[1].offset == t[0].offset + 1);
        let mut runs = Vec::new();
        for ty in &y.taps {
            let mut column = runs.last().map_or(0, |run: &Run| run.column + run.length);
            let length = if consecutive { x.taps.len() * c } else { c };
            for tx in x.taps.iter().step_by(if consecutive { x.taps.len().max(1) } else { 1 }) {
                runs.push(Run { column, length, y: ty.offset, x: tx.offset * c as isize });
                column += length;
            }
        }
        Gather { y, x, runs, h, row: w * c, c }
    }

    /// Columns of a gathered row: taps times channels.
    pub fn depth(&self) -> usize {
        self.y.taps.len() * self.x.taps.len() * self.c
    }

    /// Gathers row `i` of positions of one `image`: `columns` of every position into `cells`
    /// `[x.count, columns.len()]`. What lies outside of the image is zero.
    #[inline(always)]
    pub fn row<T: Copy + Default>(&self, image: &[T], i: usize, columns: &Range<usize>, cells: &mut [T]) {
        let width = columns.len();
        let step = (self.x.stride * self.c) as isize;
        for run in &self.runs {
            let from = run.column.max(columns.start);
            let to = (run.column + run.length).min(columns.end);
            if from >= to {
                continue;
            }
            let y = (i * self.y.stride) as isize + run.y;
            let inside = y >= 0 && y < self.h as isize;
            let source = if inside { &image[y as usize * self.row..][..self.row] } else { &image[..0] };
            let (at, length) = (from - columns.start, to - from);
            let mut x = run.x + (from - run.column) as isize;
            for cell in cells.chunks_exact_mut(width) {
                let cell = &mut cell[at..at + length];
                if x >= 0 && x as usize + length <= source.len() {
                    cell.copy_from_slice(&source[x as usize..x as usize + length]);
                } else {
                    let left = ((-x).max(0) as usize).min(length);
                    let right = (source.len() as isize - x).clamp(left as isize, length as isize) as usize;
                    cell[..left].fill(T::default());
                    if left < right {
                        cell[left..right]
                            .copy_from_slice(&source[(x + left as isize) as usize..][..right - left]);
                    }
                    cell[right..].fill(T::default());
                }
                x += step;
            }
        }
    }
}
