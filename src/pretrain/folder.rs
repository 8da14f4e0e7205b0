//! A run's folder: one run at a time, its checkpoints, and which of them to go on from.

use super::checkpoint::{self, Saved};
use super::config::Config;
use super::settings::{Difference, differences};
use super::state::{PhotoList, RunState};
use super::step::Learner;
use crate::error::{Error, Result};
use crate::run::archive::rename;
use crate::topic::Topic;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The newest checkpoint, the one before it, and the one that was judged best.
const CHECKPOINTS: [&str; 3] = ["checkpoint.safetensors", "previous.safetensors", "best.safetensors"];

/// A folder that this process alone may write to: the lock ends with the process, however it ends.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// What there is to go on from.
#[derive(Debug)]
pub struct Found {
    pub(super) saved: Saved,
    pub(super) path: PathBuf,
    /// Newer checkpoints that are not sound, each with the reason in one line.
    pub skipped: Vec<String>,
}

impl Found {
    /// The newest sound checkpoint of a run's folder; `None` if there is no checkpoint at all.
    ///
    /// # Errors
    /// [`Error::Input`] if none of those there are is sound, naming each.
    pub fn newest(folder: &Path) -> Result<Option<Found>> {
        let mut skipped = Vec::new();
        let there = |path: &PathBuf| path.symlink_metadata().is_ok();
        for path in CHECKPOINTS.map(|name| folder.join(name)).into_iter().filter(there) {
            match Saved::read(&path) {
                Ok(saved) => return Ok(Some(Found { saved, path, skipped })),
                Err(error) => skipped.push(error.to_string()),
            }
        }
        if skipped.is_empty() {
            return Ok(None);
        }
        let place = folder.display().to_string();
        let advice = format!("start anew with --overwrite or another --out ({})", skipped.join("; "));
        Err(Error::input("no checkpoint here is sound", place, advice).see(Topic::Promises))
    }

    /// The configuration of the run.
    pub fn config(&self) -> &Config {
        &self.saved.config
    }

    /// The checkpoint's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Steps done when it was written.
    pub fn step(&self) -> u64 {
        self.saved.state.step
    }

    /// Refuses a configuration that differs in more than how long and where a run goes on.
    ///
    /// # Errors
    /// [`Error::Input`] naming each key with both values.
    pub(super) fn accept(&self, config: &Config) -> Result<()> {
        let refused: Vec<String> = differences(&self.saved.config.clone().absolute(), config)
            .into_iter()
            .filter(|changed| !MAY_CHANGE.contains(&changed.key.as_str()) && !may_move(changed))
            .map(|changed| {
                let [was, is] = changed.values();
                format!("{} was {was}, not {is}", changed.key)
            })
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        let advice = format!(
            "leave them as they were, or start another run with another --out; only {} may change, and {} to another place \
             of the same photos",
            MAY_CHANGE.join(", "),
            MAY_MOVE.join(", ")
        );
        Err(Error::input(
            format!("a run goes on as it began: {}", refused.join("; ")),
            self.path.display().to_string(),
            advice,
        )
        .see(Topic::Promises))
    }
}

impl Found {
    /// Refuses other photos than those that the run began with.
    ///
    /// # Errors
    /// [`Error::Input`] naming both.
    pub(super) fn expect_photos(&self, config: &Config, now: &RunState, place: &str) -> Result<()> {
        let (then, data, was) = (&self.saved.state, &config.data, &self.saved.config.data);
        let changed = |what: &str, then: &PhotoList, now: &PhotoList, place: &str| {
            Error::input(
                format!("the {what} have changed: {then} then, {now} now"),
                place,
                "put them back as they were, or start another run with another --out",
            )
            .see(Topic::Promises)
        };
        if !then.photos.are(&now.photos, data.photos != was.photos) {
            return Err(changed("photos", &then.photos, &now.photos, place));
        }
        let moved = data.labelled != was.labelled;
        for (then, now) in then.labelled.iter().flatten().zip(now.labelled.iter().flatten()) {
            if !then.are(now, moved) {
                let place = data.labelled.as_ref().map_or(String::new(), |path| path.display().to_string());
                return Err(changed("labelled photos", then, now, &place));
            }
        }
        Ok(())
    }

    /// A sentence where the configuration that lies in the run's folder says something else than the checkpoint, and `now`,
    /// which the run goes on with, does not take it up either.
    pub fn edited(&self, now: &Config) -> Option<String> {
        let path = self.path.with_file_name(CONFIG);
        let there = match fs::symlink_metadata(&path).is_ok().then(|| Config::read(&path))? {
            Ok(there) => there,
            Err(error) => return Some(format!("{error}: the checkpoint's configuration is used")),
        };
        let lost = differences(&there, now);
        let edits = differences(&there, &self.saved.config)
            .into_iter()
            .filter(|edit| lost.iter().any(|lost| lost.key == edit.key))
            .map(|edit| {
                let [there, saved] = edit.values();
                format!("{} is {there} there, {saved} in the checkpoint", edit.key)
            });
        let edits = edits.collect::<Vec<_>>().join("; ");
        (!edits.is_empty()).then(|| {
            format!("{} was changed ({edits}): the checkpoint's configuration is used", path.display())
        })
    }
}

