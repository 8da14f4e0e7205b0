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

pub mod byol;
pub mod densecl;
pub mod mls;
pub mod moco;
pub mod s2r2;
pub mod simclr;
pub mod swav;

use super::config::Config;
use super::method::{MethodConfig, Recipe};
use serde::{Serialize, de::DeserializeOwned};
use toml::Table;

/// Every method.
pub const METHODS: [&Entry; 7] =
    [&mls::ENTRY, &moco::ENTRY, &s2r2::ENTRY, &simclr::ENTRY, &swav::ENTRY, &byol::ENTRY, &densecl::ENTRY];

/// A method as the list knows it.
#[derive(Debug)]
pub struct Entry {
    /// Its name in a configuration.
    pub name: &'static str,
    /// Names of variants, each with the setting of `[method]` that makes it.
    pub variants: &'static [(&'static str, &'static str)],
    /// A recipe from the table `[method]`, defaults in place of what it lacks.
    pub parse: fn(Table) -> Result<MethodConfig, toml::de::Error>,
    /// The method's own recipe for a run like this one: of it other runs take numbers, optimiser, views and groups.
    pub recipe: fn(&Config) -> Config,
    /// That recipe cut to the 573 built-in photos and to minutes.
    pub small: fn(Config) -> Config,
    /// The settings of papers.
    pub presets: &'static [Preset],
}

/// A whole configuration by name.
#[derive(Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it is, with its source.
    pub about: &'static str,
    /// The configuration.
    pub config: fn() -> Config,
}

const fn preset(name: &'static str, about: &'static str, config: fn() -> Config) -> Preset {
    Preset { name, about, config }
}

/// Names and numbers of presets.
pub fn presets() -> impl Iterator<Item = &'static Preset> {
    METHODS.iter().flat_map(|entry| entry.presets)
}

/// A method by name.
pub fn find(name: &str) -> Option<&'static Entry> {
    METHODS.into_iter().find(|entry| entry.name == name)
}

/// What to say of a name that is none of them.
pub fn unknown(name: &str) -> String {
    format!("unknown method `{name}`: use one of {}", names().join(", "))
}

/// Names of all methods and variants.
pub fn names() -> Vec<&'static str> {
    let variants = |entry: &'static Entry| entry.variants.iter().map(|(name, _)| *name);
    METHODS.into_iter().flat_map(|entry| [entry.name].into_iter().chain(variants(entry))).collect()
}

/// [`Entry::parse`] of a struct of numbers.
///
/// # Errors
/// The parser's, of a key that is not there or a value that does not fit.
pub fn parse<R: Recipe + Serialize + DeserializeOwned + 'static>(
    table: Table,
) -> Result<MethodConfig, toml::de::Error> {
    table.try_into::<R>().map(MethodConfig::from)
}
