//! The inverse transform of a block: libjpeg's `islow`, in whole numbers, with its roundings.

/// Bits behind the point of the constants, and those that the first pass keeps.
const BITS: i32 = 13;
const KEPT: i32 = 2;

/// Eight numbers at once.
trait Lanes: Copy {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn times(self, factor: i32) -> Self;
    /// Divided by `2^SHIFT` and rounded.
    fn over<const SHIFT: i32>(self) -> Self;
    fn transposed(x: [Self; 8]) -> [Self; 8];
    /// Rows of samples from columns of them: 128 is added, and what a byte can't hold is cut off.
    fn samples(x: [Self; 8]) -> [[u8; 8]; 8];
}

/// The transform along one axis of eight lines at once.
#[inline(always)]
fn pass<L: Lanes, const SHIFT: i32>(x: [L; 8]) -> [L; 8] {
    let z1 = x[2].add(x[6]).times(4433);
    let (even2, even3) = (z1.add(x[6].times(-15137)), z1.add(x[2].times(6270)));
    let (even0, even1) = (x[0].add(x[4]).times(1 << BITS), x[0].sub(x[4]).times(1 << BITS));
    let even = [even0.add(even3), even1.add(even2), even1.sub(even2), even0.sub(even3)];
    let [z1, z2, z3, z4] = [x[7].add(x[1]), x[5].add(x[3]), x[7].add(x[3]), x[5].add(x[1])];
    let z5 = z3.add(z4).times(9633);
    let (z1, z2) = (z1.times(-7373), z2.times(-20995));
    let (z3, z4) = (z3.times(-16069).add(z5), z4.times(-3196).add(z5));
    let odd = [
        x[1].times(12299).add(z1.add(z4)),
        x[3].times(25172).add(z2.add(z3)),
        x[5].times(16819).add(z2.add(z4)),
        x[7].times(2446).add(z1.add(z3)),
    ];
    let mut out = x;
    for i in 0..4 {
        out[i] = even[i].add(odd[i]).over::<SHIFT>();
        out[7 - i] = even[i].sub(odd[i]).over::<SHIFT>();
    }
    out
}

#[inline(always)]
fn both<L: Lanes>(coefficients: [L; 8]) -> [[u8; 8]; 8] {
    let columns = pass::<L, { BITS - KEPT }>(coefficients);
    L::samples(pass::<L, { BITS + KEPT + 3 }>(L::transposed(columns)))
}

