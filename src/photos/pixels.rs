//! The bytes of an image: in memory, or in a file that is mapped into it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::Mmap;

/// Bytes that are read as a slice wherever they lie; who changes them gets a copy of his own of those in a file.
#[derive(Clone)]
pub struct Pixels(Store);

#[derive(Clone)]
enum Store {
    Memory(Vec<u8>),
    /// Those of a file from a byte on.
    File(Arc<Mmap>, usize),
}

impl Pixels {
    /// The bytes of a mapped file from one on, which it must have.
    pub(super) fn mapped(file: Mmap, from: usize) -> Pixels {
        assert!(from <= file.len(), "{from} bytes of a file of {}", file.len());
        Pixels(Store::File(Arc::new(file), from))
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Store::Memory(bytes) => bytes,
            Store::File(file, from) => &file[*from..],
        }
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [u8] {
        if let Store::File(..) = &self.0 {
            self.0 = Store::Memory(self.to_vec());
        }
        match &mut self.0 {
            Store::Memory(bytes) => bytes,
            Store::File(..) => unreachable!("copied above"),
        }
    }
}

impl AsRef<[u8]> for Pixels {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Pixels {
        Pixels(Store::Memory(bytes))
    }
}

impl FromIterator<u8> for Pixels {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Pixels {
        Vec::from_iter(bytes).into()
    }
}

impl From<Pixels> for Vec<u8> {
    fn from(pixels: Pixels) -> Vec<u8> {
        match pixels.0 {
            Store::Memory(bytes) => bytes,
            Store::File(..) => pixels.to_vec(),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Pixels {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Pixels {}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        (**self).fmt(f)
    }
}
