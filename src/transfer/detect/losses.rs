//! The losses of detectors, as compositions. Which boxes take part was sampled before and is a constant; shapes do not depend on it, so that a
//! step without a positive is a step like any other.

use super::boxes::{Rect, encode};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::ops::Over;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The smooth L1 distance of each element from its target, `d^2 / (2 beta)` for `d = |x - t| < beta`, `d - beta / 2` beyond; with a beta of
/// 0 the distance.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes differ.
/// # Source
/// Fast R-CNN, Eq. 3 (beta 1); detectron2, `smooth_l1_loss`.
pub fn smooth_l1<'t>(x: &Var<'t>, targets: &Tensor, beta: f32) -> Result<Var<'t>> {
    let distance = x.sub(&x.tape().constant(targets.clone()))?.abs()?;
    if beta <= 0.0 {
        return Ok(distance);
    }
    let near = distance.clamp(0.0, beta)?;
    distance.sub(&near)?.add(&near.square()?.scale(0.5 / beta)?)
}

/// What anchors or proposals are to be told apart by: for each row its class and the differences of its object from it.
#[derive(Clone, Debug)]
pub struct BoxTargets {
    /// Differences, where they count; anything elsewhere.
    pub deltas: Tensor,
    /// 1 where they count, 0 elsewhere; of the same shape.
    pub counts: Tensor,
}

impl BoxTargets {
    /// Those of proposals `[R, classes, 4]`: each counts at its own class; of the background (class `classes`) none does.
    ///
    /// # Errors
    /// The device's.
    pub fn of_classes(
        device: &Device,
        proposals: &[Rect],
        objects: &[Rect],
        of: &[usize],
        classes: usize,
        weights: [f32; 4],
    ) -> Result<BoxTargets> {
        let (mut deltas, mut counts) = (vec![0.0; 4 * classes * of.len()], vec![0.0; 4 * classes * of.len()]);
        for (i, &class) in of.iter().enumerate().filter(|(_, class)| **class < classes) {
            let at = 4 * (classes * i + class);
            deltas[at..at + 4].copy_from_slice(&encode(&proposals[i], &objects[i], weights));
            counts[at..at + 4].fill(1.0);
        }
        let shape = [of.len(), 4 * classes];
        Ok(BoxTargets {
            deltas: Tensor::new(device, shape, &deltas)?,
            counts: Tensor::new(device, shape, &counts)?,
        })
    }

    /// The smooth L1 distances that count, added up and divided.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes differ.
    pub fn loss<'t>(&self, deltas: &Var<'t>, beta: f32, divisor: f32) -> Result<Var<'t>> {
        let distances = smooth_l1(deltas, &self.deltas, beta)?;
        distances.mul(&deltas.tape().constant(self.counts.clone()))?.sum(Over::All)?.scale(1.0 / divisor)
    }
}

/// The binary cross-entropies of the sampled anchors, added up and divided: `sum_i w_i (softplus(x_i) - y_i x_i)`.
///
/// | value | shape | range |
/// |---|---|---|
/// | `logits` x | any | any finite |
/// | `labels` y | the same | 1 for anchors that stand for an object |
/// | `sampled` w | the same | 1 for anchors that take part |
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes differ.
/// # Source
/// Faster R-CNN, Eq. 1; detectron2 divides by all that could have been sampled.
pub fn objectness_loss<'t>(
    logits: &Var<'t>,
    labels: &Tensor,
    sampled: &Tensor,
    divisor: f32,
) -> Result<Var<'t>> {
    let constant = |t: &Tensor| logits.tape().constant(t.clone());
    let each = logits.softplus()?.sub(&logits.mul(&constant(labels))?)?;
    each.mul(&constant(sampled))?.sum(Over::All)?.scale(1.0 / divisor)
}

/// Mean binary cross-entropy of the masks of objects, each by the logits of its own class.
///
/// | value | shape | range |
/// |---|---|---|
/// | `logits` | `[R, m m]` | one row for each pair of an object and a class |
/// | `rows` | `[F]` | of each object, the row of its class; not differentiated |
/// | `targets` | `[F, m m]` | 0 or 1 |
/// | returns | `[]` | nats a pixel |
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit, or there is no object.
/// # Source
/// Mask R-CNN, Sec. 3: "for an RoI associated with ground-truth class k, L_mask is only defined on the k-th mask".
pub fn mask_loss<'t>(logits: &Var<'t>, rows: &Tensor, targets: &Tensor) -> Result<Var<'t>> {
    logits.gather_rows(rows)?.bce_with_logits(targets)
}
