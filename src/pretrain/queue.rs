//! Stage 4: the dictionary of keys. Its rings share one pointer, so slot j of all of them holds the same image.
//!
//! **Formula.** Key b of a step goes to slot `(ptr + b) mod D`; then `ptr = (ptr + B) mod D`.
//!
//! **Why so.** MLS finds neighbours by one ring (features g) and takes the logits from the other (projections z): the same slot
//! must be the same image in both (MLS, Eqs. 6-8).
//!
//! **The trap.** D need not be a multiple of B: the ring wraps inside a batch. And labels and logits read the queue as it was
//! before this step's keys.
//!
//! **The test.** `slots_of_both_queues_hold_the_keys_of_the_image_they_are_numbered_with`,
//! `positives_are_the_images_that_their_slots_held_before_the_step` in `tests/pretrain/training.rs`.
//!
//! ```
//! # use rand::{SeedableRng, rngs::StdRng};
//! # use vista::{Device, Tensor, pretrain::{named::Named, queue::Queue}};
//! let device = Device::cpu();
//! let mut queue = Queue::random(&device, &mut StdRng::seed_from_u64(0), 3, [("z", 2)], false)?;
//! let keys = Named::from([("z", Tensor::new(&device, [2, 2], &[3.0, 4.0, 0.0, 1.0])?)]);
//! queue.enqueue(&keys, &[7, 8])?;
//! queue.enqueue(&keys, &[9, 10])?; // wraps
//! assert_eq!((queue.ids, queue.ptr), (vec![Some(10), Some(8), Some(9)], 1));
//! # Ok::<(), vista::Error>(())
//! ```

use super::named::Named;
use crate::engine::autograd::{Tape, Var};
use crate::engine::device::Device;
use crate::engine::ops::{L2Normalize, Packed, PackedProduct, TopK, run};
use crate::engine::tensor::{Shape, Tensor, init};
use crate::error::{Error, Result};
use rand::Rng;

/// Keys of one kind, `[D, width]`.
#[derive(Clone, Debug)]
pub enum Ring {
    /// In f32.
    Full(Tensor),
    /// In f16, half of the memory; products with them are still made in f32.
    Half(Packed),
}

/// Slots of a ring in f16 that are widened at a time.
const BLOCK: usize = 1024;

impl From<Tensor> for Ring {
    fn from(keys: Tensor) -> Ring {
        Ring::Full(keys)
    }
}

impl Ring {
    /// `[D, width]`
    pub fn shape(&self) -> &Shape {
        match self {
            Ring::Full(keys) => keys.shape(),
            Ring::Half(keys) => keys.shape(),
        }
    }

    /// Bytes of all keys.
    pub fn bytes(&self) -> u64 {
        match self {
            Ring::Full(keys) => 4 * keys.elements() as u64,
            Ring::Half(keys) => 4 * keys.words().elements() as u64,
        }
    }

    /// All keys in f32.
    ///
    /// # Errors
    /// The device's.
    pub fn values(&self) -> Result<Tensor> {
        match self {
            Ring::Full(keys) => Ok(keys.clone()),
            Ring::Half(keys) => keys.unpack(),
        }
    }

    /// `q keys^T`, `[B, width] -> [B, D]`: cosines if q is l2-normalised. A ring in f16 is widened in blocks of slots.
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ.
    pub fn products<'t>(&self, q: &Var<'t>) -> Result<Var<'t>> {
        let tape = q.tape();
        let keys = match self {
            Ring::Full(keys) => return q.matmul_nt(&tape.constant(keys.clone())),
            Ring::Half(keys) => keys,
        };
        let slots = keys.shape()[0];
        let blocks = (0..slots).step_by(BLOCK).map(|start| start..slots.min(start + BLOCK));
        let product = |rows| Ok(tape.apply(PackedProduct { matrix: keys.clone(), rows }, &[q])?.0);
        let mut parts = blocks.map(product).collect::<Result<Vec<_>>>()?;
        while parts.len() > 1 {
            let join = |pair: &[Var<'t>]| match pair {
                [a, b] => a.concat(b),
                rest => Ok(rest[0].clone()),
            };
            parts = parts.chunks(2).map(join).collect::<Result<_>>()?;
        }
        parts.pop().ok_or_else(|| Error::shape("queue", "a ring without slots: raise the queue"))
    }

    /// What [`TopK`] finds among the cosines of raw rows x with all keys, `[B, width]`; not differentiated.
    ///
    /// # Errors
    /// [`Error::Shape`] if the widths differ or k is over D or 64.
    pub fn nearest(&self, x: &Tensor, top_k: TopK) -> Result<Vec<Tensor>> {
        let x = run(&L2Normalize, &[x])?.swap_remove(0);
        let tape = Tape::inert(x.device());
        let similarities = self.products(&tape.constant(x))?; // [B, D]
        run(&top_k, &[similarities.value()])
    }

    fn write_rows(&mut self, start: usize, rows: &Tensor) -> Result<()> {
        match self {
            Ring::Full(keys) => keys.write_rows(start, rows),
            Ring::Half(keys) => keys.write_rows(start, rows),
        }
    }
}

