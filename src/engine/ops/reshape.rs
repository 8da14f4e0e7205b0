//! The same elements under another shape: no kernel, nothing is moved.

use super::op::{Op, Saved};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;

/// A new shape for the same elements.
#[derive(Clone, Debug)]
pub struct Reshape(pub Shape);

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn outputs(&self, x: &[&Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![x[0].reshape(&self.0)?])
    }

    fn saved(&self, x: &[&Tensor], _y: &[Tensor]) -> Saved {
        Saved::new(Vec::new(), vec![x[0].shape().clone()])
    }

    fn backward(&self, saved: &Saved, dy: &Tensor, wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let shape = &saved.input_shapes[0];
        Ok(vec![wants[0].then(|| dy.reshape(shape)).transpose()?])
    }
}
