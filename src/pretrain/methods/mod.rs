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
//!
//! ```
//! # use vista::pretrain::{Config, methods};
//! assert!(methods::names().contains(&"knn-moco")); // a variant of mls
//! let config = Config::preset("demo")?.with_method("knn-moco")?;
//! assert_eq!(config.method.table()["term"].as_str(), Some("knn_softmax"));
//! # Ok::<(), vista::Error>(())
//! ```

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
use std::sync::RwLock;
use toml::{Table, Value};

/// The methods of this crate.
const METHODS: [&Entry; 9] = [
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

/// Those that a program has brought.
static REGISTERED: RwLock<Vec<&'static Entry>> = RwLock::new(Vec::new());

/// Makes a method of one's own known by its name to everything that reads a configuration: runs, their checkpoints, `--method`
/// where the program calls [`cli::run`](crate::cli::run). `examples/custom_method.rs` brings one.
///
/// # Errors
/// [`crate::Error::Input`] if there is a method of this name.
pub fn register(entry: &'static Entry) -> crate::Result<()> {
    if names().contains(&entry.name) {
        return Err(crate::Error::input("a method of this name is there", entry.name, "name it otherwise"));
    }
    REGISTERED.write().expect("no thread panicked with the list").push(entry);
    Ok(())
}

/// Every method.
pub fn all() -> Vec<&'static Entry> {
    let registered = REGISTERED.read().expect("no thread panicked with the list");
    METHODS.iter().chain(registered.iter()).copied().collect()
}

/// Names and numbers of presets.
pub fn presets() -> impl Iterator<Item = &'static Preset> {
    all().into_iter().flat_map(|entry| entry.presets)
}

/// A name as the list has it: `kNN_MoCo` is `knn-moco`.
pub(crate) fn plain(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

/// A method by name, however its letters are written.
pub fn find(name: &str) -> Option<&'static Entry> {
    let name = plain(name);
    all().into_iter().find(|entry| entry.name == name)
}

/// A method by its name or a variant's, however its letters are written; the variant's setting with it.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) naming all of them if there is no such one.
pub fn named(name: &str) -> crate::error::Result<(&'static Entry, Option<&'static str>)> {
    let asked = &plain(name);
    let found = all().into_iter().find_map(|entry| {
        let variant = entry.variants.iter().find(|(variant, _)| variant == asked);
        (entry.name == asked || variant.is_some()).then_some((entry, variant.map(|(_, setting)| *setting)))
    });
    found.ok_or_else(|| {
        let advice = format!("use one of {}", names().join(", "));
        crate::Error::input("unknown method", format!("--method {name}"), advice)
    })
}

/// What to say of a name that is none of them.
pub fn unknown(name: &str) -> String {
    format!("unknown method `{name}`: use one of {}", names().join(", "))
}

/// Names of all methods and variants.
pub fn names() -> Vec<&'static str> {
    let named = |entry: &'static Entry| {
        [entry.name].into_iter().chain(entry.variants.iter().map(|(name, _)| *name)).collect::<Vec<_>>()
    };
    all().into_iter().flat_map(named).collect()
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
