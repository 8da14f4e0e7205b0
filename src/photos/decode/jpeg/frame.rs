//! A picture while it is decoded: components with their samples and coefficients.

use super::idct::inverse;

pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, across and down.
    pub(super) factors: [usize; 2],
    /// Columns and rows of samples that belong to the picture.
    pub(super) size: [usize; 2],
    /// Columns and rows of blocks, whole MCUs.
    pub(super) blocks: [usize; 2],
    pub(super) quant_table: usize,
    /// The table, row by row; as it was at the component's first scan.
    pub(super) quant: [u16; 64],
    /// Samples, `[8 blocks[1], 8 blocks[0]]`.
    pub(super) plane: Vec<u8>,
    /// Coefficients of a progressive picture, a block after the other.
    pub(super) coefficients: Vec<[i16; 64]>,
    /// For each coefficient: by how many bits it is still shifted; 255 before the first scan.
    pub(super) shifts: [u8; 64],
}

impl Component {
    pub(super) fn stride(&self) -> usize {
        8 * self.blocks[0]
    }

    /// The samples of a row that belong to the picture.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.plane[y * self.stride()..][..self.size[0]]
    }

    /// The samples of a block from its coefficients; only the first is other than 0 if `flat`.
    #[inline(always)]
    pub(super) fn inverse(&mut self, block: &[i16; 64], flat: bool, x: usize, y: usize) {
        let stride = self.stride();
        let samples = &mut self.plane[8 * (y * stride + x)..][..7 * stride + 8];
        inverse(block, &self.quant, flat, samples, stride);
    }

    #[inline(always)]
    pub(super) fn block(&mut self, x: usize, y: usize) -> &mut [i16; 64] {
        &mut self.coefficients[y * self.blocks[0] + x]
    }
}

pub(super) struct Frame {
    pub(super) progressive: bool,
    /// Width and height of the picture.
    pub(super) size: [usize; 2],
    /// The largest sampling factors.
    pub(super) most: [usize; 2],
    /// Columns and rows of MCUs of all components.
    pub(super) mcus: [usize; 2],
    pub(super) components: Vec<Component>,
}
