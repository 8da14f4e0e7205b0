//! The inverse transform of a block to fewer samples: libjpeg's `jidctred`, in whole numbers, with its roundings.
//!
//! Of a block's 8 x 8 coefficients the samples of a picture of a half, a quarter or an eighth of the size are had at once, for
//! much less than all 64 and a filter over them. A line keeps its odd frequencies, which aliasing would lose; of the even
//! ones those that cancel in the mean of neighbours are left out.

/// Bits behind the point of the constants, and those that the first pass keeps.
const BITS: i32 = 13;
const KEPT: i32 = 2;

/// The samples of a block by its first coefficient alone, at any size.
#[inline(always)]
pub(super) fn flat(first: i16, quant: u16) -> u8 {
    let dc = i32::from(first).wrapping_mul(quant.into()) << KEPT;
    (((dc + 16) >> 5) + 128).clamp(0, 255) as u8
}

/// Four samples of a line from its eight coefficients, of `N` lines at once; divided by `2^SHIFT` and rounded.
#[inline(always)]
fn four<const N: usize, const SHIFT: i32>(x: [[i32; N]; 8]) -> [[i32; N]; 4] {
    let mut out = [[0; N]; 4];
    for i in 0..N {
        let even = x[0][i].wrapping_mul(1 << (BITS + 1));
        let turned = sum([(x[2][i], 15137), (x[6][i], -6270)]);
        let (outer, inner) = (even.wrapping_add(turned), even.wrapping_sub(turned));
        let odd = |factors: [i32; 4]| sum([7, 5, 3, 1].map(|k| x[k][i]).into_iter().zip(factors));
        let (near, far) = (odd([-1730, 11893, -17799, 8697]), odd([-4176, -4926, 7373, 20995]));
        out[0][i] = over::<SHIFT>(outer.wrapping_add(far));
        out[1][i] = over::<SHIFT>(inner.wrapping_add(near));
        out[2][i] = over::<SHIFT>(inner.wrapping_sub(near));
        out[3][i] = over::<SHIFT>(outer.wrapping_sub(far));
    }
    out
}

/// Two samples of a line, the same way.
#[inline(always)]
fn two<const N: usize, const SHIFT: i32>(x: [[i32; N]; 8]) -> [[i32; N]; 2] {
    let mut out = [[0; N]; 2];
    for i in 0..N {
        let even = x[0][i].wrapping_mul(1 << (BITS + 2));
        let odd = sum([(x[7][i], -5906), (x[5][i], 6967), (x[3][i], -10426), (x[1][i], 29692)]);
        out[0][i] = over::<SHIFT>(even.wrapping_add(odd));
        out[1][i] = over::<SHIFT>(even.wrapping_sub(odd));
    }
    out
}

#[inline(always)]
fn sum(products: impl IntoIterator<Item = (i32, i32)>) -> i32 {
    products.into_iter().fold(0, |sum, (x, factor)| sum.wrapping_add(x.wrapping_mul(factor)))
}

#[inline(always)]
fn over<const SHIFT: i32>(x: i32) -> i32 {
    x.wrapping_add(1 << (SHIFT - 1)) >> SHIFT
}

/// Writes the 4 x 4 samples of a block, rows `stride` apart.
#[inline(always)]
pub(super) fn inverse_4(block: &[i16; 64], quant: &[u16; 64], out: &mut [u8], stride: usize) {
    let lines = four::<8, { BITS - KEPT + 1 }>(coefficients(block, quant));
    write(four::<4, { BITS + KEPT + 4 }>(std::array::from_fn(|k| lines.map(|line| line[k]))), out, stride);
}

/// Writes the 2 x 2 samples of a block, rows `stride` apart.
#[inline(always)]
pub(super) fn inverse_2(block: &[i16; 64], quant: &[u16; 64], out: &mut [u8], stride: usize) {
    let lines = two::<8, { BITS - KEPT + 2 }>(coefficients(block, quant));
    write(two::<2, { BITS + KEPT + 5 }>(std::array::from_fn(|k| lines.map(|line| line[k]))), out, stride);
}

#[inline(always)]
fn coefficients(block: &[i16; 64], quant: &[u16; 64]) -> [[i32; 8]; 8] {
    std::array::from_fn(|y| {
        std::array::from_fn(|x| i32::from(block[8 * y + x]).wrapping_mul(quant[8 * y + x].into()))
    })
}

/// Samples by columns into rows.
#[inline(always)]
fn write<const N: usize>(columns: [[i32; N]; N], out: &mut [u8], stride: usize) {
    for y in 0..N {
        for x in 0..N {
            out[y * stride + x] = columns[x][y].wrapping_add(128).clamp(0, 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_block_is_what_its_first_coefficient_alone_gives() {
        for level in -2000..2000 {
            let mut block = [0; 64];
            block[0] = level;
            let sample = flat(level, 3);
            let [mut at_4, mut at_2] = [[0; 16]; 2];
            inverse_4(&block, &[3; 64], &mut at_4, 4);
            inverse_2(&block, &[3; 64], &mut at_2, 2);
            assert_eq!((at_4, &at_2[..4]), ([sample; 16], &[sample; 4][..]));
        }
    }
}
