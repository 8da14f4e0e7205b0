//! What the twins of row-wise ops share: a sum in a fixed order, and a maximum.

use crate::engine::device::real::Real;
use crate::engine::device::vector::vectorised;

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

/// The largest of a row, negative infinity of an empty one; NaN is smaller than everything.
#[inline(always)]
pub(super) fn most_of<T: Real>(x: &[T]) -> T {
    vectorised(
        #[inline(always)]
        || {
            let mut lanes = [T::neg_infinity(); 16];
            let (whole, rest) = x.as_chunks::<16>();
            for chunk in whole {
                for (lane, &v) in lanes.iter_mut().zip(chunk) {
                    *lane = if v > *lane { v } else { *lane };
                }
            }
            let lanes = lanes.iter().chain(rest);
            lanes.fold(T::neg_infinity(), |most, &v| if v > most { v } else { most })
        },
    )
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
