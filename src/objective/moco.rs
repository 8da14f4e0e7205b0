//! MoCo-v2: each query view must pick its own key among a queue of others.

use super::{Embeddings, Keys, Loss, Needs, Objective, Term};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops::Over;
use crate::tensor::Tensor;

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
        Needs { keys: true }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let keys = keys_of(e)?;
        let (value, _) = info_nce(&e.z, keys.z, &keys.queue.z, self.tau)?;
        Ok(vec![Term { name: "loss_nce", weight: 1.0, value }])
    }
}

/// The key side, which the training step provides whenever `needs` asks for it.
pub(super) fn keys_of<'a>(e: &Embeddings<'a, '_>) -> Result<Keys<'a>> {
    e.keys.ok_or_else(|| Error::shape("objective", "no keys were given: this objective needs a queue"))
}

/// Cross-entropy of each query over its own key and the whole queue, and the logits.
///
/// `logits_b = [q_b . k_b, q_b . queue_1, .., q_b . queue_D] / tau`, `loss = mean_b -log softmax(logits_b)_0`,
/// with q normalised here.
///
/// | value | shape | |
/// |---|---|---|
/// | `q` | `[B, d]` | raw; the only one with a gradient |
/// | `k` | `[B, d]` | l2-normalised |
/// | `queue` | `[D, d]` | l2-normalised |
/// | returns loss, logits | `[]`, `[B, D + 1]` | nats; `ln(D + 1)` at equal logits |
///
/// # Errors
/// [`Error::Shape`] if the widths differ.
/// # Source
/// MLS, Eq. 1.
pub fn info_nce<'t>(q: &Var<'t>, k: &Tensor, queue: &Tensor, tau: f32) -> Result<(Var<'t>, Var<'t>)> {
    let tape = q.tape();
    let q = q.l2_normalize()?;
    let batch = q.shape()[0];
    let own = q.mul(&tape.constant(k.clone()))?.sum(Over::Row)?; // [B]
    let own = own.reshape([batch, 1])?; // [B, 1]
    let others = q.matmul_nt(&tape.constant(queue.clone()))?; // [B, D]
    let logits = own.concat(&others)?.scale(1.0 / tau)?; // [B, D + 1]
    let labels = Tensor::full(tape.device(), [batch], 0.0)?;
    Ok((logits.cross_entropy(&labels)?, logits))
}
