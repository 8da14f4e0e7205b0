//! Stage 3: embeddings. A backbone and a method's heads, and the momentum copy of both.
//!
//! **Formula.** `g = pool(backbone(x))`, `z = W2 relu(W1 g + b1) + b2`; the key encoder moves by `key = m key + (1 - m) query`.
//!
//! **Why so.** What is kept after pretraining is the backbone: the projector takes the loss's damage, and g stays useful. Keys
//! must change slowly, or those of earlier steps in the queue mean something else than today's.
//!
//! **The trap.** Only parameters are averaged. Running statistics of batch norm are each encoder's own, and an average that
//! includes them is wrong without failing.
//!
//! **The test.** `an_average_that_keeps_everything_freezes_the_key_encoder` in `tests/pretrain/training.rs`,
//! `ema_moves_trained_parameters_only_and_refuses_other_names` in `tests/engine/optim.rs`.
//!
//! ```
//! # use vista::{Device, Tensor, engine::autograd::Tape, engine::nn::Mode, pretrain::{Config, encoder::Encoder}};
//! let device = Device::cpu();
//! let encoder = Config::preset("demo")?.with("model.width=4")?.encoder(&device)?;
//! let tape = Tape::inert(&device);
//! let images = tape.constant(Tensor::full(&device, [2, 32, 32, 3], 0.5)?);
//! let e = encoder.embed(&images, Mode::Eval)?;
//! assert_eq!((&e.get("g")?.shape()[..], &e.get("z")?.shape()[..]), (&[2, 32][..], &[2, 128][..]));
//! # Ok::<(), vista::Error>(())
//! ```

use super::named::Named;
use crate::engine::autograd::Var;
use crate::engine::nn::Mode;
use crate::error::Result;

/// What an encoder makes of a batch of images, on a tape: one value for each head, all with the batch's N rows and none of
/// them normalised. `g` are the pooled features `[N, d_g]` and `z` the projections `[N, d_z]`, in every method.
pub type Embedding<'t> = Named<Var<'t>>;

/// Anything that turns images into embeddings.
pub trait Encoder {
    /// Embeds images `[N, H, W, 3]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the images do not fit; the device's errors.
    fn embed<'t>(&self, images: &Var<'t>, mode: Mode) -> Result<Embedding<'t>>;
}
