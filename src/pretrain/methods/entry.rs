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
    /// The file that defines it, by `include_str!`: the documentation of its numbers is read there (`vista explain config`).
    /// Empty for none.
    pub source: &'static str,
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

impl Entry {
    /// A method of a struct of numbers with serde's `tag = "name"` and `rename` of this name; `source` is its file. Its recipe is
    /// that of the run it is asked of, and it has neither variants nor presets.
    pub const fn of<M: Method + Default + Serialize + DeserializeOwned + 'static>(
        name: &'static str,
        source: &'static str,
    ) -> Entry {
        Entry {
            name,
            variants: &[],
            parse: |table| table.try_into::<M>().map(MethodConfig::from),
            recipe: |config| Config { method: M::default().into(), ..config.clone() },
            small: |_, _| {},
            presets: &[],
            source,
        }
    }
}
