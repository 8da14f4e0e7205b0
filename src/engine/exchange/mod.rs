//! What processes that train together tell each other. One process is [`Alone`], which costs nothing.
//!
//! **In:** a tensor or bytes of this process, a *rank*. **Out:** the sum, or what every rank has, the same on all of them.
//!
//! It is used where a batch spans ranks: in batch norm ([`Ranks`](crate::engine::ops::Ranks)), in losses over all
//! embeddings, for the keys of a queue, and for the gradient ([`Grads::sum`](crate::engine::autograd::Grads::sum)).
//!
//! **The trap.** Every rank must make the same calls in the same order. Sums are added in rank order, so that the same ranks give
//! the same bits each time. A gradient that is to flow through a gather must not get lost there: losses that compare the images of
//! all ranks are made of all embeddings on each rank, which keeps its own rows of their gradient.
//!
//! **The test.** `tests/engine/exchange.rs`: two ranks with half of a batch each have the values and gradients of one with the whole.
//!
//! ```
//! # use vista::engine::exchange::{Alone, Exchange};
//! assert_eq!((Alone.rank(), Alone.ranks()), (0, 1));
//! assert_eq!(Alone.tell(b"seed 7")?, [b"seed 7"]);
//! # Ok::<(), vista::Error>(())
//! ```

mod block;
#[cfg(feature = "mpi")]
mod mpi;

pub use block::Block;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;

use crate::engine::device::{Device, Precision};
use crate::engine::tensor::{Shape, Tensor};
use crate::error::{Error, Result};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Processes that train together, as one of them sees the others.
pub trait Exchange: Debug {
    /// The number of this process, below [`Exchange::ranks`].
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// How many ranks before this one are on its machine, and how many are there in all.
    fn local(&self) -> (usize, usize) {
        (self.rank(), self.ranks())
    }

