//! How a product over the binding limit is cut into blocks, and where the block of a matrix lies.

use std::ops::Range;

/// The most rows, columns and steps of a block.
///
/// A binding is a run of whole rows in memory, so what has to be cut is: rows of `y` and of a plain `a`, columns where
/// `b` is transposed, steps where `a` is transposed or `b` plain. The other cuts come free, as columns of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Rows, columns and steps.
    pub size: [usize; 3],
}

impl Blocks {
    /// The blocks of a product of `[m, n, k]` where one binding holds `fits` elements.
    pub fn choose(fits: usize, [m, n, k]: [usize; 3], trans_a: bool, trans_b: bool) -> Blocks {
        // Lines of an operand that fit, together with what lies before them where a binding may start.
        let lines = |count: usize, row: usize| {
            let all = count * row <= fits;
            if all { count } else { (fits.saturating_sub(ALIGN) / row.max(1)).max(1) }
        };
        let mut most = [lines(m, n), n, k];
        let (a, b) =
            (if trans_a { (2, k, m) } else { (0, m, k) }, if trans_b { (1, n, k) } else { (2, k, n) });
        for (axis, count, row) in [a, b] {
            most[axis] = most[axis].min(lines(count, row));
        }
        Blocks { size: [0, 1, 2].map(|axis| even([m, n, k][axis], most[axis])) }
    }

    /// The blocks of one axis in ascending order: one, if it is empty.
    pub fn along(self, axis: usize, total: usize) -> impl Iterator<Item = Range<usize>> {
        let step = self.size[axis].max(1);
        (0..total.max(1)).step_by(step).map(move |start| start..(start + step).min(total))
    }
}

/// Elements from one possible start of a binding to the next.
const ALIGN: usize = 64;

/// The size of blocks of at most `most` that cut `total` evenly, a multiple of 64, or at least of 4, where possible.
fn even(total: usize, most: usize) -> usize {
    if most >= total {
        return total;
    }
    let step = [64, 4, 1].into_iter().find(|step| most >= *step).unwrap_or(1);
    let most = most / step * step;
    total.div_ceil(total.div_ceil(most)).next_multiple_of(step).min(most)
}

/// A block of a row-major matrix, as it is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Elements from one row to the next.
    pub row: usize,
    /// The elements that are bound.
    pub range: Range<usize>,
    /// Where the block begins among them.
    pub at: usize,
    /// Whether its rows can be read four elements at a time.
    pub by_four: bool,
}

impl Window {
    /// The block of some rows and columns of a matrix with rows of `row` elements.
    pub fn new(row: usize, rows: &Range<usize>, columns: &Range<usize>) -> Window {
        let first = rows.start * row + columns.start;
        let start = first / ALIGN * ALIGN;
        let end =
            if rows.is_empty() || columns.is_empty() { first } else { (rows.end - 1) * row + columns.end };
        let by_four = [row, columns.start, columns.len()].iter().all(|n| n.is_multiple_of(4));
        Window { row, range: start..end, at: first - start, by_four }
    }
}

#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/matmul/blocks.rs"]
mod tests;
