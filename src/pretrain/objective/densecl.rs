//! DenseCL: InfoNCE of whole views, and of the cells of their feature maps.

use super::moco::{collapsed_nce, info_nce};
use super::{Embeddings, HELPS, KeyViews, Loss, Needs, Objective, Term};
use crate::engine::autograd::Var;
use crate::engine::ops::{GatherRows, L2Normalize, MatchCells, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::pretrain::queue::Rings;

/// `loss = (1 - lambda) L_global + lambda L_dense`. The dense term is InfoNCE over every cell of the query's grid: its
/// positive is the key's cell with the most similar backbone features, its negatives are the queue of averaged dense
/// keys.
///
/// # Source
/// DenseCL, Eq. 1-4: lambda 0.5, tau 0.2.
#[derive(Clone, Copy, Debug)]
pub struct DenseCl {
    /// Temperature of both terms.
    pub tau: f32,
    /// Share of the dense term.
    pub lambda: f32,
}

impl Objective for DenseCl {
    fn needs(&self) -> Needs {
        let rings = Rings { z: Some(()), dense: Some(()), g: None };
        Needs { keys: KeyViews::Second, rings }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let (keys, queue, queue_dense) = (e.keys()?, e.ring(|keys| &keys.z)?, e.ring(|keys| &keys.dense)?);
        let (global, _) = info_nce(&e.query.z, &keys.z, queue, self.tau)?;
        let (Some(f1), Some(q)) = (&e.query.map, &e.query.dense) else {
            return Err(Error::shape("densecl", "the query encoder has no dense projector"));
        };
        let (Some(f2), Some(k)) = (&keys.map, &keys.dense) else {
            return Err(Error::shape("densecl", "the key encoder has no dense projector"));
        };
        let index = match_cells(f1.value(), f2)?; // [B S S]
        let matched = run(&GatherRows, &[&cells(k)?, &index])?.swap_remove(0); // [B S S, d]
        let q = cells_of(q)?; // [B S S, d]
        let (dense, _) = info_nce(&q, &matched, queue_dense, self.tau)?;
        let mut loss = Loss::of("loss_global", global, collapsed_nce(queue));
        loss.terms[0].weight = 1.0 - self.lambda;
        let collapsed = collapsed_nce(queue_dense);
        loss.terms.push(Term {
            name: "loss_dense",
            weight: self.lambda,
            value: dense,
            collapsed,
            helps: HELPS,
        });
        Ok(loss)
    }
}

/// For every cell of `f1` the cell of the same image's `f2` with the highest cosine, ties to the lowest.
///
/// | value | shape | |
/// |---|---|---|
/// | `f1`, `f2` | `[B, S, S, d_g]` | raw |
/// | returns | `[B S S]` | rows of `f2` as `[B S S, d_g]`; cells are row-major |
///
/// # Errors
/// [`Error::Shape`] if the maps differ in shape.
/// # Source
/// DenseCL, Eq. 3.
pub fn match_cells(f1: &Tensor, f2: &Tensor) -> Result<Tensor> {
    let [n, h, w, c] = f1.shape()[..] else {
        return Err(Error::shape("match_cells", format!("needs maps [B,S,S,d], got {}", f1.shape())));
    };
    let unit = |f: &Tensor| Ok(run(&L2Normalize, &[f])?.swap_remove(0));
    let cells = [unit(f1)?.reshape([n, h * w, c])?, unit(f2)?.reshape([f2.shape()[0], h * w, c])?];
    run(&MatchCells, &[&cells[0], &cells[1]])?.swap_remove(0).reshape([n * h * w])
}

/// `[B, S, S, d] -> [B S S, d]`
fn cells(x: &Tensor) -> Result<Tensor> {
    let width = x.shape()[x.shape().len() - 1];
    x.reshape([x.elements() / width, width])
}

fn cells_of<'t>(x: &Var<'t>) -> Result<Var<'t>> {
    let width = x.shape()[x.shape().len() - 1];
    x.reshape([x.value().elements() / width, width])
}
