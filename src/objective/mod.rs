//! Stage 5: objectives, pure functions of embeddings. One file each; adding one touches no other.

mod byol;
mod densecl;
mod mls;
mod moco;
mod s2r2;
mod simclr;
mod swav;

pub use byol::Byol;
pub use densecl::{DenseCl, match_cells};
pub use mls::{Dictionaries, LossTerm, Mls, Normalizer, pseudo_labels};
pub use moco::{Moco, info_nce};
pub use s2r2::{S2r2, by_image};
pub use simclr::SimClr;
pub use swav::{SwAv, sinkhorn};

use crate::autograd::Var;
use crate::encoder::{Embedding, Outputs};
use crate::error::{Error, Result};
use crate::queue::{Queue, Ring, Rings};
use crate::tensor::Tensor;
use std::fmt::Debug;

/// Which views go through the key encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyViews {
    /// There is no key encoder.
    None,
    /// Of two views of each image the second; the query encoder sees the first.
    Second,
    /// Both views, as through the query encoder.
    Both,
}

/// What the training step must provide for an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Which views are keys.
    pub keys: KeyViews,
    /// Which rings of keys of earlier steps it reads; none of them for an objective without a queue.
    pub rings: Rings<()>,
}

/// What an objective sees: embeddings, never devices or optimisers. Nothing is normalised but the queue. Rows are
/// view-major: the first views of all B images, then their second views, and so on.
#[derive(Debug)]
pub struct Embeddings<'a, 't> {
    /// The query encoder's outputs.
    pub query: Embedding<'t>,
    /// Views of each image in `query`.
    pub views: usize,
    /// The key encoder's outputs, in the images' order; no gradient flows to them.
    pub keys: Option<&'a Outputs<Tensor>>,
    /// The queue before this step's keys are enqueued.
    pub queue: Option<&'a Queue>,
    /// Scores of the queue's projections against the prototypes, `[D, prototypes]`.
    pub queue_scores: Option<&'a Tensor>,
}

impl<'a> Embeddings<'a, '_> {
    /// The key side, which the training step provides whenever [`Needs`] asks for it.
    fn keys(&self) -> Result<&'a Outputs<Tensor>> {
        self.keys.ok_or_else(|| {
            Error::shape("objective", "no keys were given: this objective needs a key encoder")
        })
    }

    /// One ring of the queue.
    fn ring(&self, pick: impl Fn(&'a Rings<Ring>) -> &'a Option<Ring>) -> Result<&'a Ring> {
        let ring = self.queue.and_then(|queue| pick(&queue.keys).as_ref());
        ring.ok_or_else(|| Error::shape("objective", "no queue was given: this objective needs one"))
    }
}

/// One term of a loss.
#[derive(Debug)]
pub struct Term<'t> {
    /// Its name in the log.
    pub name: &'static str,
    /// Its weight in the total; 0 for a term that is only logged.
    pub weight: f32,
    /// Its value, a scalar.
    pub value: Var<'t>,
    /// Its value if all embeddings were equal: where it stays when training has collapsed.
    pub collapsed: f32,
}

/// A loss: the weighted sum of its terms.
#[derive(Debug, Default)]
pub struct Loss<'t> {
    /// The terms.
    pub terms: Vec<Term<'t>>,
    /// Slots of the queue that were taken for positives, `[B, k]`, most similar first.
    pub positives: Option<Tensor>,
}

impl<'t> Loss<'t> {
    /// A loss of one term of weight 1.
    fn of(name: &'static str, value: Var<'t>, collapsed: f32) -> Loss<'t> {
        Loss { terms: vec![Term { name, weight: 1.0, value, collapsed }], positives: None }
    }
}

/// A training objective.
pub trait Objective: Debug {
    /// What the training step must provide.
    fn needs(&self) -> Needs;

    /// The loss of a batch.
    ///
    /// # Errors
    /// [`Error::Shape`] if the embeddings do not fit.
    fn loss<'t>(&self, e: &Embeddings<'_, 't>) -> Result<Loss<'t>>;
}
