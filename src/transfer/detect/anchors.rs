//! Anchors: the boxes that a region proposal network moves, some at each cell of its maps.

use super::boxes::Rect;

/// The shapes of anchors at a cell of one map.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Pixels of the photo from one cell to the next.
    pub stride: usize,
    /// Roots of areas.
    pub sizes: Vec<f32>,
    /// Heights over widths.
    pub ratios: Vec<f32>,
}

impl Cell {
    /// Anchors of a cell.
    pub fn anchors(&self) -> usize {
        self.sizes.len() * self.ratios.len()
    }

    /// All anchors of a map of some rows and columns, in the order row, column, size, ratio: centred at multiples of the stride, not
    /// half a stride in; `width = size / sqrt(ratio)`, `height = size sqrt(ratio)`, not rounded.
    ///
    /// # Source
    /// Faster R-CNN (Ren et al. 2015), Sec. 3.1.1; detectron2, `DefaultAnchorGenerator` with offset 0.
    pub fn over(&self, [rows, columns]: [usize; 2]) -> Vec<Rect> {
        let shapes: Vec<[f64; 2]> = self
            .sizes
            .iter()
            .flat_map(|&size| {
                self.ratios.iter().map(move |&ratio| (f64::from(size), f64::from(ratio).sqrt()))
            })
            .map(|(size, root)| [size / root / 2.0, size * root / 2.0])
            .collect();
        let mut all = Vec::with_capacity(rows * columns * shapes.len());
        for (row, column) in (0..rows * columns).map(|cell| (cell / columns, cell % columns)) {
            let [x, y] = [column, row].map(|at| (at * self.stride) as f64);
            all.extend(shapes.iter().map(|[w, h]| [x - w, y - h, x + w, y + h].map(|v| v as f32)));
        }
        all
    }
}
