//! A head with one hidden layer: projectors (features to embeddings) and predictors (embeddings to embeddings).

use super::{BatchNorm, Linear, Mode, Module, Param};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::error::Result;
use rand::Rng;

/// `z = W2 relu(norm(W1 g + b1)) + b2`: `[N, in] -> [N, hidden] -> [N, out]`; the norm is batch norm or nothing.
///
/// MoCo-v2, MLS and S2R2 have none; SimCLR, SwAV and BYOL have it. Parameters are named as in torch's
/// `Sequential(Linear, [BatchNorm1d,] ReLU, Linear)`.
#[derive(Debug)]
pub struct Projector {
    hidden: Linear,
    norm: Option<BatchNorm>,
    output: Linear,
}

impl Projector {
    /// A head of widths `[in, hidden, out]`.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        name: &str,
        [inputs, hidden, outputs]: [usize; 3],
        batch_norm: bool,
    ) -> Result<Projector> {
        let last = if batch_norm { 3 } else { 2 };
        let norm = || BatchNorm::new(device, &format!("{name}.1"), hidden, 1.0);
        Ok(Projector {
            hidden: Linear::new(device, rng, &format!("{name}.0"), [inputs, hidden])?,
            norm: batch_norm.then(norm).transpose()?,
            output: Linear::new(device, rng, &format!("{name}.{last}"), [hidden, outputs])?,
        })
    }

    /// The embeddings of `x`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the width differs.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        let hidden = self.hidden.forward(x)?;
        let hidden = match &self.norm {
            Some(norm) => norm.forward_relu(&hidden, mode)?,
            None => hidden.relu()?,
        };
        self.output.forward(&hidden)
    }
}

impl Module for Projector {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.hidden.visit(f);
        if let Some(norm) = &self.norm {
            norm.visit(f);
        }
        self.output.visit(f);
    }
}
