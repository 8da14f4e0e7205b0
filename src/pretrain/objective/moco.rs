//! MoCo-v2: each query view must pick its own key among a queue of others.

use super::{Embeddings, KeyViews, Loss, Needs, Objective};
use crate::engine::autograd::Var;
use crate::engine::ops::{L2Normalize, Over, run};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::pretrain::queue::{Ring, Rings};

/// InfoNCE alone.
///
/// # Source
/// MLS, Eq. 1; MoCo-v2.
#[derive(Clone, Copy, Debug)]
pub struct Moco {
    /// Temperature.
    pub tau: f32,
}

impl Objective for Moco {
    fn needs(&self) -> Needs {
        let rings = Rings { z: Some(()), ..Rings::default() };
        Needs { keys: KeyViews::Second, rings }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let queue = e.ring(|keys| &keys.z)?;
        let (value, _) = info_nce(&e.query.z, &e.keys()?.z, queue, self.tau)?;
        Ok(Loss::of("loss_nce", value, collapsed_nce(queue)))
    }
}

/// `ln(D + 1)`: InfoNCE at equal logits.
pub(super) fn collapsed_nce(queue: &Ring) -> f32 {
    (queue.shape()[0] as f32 + 1.0).ln()
}

/// Cross-entropy of each query over its own key and the whole queue, and the logits.
///
/// `logits_b = [q_b . k_b, q_b . queue_1, .., q_b . queue_D] / tau`, `loss = mean_b -log softmax(logits_b)_0`,
/// with q and k normalised here.
///
/// | value | shape | |
/// |---|---|---|
/// | `q` | `[B, d]` | raw; the only one with a gradient |
/// | `k` | `[B, d]` | raw |
/// | `queue` | `[D, d]` | l2-normalised |
/// | returns loss, logits | `[]`, `[B, D + 1]` | nats; `ln(D + 1)` at equal logits |
///
/// # Errors
/// [`crate::Error::Shape`] if the widths differ.
/// # Source
/// MLS, Eq. 1.
pub fn info_nce<'t>(q: &Var<'t>, k: &Tensor, queue: &Ring, tau: f32) -> Result<(Var<'t>, Var<'t>)> {
    let tape = q.tape();
    let q = q.l2_normalize()?;
    let k = run(&L2Normalize, &[k])?.swap_remove(0);
    let batch = q.shape()[0];
    let own = q.mul(&tape.constant(k))?.sum(Over::Row)?; // [B]
    let own = own.reshape([batch, 1])?; // [B, 1]
    let others = queue.products(&q)?; // [B, D]
    let logits = own.concat(&others)?.scale(1.0 / tau)?; // [B, D + 1]
    let labels = Tensor::full(tape.device(), [batch], 0.0)?;
    Ok((logits.cross_entropy(&labels)?, logits))
}
