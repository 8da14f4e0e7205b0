//! Ops that are a composition of others made fast or small, each tested against it (`tests/engine/fused.rs`). One stays only for
//! what it saves, measured by `cargo bench -- 'fused|composed'` and told in docs/SPEED.md.
//!
//! ```
//! # use vista::{Device, Tensor, engine::ops::{CrossEntropy, run}};
//! # let device = &Device::cpu();
//! let (logits, labels) = (Tensor::new(device, [1, 2], &[0.0, 0.0])?, Tensor::new(device, [1], &[1.0])?);
//! let loss = run(&CrossEntropy::default(), &[&logits, &labels])?[0].item()?;
//! assert!((loss - 2f32.ln()).abs() < 1e-6);
//! # Ok::<(), vista::Error>(())
//! ```

pub mod cross_entropy;
pub mod smooth_ap;
