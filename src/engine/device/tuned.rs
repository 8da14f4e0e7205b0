//! What `vista tune` has found to be the fastest on this adapter.
//!
//! ```
//! # use vista::engine::device::tuned::{Choice, Class};
//! let class = Class::product([100, 60, 500]);
//! assert_eq!(class, Class::product([128, 64, 512])); // sizes up to a power of two
//! assert!(class.candidates().contains(&Choice::Tile([8, 8])));
//! ```

use super::cache;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Work for which the same kernel is chosen. Sizes are rounded up to a power of two (its exponent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// Products: rows, columns and steps; rows and steps past 2^14 do not change the choice.
    Product([u32; 3]),
    /// Forward passes of 3x3 convolutions of stride 1: output pixels (up to 2^14), the longer side of an output, channels
    /// read and written.
    Conv3x3([u32; 4]),
    /// Their gradients of the input, which is the output here.
    Conv3x3Back([u32; 4]),
}

/// A choice among kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// Of a product: threads along the rows and columns of a workgroup's tile.
    Tile([usize; 2]),
    /// Of a convolution: outputs along a side of Winograd's tile, 1 for an implicit matrix product.
    Side(usize),
}

/// The choice for each class that was timed.
pub(super) type Tuned = BTreeMap<Class, Choice>;

fn exponent(size: usize) -> u32 {
    size.max(1).next_power_of_two().ilog2()
}

impl Class {
    /// The class of a product of `m` rows, `n` columns and `k` steps.
    pub fn product([m, n, k]: [usize; 3]) -> Class {
        Class::Product([exponent(m).min(14), exponent(n), exponent(k).min(14)])
    }

    /// The class of a 3x3 convolution: pixels and longer side of what it writes, channels it reads and writes.
    pub fn conv3x3(back: bool, [pixels, side, from, to]: [usize; 4]) -> Class {
        let sizes = [exponent(pixels).min(14), exponent(side), exponent(from), exponent(to)];
        if back { Class::Conv3x3Back(sizes) } else { Class::Conv3x3(sizes) }
    }

    /// What there is to choose from.
    pub fn candidates(self) -> &'static [Choice] {
        use Choice::{Side, Tile};
        match self {
            Class::Product(_) => &[Tile([16, 16]), Tile([8, 16]), Tile([8, 8]), Tile([16, 4]), Tile([4, 16])],
            Class::Conv3x3(_) | Class::Conv3x3Back(_) => &[Side(1), Side(2), Side(4)],
        }
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Choice::Tile([down, across]) => write!(f, "tiles of {}x{}", 8 * down, 8 * across),
            Choice::Side(1) => write!(f, "implicit product"),
            Choice::Side(side) => write!(f, "F({side}x{side},3x3)"),
        }
    }
}

/// What was kept in a file; nothing, with a warning, if it is damaged.
pub(super) fn read(path: &Path) -> Tuned {
    let Some(bytes) = cache::read(path) else { return Tuned::default() };
    let entries: Option<Vec<(Class, Choice)>> = serde_json::from_slice(&bytes).ok();
    let valid = |entries: &Vec<(Class, Choice)>| entries.iter().all(|(c, t)| c.candidates().contains(t));
    match entries.filter(valid) {
        Some(entries) => entries.into_iter().collect(),
        None => cache::ignored(path, "not a list of tuned choices").unwrap_or_default(),
    }
}

/// Keeps it in a file.
pub(super) fn write(tuned: &Tuned, path: &Path) -> Result<()> {
    let entries: Vec<_> = tuned.iter().collect();
    cache::write(path, &serde_json::to_vec(&entries).expect("numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_come_back_and_impossible_ones_do_not() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("tuned");
        let mut tuned = Tuned::default();
        tuned.insert(Class::product([100_000, 64, 576]), Choice::Tile([8, 8]));
        tuned.insert(Class::product([64, 576, 100_000]), Choice::Tile([4, 16]));
        tuned.insert(Class::conv3x3(false, [50_176, 56, 64, 64]), Choice::Side(4));
        write(&tuned, &path).expect("write");
        assert_eq!(read(&path), tuned);
        assert_eq!(
            tuned.get(&Class::product([20_000, 33, 513])).copied(),
            Some(Choice::Tile([8, 8])),
            "rows past 2^14, the same powers of two"
        );
        assert_eq!(tuned.get(&Class::product([100_000, 65, 576])).copied(), None);
        assert_eq!(tuned.get(&Class::conv3x3(false, [20_000, 64, 64, 33])).copied(), Some(Choice::Side(4)));
        assert_eq!(tuned.get(&Class::conv3x3(true, [50_176, 56, 64, 64])).copied(), None);
        for damaged in [
            r#"[[{"Product":[1,2,3]},{"Tile":[32,32]}]]"#,
            r#"[[{"Product":[1,2,3]},{"Side":2}]]"#,
            r#"[[{"Conv3x3":[1,2,3,4]},{"Side":3}]]"#,
            "no list",
        ] {
            cache::write(&path, damaged.as_bytes()).expect("write");
            assert!(read(&path).is_empty(), "{damaged}");
        }
    }
}