/// The resolved configuration in a run's folder.
pub(super) const CONFIG: &str = "config.toml";

/// Keys that may differ when a run goes on.
pub const MAY_CHANGE: [&str; 10] = [
    "device",
    "data.threads",
    "data.cache_mib",
    "train.epochs",
    "train.steps",
    "train.minutes",
    "train.memory_limit_mib",
    "train.save_minutes",
    "train.save_steps",
    "train.on_nan",
];

/// Keys that may name another place of the same photos when a run goes on.
pub(super) const MAY_MOVE: [&str; 2] = ["data.photos", "data.labelled"];

/// Whether the change of a key is one of place; photos of the program itself have none.
fn may_move(change: &Difference) -> bool {
    MAY_MOVE.contains(&change.key.as_str()) && change.was.is_some() && change.is.is_some()
}

impl Folder {
    /// Refuses early what [`Folder::open`] would refuse for another process that runs in it, and writes nothing.
    ///
    /// # Errors
    /// [`Error::Input`] if another process runs in it.
    pub fn expect_idle(path: &Path) -> Result<()> {
        let lock = File::options().write(true).open(path.join("lock"));
        lock.map_or(Ok(()), |lock| locked(&lock, path))
    }

    /// Opens a run's folder, made if need be.
    ///
    /// # Errors
    /// [`Error::Input`] if another process runs in it; [`Error::Io`] if it can't be written.
    pub fn open(path: &Path) -> Result<Folder> {
        fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
        let file = path.join("lock");
        let lock = File::create(&file).map_err(|e| Error::io(&file, e))?;
        locked(&lock, path)?;
        Ok(Folder { path: path.to_path_buf(), _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the newest checkpoint is.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINTS[0])
    }

    /// Refuses a folder that holds a run.
    ///
    /// # Errors
    /// [`Error::Input`]
    pub fn expect_empty(path: &Path) -> Result<()> {
        match CHECKPOINTS.iter().find(|name| path.join(name).exists()) {
            None => Ok(()),
            Some(name) => Err(Error::input(
                "there is a run already",
                path.join(name).display().to_string(),
                "go on with it by --resume, replace it by --overwrite, or give another --out",
            )),
        }
    }

    /// Removes all checkpoints.
    pub fn clear(&self) -> Result<()> {
        for path in CHECKPOINTS.map(|name| self.path.join(name)) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(path, e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the beginnings of files that a process which was killed has left: safetensors are written under names such
    /// as `.tmpAb12Cd`. What can't be removed takes room, no more.
    fn sweep(&self) {
        let files = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let left = |name: &str| name.len() == 10 && name.starts_with(".tmp");
        for file in files.filter(|file| file.file_name().to_str().is_some_and(left)) {
            let _ = fs::remove_file(file.path());
        }
    }

    /// Writes the newest checkpoint; the one that was the newest becomes the one before it.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written, after which the newest is what it was; the device's errors.
    pub fn save(&self, learner: &Learner, config: &Config, state: &RunState) -> Result<()> {
        self.sweep();
        let [newest, previous, _] = CHECKPOINTS.map(|name| self.path.join(name));
        // ORDER: the newest stays where it is until it is replaced by the next: there is always one.
        let kept = self.path.join("kept.tmp");
        let next = self.path.join("next.safetensors");
        checkpoint::save_run(&next, learner, config, state)?;
        let kept = match newest.exists() {
            true => link(&newest, &kept).and_then(|()| rename(&kept, &previous)),
            false => Ok(()),
        };
        rename(&next, &newest).and(kept)
    }

    /// Keeps the newest checkpoint as the best.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub fn keep_best(&self) -> Result<()> {
        let kept = self.path.join("kept.tmp");
        link(&self.checkpoint(), &kept)?;
        rename(&kept, &self.path.join(CHECKPOINTS[2]))
    }
}

/// Takes the lock of a run's folder.
fn locked(lock: &File, folder: &Path) -> Result<()> {
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::input(
            "another run is at work here",
            folder.display().to_string(),
            "wait until it has ended, or give another --out",
        ),
        TryLockError::Error(e) => Error::io(folder.join("lock"), e),
    })
}

/// A second name for a file; a copy where the file system has no such.
fn link(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to); // left over by a process that was killed
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop)).map_err(|e| Error::io(to, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_one_run_at_a_time() {
        let folder = tempfile::tempdir().expect("folder");
        let first = Folder::open(folder.path()).expect("free");
        let message = Folder::open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("another run is at work"), "{message}");
        drop(first);
        Folder::open(folder.path()).expect("free again");
    }
}
