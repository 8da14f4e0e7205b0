//! Matrix product on the CPU, through the `gemm` crate.

use crate::engine::device::real::Real;
use crate::engine::device::scratch::with_scratch;
use crate::engine::device::vector::vectorised;
use gemm::Parallelism;
use rayon::prelude::*;
use std::ops::Range;

/// A matrix inside a slice: element (i, j) is `data[i * row + j * column]`.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a, T> {
    /// The elements.
    pub data: &'a [T],
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one column to the next.
    pub column: usize,
}

impl<'a, T> Strided<'a, T> {
    /// A contiguous row-major matrix with rows of `width` elements, read as its transpose if `transposed`.
    pub fn new(data: &'a [T], width: usize, transposed: bool) -> Self {
        let (row, column) = if transposed { (1, width) } else { (width, 1) };
        Strided { data, row, column }
    }
}

/// The most elements of a matrix that are copied at a time to be read as its transpose, where its rows are not longer still.
const LARGEST_COPY: usize = 1 << 22;

/// Calls `f` with a row-major copy of a `[k, n]` matrix that is given as its transpose.
pub fn with_rows<T: Real, R>(b: Strided<T>, [k, n]: [usize; 2], f: impl FnOnce(Strided<T>) -> R) -> R {
    const ROWS: usize = 64;
    with_scratch(k * n, |copy: &mut [T]| {
        copy.par_chunks_mut((ROWS * n).max(1)).enumerate().for_each(|(index, copy)| {
            let first = index * ROWS;
            turn(b, first..k.min(first + ROWS), 0..n, copy);
        });
        f(Strided::new(copy, n, false))
    })
}

/// Writes a block of a matrix that is given as its transpose, row by row.
fn turn<T: Real>(b: Strided<T>, rows: Range<usize>, columns: Range<usize>, to: &mut [T]) {
    /// Rows and columns that are turned at a time, within the first-level cache.
    const ROWS: usize = 16;
    const COLUMNS: usize = 128;
    let (first, width) = (columns.start, columns.len());
    let mut part = [T::zero(); ROWS * COLUMNS];
    vectorised(
        #[inline(always)]
        || {
            for (to, row) in to.chunks_mut(ROWS * width).zip(rows.clone().step_by(ROWS)) {
                let rows = ROWS.min(rows.end - row);
                for start in columns.clone().step_by(COLUMNS) {
                    let columns = COLUMNS.min(columns.end - start);
                    for column in 0..columns {
                        let from = &b.data[(start + column) * b.column + row..][..rows];
                        // A known length makes the loop one of whole vectors.
                        if let Ok(from) = <&[T; ROWS]>::try_from(from) {
                            (0..ROWS).for_each(|row| part[row * COLUMNS + column] = from[row]);
                        } else {
                            (0..rows).for_each(|row| part[row * COLUMNS + column] = from[row]);
                        }
                    }
                    for (to, from) in to.chunks_exact_mut(width).zip(part.chunks_exact(COLUMNS)) {
                        to[start - first..][..columns].copy_from_slice(&from[..columns]);
                    }
                }
            }
        },
    );
}

/// `y = op(a) op(b) + bias`, where `op` transposes if its flag is set.
///
/// | slice | shape |
/// |---|---|
/// | `a` | `[m, k]`, or `[k, m]` with `trans_a` |
/// | `b` | `[k, n]`, or `[n, k]` with `trans_b` |
/// | `bias` | `[n]`, added to every row |
/// | `y` | `[m, n]`, overwritten |
#[allow(clippy::too_many_arguments)]
pub fn matmul<T: Real>(
    trans_a: bool,
    trans_b: bool,
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    let a = Strided::new(a, if trans_a { m } else { k }, trans_a);
    let b = Strided::new(b, if trans_b { k } else { n }, trans_b);
    if let (Some(bias), true) = (bias, n > 0) {
        y.par_chunks_mut(n).with_min_len(64).for_each(|row| row.copy_from_slice(bias));
    }
    product(m, n, k, a, b, y, n, bias.is_some(), Parallelism::Rayon(0));
}

