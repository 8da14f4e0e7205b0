//! The command that repeats a run.

use crate::pretrain::{Config, methods};
use crate::run::settings::{Difference, differences};
use crate::shell;
use std::path::Path;

/// The shortest `vista pretrain` that has exactly this configuration: the nearest preset, and `--set` for each key that
/// differs from it.
pub fn command(config: &Config, out: &(impl AsRef<Path> + ?Sized)) -> String {
    let out = out.as_ref();
    let all =
        methods::presets().filter_map(|preset| Some((preset.name, changes((preset.config)(), config)?)));
    let (preset, changes) = all.min_by_key(|(_, changes)| changes.len()).unwrap_or(("demo", Vec::new()));
    let mut words = vec!["vista pretrain".to_string()];
    if preset != "demo" {
        words.push(format!("--preset {preset}"));
    }
    words.extend(changes.iter().map(|setting| format!("--set {}", shell::word(setting))));
    words.push(format!("--out {}", shell::path(out)));
    words.join(" ")
}

/// Settings that make `wanted` of `preset`; `None` if the preset has a key that can't be taken away.
fn changes(mut preset: Config, wanted: &Config) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let method = wanted.method.name();
    if preset.method.name() != method {
        all.push(format!("method.name={method}"));
        preset = preset.with(&all[0]).ok()?;
    }
    for Difference { key, is, .. } in differences(&preset, wanted) {
        all.push(format!("{key}={}", is?));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_exactly_the_configuration_of_its_run() {
        let demo = Config::preset("demo").expect("preset");
        let byol = demo.with_method("byol").expect("method").with("data.photos=/my photos").expect("set");
        let swav = Config::preset("swav-stl10-r18").expect("preset").with("method.tau=0.3").expect("set");
        for config in [demo, byol, swav] {
            let said = command(&config, Path::new("runs/x"));
            let name =
                said.split("--preset ").nth(1).map_or("demo", |rest| rest.split(' ').next().expect("name"));
            let preset = Config::preset(name).expect("preset");
            let changes = changes(preset.clone(), &config).expect("changes");
            let again = changes.iter().fold(preset, |config, setting| config.with(setting).expect("set"));
            assert_eq!(again, config, "{said}");
            assert_eq!(said.matches("--set").count(), changes.len(), "{said}");
            assert!(!said.contains("000001"), "digits that an f32 does not have: {said}");
        }
    }
}
