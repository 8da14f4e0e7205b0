//! S2R2: many views of each image are ranked against each other by a smooth average precision.

use super::{Embeddings, KeyViews, Loss, Needs, Objective};
use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::pretrain::queue::Rings;

/// Every view is the query once; the other views of its image are to be ranked above those of all others.
///
/// `loss = 1 - mean_q AP_q`, `AP_q = 1/|P| sum_{i in P} R(i, P) / R(i, P u N)`,
/// `R(i, X) = 1 + sum_{j in X, j != i} sigmoid((s_qj - s_qi) / tau)`, s = cosine similarity. The query is in neither set.
/// No queue, no momentum encoder; gradients flow through both sides. Equal embeddings give `1 - 1/B`.
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
        Needs { keys: KeyViews::None, rings: Rings::default() }
    }

    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>> {
        let rows = e.query.z.shape()[0];
        if e.views < 2 || !rows.is_multiple_of(e.views) {
            let detail = format!(
                "{rows} rows are not {} views of each image, of which there must be 2 or more",
                e.views
            );
            return Err(Error::shape("s2r2", detail));
        }
        let images = rows / e.views;
        let z = e.query.z.gather_rows(&by_image(e.query.z.tape().device(), images, e.views)?)?;
        let z = z.l2_normalize()?; // [B K, d]
        let similarities = z.matmul_nt(&z)?; // [B K, B K]
        let (value, _) = similarities.smooth_ap(e.views, self.tau)?; // []
        Ok(Loss::of("loss_ap", value, 1.0 - 1.0 / images as f32))
    }
}

/// The order that puts the views of an image next to each other: row `b K + k` is view-major row `k B + b`. `[B K]`
///
/// # Errors
/// The device's.
pub fn by_image(device: &Device, images: usize, views: usize) -> Result<Tensor> {
    let order: Vec<f32> =
        (0..images * views).map(|row| (row % views * images + row / views) as f32).collect();
    Tensor::new(device, [order.len()], &order)
}
