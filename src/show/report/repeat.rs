//! The command that repeats a run.

use crate::pretrain::{Config, PRESETS};
use crate::shell;
use std::path::Path;
use toml::{Table, Value};

/// The shortest `vista pretrain` that has exactly this configuration: the nearest preset, and `--set` for each key that
/// differs from it.
pub fn command(config: &Config, out: &Path) -> String {
    let wanted = table(config);
    let presets = PRESETS.iter().filter_map(|(name, _)| {
        let changes = changes(&table(&Config::preset(name).ok()?), &wanted)?;
        Some((*name, changes))
    });
    let (preset, changes) = presets.min_by_key(|(_, changes)| changes.len()).unwrap_or(("demo", Vec::new()));
    let mut words = vec!["vista pretrain".to_string()];
    if preset != "demo" {
        words.push(format!("--preset {preset}"));
    }
    words.extend(
        changes.iter().map(|(key, value)| format!("--set {}", shell::word(format!("{key}={value}")))),
    );
    words.push(format!("--out {}", shell::path(out)));
    words.join(" ")
}

fn table(config: &Config) -> Table {
    toml::from_str(&config.to_toml()).unwrap_or_default()
}

/// Settings that make `wanted` of `preset`; `None` if the preset has a key that can't be taken away.
fn changes(preset: &Table, wanted: &Table) -> Option<Vec<(String, String)>> {
    let mut all = Vec::new();
    for (key, old) in preset {
        match (old, wanted.get(key)?) {
            (Value::Table(old), Value::Table(new)) => {
                let inner = changes(old, new)?;
                all.extend(inner.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)));
            }
            (old, new) if old != new => all.push((key.clone(), literal(new))),
            _ => {}
        }
    }
    let more = wanted.iter().filter(|(key, _)| !preset.contains_key(*key));
    all.extend(more.map(|(key, value)| (key.clone(), literal(value))));
    Some(all)
}

/// A value on one line, tables too.
fn literal(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let inner = table.iter().map(|(key, value)| format!("{key} = {}", literal(value)));
            format!("{{ {} }}", inner.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_exactly_the_configuration_of_its_run() {
        let demo = Config::preset("demo").expect("preset");
        let byol = demo.with_method("byol").expect("method").with("data.photos=/my photos").expect("set");
        let swav = Config::preset("swav-stl10-r18").expect("preset").with("objective.tau=0.3").expect("set");
        for config in [demo, byol, swav] {
            let wanted = table(&config);
            let said = command(&config, Path::new("runs/x"));
            let name =
                said.split("--preset ").nth(1).map_or("demo", |rest| rest.split(' ').next().expect("name"));
            let preset = Config::preset(name).expect("preset");
            let changes = changes(&table(&preset), &wanted).expect("changes");
            let again = changes.iter().fold(preset, |c, (k, v)| c.with(&format!("{k}={v}")).expect("set"));
            assert_eq!(again, config, "{said}");
            assert_eq!(said.matches("--set").count(), changes.len(), "{said}");
            assert!(!said.contains("000001"), "digits that an f32 does not have: {said}");
        }
    }
}
