//! What each key of a configuration means. It is written once, as the documentation of the structs, and read from there.

use super::config::Config;
use super::method::MethodConfig;
use super::methods;
use crate::run::keys::{self, About, Section, tables, wrapped};
use std::sync::LazyLock;
use toml::{Table, Value};

/// The files whose structs are tables of every configuration; a method's own is in its [`Entry`](methods::Entry).
const SOURCES: [&str; 3] =
    [include_str!("config.rs"), include_str!("method.rs"), include_str!("../photos/views/config.rs")];

/// The tables of every configuration, that of the method without its keys.
static TABLES: LazyLock<Vec<Section>> = LazyLock::new(|| tables(&SOURCES, "Config", ""));

/// The tables of a method; of one whose source says nothing of its keys the keys alone.
fn of_method(method: &MethodConfig) -> Vec<Section> {
    let source = methods::find(method.name()).map_or("", |entry| entry.source);
    let named = format!("rename = \"{}\"", method.name());
    let after = source.split_once(&named).and_then(|(_, after)| after.split_once("pub struct "));
    let kind = after.and_then(|(_, after)| after.split(' ').next()).unwrap_or_default();
    let mut all = tables(&[source], kind, "method");
    if all.is_empty() {
        let keys = method.table().keys().filter(|key| *key != "name");
        let keys = keys.map(|key| (key.clone(), About::default())).collect();
        all.push(Section { path: "method".into(), about: About::default(), keys });
    }
    all[0].keys.insert(0, ("name".into(), About::default()));
    all
}

/// All tables of a configuration.
pub(crate) fn sections(config: &Config) -> Vec<Section> {
    let own = |section: &Section| match section.path.as_str() {
        "method" => of_method(&config.method),
        _ => vec![section.clone()],
    };
    TABLES.iter().flat_map(own).collect()
}

impl Config {
    /// The whole configuration as TOML with the meaning of each table and key above it.
    pub fn commented(&self) -> String {
        keys::commented(&sections(self), &self.values())
    }
}

/// Every key of every configuration: meaning, default, source.
pub(crate) fn page() -> String {
    let demo = Config::preset("demo").expect("a preset");
    let (base, demo) = (Config::base(demo.method.clone()).values(), demo.values());
    let mut text = wrapped(
        "Every key of a configuration: replace one by `--set train.batch=32`, or several in a TOML file by `--config FILE`. \
         Beside each stands the value that presets begin from, and the demo's where it is another; a preset, and a method's \
         own recipe, have others where their papers have.",
        "",
    );
    for section in TABLES.iter().filter(|section| section.path != "method") {
        let title = if section.path.is_empty() { String::new() } else { format!("[{}]\n", section.path) };
        text += &section.described(&title, [&base, &demo], "demo");
    }
    for entry in methods::all() {
        let Ok(method) = (entry.parse)(Table::new()) else { continue };
        let defaults = Table::from_iter([("method".to_string(), Value::Table(method.table().clone()))]);
        for section in of_method(&method) {
            text += &section.described(
                &format!("[{}] of {}\n", section.path, entry.name),
                [&defaults, &defaults],
                "",
            );
        }
    }
    text
}

#[cfg(test)]
#[path = "../../tests/unit/pretrain/keys.rs"]
mod tests;
