//! Stage 4: the dictionary of keys. Two rings share one pointer, so slot j of both holds the same image.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::tensor::{Tensor, init};
use rand::Rng;

/// Rings of `D` l2-normalised keys, oldest overwritten first (MLS, Eq. 6).
#[derive(Clone, Debug)]
pub struct Queue {
    /// Backbone keys Q_g, `[D, d_g]`.
    pub g: Tensor,
    /// Projected keys Q_z, `[D, d_z]`.
    pub z: Tensor,
    /// Which image each slot holds; `None` while it still has its random start.
    pub ids: Vec<Option<u64>>,
    /// The slot that the next key goes to.
    pub ptr: usize,
}

impl Queue {
    /// `slots` random directions in each ring: what MoCo starts from. Real keys replace them in order.
    ///
    /// # Errors
    /// The device's.
    pub fn random(
        device: &Device,
        rng: &mut impl Rng,
        slots: usize,
        [d_g, d_z]: [usize; 2],
    ) -> Result<Queue> {
        let mut ring = |width| {
            let mut rows = init::normal(rng, slots * width, 1.0);
            for row in rows.chunks_exact_mut(width) {
                let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
                row.iter_mut().for_each(|v| *v /= norm);
            }
            Tensor::new(device, [slots, width], &rows)
        };
        Ok(Queue { g: ring(d_g)?, z: ring(d_z)?, ids: vec![None; slots], ptr: 0 })
    }

    /// Number of slots, D.
    pub fn slots(&self) -> usize {
        self.ids.len()
    }

    /// Writes normalised keys of the images `ids` over the oldest slots. D need not be a multiple of the batch:
    /// the ring wraps.
    ///
    /// # Errors
    /// [`Error::Shape`] if the batch is larger than the queue or the widths differ.
    pub fn enqueue(&mut self, g: &Tensor, z: &Tensor, ids: &[u64]) -> Result<()> {
        let (batch, slots) = (ids.len(), self.slots());
        if batch > slots {
            let detail = format!(
                "a batch of {batch} does not fit into {slots} slots: lower --batch or raise the queue"
            );
            return Err(Error::shape("queue", detail));
        }
        let first = batch.min(slots - self.ptr);
        for (ring, keys) in [(&mut self.g, g), (&mut self.z, z)] {
            if first == batch {
                ring.write_rows(self.ptr, keys)?;
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
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    /// Keys whose every element is the image's number.
    fn keys(device: &Device, ids: &[u64], width: usize) -> Tensor {
        let values: Vec<f32> = ids.iter().flat_map(|&id| vec![id as f32; width]).collect();
        Tensor::new(device, [ids.len(), width], &values).expect("keys")
    }

    #[test]
    fn queue_keeps_the_newest_rows_in_pairs_when_the_batch_does_not_divide_its_slots() {
        let device = Device::cpu();
        let mut queue = Queue::random(&device, &mut StdRng::seed_from_u64(0), 7, [3, 2]).expect("queue");
        for step in 0..5u64 {
            let ids: Vec<u64> = (0..3).map(|i| 100 + 3 * step + i).collect();
            queue.enqueue(&keys(&device, &ids, 3), &keys(&device, &ids, 2), &ids).expect("enqueue");
        }
        assert_eq!(queue.ptr, 15 % 7);
        let (g, z) = (queue.g.to_vec().expect("g"), queue.z.to_vec().expect("z"));
        for slot in 0..7 {
            let id = queue.ids[slot].expect("filled");
            assert!(id >= 100 + 15 - 7, "slot {slot} holds {id}, which is not among the newest seven");
            assert!(g[3 * slot..][..3].iter().chain(&z[2 * slot..][..2]).all(|&v| v == id as f32));
        }
    }

    #[test]
    fn a_batch_larger_than_the_queue_is_refused() {
        let device = Device::cpu();
        let mut queue = Queue::random(&device, &mut StdRng::seed_from_u64(0), 2, [1, 1]).expect("queue");
        let ids = [1, 2, 3];
        let message =
            queue.enqueue(&keys(&device, &ids, 1), &keys(&device, &ids, 1), &ids).unwrap_err().to_string();
        assert!(message.contains("lower --batch"), "{message}");
    }
}
