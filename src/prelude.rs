//! What most programs on Vista need: `use vista::prelude::*;`.

pub use crate::engine::autograd::{Grads, Observation, Tape, Var};
pub use crate::engine::nn::{Architecture, Mode, Module, Param, ResNet, ResNetConfig, Stem};
pub use crate::engine::ops::Over;
pub use crate::engine::optim::{Optimizer, Sgd, SgdConfig};
pub use crate::photos::views::{ViewConfig, ViewMaker, ViewParams};
pub use crate::photos::{Album, AlbumOptions, Loader, LoaderOptions, Photos};
pub use crate::pretrain::encoder::{Encoder, HeadsConfig, Outputs, ResNetEncoder};
pub use crate::pretrain::objective::{Embeddings, KeyViews, Loss, Needs, Objective, Term};
pub use crate::pretrain::queue::{Queue, Rings};
pub use crate::pretrain::{Batch, Config, Learner, learner};
pub use crate::transfer::classify::embed;
pub use crate::{Device, Error, Result, Shape, Tensor};
