//! Keys of a configuration, dotted as in `method.tau`: which there are, how they are read, which a mistyped one may mean.

use super::config::{Config, DataConfig, OptimizerName, TrainConfig};
use super::{methods, old};
use crate::engine::device::Device;
use crate::engine::nn::Module;
use crate::error::{Error, Result};
use crate::photos::Photos;
use crate::photos::views::ViewConfig;
use crate::run::settings::{self, MAX_TEXT, Settings, flatten};
use crate::run::{ENCODERS, Kind};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The batch that methods' numbers for short runs are for.
const SMALL_BATCH: usize = 64;

impl Config {
    /// A preset by name.
    ///
    /// # Errors
    /// [`Error::Input`] naming the presets if there is no such one.
    pub fn preset(name: &str) -> Result<Config> {
        match methods::presets().find(|preset| preset.name == name) {
            Some(preset) => Ok((preset.config)()),
            None => {
                let names: Vec<&str> = methods::presets().map(|preset| preset.name).collect();
                let advice = format!("use one of {}", names.join(", "));
                Err(Error::input("unknown preset", format!("--preset {name}"), advice))
            }
        }
    }

    /// This configuration for another method or variant: numbers, optimiser, groups and colour of views are those of the
    /// method's own recipe, sizes and lengths stay. On the built-in photos it is cut to their number.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such method.
    pub fn with_method(&self, name: &str) -> Result<Config> {
        let (entry, variant) = methods::named(name)?;
        let mut config = self.clone();
        if entry.name != self.method.name() {
            if *self == Config::preset("demo")? {
                config.train.batch = SMALL_BATCH;
            }
            config = config.by_recipe(entry);
            if *self == Config::preset("demo")? {
                (entry.small)(&mut config, Photos::bundled_pretrain().len());
            }
        }
        config.variant(name, variant)
    }

    /// As [`Config::with_method`], with the method's numbers for minutes or hours on so many photos in place of the paper's.
    ///
    /// # Errors
    /// As [`Config::with_method`].
    pub(super) fn with_small_method(&self, name: &str, photos: usize) -> Result<Config> {
        let (entry, variant) = methods::named(name)?;
        let batch = self.train.batch;
        let mut config = self.by_recipe(entry);
        (entry.small)(&mut config, photos);
        // SGD's rate goes with the batch, Adam's does not.
        if config.optimizer.name != OptimizerName::Adam {
            config.optimizer.lr *= batch as f64 / SMALL_BATCH as f64;
        }
        config.variant(name, variant)
    }

    fn by_recipe(&self, entry: &methods::Entry) -> Config {
        let own = (entry.recipe)(self);
        let views = ViewConfig { size: self.views.size, ..own.views };
        let train = TrainConfig { groups: own.train.groups, ..self.train };
        Config { method: own.method, optimizer: own.optimizer, views, train, ..self.clone() }
    }

    fn variant(&self, name: &str, setting: Option<&str>) -> Result<Config> {
        match setting {
            Some(setting) => self.merged(&format!("method.{setting}"), &format!("--method {name}")),
            None => Ok(self.clone()),
        }
    }

    /// The configuration that was kept with a run, of this version or 0.1.
    ///
    /// # Errors
    /// As [`Config::merged`].
    pub fn kept(text: &str, place: &str) -> Result<Config> {
        let today = match text.parse::<Table>() {
            Ok(table) if text.len() <= MAX_TEXT => old::completed(old::translated(table)).to_string(),
            _ => text.to_string(), // it will be refused
        };
        Config::preset("demo")?.merged(&today, place)
    }

    /// This configuration with the keys of a TOML text replaced.
    ///
    /// # Errors
    /// [`Error::Input`] naming the place (a file or an argument) if a key is unknown or a value does not fit.
    pub fn merged(&self, text: &str, place: &str) -> Result<Config> {
        settings::merged(self, text, place)
    }

    /// This configuration with one `key=value` replaced, the key dotted as in `method.tau=0.1`.
    ///
    /// # Errors
    /// As [`Config::merged`].
    pub fn with(&self, setting: &str) -> Result<Config> {
        settings::with(self, setting)
    }
}

/// All keys and values of a configuration, dotted.
pub(crate) fn settings(config: &Config) -> Vec<(String, Value)> {
    flatten(&config.table())
}

impl Settings for Config {
    const KIND: &'static Kind = &ENCODERS;

    fn kept(text: &str, place: &str) -> Result<Config> {
        let config = Config::kept(text, place)?;
        config.check()?;
        Ok(config)
    }

    fn full(&self) -> Config {
        let mut full = self.clone();
        full.init = Some("encoder.safetensors".into());
        full.init_prefix = Some("backbone.".into());
        full.data.photos = Some("photos".into());
        full.data.labelled = Some("labelled".into());
        full.data.cache_dir = Some("cache".into());
        full
    }

    /// Another method has other numbers: its own are what is changed.
    fn base(&self, changes: &Table) -> std::result::Result<Config, String> {
        let mut base = self.clone();
        let named = changes.get("method").and_then(|method| method.get("name")?.as_str());
        if let Some(name) = named.filter(|name| *name != self.method.name()) {
            let entry = methods::find(name).ok_or_else(|| methods::unknown(name))?;
            base.method = (entry.parse)(Table::new()).map_err(|e| e.message().to_string())?;
        }
        Ok(base)
    }

    fn unknown(&self, key: &str) -> (String, Option<String>) {
        let whose =
            if key.starts_with("method.") { format!(" of {}", self.method.name()) } else { String::new() };
        let new =
            old::renamed(key).map(|new| format!("since 0.2 it is `{new}`, for the methods that have it"));
        (whose, new)
    }

    fn commented(&self) -> String {
        self.commented()
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let DataConfig { photos, labelled, cache_dir, .. } = &mut self.data;
        [&mut self.init, photos, labelled, cache_dir].into_iter().flatten().collect()
    }

    fn elements(&self) -> Result<u64> {
        let encoder = self.encoder(&Device::plan())?;
        Ok(encoder.state().iter().map(|param| param.shape().elements() as u64).sum())
    }

    fn photos(&self) -> [Option<&Path>; 2] {
        [self.data.photos.as_deref(), self.data.labelled.as_deref()]
    }
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/settings.rs"]
mod tests;
