//! DenseCL: InfoNCE of whole views, and of the cells of their feature maps.
//!
//! ```
//! # use vista::{Device, Tensor, pretrain::methods::densecl::match_cells};
//! let device = Device::cpu();
//! let map = |cells: &[f32]| Tensor::new(&device, [1, 1, 1, 2], cells); // one cell alone
//! assert_eq!(match_cells(&map(&[1.0, 0.0])?, &map(&[0.0, 1.0])?)?.to_vec()?, [0.0]);
//! # Ok::<(), vista::Error>(())
//! ```

use super::entry::{Entry, preset};
use super::moco::{self, slots, small_queue};
use crate::engine::autograd::{Tape, Var};
use crate::engine::nn::Mode;
use crate::engine::ops::{Coordinates, GatherRows, L2Normalize, MatchCells, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::pretrain::check::{check_momentum, check_queue, check_tau, check_weight};
use crate::pretrain::config::Config;
use crate::pretrain::encoder::Embedding;
use crate::pretrain::method::{Build, Embedded, HalfConfig, Heads, KeyViews, Loss, Method, Now};
use crate::pretrain::named::Named;
use crate::pretrain::queue::Queue;
use serde::{Deserialize, Serialize};

/// `loss = (1 - lambda) L_global + lambda L_dense`. The dense term is InfoNCE over every cell of the query's grid: its
/// positive is the key's cell with the most similar backbone features, its negatives are the queue of averaged dense
/// keys.
///
/// # Source
/// DenseCL, Eq. 1-4 and Sec. 4.1: lambda 0.5, tau 0.2, 128 wide, m 0.999, a queue of 16,384 on COCO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename = "densecl", default, deny_unknown_fields)]
pub struct DenseCl {
    /// Temperature of both terms.
    pub tau: f32,
    /// Share of the dense term.
    pub lambda: f32,
    /// Cells in a row of the grid; 0 for as many as the backbone's map has.
    pub grid: usize,
    /// Slots of the queue, D.
    pub queue: usize,
    /// Share of the key encoder that stays at each step.
    pub m: f64,
    /// Width of the projections, dense ones too.
    pub projection: usize,
    /// Hidden width of the projector; 0 for the width of the features.
    pub hidden: usize,
}

impl Default for DenseCl {
    fn default() -> DenseCl {
        DenseCl { tau: 0.2, lambda: 0.5, grid: 0, queue: 16_384, m: 0.999, projection: 128, hidden: 0 }
    }
}

/// The method.
pub const ENTRY: Entry = Entry {
    recipe: |config| epochs(config.train.epochs),
    small: |config, photos| {
        let method = DenseCl { tau: 0.1, queue: slots(config, photos), m: 0.996, ..DenseCl::default() };
        small_queue(config, method);
    },
    presets: &[
        preset(
            "densecl-coco-r50-400ep",
            "MLS, Tables 2 and 5's baseline: DenseCL, ResNet-50, 400 epochs of COCO, 224 px",
            || epochs(400),
        ),
        preset("densecl-coco-r50-800ep", "MLS, Table 1's DenseCL: the same for 800 epochs", || epochs(800)),
    ],
    ..Entry::of::<DenseCl>("densecl", include_str!("densecl.rs"))
};

/// DenseCL on COCO.
///
/// # Source
/// DenseCL, Sec. 4.1: COCO with lr 0.3, batch 256.
fn epochs(epochs: u64) -> Config {
    let mut config = Config::base(DenseCl::default());
    config.train.epochs = epochs;
    config
}

impl Method for DenseCl {
    fn check(&self, batch: usize, half: &HalfConfig) -> Result<()> {
        check_tau(self.tau, 0.2)?;
        check_weight("method.lambda", self.lambda, 1.0)?;
        check_momentum(self.m)?;
        check_queue(half, self.queue, batch, self.projection)
    }

    fn key_views(&self) -> KeyViews {
        KeyViews::Second
    }

    /// The global and the dense projector, both behind the backbone.
    ///
    /// # Source
    /// DenseCL, Sec. 3.2: 1x1 convolution, relu, 1x1 convolution; a grid of `S x S` cells.
    fn heads(&self, build: &mut Build) -> Result<Heads> {
        let projector = build.mlp("projector", [build.features, self.hidden, self.projection], false)?;
        let dense = build.mlp("dense", [build.features, 0, self.projection], false)?;
        Ok([("z", projector), ("dense", dense)].into())
    }

    fn queue(&self, _features: usize) -> (usize, Named<usize>) {
        (self.queue, [("z", self.projection), ("dense", self.projection)].into())
    }

    fn m(&self, _now: &Now) -> f64 {
        self.m
    }

    /// Besides g and z the map f on the grid, `[N, S, S, d_g]`, and the projections of its cells, `[N, S, S, d_z]`.
    fn embed<'t>(&self, heads: &Heads, mut map: Var<'t>, mode: Mode) -> Result<Embedding<'t>> {
        let g = map.global_avg_pool()?;
        let z = heads.get("z")?.forward(&g, mode)?;
        if self.grid > 0 && map.shape()[1..3] != [self.grid; 2] {
            map = map.bilinear_resize([self.grid; 2], Coordinates::HalfPixel)?;
        }
        let [n, h, w, _] = map.shape()[..] else { unreachable!("a map has four dimensions") };
        let dense = heads.get("dense")?.forward(&cells(&map)?, mode)?; // [N S S, d_z]
        let dense = dense.reshape([n, h, w, self.projection])?;
        Ok([("g", g), ("z", z), ("map", map), ("dense", dense)].into())
    }

    fn loss<'t>(&self, e: &Embedded<'_, 't>) -> Result<Loss<'t>> {
        let query = [e.query("z")?, e.query("map")?, e.query("dense")?];
        self.loss_of(query, [e.key("z")?, e.key("map")?, e.key("dense")?], e.queue()?)
    }

    /// Dense keys enter as their mean.
    fn enqueue(&self, queue: &mut Queue, new: &Named<Tensor>, ids: &[u64]) -> Result<()> {
        let dense = new.get("dense")?;
        let pooled = Tape::inert(dense.device()).constant(dense.clone()).global_avg_pool()?.value().clone();
        queue.enqueue(&[("z", new.get("z")?.clone()), ("dense", pooled)].into(), ids)
    }
}

