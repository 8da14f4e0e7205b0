//! What most programs on Vista need: `use vista::prelude::*;`.

pub use crate::autograd::{Grads, Observation, Tape, Var};
pub use crate::data::{Album, AlbumOptions, Loader, LoaderOptions, Photos};
pub use crate::encoder::{Encoder, HeadsConfig, Outputs, ResNetEncoder};
pub use crate::eval::embed;
pub use crate::nn::{Architecture, Mode, Module, Param, ResNet, ResNetConfig, Stem};
pub use crate::objective::{Embeddings, KeyViews, Loss, Needs, Objective, Term};
pub use crate::ops::Over;
pub use crate::optim::{Optimizer, Sgd, SgdConfig};
pub use crate::queue::{Queue, Rings};
pub use crate::train::{Batch, Config, Learner, learner};
pub use crate::views::{ViewConfig, ViewMaker, ViewParams};
pub use crate::{Device, Error, Result, Shape, Tensor};
