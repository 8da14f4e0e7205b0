//! Memory that is used again: what is freed waits for the next request of its size class; bytes in use are counted.
//!
//! One pool for each device, of vectors or of a GPU's buffers. Size classes keep one eighth of a power of
//! two apart, so a step that repeats the last one's shapes allocates nothing.

use crate::error::Result;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Rounds a count up to its size class: at most 1/8 more than asked for.
pub fn size_class(count: usize) -> usize {
    let count = count.max(64);
    let step = (count.next_power_of_two() / 16).max(64);
    count.div_ceil(step) * step
}

/// The memory of one device, in pieces of type `M`.
#[derive(Debug, Default)]
pub struct Pool<M> {
    /// What was freed, by class and id.
    free: Mutex<BTreeMap<(usize, u64), M>>,
    next_id: AtomicU64,
    bytes: AtomicU64,
    peak: AtomicU64,
}

impl<M> Pool<M> {
    /// Memory of a size class, of so many bytes, with arbitrary contents: of what was freed the one with the lowest id, so that a
    /// step that asks for what the last one asked for gets the same, whose bind groups are there; else what `make` gives.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn take(
        self: &Arc<Self>,
        class: usize,
        bytes: u64,
        make: impl FnOnce() -> Result<M>,
    ) -> Result<Buffer<M>> {
        let freed = {
            let mut free = self.free.lock().expect("free lock");
            let key = free.range((class, 0)..=(class, u64::MAX)).next().map(|(key, _)| *key);
            key.and_then(|key| free.remove_entry(&key))
        };
        let (key, memory) = match freed {
            Some(freed) => freed,
            None => {
                let memory = make()?;
                ((class, self.next_id.fetch_add(1, Ordering::Relaxed)), memory)
            }
        };
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
        Ok(Buffer { memory: Some(memory), key, bytes, pool: self.clone() })
    }

    /// Bytes in use, now and at most.
    pub fn usage(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.peak.load(Ordering::Relaxed))
    }
}

/// Pooled memory: goes back to its pool when dropped.
#[derive(Debug)]
pub struct Buffer<M> {
    /// `None` once it is dropped.
    memory: Option<M>,
    key: (usize, u64),
    bytes: u64,
    pool: Arc<Pool<M>>,
}

impl<M> Buffer<M> {
    /// A number of its own among all of the pool.
    pub fn id(&self) -> u64 {
        self.key.1
    }
}

impl<M> Deref for Buffer<M> {
    type Target = M;
    fn deref(&self) -> &M {
        self.memory.as_ref().expect("a buffer keeps its memory until dropped")
    }
}

impl<M> DerefMut for Buffer<M> {
    fn deref_mut(&mut self) -> &mut M {
        self.memory.as_mut().expect("a buffer keeps its memory until dropped")
    }
}

impl<M> Drop for Buffer<M> {
    fn drop(&mut self) {
        self.pool.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(memory) = self.memory.take() {
            self.pool.free.lock().expect("free lock").insert(self.key, memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_class_holds_the_count_and_wastes_at_most_an_eighth_of_large_ones() {
        for count in [0, 1, 63, 64, 65, 1000, 4097, 1 << 20, (1 << 20) + 1, 12_345_678] {
            let class = size_class(count);
            assert!(class >= count.max(1) && (count < 1024 || class * 8 <= count * 9 + 8), "{count} {class}");
        }
    }

    #[test]
    fn a_freed_buffer_is_used_again_and_bytes_in_use_return_to_zero() {
        let pool = Arc::new(Pool::<Vec<f64>>::default());
        let take = || pool.take(1024, 4096, || Ok(vec![0.0; 512])).expect("memory");
        let (first, second) = (take(), take());
        let address = first.as_ptr();
        assert_eq!(pool.usage(), (8192, 8192));
        drop(second);
        drop(first);
        assert_eq!(pool.usage(), (0, 8192));
        assert_eq!(take().as_ptr(), address, "the one with the lowest id");
        assert_ne!(pool.take(1088, 4352, || Ok(vec![0.0; 544])).expect("memory").as_ptr(), address);
    }
}
