//! What processes that train together tell each other. One process is [`Alone`], which costs nothing.
//!
//! **In:** a tensor or bytes of this process, a *rank*. **Out:** the sum, or what every rank has, the same on all of them.
//!
//! It is used where a batch spans ranks: in batch norm ([`Ranks`](crate::engine::ops::Ranks)), in losses over all
//! embeddings, for the keys of a queue, and for the gradient ([`Grads::sum`](crate::engine::autograd::Grads::sum)).
//!
//! **The trap.** Every rank must make the same calls in the same order. Sums are added in rank order, so that the same ranks give
//! the same bits each time.
//!
//! **The test.** `tests/engine/exchange.rs`: two ranks with half of a batch each have the values and gradients of one with the whole.
//!
//! ```
//! # use vista::engine::exchange::{Alone, Exchange};
//! assert_eq!((Alone.rank(), Alone.ranks()), (0, 1));
//! assert_eq!(Alone.tell(b"seed 7")?, [b"seed 7"]);
//! # Ok::<(), vista::Error>(())
//! ```

use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use std::fmt::Debug;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Processes that train together, as one of them sees the others.
pub trait Exchange: Debug {
    /// The number of this process, below [`Exchange::ranks`].
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// What each rank says, in rank order; `[0]` is a broadcast. Lengths may differ.
    ///
    /// # Errors
    /// [`Error::Run`] if another rank has ended.
    fn tell(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// The rows of all ranks, `[N, ..]` of each: `[R N, ..]`, in rank order.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ or there are no rows; as [`Exchange::tell`].
    fn gather(&self, x: &Tensor) -> Result<Tensor> {
        let Some(rows) = x.shape().first() else {
            return Err(Error::shape("gather", "a scalar has no rows"));
        };
        let shape = x.shape().with_rows(rows * self.ranks());
        Tensor::from_f64(x.device(), shape, &self.values(x)?.concat())
    }

    /// The sum over ranks of tensors of one shape, added in rank order.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ; as [`Exchange::tell`].
    fn sum(&self, x: &Tensor) -> Result<Tensor> {
        let mut sum = vec![0.0; x.elements()];
        for values in self.values(x)? {
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        Tensor::from_f64(x.device(), x.shape(), &sum)
    }

    /// The elements that each rank has.
    #[doc(hidden)]
    fn values(&self, x: &Tensor) -> Result<Vec<Vec<f64>>> {
        let mine = x.to_f64()?;
        let all = self.tell(bytemuck::cast_slice(&mine))?;
        if let Some(rank) = all.iter().position(|theirs| theirs.len() != 8 * mine.len()) {
            let (ours, theirs) = (mine.len(), all[rank].len() / 8);
            let detail = format!("rank {} has {ours} elements, rank {rank} {theirs}", self.rank());
            return Err(Error::shape("exchange", detail));
        }
        Ok(all.iter().map(|theirs| bytemuck::pod_collect_to_vec(theirs)).collect())
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

    fn tell(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![mine.to_vec()])
    }

    fn gather(&self, x: &Tensor) -> Result<Tensor> {
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

    fn tell(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        let ended = |rank: usize| Error::Run(format!("rank {rank} has ended before rank {}", self.rank));
        for (rank, to) in self.to.iter().enumerate() {
            to.send(mine.to_vec()).map_err(|_| ended(rank))?;
        }
        self.from.iter().enumerate().map(|(rank, from)| from.recv().map_err(|_| ended(rank))).collect()
    }
}