/// Rings of `D` l2-normalised keys, oldest overwritten first (MLS, Eq. 6).
#[derive(Clone, Debug)]
pub struct Queue {
    /// The keys, `[D, width]` each; their names are those of the [embedding](super::encoder::Embedding) that they come from.
    pub keys: Named<Ring>,
    /// Which image each slot holds; `None` while it still has its random start.
    pub ids: Vec<Option<u64>>,
    /// The slot that the next key goes to.
    pub ptr: usize,
}

impl Queue {
    /// `slots` random directions in each ring of the given widths: what MoCo starts from. Real keys replace them in
    /// order. With `half` they are kept as f16; widths must then be even.
    ///
    /// # Errors
    /// The device's.
    pub fn random(
        device: &Device,
        rng: &mut impl Rng,
        slots: usize,
        widths: impl Into<Named<usize>>,
        half: bool,
    ) -> Result<Queue> {
        let keys = widths.into().try_map(|&width| {
            let rows = init::drawn(device, [slots, width], |count| {
                let mut rows = init::normal(rng, count, 1.0);
                for row in rows.chunks_exact_mut(width) {
                    let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
                    row.iter_mut().for_each(|v| *v /= norm);
                }
                rows
            })?;
            if half { Packed::new(&rows).map(Ring::Half) } else { Ok(Ring::Full(rows)) }
        })?;
        Ok(Queue { keys, ids: vec![None; slots], ptr: 0 })
    }

    /// A ring by name.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is none.
    pub fn ring(&self, name: &str) -> Result<&Ring> {
        self.keys.get(name)
    }

    /// Number of slots, D.
    pub fn slots(&self) -> usize {
        self.ids.len()
    }

    /// Whether every slot holds a key: whether the random start is gone.
    pub fn is_full(&self) -> bool {
        self.ids.iter().all(Option::is_some)
    }

    /// l2-normalises the first rows of each ring's embedding, as many as there are `ids`, and writes them over the oldest
    /// slots. D need not be a multiple of the batch: the ring wraps.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch is larger than the queue, a ring gets no keys, or the widths differ.
    pub fn enqueue(&mut self, embeddings: &Named<Tensor>, ids: &[u64]) -> Result<()> {
        let (batch, slots) = (ids.len(), self.slots());
        if batch > slots {
            let detail = format!(
                "a batch of {batch} does not fit into {slots} slots: lower --batch or raise the queue"
            );
            return Err(Error::shape("queue", detail));
        }
        let unit = |x: &Tensor| {
            let rows = if x.shape()[0] == batch { x.clone() } else { x.rows(0..batch)? };
            Ok(run(&L2Normalize, &[&rows])?.swap_remove(0))
        };
        // ORDER: all keys before the first is written, so that an error leaves the rings together.
        let keys =
            self.keys.iter().map(|(name, _)| unit(embeddings.get(name)?)).collect::<Result<Vec<_>>>()?;
        let first = batch.min(slots - self.ptr);
        for ((_, ring), keys) in self.keys.iter_mut().zip(keys) {
            if first == batch {
                ring.write_rows(self.ptr, &keys)?;
            } else {
                ring.write_rows(self.ptr, &keys.rows(0..first)?)?;
                ring.write_rows(0, &keys.rows(first..batch)?)?;
            }
        }
        for (i, &id) in ids.iter().enumerate() {
            self.ids[(self.ptr + i) % slots] = Some(id);
        }
        self.ptr = (self.ptr + batch) % slots;
        Ok(())
    }
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/queue.rs"]
mod tests;
