//! What most programs on Vista need: `use vista::prelude::*;`.
//!
//! ```
//! use vista::prelude::*;
//!
//! let device = Device::cpu();
//! let tape = Tape::new(&device);
//! let x = tape.leaf(Tensor::new(&device, [1, 2], &[1.0, 1.0])?);
//! assert_eq!(x.mean(Over::All)?.value().item()?, 1.0);
//! # Ok::<(), vista::Error>(())
//! ```

pub use crate::engine::autograd::{Grads, Observation, Tape, Var};
pub use crate::engine::nn::{Architecture, Backbone, Mode, Module, Param, ResNet, ResNetConfig, Stem};
pub use crate::engine::ops::Over;
pub use crate::engine::optim::{OptimConfig, Optimizer, SgdConfig};
pub use crate::photos::views::{ViewConfig, ViewMaker, ViewParams};
pub use crate::photos::{Album, AlbumOptions, Loader, LoaderOptions, Photos};
pub use crate::pretrain::encoder::{Embedding, Encoder};
pub use crate::pretrain::method::{Build, Embedded, Heads, Loss, Method, Now, Term};
pub use crate::pretrain::named::Named;
pub use crate::pretrain::queue::Queue;
pub use crate::pretrain::training::Training;
pub use crate::pretrain::{Batch, Config, Learner, ResNetEncoder, learner};
pub use crate::transfer::classify::embed;
pub use crate::{Device, Error, Result, Shape, Tensor};
