//! SimCLR: each view must pick the other view of its image among all views of the batch.

use super::{Embeddings, KeyViews, Loss, Needs, Objective};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::pretrain::queue::Rings;

/// NT-Xent: `loss = mean_i -log( exp(s_ij/tau) / sum_{k != i} exp(s_ik/tau) )`, j the other view of i's image,
/// s = cosine similarity; only i itself is left out. Equal embeddings give `ln(2 B - 1)`.
///
/// # Source
/// SimCLR, Eq. 1; the baseline of S2R2's Tables 1 and 2.
#[derive(Clone, Copy, Debug)]
pub struct SimClr {
    /// Temperature.
    pub tau: f32,
}

/// Added to the diagonal: its exponential is 0 whatever the logits are.
const MASKED: f32 = -1e30;

impl Objective for SimClr {
    fn needs(&self) -> Needs {
        Needs { keys: KeyViews::None, rings: Rings::default() }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let z = e.query.z.l2_normalize()?; // [2 B, d]
        let (n, device) = (z.shape()[0], z.tape().device());
        if e.views != 2 || !n.is_multiple_of(2) {
            return Err(Error::shape("simclr", format!("needs 2 views of each image, got {}", e.views)));
        }
        let mut mask = vec![0.0; n * n];
        mask.iter_mut().step_by(n + 1).for_each(|v| *v = MASKED);
        let mask = z.tape().constant(Tensor::new(device, [n, n], &mask)?);
        let logits = z.matmul_nt(&z)?.scale(1.0 / self.tau)?.add(&mask)?; // [2 B, 2 B]
        let partner: Vec<f32> = (0..n).map(|i| ((i + n / 2) % n) as f32).collect();
        let value = logits.cross_entropy(&Tensor::new(device, [n], &partner)?)?;
        Ok(Loss::of("loss_nt_xent", value, (n as f32 - 1.0).ln()))
    }
}
