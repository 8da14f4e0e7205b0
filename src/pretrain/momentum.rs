//! The momentum copy of an encoder, which makes the keys.
//!
//! ```
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use vista::{Device, engine::nn::{After, Mlp, Module}, engine::optim::ema_update, pretrain::momentum::copy_state};
//! let device = Device::cpu();
//! let head = |seed| Mlp::new(&device, &mut StdRng::seed_from_u64(seed), "projector", 2, &[(2, After::Bias)]);
//! let (query, key) = (head(0)?, head(1)?);
//! copy_state(&key, &query)?; // a key encoder starts as its query encoder,
//! ema_update(&key, &query, 0.99)?; // and follows it: key = 0.99 key + 0.01 query
//! let weights = |head: &Mlp| head.trained()[0].get().to_vec();
//! assert!(weights(&key)?.iter().zip(weights(&query)?).all(|(k, q)| (k - q).abs() < 1e-6));
//! # Ok::<(), vista::Error>(())
//! ```

use super::encoder::{Embedding, Encoder};
use super::method::{Heads, Method};
use crate::engine::autograd::Var;
use crate::engine::nn::{Backbone, Mode, Module, Param};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The momentum copy of a backbone and a method's heads: a moving average of the query encoder's parameters.
#[derive(Debug)]
pub struct Momentum {
    /// The method, which says how they embed.
    pub method: Arc<dyn Method>,
    /// The copy of the backbone.
    pub net: Box<dyn Backbone>,
    /// That of the heads.
    pub heads: Heads,
}

impl Encoder for Momentum {
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        self.method.embed(&self.heads, self.net.map(images, mode)?, mode)
    }
}

impl Module for Momentum {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.net.visit(f);
        self.heads.visit(f);
    }
}

/// Modules taken for one.
pub struct Joined<'a, const N: usize>(pub [&'a dyn Module; N]);

impl<const N: usize> Module for Joined<'_, N> {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.0.iter().for_each(|module| module.visit(f));
    }
}

/// Copies the parameters and statistics of `from` into those of the same names of `into`, so that a key encoder
/// starts as its query encoder. `from` may have more of them, such as a predictor.
///
/// # Errors
/// [`Error::Shape`] naming the first that `from` does not have or has in another shape.
pub fn copy_state(into: &dyn Module, from: &dyn Module) -> Result<()> {
    let from: BTreeMap<String, Param> = from.state().into_iter().map(|p| (p.name().to_string(), p)).collect();
    into.state().iter().try_for_each(|to| match from.get(to.name()) {
        Some(from) => to.set(from.get()),
        None => Err(Error::shape("copy_state", format!("{} is in one encoder only", to.name()))),
    })
}
