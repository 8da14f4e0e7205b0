//! The momentum copy of an encoder, which makes the keys.

use super::encoder::{Embedding, Encoder};
use super::named::Named;
use super::passes::{Batch, Passes, embed_chunks};
use crate::engine::autograd::{Observation, Var};
use crate::engine::nn::{Backbone, Mode, Module, Param};
use crate::engine::ops::{GatherRows, run};
use crate::engine::optim::ema_update;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;

/// What makes the keys of a step.
pub trait Target: Module + Encoder {
    /// Embeddings of a batch's key views, in the order of the views: batch norm in training mode, in groups of shuffled views,
    /// so that a query and its key are not normalised together (MoCo's ShuffleBN); no gradient.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch has no key views; the device's.
    fn keys(&self, batch: &Batch, passes: Passes) -> Result<(Named<Tensor>, Vec<Observation>)> {
        let Some(views) = &batch.key else {
            return Err(Error::shape("step", "this method needs key views"));
        };
        let count = batch.shuffle.len();
        let index = |order: Vec<f32>| Tensor::new(views.device(), [count], &order);
        let mut back = vec![0.0; count];
        for (row, &view) in batch.shuffle.iter().enumerate() {
            back[view] = row as f32;
        }
        let forth = index(batch.shuffle.iter().map(|&i| i as f32).collect())?;
        let back = index(back)?;
        let shuffled = run(&GatherRows, &[views, &forth])?.swap_remove(0);
        let (outputs, seen) = embed_chunks(self.encoder(), &shuffled, &passes.chunks(count))?;
        Ok((outputs.try_map(|x| Ok(run(&GatherRows, &[x, &back])?.swap_remove(0)))?, seen))
    }

    /// Itself.
    fn encoder(&self) -> &dyn Encoder;
}

/// How heads `H` on top of a backbone embed images.
pub type Embed<H> = for<'t> fn(&dyn Backbone, &H, &Var<'t>, Mode) -> Result<Embedding<'t>>;

/// The momentum copy of a backbone and its heads: a moving average of the query encoder's parameters, which makes the
/// keys.
pub struct Momentum<H> {
    net: Box<dyn Backbone>,
    heads: H,
    embed: Embed<H>,
}

impl<H: Module> Momentum<H> {
    /// A network with heads that follow others.
    pub fn new(net: Box<dyn Backbone>, heads: H, embed: Embed<H>) -> Momentum<H> {
        Momentum { net, heads, embed }
    }

    /// `key = m key + (1 - m) query`, parameter by parameter.
    ///
    /// # Errors
    /// The device's.
    pub fn follow(&self, query: [&dyn Module; 2], m: f64) -> Result<()> {
        ema_update(self, &Joined(query), m)
    }
}

impl<H> Encoder for Momentum<H> {
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        (self.embed)(&*self.net, &self.heads, images, mode)
    }
}

impl<H: Module> Target for Momentum<H> {
    fn encoder(&self) -> &dyn Encoder {
        self
    }
}

impl<H: Module> Module for Momentum<H> {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.net.visit(f);
        self.heads.visit(f);
    }
}

impl<H> fmt::Debug for Momentum<H> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Momentum").field("net", &self.net).finish_non_exhaustive()
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
