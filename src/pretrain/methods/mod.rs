//! The methods: one file each, which tells its numbers with their sources, its views, its heads, what it keeps between
//! steps, its loss, what happens after a step, and its presets. Adding a method adds a file and its word in the list here.
//!
//! | method | loss | its value when all embeddings are equal |
//! |---|---|---|
//! | [`mls`] | InfoNCE + lambda BCE of every slot, with the k nearest slots as labels (MLS, Eqs. 1, 7-10) | ln(D + 1) for InfoNCE |
//! | [`s2r2`] | 1 - mean smooth average precision of every view as a query (S2R2, Eqs. 1-3) | 1 - 1/B |
//! | [`moco`], [`densecl`] | InfoNCE over a queue | ln(D + 1) |
//! | [`simclr`] | NT-Xent over the batch | ln(2 B - 1) |
//! | [`swav`] | cross-entropy with balanced codes | ln(prototypes) |
//! | [`byol`] | 2 - 2 cos | 0 |
//! | [`simsiam`] | -cos | -1 |
//! | [`nnclr`] | cross-entropy of a neighbour over the batch's predictions | ln B |

pub mod byol;
pub mod densecl;
mod entry;
pub mod mls;
pub mod moco;
pub mod nnclr;
pub mod s2r2;
pub mod simclr;
pub mod simsiam;
pub mod swav;

pub use entry::{Entry, Preset};

use super::method::MethodConfig;
use serde::de::{Deserialize, Deserializer, Error};
use toml::{Table, Value};

/// Every method.
pub const METHODS: &[&Entry] = &[
    &mls::ENTRY,
    &moco::ENTRY,
    &s2r2::ENTRY,
    &simclr::ENTRY,
    &swav::ENTRY,
    &byol::ENTRY,
    &densecl::ENTRY,
    &simsiam::ENTRY,
    &nnclr::ENTRY,
];

/// Names and numbers of presets.
pub fn presets() -> impl Iterator<Item = &'static Preset> {
    METHODS.iter().flat_map(|entry| entry.presets)
}

/// A name as the list has it: `kNN_MoCo` is `knn-moco`.
pub(crate) fn plain(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// A method by name, however its letters are written.
pub fn find(name: &str) -> Option<&'static Entry> {
    let name = plain(name);
    METHODS.iter().find(|entry| entry.name == name).copied()
}

/// What to say of a name that is none of them.
pub fn unknown(name: &str) -> String {
    format!("unknown method `{name}`: use one of {}", names().join(", "))
}

/// Names of all methods and variants.
pub fn names() -> Vec<&'static str> {
    let named = |entry: &&'static Entry| {
        [entry.name].into_iter().chain(entry.variants.iter().map(|(name, _)| *name)).collect::<Vec<_>>()
    };
    METHODS.iter().flat_map(named).collect()
}

/// A method of the list from its table `[method]`, by the `name` there.
impl<'de> Deserialize<'de> for MethodConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MethodConfig, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let name = table.remove("name");
        let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
        let entry = find(name).ok_or_else(|| D::Error::custom(unknown(name)))?;
        (entry.parse)(table).map_err(|e| D::Error::custom(e.message()))
    }
}
