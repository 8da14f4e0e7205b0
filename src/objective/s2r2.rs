//! S2R2: many views of each image are ranked against each other by a smooth average precision.

use super::{Embeddings, Loss, Needs, Objective, Term};
use crate::error::Result;

/// Every view is the query once; the other views of its image are to be ranked above those of all others.
///
/// `loss = 1 - mean_q AP_q`, `AP_q = 1/|P| sum_{i in P} R(i, P) / R(i, P u N)`,
/// `R(i, X) = 1 + sum_{j in X, j != i} sigmoid((s_qj - s_qi) / tau)`, s = cosine similarity. The query is in neither set.
/// No queue, no momentum encoder; gradients flow through both sides.
///
/// # Source
/// S2R2, Eq. 1-3. The paper gives no tau; Smooth-AP's is 0.01.
#[derive(Clone, Copy, Debug)]
pub struct S2r2 {
    /// Temperature of the sigmoid that stands for the indicator.
    pub tau: f32,
}

impl Objective for S2r2 {
    fn needs(&self) -> Needs {
        Needs { keys: false }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let z = e.z.l2_normalize()?; // [B K, d]
        let similarities = z.matmul_nt(&z)?; // [B K, B K]
        let (value, _) = similarities.smooth_ap(e.views, self.tau)?; // []
        Ok(vec![Term { name: "loss_ap", weight: 1.0, value }])
    }
}
