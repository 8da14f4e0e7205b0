//! What a command reads and writes, known before it begins: an output never replaces an input, nor a file that the same
//! command did not write.

use crate::error::{Error, Result};
use crate::files::{Identity, identity};
use crate::pretrain::Config;
use crate::run::settings::MAX_TEXT;
use clap::builder::{MapValueParser, PathBufValueParser, TypedValueParser, ValueParserFactory};
use clap::{ArgMatches, Command};
use std::fs::{self, File};
use std::io::Read;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// An argument that names what a command reads, or what it writes.
#[derive(Clone, Debug)]
pub(super) struct Named<const WRITTEN: bool>(PathBuf);

/// What a command reads.
pub(super) type Input = Named<false>;
/// What a command writes.
pub(super) type Output = Named<true>;

impl<const WRITTEN: bool> Deref for Named<WRITTEN> {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

impl<const WRITTEN: bool> AsRef<Path> for Named<WRITTEN> {
    fn as_ref(&self) -> &Path {
        self
    }
}

impl<const WRITTEN: bool> ValueParserFactory for Named<WRITTEN> {
    type Parser = MapValueParser<PathBufValueParser, fn(PathBuf) -> Named<WRITTEN>>;
    fn value_parser() -> Self::Parser {
        PathBufValueParser::new().map(Named)
    }
}

impl Input {
    /// Parses the place of a checkpoint: a run's folder stands for its newest one.
    pub(super) fn checkpoint() -> MapValueParser<PathBufValueParser, fn(PathBuf) -> Input> {
        let newest =
            |path: PathBuf| Named(if path.is_dir() { path.join("checkpoint.safetensors") } else { path });
        PathBufValueParser::new().map(newest)
    }
}

/// A path as it is kept in a file that may be read from another folder.
pub(super) fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.into()).display().to_string()
}

impl Output {
    /// The file that it names; `None` for standard output, `-`.
    pub(super) fn file(&self) -> Option<&Path> {
        Some(&*self.0).filter(|path| path.as_os_str() != "-")
    }
}

/// How a file is known that a command wrote.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// By words at its beginning, in the header if it is safetensors.
    Words(&'static str),
    /// By the command that its JSON names.
    Command(String),
    /// By all that is in it; of more than a configuration can have, the beginning.
    Contents(fn(&[u8]) -> bool),
    /// Whatever it is, it may be replaced.
    Any,
}

/// A drawing with a mark in it, a comment of XML's.
pub(super) fn marked(svg: &str, mark: &str) -> String {
    svg.replacen('>', &format!(">\n{mark}"), 1)
}

/// A file that a command will write.
#[derive(Debug)]
pub(super) struct Target {
    /// The argument by which another is named.
    flag: &'static str,
    pub(super) path: PathBuf,
    mark: Mark,
}

/// The files of a command.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Each with the argument that names it.
    reads: Vec<(String, PathBuf)>,
    pub(super) writes: Vec<Target>,
    /// Folders that are made where they are not there.
    folders: Vec<(&'static str, PathBuf)>,
    /// Where the command's JSON goes; nowhere, or to standard output, if absent.
    pub(super) json: Option<PathBuf>,
    /// What else helps against a file that is in the way.
    pub(super) remedy: &'static str,
}

impl Files {
    /// A file that the command writes, if it does, into a folder that must be there; it may replace one with this mark.
    pub(super) fn file(mut self, flag: &'static str, path: Option<&Path>, mark: Mark) -> Files {
        self.writes.extend(path.map(|path| Target { flag, path: path.into(), mark }));
        self
    }

    /// Files that the command writes into a folder, which it makes.
    pub(super) fn folder(
        mut self,
        flag: &'static str,
        folder: &Path,
        files: impl IntoIterator<Item = (impl AsRef<Path>, Mark)>,
    ) -> Files {
        let target = |(name, mark): (_, Mark)| Target { flag, path: folder.join(name), mark };
        self.writes.extend(files.into_iter().map(target));
        self.folders.push((flag, folder.into()));
        self
    }

    /// What a configuration names, wherever it got it from, is read.
    pub(super) fn with_config(mut self, config: &Config) -> Files {
        let Config { init, data, .. } = config;
        for (key, path) in [("init", init), ("data.photos", &data.photos), ("data.labelled", &data.labelled)]
        {
            self.reads.extend(path.iter().map(|path| (key.to_string(), path.clone())));
        }
        self
    }

