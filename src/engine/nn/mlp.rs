//! Heads of linear layers: projectors (features to embeddings) and predictors (embeddings to embeddings).

use super::{BatchNorm, Linear, Mode, Module, Param};
use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::error::Result;
use rand::Rng;

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing: the layer has a bias.
    Bias,
    /// A relu; the layer has a bias.
    Relu,
    /// Batch norm and a relu; the layer has a bias, though the norm takes it out again, as most published heads.
    NormRelu,
    /// Batch norm and a relu; the layer has no bias (SimSiam).
    PlainNormRelu,
    /// Batch norm; the layer has a bias (NNCLR).
    Norm,
    /// Batch norm without gamma and beta; the layer has no bias (SimSiam).
    Standardize,
}

/// Linear layers `[N, in] -> [N, w1] -> .. -> [N, wn]`, each followed by what [`After`] says.
///
/// Parameters are named as in torch's `Sequential(Linear, [BatchNorm1d,] [ReLU,] Linear, ..)`.
#[derive(Debug)]
pub struct Mlp {
    /// Each with its norm, and whether a relu follows.
    layers: Vec<(Linear, Option<BatchNorm>, bool)>,
}

impl Mlp {
    /// A head from `inputs` elements through layers of these widths.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        name: &str,
        mut inputs: usize,
        widths: &[(usize, After)],
    ) -> Result<Mlp> {
        let (mut layers, mut place) = (Vec::new(), 0);
        for &(width, after) in widths {
            let mut linear = Linear::new(device, rng, &format!("{name}.{place}"), [inputs, width])?;
            if matches!(after, After::PlainNormRelu | After::Standardize) {
                linear.bias = None;
            }
            let relu = matches!(after, After::Relu | After::NormRelu | After::PlainNormRelu);
            let norm_name = format!("{name}.{}", place + 1);
            let norm = match after {
                After::Bias | After::Relu => None,
                After::Standardize => Some(BatchNorm::plain(device, &norm_name, width)?),
                _ => Some(BatchNorm::new(device, &norm_name, width, 1.0)?),
            };
            place += 1 + usize::from(norm.is_some()) + usize::from(relu);
            inputs = width;
            layers.push((linear, norm, relu));
        }
        Ok(Mlp { layers })
    }

    /// The embeddings of `x`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the width differs.
    pub fn forward<'t>(&self, x: &Var<'t>, mode: Mode) -> Result<Var<'t>> {
        self.layers.iter().try_fold(x.clone(), |x, (linear, norm, relu)| {
            let y = linear.forward(&x)?;
            match (norm, relu) {
                (None, false) => Ok(y),
                (None, true) => y.relu(),
                (Some(norm), false) => norm.forward(&y, mode),
                (Some(norm), true) => norm.forward_relu(&y, mode),
            }
        })
    }
}

impl Module for Mlp {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        for (linear, norm, _) in &self.layers {
            linear.visit(f);
            norm.iter().for_each(|norm| norm.visit(f));
        }
    }
}
