//! Heads that only some objectives see: prototypes (SwAV) and the dense projector (DenseCL).

use crate::engine::autograd::Var;
use crate::engine::device::Device;
use crate::engine::nn::{Mode, Module, Param, Projector};
use crate::engine::ops::{L2Normalize, run};
use crate::engine::tensor::{Tensor, init};
use crate::error::Result;
use rand::Rng;

/// Trainable directions that projections are compared with.
///
/// # Source
/// SwAV, Sec. 3.1: a linear layer without bias whose rows have unit length before each forward pass.
#[derive(Debug)]
pub struct Prototypes {
    /// `[prototypes, d_z]`.
    pub weight: Param,
}

impl Prototypes {
    /// Random unit directions.
    ///
    /// # Errors
    /// The device's.
    pub fn new(device: &Device, rng: &mut impl Rng, count: usize, width: usize) -> Result<Prototypes> {
        let values = init::normal(rng, count * width, 1.0);
        let prototypes = Prototypes {
            weight: Param::new("prototypes.weight", Tensor::new(device, [count, width], &values)?),
        };
        prototypes.normalize()?;
        Ok(prototypes)
    }

    /// Brings every prototype back to unit length.
    ///
    /// # Errors
    /// The device's.
    pub fn normalize(&self) -> Result<()> {
        self.weight.set(run(&L2Normalize, &[&self.weight.get()])?.swap_remove(0))
    }

    /// Cosine of each projection with each prototype: `[N, d_z] -> [N, prototypes]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the width differs.
    pub fn scores<'t>(&self, z: &Var<'t>) -> Result<Var<'t>> {
        z.l2_normalize()?.matmul_nt(&z.tape().param(&self.weight))
    }
}

/// Projections of every cell of the backbone's map: the global projector as 1x1 convolutions.
///
/// # Source
/// DenseCL, Sec. 3.2: 1x1 convolution, relu, 1x1 convolution; a grid of `S x S` cells.
#[derive(Debug)]
pub struct DenseProjector {
    mlp: Projector,
    /// Cells in a row of the grid; 0 takes the map as it is.
    grid: usize,
}

impl DenseProjector {
    /// A dense projector from maps of `inputs` channels through as many hidden ones to `outputs`.
    ///
    /// # Errors
    /// The device's.
    pub fn new(
        device: &Device,
        rng: &mut impl Rng,
        [inputs, outputs]: [usize; 2],
        grid: usize,
    ) -> Result<DenseProjector> {
        Ok(DenseProjector {
            mlp: Projector::new(device, rng, "dense", [inputs, inputs, outputs], false)?,
            grid,
        })
    }

    /// The map on the grid, and the projections of its cells: `[N, H, W, C] -> [N, S, S, C], [N, S, S, d_z]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the channels differ.
    pub fn forward<'t>(&self, map: &Var<'t>, mode: Mode) -> Result<(Var<'t>, Var<'t>)> {
        let mut map = map.clone();
        if self.grid > 0 && map.shape()[1..3] != [self.grid; 2] {
            map = map.bilinear_resize([self.grid; 2])?;
        }
        let [n, h, w, c] = map.shape()[..] else { unreachable!("a map has four dimensions") };
        let cells = self.mlp.forward(&map.reshape([n * h * w, c])?, mode)?;
        let width = cells.shape()[1];
        Ok((map, cells.reshape([n, h, w, width])?))
    }
}

impl Module for DenseProjector {
    fn visit(&self, f: &mut dyn FnMut(&Param)) {
        self.mlp.visit(f);
    }
}
