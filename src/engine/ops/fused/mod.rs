//! Ops that are a composition of others made fast or small, each tested against it (`tests/engine/fused.rs`). One stays only for
//! what it saves, measured by `cargo bench -- 'fused|composed'` and told in docs/SPEED.md.

pub mod cross_entropy;
pub mod smooth_ap;
