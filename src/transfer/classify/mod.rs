//! Stage 8: judging frozen features, and fine-tuning. Host values in, figures out.
//!
//! | file | protocol |
//! |---|---|
//! | [`knn`] | weighted nearest neighbours of frozen features |
//! | [`probe`] | a linear classifier on standardised features, Adam |
//! | [`sgd_probe`] | a linear classifier on features of random crops, SGD |
//! | [`voc`] | one linear machine a class ([`svm`]), mean average precision ([`ap`](super::metrics::ap)) |
//! | [`finetune`] | the whole network on labelled photos |
//! | [`worth`] | both, from random and from pretrained parameters, on shares of the labels |
//! | [`FeatureTable`] | features of a person's own photos in a file, nearest photos |
//! | [`nearest()`], [`principal`], [`components`], [`tsne`] | neighbours, planes and colours, for figures |
//! | [`colour`], [`handmade`] | the floors: what needs no learning |
//!
//! **Why so.** The loss does not say whether features are of use; labels that training never saw do.
//!
//! **The trap.** Features are those of the backbone in evaluation mode, not the projections; and the best figure on a test set
//! is not a result: the last epoch's is, with the best beside it and so named.
//!
//! **The other trap.** Untrained weights are a floor only with batch norm's statistics of photos ([`precise_statistics`]): those
//! that it starts with, 0 and 1, make another network of the same weights, whose figures may be a third higher.
//!
//! **The test.** `tests/command/judging.rs`; floors of colours and of hand-made features beside every figure.
//!
//! ```
//! # use vista::{Device, transfer::classify::{Features, Knn}};
//! let train = Features { values: vec![1.0, 0.0, 0.0, 1.0], labels: vec![0, 1] }; // two photos, two features each
//! let test = Features { values: vec![0.9, 0.1], labels: vec![0] };
//! assert_eq!(Knn { k: 1, tau: 0.07 }.classify(&Device::cpu(), &train, &test)?.top1, 1.0);
//! # Ok::<(), vista::Error>(())
//! ```

pub mod colour;
mod features;
pub mod finetune;
pub mod handmade;
mod judge;
pub mod knn;
mod map;
mod neighbours;
mod newton;
pub mod probe;
pub mod sgd_probe;
mod supervised;
pub mod svm;
mod table;
mod tsne;
pub mod voc;
pub mod worth;

pub use features::{Embedded, Features, colour_features, colours, embed, features, precise_statistics};
pub use finetune::{Finetune, FinetuneResult};
pub use handmade::handmade_features;
pub use judge::KnnJudge;
pub use knn::{Knn, KnnProtocol, Votes};
pub use map::{components, principal};
pub use neighbours::{
    Neighbour, Points, PurityCurves, chance, mean_similarity, nearest, purity, scores, share_a_label, worst,
};
pub use probe::{Probe, ProbeResult};
pub use sgd_probe::SgdProbe;
pub use supervised::LabelledAlbums;
pub use svm::{CostPath, Svm, SvmLoss, Trained};
pub use table::FeatureTable;
pub(crate) use table::unit;
pub use tsne::tsne;
pub use voc::{ClassAp, MultiLabelled, Voc, VocResult, frequent};
pub use worth::Worth;