/// Writes the samples of a block, 8 rows `stride` apart, from its coefficients (row by row, not yet multiplied by `quant`).
#[inline(always)]
pub(super) fn inverse(block: &[i16; 64], quant: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut x = [[0; 8]; 8];
    for i in 0..64 {
        x[i / 8][i % 8] = i32::from(block[i]).wrapping_mul(quant[i].into());
    }
    for (y, row) in fastest(x).into_iter().enumerate() {
        out[y * stride..][..8].copy_from_slice(&row);
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn fastest(x: [[i32; 8]; 8]) -> [[u8; 8]; 8] {
    both(x)
}

/// The compiler does not find the shuffles of a transpose, so that AVX2's are named.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fastest(x: [[i32; 8]; 8]) -> [[u8; 8]; 8] {
    match pulp::x86::V3::try_new() {
        Some(v3) => {
            let mut wide = [avx2::Wide(v3, pulp::cast(x[0])); 8];
            for i in 1..8 {
                wide[i].1 = pulp::cast(x[i]);
            }
            both(wide)
        }
        None => both(x),
    }
}

impl Lanes for [i32; 8] {
    fn add(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i].wrapping_add(other[i]))
    }

    fn sub(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i].wrapping_sub(other[i]))
    }

    fn times(self, factor: i32) -> Self {
        self.map(|x| x.wrapping_mul(factor))
    }

    fn over<const SHIFT: i32>(self) -> Self {
        self.map(|x| x.wrapping_add(1 << (SHIFT - 1)) >> SHIFT)
    }

    fn transposed(x: [Self; 8]) -> [Self; 8] {
        std::array::from_fn(|i| x.map(|row| row[i]))
    }

    fn samples(x: [Self; 8]) -> [[u8; 8]; 8] {
        Self::transposed(x).map(|row| row.map(|sample| (sample + 128).clamp(0, 255) as u8))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::__m256i;

    use pulp::x86::V3;

    #[derive(Clone, Copy)]
    pub(super) struct Wide(pub(super) V3, pub(super) __m256i);

    impl super::Lanes for Wide {
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Wide(self.0, self.0.avx2._mm256_add_epi32(self.1, other.1))
        }

        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Wide(self.0, self.0.avx2._mm256_sub_epi32(self.1, other.1))
        }

        #[inline(always)]
        fn times(self, factor: i32) -> Self {
            Wide(self.0, self.0.avx2._mm256_mullo_epi32(self.1, self.0.avx._mm256_set1_epi32(factor)))
        }

        #[inline(always)]
        fn over<const SHIFT: i32>(self) -> Self {
            let half = self.0.avx._mm256_set1_epi32(1 << (SHIFT - 1));
            Wide(self.0, self.0.avx2._mm256_srai_epi32::<SHIFT>(self.0.avx2._mm256_add_epi32(self.1, half)))
        }

        #[inline(always)]
        fn transposed(x: [Self; 8]) -> [Self; 8] {
            let ([a, b, c, d], [e, f, g, h]) = (x[0].fours(x[1], x[2], x[3]), x[4].fours(x[5], x[6], x[7]));
            [a.low(e), b.low(f), c.low(g), d.low(h), a.high(e), b.high(f), c.high(g), d.high(h)]
        }

        #[inline(always)]
        fn samples(x: [Self; 8]) -> [[u8; 8]; 8] {
            let (left, right) = (x[0].bytes(x[1], x[2], x[3]), x[4].bytes(x[5], x[6], x[7]));
            let [r0, r1, r4, r5]: [[u8; 8]; 4] = pulp::cast(x[0].0.avx2._mm256_unpacklo_epi32(left, right));
            let [r2, r3, r6, r7]: [[u8; 8]; 4] = pulp::cast(x[0].0.avx2._mm256_unpackhi_epi32(left, right));
            [r0, r1, r2, r3, r4, r5, r6, r7]
        }
    }

    impl Wide {
        /// Of four rows the transpose of each quarter: columns 0 to 3 in the lower halves, 4 to 7 in the upper.
        #[inline(always)]
        fn fours(self, b: Self, c: Self, d: Self) -> [Self; 4] {
            let avx2 = self.0.avx2;
            let (ab, ab2) =
                (avx2._mm256_unpacklo_epi32(self.1, b.1), avx2._mm256_unpackhi_epi32(self.1, b.1));
            let (cd, cd2) = (avx2._mm256_unpacklo_epi32(c.1, d.1), avx2._mm256_unpackhi_epi32(c.1, d.1));
            [
                Wide(self.0, avx2._mm256_unpacklo_epi64(ab, cd)),
                Wide(self.0, avx2._mm256_unpackhi_epi64(ab, cd)),
                Wide(self.0, avx2._mm256_unpacklo_epi64(ab2, cd2)),
                Wide(self.0, avx2._mm256_unpackhi_epi64(ab2, cd2)),
            ]
        }

        #[inline(always)]
        fn low(self, other: Self) -> Self {
            Wide(self.0, self.0.avx2._mm256_permute2x128_si256::<0x20>(self.1, other.1))
        }

        #[inline(always)]
        fn high(self, other: Self) -> Self {
            Wide(self.0, self.0.avx2._mm256_permute2x128_si256::<0x31>(self.1, other.1))
        }

        /// Samples of four columns, in each half four rows, one after the other.
        #[inline(always)]
        fn bytes(self, b: Self, c: Self, d: Self) -> __m256i {
            let (avx, avx2) = (self.0.avx, self.0.avx2);
            let level = avx._mm256_set1_epi16(128);
            let ab = avx2._mm256_adds_epi16(avx2._mm256_packs_epi32(self.1, b.1), level);
            let cd = avx2._mm256_adds_epi16(avx2._mm256_packs_epi32(c.1, d.1), level);
            let by_columns = avx2._mm256_packus_epi16(ab, cd);
            let order: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
            avx2._mm256_shuffle_epi8(by_columns, pulp::cast([order, order]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reduced::flat;
    use super::*;
    use crate::rng::KeyedRng;

    #[test]
    fn the_transform_is_the_same_by_every_way() {
        let mut rng = KeyedRng::new("idct", 0, [0; 3]);
        for size in [3, 40, 600, 4000] {
            for _ in 0..200 {
                let x = [[(); 8]; 8].map(|row| row.map(|()| rng.below(2 * size) as i32 - size as i32));
                assert_eq!(fastest(x), both(x));
            }
        }
    }

    #[test]
    fn a_flat_block_is_what_its_first_coefficient_alone_gives() {
        for level in -2000..2000 {
            let mut block = [0; 64];
            block[0] = level;
            let mut whole = [0; 64];
            inverse(&block, &[3; 64], &mut whole, 8);
            assert_eq!(whole, [flat(level, 3); 64]);
        }
    }
}
