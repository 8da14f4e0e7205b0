//! The innermost loop of products of f32 on the CPU: what a block of a convolution multiplies again and again, from
//! matrices that lie in the cache in the order in which they are read.
//!
//! A general product (`twin.rs`, by the `gemm` crate) first copies both matrices into such an order. Where a transform
//! writes them anyway, it writes that order at once. On a core of 116 GFLOP/s products of 24 x 64 x 64 reach 114 so.

use pulp::{Arch, Simd, WithSimd};

/// f32 that a vector of the processor at hand holds.
pub fn lanes() -> usize {
    struct Lanes;

    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }

    Arch::new().dispatch(Lanes)
}

/// Columns that are multiplied at a time: two vectors.
pub fn columns<S: Simd>() -> usize {
    2 * S::F32_LANES
}

/// The left matrix: element (i, l) is `data[i * row + l * column]`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Its elements, from the first on.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one column to the next.
    pub column: usize,
}

/// The right matrix in panels of [`columns`] columns: row l of panel p begins at `data[p * panel + l * row]`.
#[derive(Clone, Copy)]
pub struct Panels<'a> {
    /// Its elements, from the first on.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub row: usize,
    /// Elements from one panel to the next.
    pub panel: usize,
}

/// `y = a b`, or `y += a b` with `add`, where a is `[m, k]` and b `[k, n]`, n whole vectors; rows of y are `y_row` elements
/// apart.
#[inline(always)]
pub fn multiply<S: Simd>(
    simd: S,
    [m, n, k]: [usize; 3],
    a: Rows,
    b: Panels,
    y: &mut [f32],
    y_row: usize,
    add: bool,
) {
    let (lanes, pair) = (S::F32_LANES, columns::<S>());
    if [m, n, k].contains(&0) {
        return;
    }
    assert!(n.is_multiple_of(lanes), "{n} columns are not whole vectors of {lanes}");
    assert!((m - 1) * a.row + (k - 1) * a.column < a.data.len(), "the left matrix is too short");
    let last = (n - 1) / pair;
    let end = last * b.panel + (k - 1) * b.row + n - last * pair;
    assert!(end <= b.data.len(), "the right matrix is too short");
    assert!((m - 1) * y_row + n <= y.len(), "the result is too short");
    for j in (0..n).step_by(pair) {
        let mut i = 0;
        while i < m {
            // SAFETY: the asserts bound every address that a block of these rows and columns reads or writes.
            unsafe {
                let block = Block {
                    k,
                    a: a.data.as_ptr().add(i * a.row),
                    a_steps: [a.row, a.column],
                    b: b.data.as_ptr().add(j / pair * b.panel),
                    b_row: b.row,
                    y: y.as_mut_ptr().add(i * y_row + j),
                    y_row,
                    add,
                };
                i += if n - j < pair {
                    block.rows::<S, 1>(simd, m - i)
                } else {
                    block.rows::<S, 2>(simd, m - i)
                };
            }
        }
    }
}

/// Some rows and at most two vectors of columns of a product.
struct Block {
    k: usize,
    a: *const f32,
    a_steps: [usize; 2],
    b: *const f32,
    b_row: usize,
    y: *mut f32,
    y_row: usize,
    add: bool,
}

impl Block {
    /// Multiplies as many of `left` rows as the registers hold; how many.
    #[inline(always)]
    unsafe fn rows<S: Simd, const V: usize>(self, simd: S, left: usize) -> usize {
        // Sums, the vectors of b and an element of a: 27 registers of 32, 15 of 16.
        // SAFETY: the caller's.
        unsafe {
            match left {
                12.. if S::REGISTER_COUNT >= 32 => self.multiply::<S, 12, V>(simd),
                8.. if S::REGISTER_COUNT >= 32 => self.multiply::<S, 8, V>(simd),
                6.. => self.multiply::<S, 6, V>(simd),
                4.. => self.multiply::<S, 4, V>(simd),
                2.. => self.multiply::<S, 2, V>(simd),
                _ => self.multiply::<S, 1, V>(simd),
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<S: Simd, const M: usize, const V: usize>(self, simd: S) -> usize {
        let Block { k, a, a_steps: [a_row, a_column], b, b_row, y, y_row, add } = self;
        let vector =
            |at: *const f32, v: usize| unsafe { at.add(v * S::F32_LANES).cast::<S::f32s>().read_unaligned() };
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        // SAFETY: the caller's.
        unsafe {
            for l in 0..k {
                let (a, b) = (a.add(l * a_column), b.add(l * b_row));
                let mut row = [simd.splat_f32s(0.0); V];
                for (v, row) in row.iter_mut().enumerate() {
                    *row = vector(b, v);
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = simd.splat_f32s(*a.add(i * a_row));
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add_f32s(x, row[v], *sum);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    let y = y.add(i * y_row + v * S::F32_LANES);
                    let sum = if add { simd.add_f32s(vector(y, 0), sum) } else { sum };
                    y.cast::<S::f32s>().write_unaligned(sum);
                }
            }
        }
        M
    }
}

#[cfg(test)]
#[path = "../../../../tests/unit/engine/ops/matmul/micro.rs"]
mod tests;
