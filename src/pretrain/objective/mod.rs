//! Stage 5: objectives, pure functions of embeddings. One file each; adding one touches no other.
//!
//! | objective | loss | its value when all embeddings are equal |
//! |---|---|---|
//! | [`Mls`] | InfoNCE + lambda BCE of every slot, with the k nearest slots as labels (MLS, Eqs. 1, 7-10) | ln(D + 1) for InfoNCE |
//! | [`S2r2`] | 1 - mean smooth average precision of every view as a query (S2R2, Eqs. 1-3) | 1 - 1/B |
//! | [`Moco`], [`DenseCl`] | InfoNCE over a queue | ln(D + 1) |
//! | [`SimClr`] | NT-Xent over the batch | ln(2 B - 1) |
//! | [`SwAv`] | cross-entropy with balanced codes | ln(prototypes) |
//! | [`Byol`] | 2 - 2 cos | 0 |
//!
//! **Why the last column.** A loss that stays at that value has learned nothing, however small the number is (for BYOL the
//! lowest there is): the log's warnings compare with it.
//!
//! **The trap of MLS.** Features g are non-negative, so their cosines begin near 1 and differ in the last digits: products and
//! top-k are f32 even with half storage. About 204 negatives meet each positive, so the BCE alone drives z against the mean key;
//! both losses and both gradient norms are in the log.
//!
//! **The trap of S2R2.** The query is in neither set: kept among the ranked, equal embeddings give (K + 1)/(B K + 1), another
//! quantity. And ranks are sums over pairs: a tensor of triples is never made.
//!
//! **The test.** `mls_bce`, `info_nce`, `smooth_ap`, .. in `tests/conformance.rs`; closed forms beside each objective.

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

use crate::engine::autograd::Var;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::pretrain::encoder::{Embedding, Outputs};
use crate::pretrain::queue::{Queue, Ring, Rings};
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
    /// What helps a run that is stuck there.
    pub helps: &'static str,
}

/// What helps most losses that are stuck at their value of collapse.
pub const HELPS: &str = "lower the learning rate or raise the batch";

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
        Loss { terms: vec![Term { name, weight: 1.0, value, collapsed, helps: HELPS }], positives: None }
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
