//! Memory that is used again: what is freed waits for the next request of its size class; bytes in use are counted.
//!
//! One pool for each GPU, of its buffers. Size classes keep one eighth of a power of
//! two apart, so a step that repeats the last one's shapes allocates nothing.

use crate::error::Result;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How many times as much may be held as was ever in use at once: a step has other sizes in use early and late, and one that repeats the
/// last one's shapes is to make nothing.
const HELD: u64 = 2;

/// Rounds a count up to its size class: at most 1/8 more than asked for.
pub fn size_class(count: usize) -> usize {
    let count = count.max(64);
    let step = (count.next_power_of_two() / 16).max(64);
    count.div_ceil(step) * step
}

/// The memory of one device, in pieces of type `M`.
///
/// It keeps at most twice what was ever in use at once: before more is made, what has waited longest is let go (and is gone once no bind
/// group that is kept names it), so that steps whose shapes are others each time do not add up.
#[derive(Debug)]
pub struct Pool<M> {
    pieces: Mutex<Pieces<M>>,
    bytes: AtomicU64,
    peak: AtomicU64,
}

#[derive(Debug)]
struct Pieces<M> {
    /// What was freed, by class and id.
    free: BTreeMap<(usize, u64), Piece<M>>,
    /// How many were made.
    made: u64,
    /// How many were freed.
    freed: u64,
    /// Bytes of all that was made and is still there, in use or free.
    held: u64,
}

/// Memory of a size class.
#[derive(Debug)]
struct Piece<M> {
    memory: M,
    bytes: u64,
    /// How many had been freed before it.
    since: u64,
}

impl<M> Default for Pool<M> {
    fn default() -> Pool<M> {
        let pieces = Pieces { free: BTreeMap::new(), made: 0, freed: 0, held: 0 };
        Pool { pieces: Mutex::new(pieces), bytes: AtomicU64::new(0), peak: AtomicU64::new(0) }
    }
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
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let peak = self.peak.load(Ordering::Relaxed).max(now);
        let buffer = |(key, memory)| {
            self.peak.fetch_max(now, Ordering::Relaxed);
            Buffer { memory: Some(memory), key, bytes, pool: self.clone() }
        };
        let mut pieces = self.pieces.lock().expect("pieces lock");
        let key = pieces.free.range((class, 0)..=(class, u64::MAX)).next().map(|(key, _)| *key);
        if let Some(piece) = key.and_then(|key| pieces.free.remove(&key)) {
            return Ok(buffer((key.expect("a piece has a key"), piece.memory)));
        }
        // What is let go is dropped behind the lock.
        let old = pieces.release(bytes, HELD * peak);
        let id = pieces.made;
        pieces.made += 1;
        pieces.held += bytes;
        drop(pieces);
        drop(old);
        match make() {
            Ok(memory) => Ok(buffer(((class, id), memory))),
            Err(error) => {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.pieces.lock().expect("pieces lock").held -= bytes;
                Err(error)
            }
        }
    }

    /// Bytes held, in use or not.
    #[cfg(test)]
    fn held(&self) -> u64 {
        self.pieces.lock().expect("pieces lock").held
    }

    /// Bytes in use, now and at most.
    pub fn usage(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.peak.load(Ordering::Relaxed))
    }
}

impl<M> Pieces<M> {
    /// Lets go of free pieces, those first that have waited longest, until `more` bytes can be held within a limit.
    fn release(&mut self, more: u64, limit: u64) -> Vec<Piece<M>> {
        let mut old = Vec::new();
        while self.held + more > limit {
            let Some((&key, _)) = self.free.iter().min_by_key(|(_, piece)| piece.since) else { break };
            let piece = self.free.remove(&key).expect("it was found");
            self.held -= piece.bytes;
            old.push(piece);
        }
        old
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
            let mut pieces = self.pool.pieces.lock().expect("pieces lock");
            let since = pieces.freed;
            pieces.freed += 1;
            pieces.free.insert(self.key, Piece { memory, bytes: self.bytes, since });
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
        // Of another class there is none.
        assert_ne!(pool.take(1088, 4352, || Ok(vec![0.0; 544])).expect("memory").as_ptr(), address);
    }

    #[test]
    fn other_shapes_in_each_step_hold_no_more_than_the_largest_step_needs() {
        let pool = Arc::new(Pool::<Vec<f64>>::default());
        for step in 0..50 {
            let sizes = [3000 + 640 * (step * 7 % 11), 9000 + 1280 * (step * 5 % 13), 20_000];
            let made = sizes.map(|count| {
                let class = size_class(count);
                pool.take(class, 8 * class as u64, || Ok(vec![0.0; class])).expect("memory")
            });
            drop(made);
            let (in_use, most) = pool.usage();
            assert_eq!(in_use, 0);
            assert!(pool.held() <= HELD * most, "step {step}: {} of {most}", pool.held());
        }
        let kept = pool.take(size_class(20_000), 8 * size_class(20_000) as u64, || panic!("it is there"));
        drop(kept);
        let failed = pool.take(1 << 20, 1 << 23, || Err(crate::Error::shape("take", String::new())));
        assert!(failed.is_err() && pool.usage().0 == 0 && pool.usage().1 < 1 << 23);
    }
}
