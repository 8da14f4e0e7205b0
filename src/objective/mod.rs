//! Stage 5: objectives, pure functions of embeddings. One file each; adding one touches no other.

mod mls;
mod moco;
mod s2r2;

pub use mls::{Dictionaries, Mls, pseudo_labels};
pub use moco::{Moco, info_nce};
pub use s2r2::S2r2;

use crate::autograd::Var;
use crate::error::Result;
use crate::queue::Queue;
use crate::tensor::Tensor;
use std::fmt::Debug;

/// What the training step must provide for an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Whether there is a momentum encoder and a queue, with one query and one key view of each image; if not,
    /// all views of an image go through the one encoder.
    pub keys: bool,
}

/// What an objective sees: embeddings, never devices or optimisers.
#[derive(Debug)]
pub struct Embeddings<'a, 't> {
    /// Backbone features of the query views, `[N, d_g]`, not normalised.
    pub g: Var<'t>,
    /// Projections of the query views, `[N, d_z]`, not normalised. Views of an image are adjacent.
    pub z: Var<'t>,
    /// Views of each image.
    pub views: usize,
    /// Keys and queue, for objectives that need them.
    pub keys: Option<Keys<'a>>,
}

/// The key side of a momentum method; no gradient flows to it.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// Projections z2 of the key views, `[N, d_z]`, l2-normalised.
    pub z: &'a Tensor,
    /// The queue before this step's keys are enqueued.
    pub queue: &'a Queue,
}

/// One term of a loss.
#[derive(Debug)]
pub struct Term<'t> {
    /// Its name in the log.
    pub name: &'static str,
    /// Its weight in the total.
    pub weight: f32,
    /// Its value, a scalar.
    pub value: Var<'t>,
}

/// A loss as the weighted sum of its terms.
pub type Loss<'t> = Vec<Term<'t>>;

/// A training objective.
pub trait Objective: Debug {
    /// What the training step must provide.
    fn needs(&self) -> Needs;

    /// The loss of a batch.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the embeddings do not fit.
    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>>;
}
