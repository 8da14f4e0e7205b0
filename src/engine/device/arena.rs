//! The memory of the CPU device: spans of a few large pieces, joined again when they are freed.
//!
//! Pieces of fixed sizes that are kept apart would hold twice as much as a training step has in use at once, since what is large early is not
//! large late; and a step whose shapes are others than the last one's would add to them. Spans hold a tenth more, whatever the shapes.

use super::pages::Pages;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// Spans begin and end at multiples of so many elements: 512 bytes.
const UNIT: usize = 64;
/// Fewer elements are left to the allocator: among spans they would keep large ones from being joined.
const FEW: usize = 8 << 10;
/// Elements of the first piece and of the largest, if nothing larger is asked for: 64 MiB and 1 GiB, of which on Linux and macOS what is not
/// touched takes no memory.
const PIECES: [usize; 2] = [8 << 20, 128 << 20];

/// The memory of one device.
#[derive(Debug, Default)]
pub struct Arena(Mutex<Spans>);

#[derive(Debug, Default)]
struct Spans {
    /// By number, in the order in which they were made.
    pieces: BTreeMap<u64, Piece>,
    made: u64,
    in_use: u64,
    peak: u64,
}

#[derive(Debug)]
struct Piece {
    /// Keeps the memory, and is not looked at: spans are made of its first element and length.
    _pages: Pages,
    first: NonNull<f64>,
    length: usize,
    free: Free,
}

// SAFETY: a piece owns its memory as a vector does.
unsafe impl Send for Piece {}

impl Piece {
    /// One of `size` elements, or of `least` where there is no room for so many.
    fn new(size: usize, least: usize) -> Piece {
        let mut pages =
            Pages::mapped(size).or_else(|| Pages::mapped(least)).unwrap_or_else(|| Pages::zeros(least));
        let length = pages.len();
        let first = NonNull::new(pages.as_mut_ptr()).expect("memory is somewhere");
        let mut free = Free::default();
        free.insert(0, length);
        Piece { _pages: pages, first, length, free }
    }
}

/// What is free of a piece.
#[derive(Debug, Default)]
struct Free {
    /// Length by start.
    starts: BTreeMap<usize, usize>,
    /// Lengths and starts.
    lengths: BTreeSet<(usize, usize)>,
}

impl Free {
    fn insert(&mut self, start: usize, length: usize) {
        self.starts.insert(start, length);
        self.lengths.insert((length, start));
    }

    fn remove(&mut self, start: usize, length: usize) {
        self.starts.remove(&start);
        self.lengths.remove(&(length, start));
    }

    /// The shortest free span that is long enough, the first of them; what it has too much stays free.
    fn take(&mut self, wanted: usize) -> Option<usize> {
        let (length, start) = *self.lengths.range((wanted, 0)..).next()?;
        self.remove(start, length);
        if length > wanted {
            self.insert(start + wanted, length - wanted);
        }
        Some(start)
    }

    /// A span is free again: one with those beside it.
    fn give(&mut self, mut start: usize, mut length: usize) {
        if let Some((&before, &its)) = self.starts.range(..start).next_back()
            && before + its == start
        {
            self.remove(before, its);
            (start, length) = (before, its + length);
        }
        if let Some(&its) = self.starts.get(&(start + length)) {
            self.remove(start + length, its);
            length += its;
        }
        self.insert(start, length);
    }
}

impl Spans {
    /// A span of some piece: its number, and where it begins.
    fn take(&mut self, length: usize) -> (u64, usize) {
        let fits = |(&number, piece): (&u64, &mut Piece)| piece.free.take(length).map(|at| (number, at));
        if let Some(found) = self.pieces.iter_mut().find_map(fits) {
            return found;
        }
        // Pieces of which nothing is used are too small.
        self.pieces.retain(|_, piece| piece.free.starts.get(&0) != Some(&piece.length));
        let held: usize = self.pieces.values().map(|piece| piece.length).sum();
        let mut piece = Piece::new(length.max(held.clamp(PIECES[0], PIECES[1])), length);
        let start = piece.free.take(length).expect("it is as long as that");
        let number = self.made;
        self.made += 1;
        self.pieces.insert(number, piece);
        (number, start)
    }
}

impl Arena {
    /// So many elements, with arbitrary (but initialised) contents.
    ///
    /// # Panics
    /// As `Vec` does for more than the address space holds.
    pub fn take(self: &Arc<Self>, count: usize) -> Memory {
        assert!(count <= isize::MAX as usize / 16, "capacity overflow");
        let mut spans = self.0.lock().expect("spans lock");
        let (bytes, place) = if count < FEW {
            (8 * count as u64, Place::Few(vec![0.0; count]))
        } else {
            let length = count.next_multiple_of(UNIT);
            let (piece, start) = spans.take(length);
            // SAFETY: the span lies within the piece.
            let first = unsafe { spans.pieces[&piece].first.add(start) };
            (8 * length as u64, Place::Span { piece, start, length, first, count })
        };
        spans.in_use += bytes;
        spans.peak = spans.peak.max(spans.in_use);
        Memory { place, bytes, arena: self.clone() }
    }

    /// Bytes in use, now and at most.
    pub fn usage(&self) -> (u64, u64) {
        let spans = self.0.lock().expect("spans lock");
        (spans.in_use, spans.peak)
    }
}

/// Memory of an arena: goes back when dropped.
#[derive(Debug)]
pub struct Memory {
    place: Place,
    bytes: u64,
    arena: Arc<Arena>,
}

#[derive(Debug)]
enum Place {
    Few(Vec<f64>),
    /// Elements of a piece, of which `count` are asked for.
    Span {
        piece: u64,
        start: usize,
        length: usize,
        first: NonNull<f64>,
        count: usize,
    },
}

// SAFETY: a span is part of one `Memory` only, which is owned and borrowed as a vector is.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Deref for Memory {
    type Target = [f64];
    fn deref(&self) -> &[f64] {
        match &self.place {
            Place::Few(values) => values,
            // SAFETY: `count` initialised elements from `first` on, which nothing else refers to, in a piece that stays as long as one of its
            // spans is in use.
            Place::Span { first, count, .. } => unsafe { std::slice::from_raw_parts(first.as_ptr(), *count) },
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [f64] {
        match &mut self.place {
            Place::Few(values) => values,
            // SAFETY: as above.
            Place::Span { first, count, .. } => unsafe {
                std::slice::from_raw_parts_mut(first.as_ptr(), *count)
            },
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Another thread's panic is no reason for a second one.
        let mut spans = self.arena.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.in_use -= self.bytes;
        if let Place::Span { piece, start, length, .. } = self.place
            && let Some(piece) = spans.pieces.get_mut(&piece)
        {
            piece.free.give(start, length);
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/engine/device/arena.rs"]
mod tests;
