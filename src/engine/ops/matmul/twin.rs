//! Matrix product on the CPU, through the `gemm` crate.

use crate::engine::device::real::Real;
use gemm::Parallelism;
use rayon::prelude::*;

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
    // SAFETY: `y` is borrowed mutably and long enough.
    unsafe { product_into(m, n, k, a, b, y.as_mut_ptr(), y_row, accumulate, parallelism) }
}

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
    // SAFETY: the asserts bound every address of `a` and `b`, the caller vouches for `y`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y,
            1,
            y_row as isize,
            accumulate,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in (-1, 1) that repeat after no short period.
    fn sequence(n: usize, seed: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729 + 13) % 10_007) as f64 / 5003.5 - 1.0).collect()
    }

    #[test]
    fn products_agree_with_a_triple_loop() {
        for (m, n, k) in [(1, 1, 1), (3, 7, 5), (65, 33, 127), (1, 65, 300), (31, 66, 2), (4, 5, 0)] {
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