    /// What each rank has for this one, in rank order; `parts[r]` is for rank r. Lengths may differ.
    ///
    /// # Errors
    /// [`Error::Run`] if another rank has ended.
    fn swap(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>>;

    /// The last word of this process: all went well, or why not. Waits for that of the others.
    ///
    /// # Errors
    /// [`Error::Run`] naming the first rank that failed and why, unless that was known before.
    fn close(&self, _failure: Option<&str>) -> Result<()> {
        Ok(())
    }

    /// What each rank says, in rank order; `[0]` is a broadcast. Lengths may differ.
    ///
    /// # Errors
    /// As [`Exchange::swap`].
    fn tell(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.swap(&vec![mine; self.ranks()])
    }

    /// The rows of all ranks, `[N, ..]` of each: `[R N, ..]`, in rank order.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ or there are no rows; as [`Exchange::swap`].
    fn gather(&self, x: &Tensor) -> Result<Tensor> {
        let Some(rows) = x.shape().first() else {
            return Err(Error::shape("gather", "a scalar has no rows"));
        };
        let shape = x.shape().with_rows(rows * self.ranks());
        let all = self.tell(&bytes(x)?)?;
        self.expect_alike(&all, x.elements() * size(x.device()))?;
        tensor(x.device(), shape, &all.concat())
    }

    /// Of the rows that [`Exchange::gather`] would give, those of this rank's part of `order`: it has as many numbers of rows
    /// for each rank as a rank has rows, in rank order. Only what is wanted is sent.
    ///
    /// # Errors
    /// As [`Exchange::gather`].
    fn deal(&self, x: &Tensor, order: &[usize]) -> Result<Tensor> {
        let (rows, row) = (order.len() / self.ranks(), x.shape().row() * size(x.device()));
        let mine = bytes(x)?;
        if mine.len() != rows * row {
            let detail = format!("{} rows for {} ranks of {}", order.len(), self.ranks(), x.shape());
            return Err(Error::shape("deal", detail));
        }
        let wanted: Vec<Vec<u8>> = order
            .chunks(rows)
            .map(|part| part.iter().filter(|&&i| i / rows == self.rank()))
            .map(|own| own.flat_map(|i| &mine[i % rows * row..][..row]).copied().collect())
            .collect();
        let parts = self.swap(&wanted.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let mut parts: Vec<_> = parts.iter().map(|part| part.chunks(row)).collect();
        let mut dealt = Vec::with_capacity(mine.len());
        for i in &order[self.rank() * rows..][..rows] {
            let Some(next) = parts[i / rows].next() else {
                return Err(Error::shape("deal", format!("rank {} has no row {i}", i / rows)));
            };
            dealt.extend_from_slice(next);
        }
        tensor(x.device(), x.shape().clone(), &dealt)
    }

    /// The sum over ranks of tensors of one shape. Each rank adds one slice, in rank order, and all gather the slices: every rank
    /// sends twice the tensor's bytes, however many there are.
    ///
    /// PRECISION: a slice is added in f64 and rounded once.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ; as [`Exchange::swap`].
    fn sum(&self, x: &Tensor) -> Result<Tensor> {
        let (mine, size) = (bytes(x)?, size(x.device()));
        let slices = (0..self.ranks()).map(|rank| share(x.elements(), rank, self.ranks()));
        let slices: Vec<&[u8]> = slices.map(|slice| &mine[slice.start * size..slice.end * size]).collect();
        let of_all = self.swap(&slices)?;
        self.expect_alike(&of_all, slices[self.rank()].len())?;
        let mut sum = vec![0.0; slices[self.rank()].len() / size];
        for slice in &of_all {
            for (sum, value) in sum.iter_mut().zip(values(slice, size)) {
                *sum += value;
            }
        }
        let sums = self.tell(&match size {
            4 => sum.iter().flat_map(|&value| (value as f32).to_ne_bytes()).collect::<Vec<_>>(),
            _ => bytemuck::cast_slice(&sum).to_vec(),
        })?;
        tensor(x.device(), x.shape().clone(), &sums.concat())
    }

    /// Refuses what is not of one length on all ranks.
    #[doc(hidden)]
    fn expect_alike(&self, all: &[Vec<u8>], length: usize) -> Result<()> {
        let Some(rank) = all.iter().position(|theirs| theirs.len() != length) else { return Ok(()) };
        let detail = format!("rank {} has {length} bytes, rank {rank} {}", self.rank(), all[rank].len());
        Err(Error::shape("exchange", detail))
    }
}

/// The part of `count` things in a row that one of several ranks has: as equal parts as can be.
pub fn share(count: usize, rank: usize, ranks: usize) -> Range<usize> {
    count * rank / ranks..count * (rank + 1) / ranks
}

/// Bytes of an element: the reference device's are f64.
fn size(device: &Device) -> usize {
    match device {
        Device::Cpu(cpu) if cpu.precision == Precision::F64 => 8,
        _ => 4,
    }
}

fn bytes(x: &Tensor) -> Result<Vec<u8>> {
    Ok(match size(x.device()) {
        4 => bytemuck::cast_slice(&x.to_vec()?).to_vec(),
        _ => bytemuck::cast_slice(&x.to_f64()?).to_vec(),
    })
}

fn values(bytes: &[u8], size: usize) -> impl Iterator<Item = f64> + '_ {
    bytes.chunks_exact(size).map(move |value| match size {
        4 => f32::from_ne_bytes(value.try_into().expect("four bytes")).into(),
        _ => f64::from_ne_bytes(value.try_into().expect("eight bytes")),
    })
}

fn tensor(device: &Device, shape: Shape, bytes: &[u8]) -> Result<Tensor> {
    match size(device) {
        4 => Tensor::new(device, shape, &bytemuck::pod_collect_to_vec::<u8, f32>(bytes)),
        _ => Tensor::from_f64(device, shape, &bytemuck::pod_collect_to_vec::<u8, f64>(bytes)),
    }
}

/// One process.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Exchange for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn swap(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![parts[0].to_vec()])
    }

    fn gather(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }

    fn sum(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }
}

/// So many ranks that all say the same: for plans, which compute nothing.
#[derive(Clone, Copy, Debug)]
pub struct Alike(pub usize);

impl Exchange for Alike {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        self.0
    }

    fn swap(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![parts[0].to_vec(); self.0])
    }

    fn deal(&self, x: &Tensor, _order: &[usize]) -> Result<Tensor> {
        Ok(x.clone())
    }

    fn sum(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }
}

/// Threads in place of processes, for tests of what spans ranks.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
}

impl Threads {
    /// So many ranks, each for a thread of its own.
    pub fn of(ranks: usize) -> Vec<Threads> {
        let mut all: Vec<Threads> =
            (0..ranks).map(|rank| Threads { rank, to: Vec::new(), from: Vec::new() }).collect();
        for from in 0..ranks {
            for to in 0..ranks {
                let (sender, receiver) = channel();
                all[from].to.push(sender);
                all[to].from.push(receiver);
            }
        }
        all
    }
}

impl Exchange for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.to.len()
    }

    fn swap(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let ended = |rank: usize| Error::Run(format!("rank {rank} has ended before rank {}", self.rank));
        for (rank, to) in self.to.iter().enumerate() {
            to.send(parts[rank].to_vec()).map_err(|_| ended(rank))?;
        }
        self.from.iter().enumerate().map(|(rank, from)| from.recv().map_err(|_| ended(rank))).collect()
    }
}
