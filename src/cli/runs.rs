//! What the commands share that train in a folder: its files, how a run goes on, and how it ends.

use super::paths::{Files, Mark};
use crate::error::{Error, Result};
use crate::run::{Found, Settings, Summary, without_head};
use crate::show::report;
use std::path::Path;

/// What a run writes into its folder, and how it knows its own. That a run is there which must stay is told by itself.
pub(super) fn files_of<C: Settings>() -> Vec<(&'static str, Mark)> {
    vec![
        ("config.toml", Mark::Contents(is_resolved::<C>)),
        ("log.jsonl", Mark::Words("{\"kind\":\"")),
        ("report.html", Mark::Words(report::MARK)),
        ("lock", Mark::Contents(<[u8]>::is_empty)),
        ("checkpoint.safetensors", Mark::Any),
        ("previous.safetensors", Mark::Any),
        ("best.safetensors", Mark::Any),
        ("next.safetensors", Mark::Any),
        ("kept.tmp", Mark::Any),
        (".next.safetensors.part", Mark::Any),
    ]
}

/// Whether a file is a whole configuration as this program writes it, without a comment or anything else of a person.
fn is_resolved<C: Settings>(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    C::kept(text, "config.toml").is_ok_and(|config| config.commented() == without_head(text))
}

/// The files of a run in `--out`, with some more that its command writes there.
pub(super) fn files<C: Settings>(
    out: &Path,
    [resume, overwrite]: [bool; 2],
    more: impl IntoIterator<Item = (&'static str, Mark)>,
) -> Files {
    let mut own = files_of::<C>();
    own.extend(more);
    if resume || overwrite {
        own.iter_mut().for_each(|(_, mark)| *mark = Mark::Any);
    }
    // A run may go on with the configuration in its folder after a change of it: nothing of that is lost.
    if resume && std::fs::read(out.join("config.toml")).is_ok_and(|text| is_resolved::<C>(&text)) {
        own.retain(|(name, _)| *name != "config.toml");
    }
    let mut files = Files::default().folder("--out", out, own);
    files.remedy = ", or replace it by --overwrite";
    files
}

/// What the run in `--out` goes on from, and the configuration with which it does: `over` that of the checkpoint.
pub(super) fn resumed<C: Settings>(
    out: &Path,
    quiet: bool,
    over: impl FnOnce(&C) -> Result<C>,
) -> Result<(Found<C>, C)> {
    let Some(found) = Found::<C>::newest(out)? else {
        let advice = "give the --out of a run that has saved a checkpoint, or start one without --resume";
        return Err(Error::input("no run to go on with", out.display().to_string(), advice));
    };
    found.skipped.iter().for_each(|broken| eprintln!("warning: skipped {broken}"));
    let config = over(found.config())?;
    found.edited(&config).iter().for_each(|edits| eprintln!("warning: {edits}"));
    if !quiet {
        println!("resume   step {} of {}", found.step(), found.path().display());
    }
    Ok((found, config))
}

/// The end of a run that was asked to stop when it was done already.
pub(super) fn expect_time<S>(summary: &Summary<S>) -> Result<()> {
    if !super::signals::stop_at_once() {
        return Ok(());
    }
    let saved = summary.checkpoint.display();
    Err(Error::Interrupted(format!("interrupted after the last step: all is saved in {saved}")))
}