/// `y = a b`, or `y += a b` with `accumulate`; rows of `y` are `y_row` elements apart.
#[allow(clippy::too_many_arguments)]
pub fn product<T: Real>(
    m: usize,
    n: usize,
    k: usize,
    a: Strided<T>,
    b: Strided<T>,
    y: &mut [T],
    y_row: usize,
    accumulate: bool,
    parallelism: Parallelism,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        y.len() > (m - 1) * y_row + n - 1,
        "product: y holds {} elements, too few for {m} x {n}",
        y.len()
    );
    // Of one column a copy would be as it is.
    if b.row == 1 && n > 1 && k >= 256 && m >= 16 && !matches!(parallelism, Parallelism::None) {
        if m < 512 {
            return few_rows([m, n, k], a, b, y, y_row, accumulate);
        }
        // A part of its rows at a time, so that the copy stays small.
        let part = (LARGEST_COPY / n).max(256);
        for start in (0..k).step_by(part) {
            let steps = part.min(k - start);
            let a = Strided { data: &a.data[start * a.column..], ..a };
            let b = Strided { data: &b.data[start..], ..b };
            with_rows(b, [steps, n], |b| {
                product(m, n, steps, a, b, y, y_row, accumulate || start > 0, parallelism);
            });
        }
        return;
    }
    // SAFETY: `y` is borrowed mutably and long enough.
    unsafe { product_into(m, n, k, a, b, y.as_mut_ptr(), y_row, accumulate, parallelism) }
}

/// A product of few rows with the transpose of a large matrix, on all threads.
///
/// A product packs its right matrix as it reads it, which takes several times as long where the elements of a row are far
/// apart, and few rows do not repay it: 200 x 512 x 2,048 reaches 84 GFLOP/s on two cores, and 160 like this. Each
/// task turns a block of some columns within its cache.
fn few_rows<T: Real>(
    [m, n, k]: [usize; 3],
    a: Strided<T>,
    b: Strided<T>,
    y: &mut [T],
    y_row: usize,
    accumulate: bool,
) {
    /// Columns of a block, a multiple of what the product takes at a time.
    const COLUMNS: usize = 48;
    let part = part_of(k);
    let to = Blocks { data: y.as_mut_ptr(), row: y_row };
    (0..n.div_ceil(COLUMNS)).into_par_iter().for_each(|task| {
        let columns = task * COLUMNS..n.min((task + 1) * COLUMNS);
        with_scratch(part * COLUMNS, |block: &mut [T]| {
            for start in (0..k).step_by(part) {
                let steps = part.min(k - start);
                turn(b, start..start + steps, columns.clone(), &mut block[..steps * columns.len()]);
                let a = Strided { data: &a.data[start * a.column..], ..a };
                let b = Strided::new(&*block, columns.len(), false);
                let y = to.at(0, columns.start);
                // SAFETY: tasks differ in their columns, and y is long enough for all of them.
                unsafe {
                    product_into(
                        m,
                        columns.len(),
                        steps,
                        a,
                        b,
                        y,
                        y_row,
                        accumulate || start > 0,
                        Parallelism::None,
                    );
                }
            }
        });
    });
}

/// A matrix of which tasks write disjoint blocks.
pub struct Blocks<T> {
    /// Its first element.
    pub data: *mut T,
    /// Elements from one row to the next.
    pub row: usize,
}

impl<T> Blocks<T> {
    /// Where the block that starts at this row and column begins.
    pub fn at(&self, row: usize, column: usize) -> *mut T {
        self.data.wrapping_add(row * self.row + column)
    }
}

// SAFETY: whoever makes one lets its tasks write disjoint blocks.
unsafe impl<T> Sync for Blocks<T> {}

