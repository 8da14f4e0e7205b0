//! The length of a gradient.

use crate::engine::autograd::Tape;
use crate::engine::ops::{Map, Over, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The square of the 2-norm of some tensors together, a scalar on their device; `None` of none.
///
/// # Errors
/// The device's.
pub fn squared_norm(tensors: &[Tensor]) -> Result<Option<Tensor>> {
    let mut sum = None;
    for x in tensors {
        add_to(&mut sum, squared(x)?)?;
    }
    Ok(sum)
}

/// `sum x^2`, a scalar.
pub(crate) fn squared(x: &Tensor) -> Result<Tensor> {
    let tape = Tape::inert(x.device());
    let x = tape.constant(x.clone());
    Ok(x.mul(&x)?.sum(Over::All)?.value().clone())
}

/// Adds a tensor to a sum, which may have none yet.
pub(crate) fn add_to(sum: &mut Option<Tensor>, x: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => x,
        Some(sum) => run(&Map::Add, &[&sum, &x])?.swap_remove(0),
    });
    Ok(())
}
