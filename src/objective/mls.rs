//! MLS: a photo is a bag of objects. Its nearest neighbours in the queue become labels of a multi-label problem.

use super::moco::{info_nce, keys_of};
use super::{Embeddings, Loss, Needs, Objective, Term};
use crate::autograd::Var;
use crate::error::Result;
use crate::ops::{L2Normalize, Matmul, TopK, run};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Which of the two dictionaries gives the pseudo-labels and which the logits (Table 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dictionaries {
    /// Labels by g in Q_g, logits by z in Q_z: the method.
    Both,
    /// Both by g in Q_g.
    GOnly,
    /// Both by z in Q_z.
    ZOnly,
}

/// InfoNCE plus multi-label binary cross-entropy against the queue: `L = L_nce + lambda L_ml`.
///
/// # Source
/// MLS, Eq. 1 and 7-10; defaults of Sec. 4.1: D 4096, k 20, tau 0.2, lambda 0.5.
#[derive(Clone, Copy, Debug)]
pub struct Mls {
    /// Temperature of both terms.
    pub tau: f32,
    /// Pseudo-positives of each query.
    pub k: usize,
    /// Weight of `L_ml`.
    pub lambda: f32,
    /// Which dictionary does what.
    pub dictionaries: Dictionaries,
}

impl Objective for Mls {
    fn needs(&self) -> Needs {
        Needs { keys: true }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let keys = keys_of(e)?;
        let (g, z) = ((&e.g, &keys.queue.g), (&e.z, &keys.queue.z));
        let ((from, labels_queue), (x, logits_queue)) = match self.dictionaries {
            Dictionaries::Both => (g, z),
            Dictionaries::GOnly => (g, g),
            Dictionaries::ZOnly => (z, z),
        };
        let (nce, _) = info_nce(&e.z, keys.z, &keys.queue.z, self.tau)?;
        let labels = pseudo_labels(from.value(), labels_queue, self.k)?; // [B, D]
        let multi_label = multi_label_bce(x, logits_queue, &labels, self.tau)?;
        Ok(vec![
            Term { name: "loss_nce", weight: 1.0, value: nce },
            Term { name: "loss_ml", weight: self.lambda, value: multi_label },
        ])
    }
}

/// `y = IsTopk(x . queue^T)`: exactly k ones in each row, ties to the lowest slot; not differentiated.
///
/// | value | shape |
/// |---|---|
/// | `x` | `[B, d]`, raw |
/// | `queue` | `[D, d]`, l2-normalised |
/// | returns | `[B, D]`, 0 or 1 |
///
/// # Errors
/// [`crate::Error::Shape`] if the widths differ or k is over D or 64.
/// # Source
/// MLS, Eq. 7.
pub fn pseudo_labels(x: &Tensor, queue: &Tensor, k: usize) -> Result<Tensor> {
    // PRECISION: backbone features are non-negative, so cosines lie close to 1 and differ in late digits: f32 all through.
    let x = run(&L2Normalize, &[x])?.swap_remove(0);
    let similarities = run(&Matmul::NT, &[&x, queue])?.swap_remove(0);
    Ok(run(&TopK { k, labels: true }, &[&similarities])?.swap_remove(2))
}

/// `L_ml`: mean over queries and slots of the BCE of `p / tau`, `p = x/|x| . queue^T`, against the labels.
fn multi_label_bce<'t>(x: &Var<'t>, queue: &Tensor, labels: &Tensor, tau: f32) -> Result<Var<'t>> {
    let p = x.l2_normalize()?.matmul_nt(&x.tape().constant(queue.clone()))?; // [B, D]
    p.scale(1.0 / tau)?.bce_with_logits(labels)
}
