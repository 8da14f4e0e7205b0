//! What the row-wise ops share: a fixed-order sum for the twins, blocks of rows that one binding holds for the
//! kernels.

use crate::engine::device::vector::vectorised;
use crate::engine::device::{Gpu, real::Real};
use std::ops::Range;

/// Elements that one pass of [`sum_of`] adds up.
const BLOCK: usize = 256;

/// Sum of `f(x_i)` in a fixed order; `f` must be without branches and inlined for the loop to vectorise.
///
/// PRECISION: equal terms round the same way each time, so long running sums drift. No running sum takes more
/// than 16 terms or n/4096 blocks, and a tree joins them.
#[inline(always)]
pub(super) fn sum_of<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    vectorised(
        #[inline(always)]
        || {
            let mut lanes = [T::zero(); 16];
            for (b, block) in x.chunks(BLOCK).enumerate() {
                lanes[b % 16] += block_sum(block, &f);
            }
            join(lanes)
        },
    )
}

#[inline(always)]
fn block_sum<T: Real>(x: &[T], f: &impl Fn(T) -> T) -> T {
    let mut lanes = [T::zero(); 16];
    let (whole, rest) = x.as_chunks::<16>();
    for chunk in whole {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane += f(v);
    }
    join(lanes)
}

/// Sum of 16 running sums by a tree.
#[inline(always)]
pub(super) fn join<T: Real>(mut lanes: [T; 16]) -> T {
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            let other = lanes[lane + width];
            lanes[lane] += other;
        }
    }
    lanes[0]
}

/// Rows `0..rows` of `columns` elements each, cut into blocks that one binding can hold. Blocks start at
/// multiples of 64 rows, so that they may be bound; rows too long for any block fail when they are bound.
pub(super) fn row_blocks(gpu: &Gpu, rows: usize, columns: usize) -> impl Iterator<Item = Range<usize>> {
    let fit = gpu.max_binding() as usize / 4 / columns.max(1);
    let most = (fit / 64 * 64).max(64);
    (0..rows).step_by(most).map(move |start| start..(start + most).min(rows))
}

/// The elements of a block of rows.
pub(super) fn elements(rows: &Range<usize>, columns: usize) -> Option<Range<usize>> {
    Some(rows.start * columns..rows.end * columns)
}