/// As [`product`], into memory of which other threads may hold other parts. The one place that calls `gemm`.
///
/// # Safety
/// Nothing else reads or writes the elements `y[i y_row + j]`, i < m, j < n, during the call, and all are valid.
#[allow(clippy::too_many_arguments)]
pub unsafe fn product_into<T: Real>(
    m: usize,
    n: usize,
    k: usize,
    a: Strided<T>,
    b: Strided<T>,
    y: *mut T,
    y_row: usize,
    accumulate: bool,
    parallelism: Parallelism,
) {
    if m == 0 || n == 0 {
        return;
    }
    let reach = |x: &Strided<T>, rows: usize, columns: usize| (rows - 1) * x.row + (columns - 1) * x.column;
    assert!(
        k == 0 || a.data.len() > reach(&a, m, k),
        "product: a holds {} elements, not {m} x {k}",
        a.data.len()
    );
    assert!(
        k == 0 || b.data.len() > reach(&b, k, n),
        "product: b holds {} elements, not {k} x {n}",
        b.data.len()
    );
    // `gemm` adds up longer sums in parts whose length follows from m and n too: another number of threads would give other bits.
    let part = part_of(k);
    for start in (0..k.max(1)).step_by(part.max(1)) {
        // SAFETY: the asserts bound every address of `a` and `b`, the caller vouches for `y`.
        unsafe {
            gemm::gemm(
                m,
                n,
                part.min(k - start),
                y,
                1,
                y_row as isize,
                accumulate || start > 0,
                a.data.as_ptr().wrapping_add(start * a.column),
                a.column as isize,
                a.row as isize,
                b.data.as_ptr().wrapping_add(start * b.row),
                b.column as isize,
                b.row as isize,
                T::one(),
                T::one(),
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

/// Terms of a sum of `k` that are added up in a register: equal parts of at most 512, which `gemm` does not divide.
fn part_of(k: usize) -> usize {
    k.div_ceil(k.div_ceil(512).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in (-1, 1) that repeat after no short period.
    fn sequence(n: usize, seed: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729 + 13) % 10_007) as f64 / 5003.5 - 1.0).collect()
    }

    #[test]
    fn a_large_matrix_is_turned_in_parts() {
        let (m, k) = (512, 300);
        let n = LARGEST_COPY / 256 + 7;
        let (a, b) = (sequence(m * k, 1), sequence(k * n, 2));
        let mut y = vec![f64::NAN; m * n];
        matmul(false, true, m, n, k, &a, &b, None, &mut y);
        for (i, j) in (0..2000).map(|at| (at * 31 % m, at * 7919 % n)) {
            let want: f64 = (0..k).map(|l| a[i * k + l] * b[j * k + l]).sum();
            assert!((y[i * n + j] - want).abs() < 1e-11, "at {i},{j}");
        }
    }

    #[test]
    fn products_agree_with_a_triple_loop() {
        // The last two are turned, where b is given as its transpose: few rows a block at a time, many as a whole.
        let sizes = [(1, 1, 1), (3, 7, 5), (65, 33, 127), (1, 65, 300), (31, 66, 2), (4, 5, 0)];
        for (m, n, k) in sizes.into_iter().chain([(17, 130, 1050), (513, 130, 261), (513, 1, 300)]) {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                for bias in [None, Some(sequence(n, 3))] {
                    let (a, b) = (sequence(m * k, 1), sequence(k * n, 2));
                    let mut y = vec![f64::NAN; m * n];
                    matmul(ta, tb, m, n, k, &a, &b, bias.as_deref(), &mut y);
                    for i in 0..m {
                        for j in 0..n {
                            let at = |l: usize| if ta { a[l * m + i] } else { a[i * k + l] };
                            let bt = |l: usize| if tb { b[j * k + l] } else { b[l * n + j] };
                            let dot = (0..k).map(|l| at(l) * bt(l)).sum::<f64>();
                            let want = dot + bias.as_ref().map_or(0.0, |bias| bias[j]);
                            assert!((y[i * n + j] - want).abs() < 1e-12, "{m}x{n}x{k} {ta} {tb} at {i},{j}");
                        }
                    }
                }
            }
        }
    }
}
