//! A picture while it is decoded: components with their samples and coefficients.

use super::idct::inverse;
use super::reduced::{flat, inverse_2, inverse_4};

pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, across and down.
    pub(super) factors: [usize; 2],
    /// Samples of a block in each direction: 8, or fewer of a picture that is made smaller.
    pub(super) side: usize,
    /// Columns and rows of samples that belong to the picture.
    pub(super) size: [usize; 2],
    /// Columns and rows of blocks, whole MCUs.
    pub(super) blocks: [usize; 2],
    pub(super) quant_table: usize,
    /// The table, row by row; as it was at the component's first scan.
    pub(super) quant: [u16; 64],
    /// Samples, `[side blocks[1], side blocks[0]]`.
    pub(super) plane: Vec<u8>,
    /// Coefficients of a progressive picture, a block after the other.
    pub(super) coefficients: Vec<[i16; 64]>,
    /// For each coefficient: by how many bits it is still shifted; 255 before the first scan.
    pub(super) shifts: [u8; 64],
}

impl Component {
    pub(super) fn stride(&self) -> usize {
        self.side * self.blocks[0]
    }

    /// The samples of a row that belong to the picture.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.plane[y * self.stride()..][..self.size[0]]
    }

    /// The samples of a block from its coefficients; only the first is other than 0 if `is_flat`.
    #[inline(always)]
    pub(super) fn inverse(&mut self, block: &[i16; 64], is_flat: bool, x: usize, y: usize) {
        let (side, stride) = (self.side, self.stride());
        let samples = &mut self.plane[side * (y * stride + x)..][..(side - 1) * stride + side];
        match side {
            8 if !is_flat => inverse(block, &self.quant, samples, stride),
            4 if !is_flat => inverse_4(block, &self.quant, samples, stride),
            2 if !is_flat => inverse_2(block, &self.quant, samples, stride),
            _ => {
                let sample = flat(block[0], self.quant[0]);
                samples.chunks_mut(stride).for_each(|row| row[..side].fill(sample));
            }
        }
    }

    #[inline(always)]
    pub(super) fn block(&mut self, x: usize, y: usize) -> &mut [i16; 64] {
        &mut self.coefficients[y * self.blocks[0] + x]
    }
}

pub(super) struct Frame {
    pub(super) progressive: bool,
    /// Width and height of the picture as it is stored, and as it is made.
    pub(super) stored: [usize; 2],
    pub(super) size: [usize; 2],
    /// Samples in each direction of a block of the finest component; 8 where the picture is made as it is stored.
    pub(super) side: usize,
    /// The largest sampling factors.
    pub(super) most: [usize; 2],
    /// Columns and rows of MCUs of all components.
    pub(super) mcus: [usize; 2],
    pub(super) components: Vec<Component>,
}
