//! BYOL: the prediction from one view must meet the key encoder's projection of the other.

use super::{Embeddings, KeyViews, Loss, Needs, Objective};
use crate::engine::autograd::Var;
use crate::engine::ops::{L2Normalize, Over, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::pretrain::queue::Rings;

/// `loss = mean_b(2 - 2 cos(p1, z2)) + mean_b(2 - 2 cos(p2, z1))`, p the predictions of the query encoder, z the
/// projections of the key encoder, which get no gradient. Equal embeddings give 0: nothing in the loss itself keeps
/// training from them, so the spread of the embeddings is what to watch.
///
/// # Source
/// BYOL, Eq. 2, symmetrised as in its Sec. 3.1.
#[derive(Clone, Copy, Debug)]
pub struct Byol;

impl Objective for Byol {
    fn needs(&self) -> Needs {
        Needs { keys: KeyViews::Both, rings: Rings::default() }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let Some(p) = &e.query.p else { return Err(Error::shape("byol", "the encoder has no predictor")) };
        let z = &e.keys()?.z;
        let n = p.shape()[0]; // 2 B
        if e.views != 2 || !n.is_multiple_of(2) || z.shape()[0] != n {
            let detail = format!("needs 2 views in both encoders, got {n} and {} rows", z.shape()[0]);
            return Err(Error::shape("byol", detail));
        }
        let other = Tensor::stack_rows(&[&z.rows(n / 2..n)?, &z.rows(0..n / 2)?])?; // z2 above z1
        Ok(Loss::of("loss_byol", distances(p, &other)?.scale(2.0)?, 0.0)) // two means over B, not one over 2 B
    }
}

/// `mean_i(2 - 2 cos(p_i, z_i))`
fn distances<'t>(p: &Var<'t>, z: &Tensor) -> Result<Var<'t>> {
    let tape = p.tape();
    let z = run(&L2Normalize, &[z])?.swap_remove(0);
    let cosines = p.l2_normalize()?.mul(&tape.constant(z))?.sum(Over::Row)?; // [N]
    let two = tape.constant(Tensor::full(tape.device(), [], 2.0)?);
    two.sub(&cosines.mean(Over::All)?.scale(2.0)?)
}
