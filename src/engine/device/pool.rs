//! Buffer reuse: a freed buffer waits for the next request of its size class; bytes in use are counted.
//!
//! One pool for each kind of memory (CPU f32, CPU f64, GPU). Size classes keep one eighth of a power of
//! two apart, so a step that repeats the last one's shapes allocates nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Rounds a count up to its size class: at most 1/8 more than asked for.
pub fn size_class(count: usize) -> usize {
    let count = count.max(64);
    let step = (count.next_power_of_two() / 16).max(64);
    count.div_ceil(step) * step
}

/// Bytes handed out now, and the most ever.
#[derive(Debug, Default)]
pub struct Usage {
    bytes: AtomicU64,
    peak: AtomicU64,
}

impl Usage {
    /// Counts bytes as handed out.
    pub fn add(&self, bytes: u64) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }
    /// Counts bytes as returned.
    pub fn sub(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
    /// Bytes handed out now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    /// The most bytes that were ever handed out at once.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// Freed objects by size class.
#[derive(Debug)]
pub struct FreeList<B>(Mutex<HashMap<usize, Vec<B>>>);

impl<B> Default for FreeList<B> {
    fn default() -> Self {
        FreeList(Mutex::new(HashMap::new()))
    }
}

impl<B> FreeList<B> {
    /// A freed object of this class, if one waits.
    pub fn take(&self, class: usize) -> Option<B> {
        self.0.lock().expect("free list lock").get_mut(&class).and_then(Vec::pop)
    }
    /// Gives an object back.
    pub fn put(&self, class: usize, object: B) {
        self.0.lock().expect("free list lock").entry(class).or_default().push(object);
    }
}

/// The pool of one CPU number type.
#[derive(Debug, Default)]
pub struct Pool<T> {
    free: FreeList<Vec<T>>,
    /// Bytes in use.
    pub usage: Usage,
}

impl<T: bytemuck::Pod> Pool<T> {
    /// A buffer of `count` elements with arbitrary (but initialised) contents.
    pub fn take(self: &Arc<Self>, count: usize) -> Buffer<T> {
        let class = size_class(count);
        let mut data = self.free.take(class).unwrap_or_else(|| {
            // LIMIT: the class, not the count, is reserved, so the vector never reallocates.
            let mut fresh = Vec::with_capacity(class);
            fresh.resize(class, T::zeroed());
            fresh
        });
        data.resize(class, T::zeroed());
        data.truncate(count);
        self.usage.add((class * size_of::<T>()) as u64);
        Buffer { data, class, pool: self.clone() }
    }
}

/// A pooled vector: goes back to its pool when dropped.
#[derive(Debug)]
pub struct Buffer<T: bytemuck::Pod> {
    data: Vec<T>,
    class: usize,
    pool: Arc<Pool<T>>,
}

impl<T: bytemuck::Pod> Buffer<T> {
    /// A copy of some elements in a buffer of its own.
    pub fn copy(&self, elements: std::ops::Range<usize>) -> Buffer<T> {
        let mut copy = self.pool.take(elements.len());
        copy.copy_from_slice(&self.data[elements]);
        copy
    }
}

impl<T: bytemuck::Pod> std::ops::Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.data
    }
}

impl<T: bytemuck::Pod> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data
    }
}

impl<T: bytemuck::Pod> Drop for Buffer<T> {
    fn drop(&mut self) {
        self.pool.usage.sub((self.class * size_of::<T>()) as u64);
        self.pool.free.put(self.class, std::mem::take(&mut self.data));
    }
}

/// The pools of a CPU device.
#[derive(Debug, Default)]
pub struct CpuPools {
    /// f32 buffers.
    pub f32: Arc<Pool<f32>>,
    /// f64 buffers.
    pub f64: Arc<Pool<f64>>,
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
        let pool = Arc::new(Pool::<f32>::default());
        let first = pool.take(1000);
        let address = first.as_ptr();
        assert_eq!(pool.usage.bytes(), 4 * size_class(1000) as u64);
        drop(first);
        assert_eq!(pool.usage.bytes(), 0);
        assert_eq!(pool.take(999).as_ptr(), address);
    }
}
