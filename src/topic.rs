//! What there is to read in a terminal: each stage's page of the tour, and some sections of the README.
//!
//! An error whose reason takes more than a line names its topic by [`Error::see`](crate::Error::see).

use clap::ValueEnum;
use std::fmt::{self, Display, Formatter};

const README: &str = include_str!("../README.md");

/// A page that `vista explain` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// Photos and batches.
    Data,
    /// Crops and colours.
    Views,
    /// Features, projections, the momentum copy.
    Encoder,
    /// Keys of earlier steps.
    Queue,
    /// Losses.
    Objective,
    /// Optimisers and schedules.
    Optim,
    /// The order of a step.
    Train,
    /// Judging frozen features.
    Eval,
    /// Other libraries' encoders.
    Interop,
    /// A run as one page.
    Report,
    /// GPUs, the CPU, and which one is taken.
    Devices,
    /// Batches larger than memory.
    Memory,
    /// Values kept as f16.
    Half,
    /// Encoders that stop telling photos apart.
    Collapse,
    /// What holds when something goes wrong.
    Promises,
}

impl Topic {
    /// The page: written once, where it is needed, and read from there.
    pub fn text(self) -> String {
        match self {
            Topic::Data => tour(include_str!("photos/mod.rs")),
            Topic::Views => tour(include_str!("photos/views/mod.rs")),
            Topic::Encoder => tour(include_str!("pretrain/encoder.rs")),
            Topic::Queue => tour(include_str!("pretrain/queue.rs")),
            Topic::Objective => tour(include_str!("pretrain/method.rs")),
            Topic::Optim => tour(include_str!("engine/optim/mod.rs")),
            Topic::Train => tour(include_str!("pretrain/mod.rs")),
            Topic::Eval => tour(include_str!("transfer/classify/mod.rs")),
            Topic::Interop => tour(include_str!("interop/mod.rs")),
            Topic::Report => tour(include_str!("show/report/mod.rs")),
            Topic::Devices => section("Two devices, one definition"),
            Topic::Memory => section("Batches larger than memory"),
            Topic::Half => section("Half storage"),
            Topic::Collapse => section("Collapse"),
            Topic::Promises => section("What Vista promises"),
        }
    }
}

/// `vista explain NAME`, the command that prints the page.
impl Display for Topic {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let value = self.to_possible_value();
        write!(f, "vista explain {}", value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// The documentation at the head of a source file.
fn tour(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| plain(line.strip_prefix(' ').unwrap_or(line)) + "\n").collect()
}

/// A section of the README with its title.
fn section(title: &str) -> String {
    let lines = README.lines().skip_while(|line| line.strip_prefix("## ") != Some(title));
    let rest = lines.enumerate().take_while(|(i, line)| *i == 0 || !line.starts_with("## "));
    rest.map(|(_, line)| plain(line.trim_start_matches("## ")) + "\n").collect()
}

/// A line without the marks that only a browser needs: links, and the bars that set words in bold.
fn plain(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    // `[words](address)` and `[words]` become their words.
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((words, after)) = after.split_once("`]") else { break };
        text += &format!("{before}`{words}`");
        let address = after.strip_prefix('(').and_then(|address| address.split_once(')'));
        rest = address.map_or(after, |(_, after)| after);
    }
    (text + rest).replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_a_page_without_marks() {
        for topic in Topic::value_variants() {
            let text = topic.text();
            assert!(text.lines().filter(|line| !line.trim().is_empty()).count() > 3, "{topic}: {text}");
            for mark in ["**", "[`", "](", "//!"] {
                assert!(!text.contains(mark), "{topic} has {mark}: {text}");
            }
        }
        assert!(Topic::Queue.text().starts_with("Stage 4: the dictionary of keys."));
        assert!(Topic::Collapse.text().starts_with("Collapse\n"));
        assert!(!Topic::Collapse.text().contains("Two devices"), "a section ends where the next begins");
    }

    /// `vista explain NAME`, wherever it is written, names a topic.
    #[test]
    fn every_page_that_a_text_names_is_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = vec![root.join("README.md"), root.join("CHANGELOG.md")];
        let mut folders = vec![root.join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path())
            {
                if entry.is_dir() { folders.push(entry) } else { files.push(entry) }
            }
        }
        let mut named = 0;
        for file in files {
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            for after in text.split("vista explain ").skip(1) {
                let name: String = after.chars().take_while(|c| c.is_ascii_lowercase()).collect();
                if !name.is_empty() {
                    assert!(Topic::from_str(&name, false).is_ok(), "{}: {name}", file.display());
                    named += 1;
                }
            }
        }
        assert!(named > 2, "{named} found");
    }
}
