//! How batch norm's kernels cut the rows, and what they bind.

use crate::engine::device::Gpu;
use crate::engine::device::kernel::Dispatch;
use crate::engine::device::params::Param;
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;
use std::ops::Range;

/// How the kernels cut the rows.
#[derive(Clone, Copy)]
pub(in crate::engine::ops) struct Plan {
    /// In a group.
    rows: usize,
    channels: usize,
    groups: usize,
    block_rows: usize,
    /// In a group.
    blocks: usize,
    eps: f32,
    relu: bool,
    batch_stats: bool,
}

/// What a kernel over blocks of rows binds.
#[derive(Clone, Copy)]
pub(super) enum Bound<'a> {
    /// The rows of the blocks, of a tensor like x.
    Block(&'a Tensor),
    /// All of a tensor.
    Whole(&'a Tensor),
}
use Bound::{Block, Whole};

/// The name of the op and of its shader.
pub(super) const NAME: &str = "batch_norm";

/// How backward knows what a relu let through.
#[derive(Clone, Copy)]
pub(in crate::engine::ops) enum Mask<'a> {
    /// By y. Without a relu any tensor like x may stand for it.
    Y(&'a Tensor),
    /// By computing y again, with the coefficients.
    Coefficients,
}

impl<'a> Bound<'a> {
    fn over(&self, block: Range<usize>) -> (&'a Tensor, Option<Range<usize>>) {
        match self {
            Block(image) => (image, Some(block)),
            Whole(tensor) => (tensor, None),
        }
    }
}

impl Plan {
    pub fn new(gpu: &Gpu, x: &Shape, groups: usize, eps: f32, relu: bool, batch_stats: bool) -> Plan {
        let channels = x[x.len() - 1];
        let rows = x.elements() / channels / groups;
        // Enough workgroups to fill a large GPU, or all cores of a CPU; a block has two rows a lane at least.
        let wanted = if gpu.is_cpu { 32 } else { 1024 };
        let blocks = (wanted / (channels.div_ceil(32) * groups)).clamp(1, 256);
        let block_rows = rows.div_ceil(blocks).max(64);
        let blocks = rows.div_ceil(block_rows);
        Plan { rows, channels, groups, block_rows, blocks, eps, relu, batch_stats }
    }

    /// The same rows in blocks of so many.
    pub fn cut(self, block_rows: usize) -> Plan {
        Plan { block_rows, blocks: self.rows.div_ceil(block_rows), ..self }
    }

    /// The params of a dispatch: its first block, the element that its bindings begin at, and how many blocks it has.
    fn params(&self, first: usize, base: usize, count: usize) -> Vec<Param> {
        vec![
            ("first", first.into()),
            ("base", base.into()),
            ("count", count.into()),
            ("rows", self.rows.into()),
            ("channels", self.channels.into()),
            ("groups", self.groups.into()),
            ("block_rows", self.block_rows.into()),
            ("blocks", self.blocks.into()),
            ("stride", self.stride().into()),
            ("batch_stats", u32::from(self.batch_stats).into()),
            ("eps", self.eps.into()),
        ]
    }

    /// Channels rounded up to whole vec4s.
    fn stride(&self) -> usize {
        self.channels.next_multiple_of(4)
    }

    /// The entry point for any number of channels, or the faster one.
    pub fn entry(&self, [vec4, odd]: [&'static str; 2]) -> &'static str {
        if self.channels.is_multiple_of(4) { vec4 } else { odd }
    }

    /// Room for some vectors of the channels.
    fn table(&self, x: &Tensor, vectors: usize) -> Result<Tensor> {
        Tensor::uninit(x.device(), Shape::from([vectors, self.stride()]))
    }

    /// Room for the means and squared deviations of the blocks.
    pub fn statistics(&self, x: &Tensor) -> Result<Tensor> {
        self.table(x, 2 * self.groups * self.blocks)
    }

    /// A kernel over blocks of rows, as many at once as a binding holds. `flags` are constants that are on.
    pub(super) fn over_blocks(
        &self,
        gpu: &Gpu,
        entry: &'static str,
        flags: &[&'static str],
        tensors: &[Bound],
    ) -> Result<()> {
        let Some(Block(x)) = tensors.first() else { unreachable!("x comes first") };
        let total = self.groups * self.blocks;
        let fits = (gpu.max_binding as usize / 4).saturating_sub(64) / (self.block_rows * self.channels);
        let row = |block: usize| block / self.blocks * self.rows + block % self.blocks * self.block_rows;
        let flag = |on: bool| f64::from(u8::from(on));
        let mut constants = vec![("VEC", flag(self.channels.is_multiple_of(4))), ("RELU", flag(self.relu))];
        constants.extend(flags.iter().map(|&name| (name, 1.0)));
        for first in (0..total).step_by(fits.max(1)) {
            let count = fits.max(1).min(total - first);
            // Bindings start on a multiple of 64 elements.
            let base = row(first) * self.channels / 64 * 64;
            let end = if first + count == total { x.elements() } else { row(first + count) * self.channels };
            gpu.run(Dispatch {
                constants: constants.clone(),
                tensors: tensors.iter().map(|bound| bound.over(base..end)).collect(),
                ..Dispatch::new(
                    NAME,
                    entry,
                    self.params(first, base, count),
                    &[],
                    count * self.channels.div_ceil(32),
                )
            })?;
        }
        Ok(())
    }

    /// Writes the coefficients `[4, 1, C]` of mean, gamma, beta and variance, each `[C]`.
    pub fn given(&self, gpu: &Gpu, tensors: &[&Tensor; 5]) -> Result<()> {
        let groups = self.channels.div_ceil(256);
        gpu.run(Dispatch::new(NAME, "given", self.params(0, 0, 0), tensors, groups))
    }

    /// Writes the coefficients `[4, groups, C]` of the groups, from the statistics of their blocks.
    pub fn merge(&self, gpu: &Gpu, [blocks, gamma, beta, coefficients]: [&Tensor; 4]) -> Result<()> {
        gpu.run(Dispatch {
            // As many workgroups as there can be: there may be thousands of blocks.
            constants: vec![("QUADS", 1.0)],
            ..Dispatch::new(
                NAME,
                "merge_blocks",
                self.params(0, 0, 0),
                &[blocks, gamma, beta, coefficients],
                self.groups * self.channels.div_ceil(4),
            )
        })
    }

    /// Writes `y` from x, by coefficients `[4, groups, C]`, and perhaps a residual.
    pub fn normalise(
        &self,
        gpu: &Gpu,
        [x, coefficients, y]: [&Tensor; 3],
        residual: Option<&Tensor>,
    ) -> Result<()> {
        let tensors = [Block(x), Whole(coefficients), Block(residual.unwrap_or(x)), Block(y)];
        let flags = residual.map(|_| "RESIDUAL");
        self.over_blocks(gpu, self.entry(["forward", "forward_odd"]), flags.as_slice(), &tensors)
    }

    pub fn backward(
        &self,
        gpu: &Gpu,
        [x, dy]: [&Tensor; 2],
        mask: Mask,
        [gamma, coefficients]: [&Tensor; 2],
        [dx, dgamma, dbeta]: [&Option<Tensor>; 3],
        dresidual: Option<&Option<Tensor>>,
    ) -> Result<()> {
        // What is not wanted is written to scratch memory.
        let or_scratch = |wanted: &Option<Tensor>, shape: &Shape| match wanted {
            Some(tensor) => Ok(tensor.clone()),
            None => Tensor::uninit(x.device(), shape.clone()),
        };
        let (dx, dgamma, dbeta) = (
            or_scratch(dx, x.shape())?,
            or_scratch(dgamma, gamma.shape())?,
            or_scratch(dbeta, gamma.shape())?,
        );
        let blocks = self.table(x, (2 * self.blocks + 3) * self.groups)?;
        let (value, by_coefficients) = match mask {
            Mask::Y(y) => (Block(y), None),
            Mask::Coefficients => (Whole(coefficients), Some("COEFS")),
        };
        let tensors = [Block(x), value, Block(dy), Whole(coefficients), Whole(gamma), Whole(&blocks)];
        self.over_blocks(gpu, "gradient_blocks", by_coefficients.as_slice(), &tensors)?;
        let dresidual = dresidual.and_then(Option::as_ref);
        let unused = self.table(x, 1)?;
        let tensors = [
            Block(x),
            value,
            Block(dy),
            Whole(&blocks),
            Block(&dx),
            dresidual.map_or(Whole(&unused), Block),
            Whole(&dgamma),
            Whole(&dbeta),
        ];
        let flags =
            [by_coefficients, dresidual.map(|_| "RESIDUAL")].into_iter().flatten().collect::<Vec<_>>();
        self.over_blocks(gpu, self.entry(["backward", "backward_odd"]), &flags, &tensors)
    }
}
