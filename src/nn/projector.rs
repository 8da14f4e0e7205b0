//! The projector: from backbone features g to embeddings z.

use super::{Linear, Module, Param};
use crate::autograd::Var;
use crate::device::Device;
use crate::error::Result;
use rand::Rng;

/// `z = W2 relu(W1 g + b1) + b2`: `[N, d] -> [N, d] -> [N, out]`, no batch norm (MoCo-v2's head).
#[derive(Debug)]
pub struct Projector {
    hidden: Linear,
    output: Linear,
}

impl Projector {
    /// A projector from `inputs` features to `outputs` (MLS: 256, S2R2: 128).
    ///
    /// # Errors
    /// The device's.
    pub fn new(device: &Device, rng: &mut impl Rng, [inputs, outputs]: [usize; 2]) -> Result<Projector> {
        Ok(Projector {
            hidden: Linear::new(device, rng, "projector.0", [inputs, inputs])?,
            output: Linear::new(device, rng, "projector.2", [inputs, outputs])?,
        })
    }

    /// The embeddings of features `g`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the width differs.
    pub fn forward<'t>(&self, g: &Var<'t>) -> Result<Var<'t>> {
        self.output.forward(&self.hidden.forward(g)?.relu()?)
    }
}

impl Module for Projector {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.hidden.visit(f);
        self.output.visit(f);
    }
}