impl DenseCl {
    /// The loss of projections, maps and dense projections of query and key, and of the old queue.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not fit.
    pub fn loss_of<'t>(
        &self,
        [z1, f1, q]: [&Var<'t>; 3],
        [z2, f2, k]: [&Tensor; 3],
        queue: &Queue,
    ) -> Result<Loss<'t>> {
        let global = moco::term("loss_global", z1, z2, queue.ring("z")?, self.tau)?;
        let index = match_cells(f1.value(), f2)?; // [B S S]
        let [q, k] = [cells(q)?, cells(&q.tape().constant(k.clone()))?]; // [B S S, d]
        let matched = run(&GatherRows, &[k.value(), &index])?.swap_remove(0); // [B S S, d]
        let dense = moco::term("loss_dense", &q, &matched, queue.ring("dense")?, self.tau)?;
        let terms = vec![global.weighted(1.0 - self.lambda), dense.weighted(self.lambda)];
        Ok(Loss { terms, ..Loss::default() })
    }
}

/// For every cell of `f1` the cell of the same image's `f2` with the highest cosine, ties to the lowest.
///
/// | value | shape | |
/// |---|---|---|
/// | `f1`, `f2` | `[B, S, S, d_g]` | raw |
/// | returns | `[B S S]` | rows of `f2` as `[B S S, d_g]`; cells are row-major |
///
/// # Errors
/// [`Error::Shape`] if the maps differ in shape.
/// # Source
/// DenseCL, Eq. 3.
pub fn match_cells(f1: &Tensor, f2: &Tensor) -> Result<Tensor> {
    let [n, h, w, c] = f1.shape()[..] else {
        return Err(Error::shape("match_cells", format!("needs maps [B,S,S,d], got {}", f1.shape())));
    };
    let unit = |f: &Tensor| Ok(run(&L2Normalize, &[f])?.swap_remove(0));
    let cells = [unit(f1)?.reshape([n, h * w, c])?, unit(f2)?.reshape([f2.shape()[0], h * w, c])?];
    run(&MatchCells, &[&cells[0], &cells[1]])?.swap_remove(0).reshape([n * h * w])
}

/// `[B, S, S, d] -> [B S S, d]`
fn cells<'t>(x: &Var<'t>) -> Result<Var<'t>> {
    let width = x.shape()[x.shape().len() - 1];
    x.reshape([x.value().elements() / width, width])
}