    /// What the arguments of a command name as its inputs is read too.
    pub(super) fn with_inputs(mut self, command: &Command, matches: &ArgMatches) -> Files {
        for arg in command.get_arguments() {
            let name = match (arg.get_long(), arg.get_value_names()) {
                (Some(long), _) => format!("--{long}"),
                (None, Some([name, ..])) => name.to_string(),
                _ => arg.get_id().to_string(),
            };
            if let Ok(Some(paths)) = matches.try_get_many::<Input>(arg.get_id().as_str()) {
                // Before what a configuration says: a person knows it by its argument.
                self.reads.splice(0..0, paths.map(|Named(path)| (name.clone(), path.clone())));
            }
        }
        self
    }

    /// Refuses an output that is an input, by whatever name and links; one that would replace a file that this command did
    /// not write; and one that can't be written where it is.
    ///
    /// # Errors
    /// [`Error::Input`] naming it.
    pub(super) fn check(&self) -> Result<()> {
        let inputs: Vec<(&str, Identity)> =
            self.reads.iter().map(|(name, path)| (name.as_str(), identity(path))).collect();
        let spare = |flag: &str, path: &Path| {
            let own = identity(path);
            let Some((input, _)) = inputs.iter().find(|(_, input)| *input == own) else { return Ok(()) };
            let what = format!("{flag} would write over what {input} reads");
            Err(Error::input(what, path.display().to_string(), format!("name another by {flag}")))
        };
        self.folders.iter().try_for_each(|(flag, folder)| spare(flag, folder))?;
        for (i, Target { flag, path, .. }) in self.writes.iter().enumerate() {
            let own = identity(path);
            let is_own = |other: &&Target| other.flag != *flag && identity(&other.path) == own;
            if let Some(other) = self.writes[..i].iter().find(is_own) {
                let what = format!("{flag} would write over what {} writes", other.flag);
                return Err(Error::input(
                    what,
                    path.display().to_string(),
                    format!("name another by {flag}"),
                ));
            }
        }
        for Target { flag, path, mark } in &self.writes {
            spare(flag, path)?;
            let place = || path.display().to_string();
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() && !self.folders.iter().any(|(_, made)| folder == made) {
                let advice = format!("make it, or name another file by {flag}");
                return Err(Error::input("no such folder", folder.display().to_string(), advice));
            }
            if path.as_os_str() == "-" {
                let advice = "name a file, as ./- for one of this name";
                return Err(Error::input(format!("{flag} does not print"), place(), advice));
            }
            if path.is_dir() {
                return Err(Error::input("a folder, not a file", place(), format!("name a file by {flag}")));
            }
            if !is_free(path, mark) {
                let what = "there is a file that this command did not write";
                let advice = format!("move it away, or name another by {flag}{}", self.remedy);
                return Err(Error::input(what, place(), advice));
            }
        }
        Ok(())
    }
}

/// LIMIT: bytes in which a mark is looked for; the header of a file of features holds the names of its photos.
const MAX_HEADER: u64 = 64 << 20;
/// The same in other files than safetensors.
const BEGINNING: u64 = 4096;

/// Whether nothing is lost by writing to a path: nothing is there, or a device, or an empty file, or one with this mark.
fn is_free(path: &Path, mark: &Mark) -> bool {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() > 0 && !matches!(mark, Mark::Any) => {}
        _ => return true,
    }
    let begins = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let mut bytes = Vec::new();
        let most = if matches!(mark, Mark::Contents(_)) { MAX_TEXT as u64 } else { BEGINNING };
        file.by_ref().take(most).read_to_end(&mut bytes)?;
        if let (true, Some(length)) =
            (path.extension().is_some_and(|e| e == "safetensors"), bytes.first_chunk())
        {
            let header = 8u64.saturating_add(u64::from_le_bytes(*length)).min(MAX_HEADER);
            file.take(header.saturating_sub(BEGINNING)).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    begins().is_ok_and(|bytes| {
        let has = |words: &str| bytes.windows(words.len()).any(|window| window == words.as_bytes());
        match mark {
            Mark::Words(words) => has(words),
            Mark::Command(name) => has(&format!("\"command\": \"{name}\"")),
            Mark::Contents(is_ours) => is_ours(&bytes),
            Mark::Any => true,
        }
    })
}

#[cfg(test)]
#[path = "../../tests/unit/cli/paths.rs"]
mod tests;
