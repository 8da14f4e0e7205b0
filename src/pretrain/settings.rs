//! Keys of a configuration, dotted as in `method.tau`: which there are, how they are read, which a mistyped one may mean.

use super::config::Config;
use super::{methods, old};
use crate::engine::device::Device;
use crate::engine::nn::Module;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::run::settings::{MAX_TEXT, Settings, flatten};
use std::path::Path;
use toml::{Table, Value};

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
        let asked = &methods::plain(name);
        let found = methods::METHODS.iter().find_map(|&entry| {
            let variant = entry.variants.iter().find(|(variant, _)| variant == asked);
            (entry.name == asked || variant.is_some()).then_some((entry, variant))
        });
        let Some((entry, variant)) = found else {
            let advice = format!("use one of {}", methods::names().join(", "));
            return Err(Error::input("unknown method", format!("--method {name}"), advice));
        };
        let mut config = self.clone();
        if entry.name != self.method.name() {
            let own = (entry.recipe)(self);
            config.views = ViewConfig { size: self.views.size, ..own.views };
            (config.method, config.optimizer, config.train.groups) =
                (own.method, own.optimizer, own.train.groups);
            if *self == Config::preset("demo")? {
                config.train.batch = 64;
                (entry.small)(&mut config);
            }
        }
        match variant {
            Some((_, setting)) => config.merged(&format!("method.{setting}"), &format!("--method {name}")),
            None => Ok(config),
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
        let bad = |e: &dyn std::fmt::Display| {
            let message = e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            Error::input("bad configuration", place, message)
        };
        if text.len() > MAX_TEXT {
            let what = format!("a configuration of {} bytes, more than {MAX_TEXT}", text.len());
            return Err(Error::input(what, place, "give a TOML file with keys to replace"));
        }
        let changes: Table = toml::from_str(text).map_err(|e: toml::de::Error| bad(&e.message()))?;
        let mut base = self.clone();
        // Another method has other numbers: its own are what is changed.
        let named = changes.get("method").and_then(|method| method.get("name")?.as_str());
        if let Some(name) = named.filter(|name| *name != self.method.name()) {
            let entry = methods::find(name).ok_or_else(|| bad(&methods::unknown(name)))?;
            base.method = (entry.parse)(Table::new()).map_err(|e| bad(&e.message()))?;
        }
        check(&base, &changes, place)?;
        let mut table = base.table();
        merge(&mut table, changes);
        table.try_into().map_err(|e: toml::de::Error| bad(&e.message()))
    }

    /// This configuration with one `key=value` replaced, the key dotted as in `method.tau=0.1`.
    ///
    /// # Errors
    /// As [`Config::merged`].
    pub fn with(&self, setting: &str) -> Result<Config> {
        let place = format!("--set {setting}");
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Error::input("no `=`", place, "write --set key=value"));
        };
        // A bare word is a string.
        let value = value.trim();
        let literal = match toml::from_str::<Table>(&format!("x = {value}")) {
            Ok(_) => value.to_string(),
            Err(_) => Value::String(value.into()).to_string(),
        };
        self.merged(&format!("{} = {literal}", key.trim()), &place)
    }
}

/// Replaces values of `into` by those of `from`, section by section.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// All keys and values of a configuration, dotted.
pub(crate) fn settings(config: &Config) -> Vec<(String, Value)> {
    flatten(&config.table())
}

/// All keys that a configuration may have; those of `[method]` are its own method's.
fn known(config: &Config) -> Vec<String> {
    let mut full = config.clone();
    full.init = Some("encoder.safetensors".into());
    full.init_prefix = Some("backbone.".into());
    full.data.photos = Some("photos".into());
    full.data.labelled = Some("labelled".into());
    full.data.cache_dir = Some("cache".into());
    flatten(&full.table()).into_iter().map(|(key, _)| key).collect()
}

/// Refuses a key that no configuration of this method has.
///
/// # Errors
/// [`Error::Input`] naming the key that is most like it, if one is.
pub(super) fn check(config: &Config, changes: &Table, place: &str) -> Result<()> {
    let known = known(config);
    let section =
        |key: &str| known.iter().any(|k| k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    for (key, _) in flatten(changes) {
        if known.contains(&key) || section(&key) {
            continue;
        }
        let like = |other: &String| strsim::jaro_winkler(&key, other);
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
        let nearest = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        let method = config.method.name();
        // A key without its section is meant as often as one that is misspelt.
        let advice = match (old::renamed(&key), known.iter().find(|k| last(k) == last(&key)), nearest) {
            (Some(new), ..) => format!("since 0.2 it is `{new}`, for the methods that have it"),
            (None, Some(same), _) => format!("did you mean `{same}`?"),
            (None, None, Some(nearest)) if like(nearest) > 0.85 => format!("did you mean `{nearest}`?"),
            _ => "`vista pretrain --dry-run` prints all keys".to_string(),
        };
        let whose = if key.starts_with("method.") { format!(" of {method}") } else { String::new() };
        return Err(Error::input(format!("unknown key `{key}`{whose}"), place, advice));
    }
    Ok(())
}

impl Settings for Config {
    const MAY_CHANGE: &'static [&'static str] = &[
        "device",
        "data.threads",
        "data.cache_dir",
        "data.cache_mib",
        "train.epochs",
        "train.steps",
        "train.minutes",
        "train.memory_limit_mib",
        "train.save_minutes",
        "train.save_steps",
        "train.on_nan",
    ];

    fn kept(text: &str, place: &str) -> Result<Config> {
        let config = Config::kept(text, place)?;
        config.check()?;
        Ok(config)
    }

    fn to_toml(&self) -> String {
        self.to_toml()
    }

    fn absolute(self) -> Config {
        self.absolute()
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
