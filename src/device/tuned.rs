//! Tilings that `vista tune` has found to be the fastest on this adapter.

use super::cache;
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::Path;

/// Products of one class take the same tiling: rows, columns and steps, each rounded up to a power of two (its exponent).
/// Rows and steps past 2^14 do not change the choice.
pub type Class = [u32; 3];

/// Threads along the rows and columns of a workgroup's tile, for each class that was timed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuned(BTreeMap<Class, [usize; 2]>);

/// Threads of a tile that the kernels can have.
pub const CANDIDATES: [[usize; 2]; 4] = [[16, 16], [8, 8], [16, 4], [4, 16]];

/// The class of a product of `m` rows, `n` columns and `k` steps.
pub fn class([m, n, k]: [usize; 3]) -> Class {
    let exponent = |size: usize| size.max(1).next_power_of_two().ilog2();
    [exponent(m).min(14), exponent(n), exponent(k).min(14)]
}

impl Tuned {
    /// The tiling of a class, if it was timed.
    pub fn get(&self, class: Class) -> Option<[usize; 2]> {
        self.0.get(&class).copied()
    }

    /// Sets the tiling of a class.
    pub fn set(&mut self, class: Class, threads: [usize; 2]) {
        self.0.insert(class, threads);
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was timed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was kept in a file; nothing, with a warning, if it is damaged.
    pub(super) fn read(path: &Path) -> Tuned {
        let Some(bytes) = cache::read(path) else { return Tuned::default() };
        let entries: Option<Vec<(Class, [usize; 2])>> = serde_json::from_slice(&bytes).ok();
        let valid = |entries: &Vec<(Class, [usize; 2])>| entries.iter().all(|(_, t)| CANDIDATES.contains(t));
        match entries.filter(valid) {
            Some(entries) => Tuned(entries.into_iter().collect()),
            None => cache::ignored(path, "not a list of tilings").unwrap_or_default(),
        }
    }

    /// Keeps it in a file.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let entries: Vec<_> = self.0.iter().collect();
        cache::write(path, &serde_json::to_vec(&entries).expect("numbers"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tilings_come_back_and_impossible_ones_do_not() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("tilings");
        let mut tuned = Tuned::default();
        tuned.set(class([100_000, 64, 576]), [8, 8]);
        tuned.set(class([64, 576, 100_000]), [4, 16]);
        tuned.write(&path).expect("write");
        assert_eq!(Tuned::read(&path), tuned);
        assert_eq!(
            tuned.get(class([20_000, 33, 513])),
            Some([8, 8]),
            "rows past 2^14, the same powers of two"
        );
        assert_eq!(tuned.get(class([100_000, 65, 576])), None);
        cache::write(&path, b"[[[1,2,3],[32,32]]]").expect("write");
        assert!(Tuned::read(&path).is_empty());
        cache::write(&path, b"no list").expect("write");
        assert!(Tuned::read(&path).is_empty());
    }
}
