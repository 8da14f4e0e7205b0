//! How batch norm's kernels cut the rows, and what they bind.

use super::NAME;
use crate::engine::device::Gpu;
use crate::engine::device::kernel::Dispatch;
use crate::engine::tensor::{Shape, Tensor};
use crate::error::Result;
use bytemuck::{Pod, Zeroable, bytes_of};
use std::ops::Range;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    rows: u32,
    channels: u32,
    groups: u32,
    block_rows: u32,
    blocks: u32,
    first: u32,
    base: u32,
    count: u32,
    var_at: u32,
    stride: u32,
    batch_stats: u32,
    eps: f32,
}

/// How the kernels cut the rows.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// In a group.
    rows: usize,
    pub channels: usize,
    pub groups: usize,
    block_rows: usize,
    /// In a group.
    pub blocks: usize,
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

/// How backward knows what a relu let through.
#[derive(Clone, Copy)]
pub(super) enum Mask<'a> {
    /// By y. Without a relu any tensor like x may stand for it.
    Y(&'a Tensor),
    /// By computing y again, with the coefficients.
    Coefficients(&'a Tensor),
}

/// What rows are normalised by.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// Mean, variance, scale and shift of each group, `[4, groups, C]`.
    Coefficients(&'a Tensor),
    /// Mean, gamma, beta and variance, each `[C]`.
    Statistics([&'a Tensor; 4]),
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
        let wanted = if gpu.is_cpu() { 32 } else { 1024 };
        let blocks = (wanted / (channels.div_ceil(32) * groups)).clamp(1, 256);
        let block_rows = rows.div_ceil(blocks).max(64);
        let blocks = rows.div_ceil(block_rows);
        Plan { rows, channels, groups, block_rows, blocks, eps, relu, batch_stats }
    }

    /// The same rows in blocks of so many.
    pub fn cut(self, block_rows: usize) -> Plan {
        Plan { block_rows, blocks: self.rows.div_ceil(block_rows), ..self }
    }

    pub fn params(&self) -> Params {
        Params {
            rows: self.rows as u32,
            channels: self.channels as u32,
            groups: self.groups as u32,
            block_rows: self.block_rows as u32,
            blocks: self.blocks as u32,
            first: 0,
            base: 0,
            count: 0,
            var_at: if self.batch_stats { (self.groups * self.channels) as u32 } else { 0 },
            stride: self.stride() as u32,
            batch_stats: u32::from(self.batch_stats),
            eps: self.eps,
        }
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
    pub fn table(&self, x: &Tensor, vectors: usize) -> Result<Tensor> {
        Tensor::uninit(x.device(), Shape::from([vectors, self.stride()]))
    }

    /// A kernel over blocks of rows, as many at once as a binding holds. `flags` are constants that are on.
    pub fn over_blocks(
        &self,
        gpu: &Gpu,
        entry: &'static str,
        flags: &[&'static str],
        tensors: &[Bound],
    ) -> Result<()> {
        let Some(Block(x)) = tensors.first() else { unreachable!("x comes first") };
        let total = self.groups * self.blocks;
        let fits = (gpu.max_binding() as usize / 4).saturating_sub(64) / (self.block_rows * self.channels);
        let row = |block: usize| block / self.blocks * self.rows + block % self.blocks * self.block_rows;
        let flag = |on: bool| f64::from(u8::from(on));
        let mut constants = vec![("VEC", flag(self.channels.is_multiple_of(4))), ("RELU", flag(self.relu))];
        constants.extend(flags.iter().map(|&name| (name, 1.0)));
        for first in (0..total).step_by(fits.max(1)) {
            let count = fits.max(1).min(total - first);
            // Bindings start on a multiple of 64 elements.
            let base = row(first) * self.channels / 64 * 64;
            let end = if first + count == total { x.elements() } else { row(first + count) * self.channels };
            let params =
                Params { first: first as u32, base: base as u32, count: count as u32, ..self.params() };
            gpu.run(Dispatch {
                shader: NAME,
                entry,
                constants: constants.clone(),
                params: &[],
                bytes: bytes_of(&params),
                tensors: tensors.iter().map(|bound| bound.over(base..end)).collect(),
                groups: (count * self.channels.div_ceil(32)) as u64,
                work: 0,
            })?;
        }
        Ok(())
    }

    /// Writes the coefficients `[4, groups, C]` of the groups, from the statistics of their blocks.
    pub fn merge(&self, gpu: &Gpu, [blocks, gamma, beta, coefficients]: [&Tensor; 4]) -> Result<()> {
        gpu.run(Dispatch {
            // As many workgroups as there can be: there may be thousands of blocks.
            constants: vec![("QUADS", 1.0)],
            ..Dispatch::raw(
                NAME,
                "merge_blocks",
                bytes_of(&self.params()),
                &[blocks, gamma, beta, coefficients],
                self.groups * self.channels.div_ceil(4),
            )
        })
    }

    /// Writes `y` from x and perhaps a residual.
    pub fn normalise(
        &self,
        gpu: &Gpu,
        [x, y]: [&Tensor; 2],
        by: Given,
        residual: Option<&Tensor>,
    ) -> Result<()> {
        let ([mean, gamma, beta, var], by_coefficients) = match by {
            Given::Coefficients(all) => ([all; 4], Some("COEFS")),
            Given::Statistics(each) => (each, None),
        };
        let tensors = [
            Block(x),
            Whole(mean),
            Whole(gamma),
            Whole(beta),
            Block(residual.unwrap_or(x)),
            Whole(var),
            Block(y),
        ];
        let flags = [by_coefficients, residual.map(|_| "RESIDUAL")].into_iter().flatten().collect::<Vec<_>>();
        self.over_blocks(gpu, self.entry(["forward_given", "forward_given_odd"]), &flags, &tensors)
    }

    pub fn backward(
        &self,
        gpu: &Gpu,
        [x, dy]: [&Tensor; 2],
        mask: Mask,
        [gamma, mean, var]: [&Tensor; 3],
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
            Mask::Coefficients(all) => (Whole(all), Some("COEFS")),
        };
        let tensors = [Block(x), value, Block(dy), Whole(mean), Whole(var), Whole(gamma), Whole(&blocks)];
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
