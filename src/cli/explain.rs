//! `vista explain`: each stage's page of the tour, and some sections of the documentation, in a terminal.

use crate::error::Result;
use crate::pretrain::keys;
use crate::run::keys::plain;
use crate::topic::Topic;
use crate::transfer::{detect, segment};
use clap::ValueEnum;

/// Print the page that teaches a topic: formula, reason, the trap in it. Errors name the page that has their reason.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to read about; all topics are listed without one.
    topic: Option<Topic>,
}

const DOCS: [&str; 2] = [include_str!("../../docs/GUIDE.md"), include_str!("../../docs/TESTING.md")];

pub(super) fn run(args: &Args) -> Result<()> {
    let line = |topic: &Topic| {
        let about = topic.to_possible_value().and_then(|value| value.get_help().cloned()).unwrap_or_default();
        format!("{:23}  {about}\n", topic.to_string())
    };
    print!("{}", args.topic.map_or_else(|| Topic::value_variants().iter().map(line).collect(), page));
    Ok(())
}

/// The page of a topic, written once, where it is needed.
pub(super) fn page(topic: Topic) -> String {
    match topic {
        Topic::Config => keys::page(),
        Topic::Data => tour(include_str!("../photos/mod.rs")),
        Topic::Views => tour(include_str!("../photos/views/mod.rs")),
        Topic::Encoder => tour(include_str!("../pretrain/encoder.rs")),
        Topic::Queue => tour(include_str!("../pretrain/queue.rs")),
        Topic::Method => tour(include_str!("../pretrain/method.rs")),
        Topic::Optim => tour(include_str!("../engine/optim/mod.rs")),
        Topic::Train => tour(include_str!("../pretrain/mod.rs")),
        Topic::Eval => tour(include_str!("../transfer/classify/mod.rs")),
        Topic::Detect => {
            format!("{}\n{}", tour(include_str!("../transfer/detect/mod.rs")), detect::page())
        }
        Topic::Segment => {
            format!("{}\n{}", tour(include_str!("../transfer/segment/mod.rs")), segment::page())
        }
        Topic::Interop => tour(include_str!("../interop/mod.rs")),
        Topic::Report => tour(include_str!("../show/report/mod.rs")),
        Topic::Devices => section("Two devices, one definition"),
        Topic::Ranks => section("Several GPUs, several machines"),
        Topic::Memory => section("Gradient caching: batches larger than memory"),
        Topic::Half => section("Mixed-precision storage"),
        Topic::Collapse => section("Collapse"),
        Topic::Promises => section("What Vista promises"),
    }
}

/// The documentation at the head of a source file.
fn tour(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let mut is_code = false;
    // Of an example the lines that rustdoc hides too are left out.
    let shown = lines.filter(|line| {
        is_code ^= line.starts_with("```");
        !(is_code && line.starts_with("# "))
    });
    shown.map(|line| plain(line) + "\n").collect()
}

/// A section of the documentation with its title, up to the next heading.
fn section(title: &str) -> String {
    let mut sections = DOCS.iter().flat_map(|page| page.split("\n## "));
    let section =
        sections.find(|section| section.lines().next() == Some(title)).expect("a title of the documentation");
    section.lines().take_while(|line| !line.starts_with("# ")).map(|line| plain(line) + "\n").collect()
}

#[cfg(test)]
#[path = "../../tests/unit/cli/explain.rs"]
mod tests;
