//! A product with rows that are kept as f16: no kernel of its own. They are widened when they are needed and let go
//! again, so that the tape holds no f32 copy of them.

use super::kernel::run;
use super::op::{Op, Saved};
use super::{Matmul, Packed};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::ops::Range;

/// `y = x w^T` with some rows w of a packed matrix, a constant: `[M, K] x [N, K] -> [M, N]`, in f32.
#[derive(Clone, Debug)]
pub struct PackedProduct {
    /// The matrix.
    pub matrix: Packed,
    /// Which of its rows are w.
    pub rows: Range<usize>,
}

impl Op for PackedProduct {
    fn name(&self) -> &'static str {
        "packed_product"
    }

    fn outputs(&self, x: &[&Tensor]) -> Result<Vec<Tensor>> {
        let w = self.matrix.unpack_rows(self.rows.clone())?;
        run(&Matmul::NT, &[x[0], &w])
    }

    fn saved(&self, x: &[&Tensor], _y: &[Tensor]) -> Saved {
        Saved::new(Vec::new(), vec![x[0].shape().clone()])
    }

    fn backward(&self, _saved: &Saved, dy: &Tensor, wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dx = || {
            let w = self.matrix.unpack_rows(self.rows.clone())?;
            Ok(run(&Matmul::NN, &[dy, &w])?.swap_remove(0))
        };
        Ok(vec![wants[0].then(dx).transpose()?])
    }
}
