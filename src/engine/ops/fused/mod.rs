//! Ops that are a composition of others made fast or small, each tested against it (`tests/fused.rs`). One stays only for
//! what it saves: without it a loss over a queue of 65,536 and a batch of 256 keeps up to eight temporaries of 64 MiB, and
//! smooth AP one of `[n, n, n]`.

pub mod bce_with_logits;
pub mod cross_entropy;
pub mod knn_softmax;
pub mod smooth_ap;
