//! `vista explain`.

use crate::error::Result;
use crate::topic::Topic;
use clap::ValueEnum;

/// Print the page that teaches a topic: formula, reason, the trap in it. Errors name the page that has their reason.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to read about; all topics are listed without one.
    topic: Option<Topic>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let text = match args.topic {
        Some(topic) => topic.text(),
        None => Topic::value_variants().iter().map(line).collect(),
    };
    print!("{text}");
    Ok(())
}

fn line(topic: &Topic) -> String {
    let value = topic.to_possible_value();
    let help = value.as_ref().and_then(|value| value.get_help()).map(|help| help.to_string());
    format!("{:23}  {}\n", topic.to_string(), help.unwrap_or_default())
}
