//! What each key of a segmenter's configuration means: read from the documentation of the structs.

use super::config::SegmentConfig;
use super::presets::PRESETS;
use crate::run::Settings;
use crate::run::keys::{self, Section, tables, wrapped};
use std::sync::LazyLock;

const SOURCES: [&str; 3] =
    [include_str!("config.rs"), include_str!("../train.rs"), include_str!("../../photos/views/crop.rs")];

static TABLES: LazyLock<Vec<Section>> = LazyLock::new(|| tables(&SOURCES, "SegmentConfig", ""));

impl SegmentConfig {
    /// The whole configuration as TOML with the meaning of each table and key above it.
    pub(super) fn told(&self) -> String {
        keys::commented(&TABLES, &self.table())
    }
}

/// Every key of a segmenter's configuration: meaning, value in the preset of MLS's Table 3 and in the smallest, source.
pub(crate) fn page() -> String {
    let [small, pspnet] = [0, 1].map(|i| (PRESETS[i].config)().table());
    let head = wrapped(
        "Every key of a segmenter's configuration (`vista segment`): replace one by `--set train.batch=8`, or several in a TOML file by \
         `--config FILE`. Beside each stands its value in the preset `pspnet-cityscapes-40k`, and that in `segment-small` where it is \
         another.",
        "",
    );
    let section = |section: &Section| {
        let title = if section.path.is_empty() { String::new() } else { format!("[{}]\n", section.path) };
        section.described(&title, [&pspnet, &small], "small")
    };
    head + &TABLES.iter().map(section).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::settings::known;

    #[test]
    fn every_key_is_documented_and_every_documented_key_is_there() {
        let documented = TABLES.iter().flat_map(|section| {
            let dot = if section.path.is_empty() { "" } else { "." };
            section.keys.iter().map(move |(key, about)| (format!("{}{dot}{key}", section.path), &about.text))
        });
        let mut documented: Vec<(String, &String)> = documented.collect();
        documented.sort();
        let mut keys = known(&(PRESETS[0].config)());
        keys.sort();
        assert_eq!(documented.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), keys);
        assert!(documented.iter().all(|(_, text)| text.ends_with('.')), "{documented:?}");
    }

    #[test]
    fn a_commented_configuration_is_read_back_the_same() {
        for preset in PRESETS {
            let config = (preset.config)();
            assert_eq!(config.merged(&config.told(), "it").expect("read back"), config);
            config.check().expect(preset.name);
        }
    }
}
