//! What the list of methods knows of each.

use crate::pretrain::config::Config;
use crate::pretrain::method::{Method, MethodConfig};
use serde::{Serialize, de::DeserializeOwned};
use toml::Table;

/// A method as the list knows it.
#[derive(Debug)]
pub struct Entry {
    /// Its name in a configuration.
    pub name: &'static str,
    /// Names of variants, each with the setting of `[method]` that makes it.
    pub variants: &'static [(&'static str, &'static str)],
    /// The method of a table `[method]` without its name, defaults in place of what it lacks.
    pub parse: fn(Table) -> Result<MethodConfig, toml::de::Error>,
    /// The method's own recipe for a run like this one: of it other runs take numbers, optimiser, views and groups.
    pub recipe: fn(&Config) -> Config,
    /// Cuts that recipe, at a batch of 64, to so many photos (the built-in ones are 573) and to minutes or hours.
    pub small: fn(&mut Config, usize),
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

/// A preset.
pub(super) const fn preset(name: &'static str, about: &'static str, config: fn() -> Config) -> Preset {
    Preset { name, about, config }
}

/// [`Entry::parse`] of a struct of numbers.
///
/// # Errors
/// The parser's, of a key that is not there or a value that does not fit.
pub fn parse<M: Method + Serialize + DeserializeOwned + 'static>(
    table: Table,
) -> Result<MethodConfig, toml::de::Error> {
    table.try_into::<M>().map(MethodConfig::from)
}
