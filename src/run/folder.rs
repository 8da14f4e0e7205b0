//! A run's folder: one run at a time, its checkpoints, and which of them to go on from.

use super::archive::{self, Archive, Entry, corrupt, rename};
use super::provenance::{PROVENANCE, StartRecord};
use super::settings::{self, Difference, Settings, differences};
use super::state::{PhotoList, RunState};
use super::untrusted;
use crate::error::{Error, Result, readable_bytes};
use crate::files;
use crate::topic::Topic;
use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The newest checkpoint, the one before it, and the one that was judged best.
const CHECKPOINTS: [&str; 3] = ["checkpoint.safetensors", "previous.safetensors", "best.safetensors"];

/// Whether there is room for a run: for the checkpoints that are kept, `checkpoint` bytes each, the one that is being written, and
/// `log` bytes. A sentence where it may run out.
///
/// # Errors
/// [`Error::Input`] if not even one checkpoint fits.
pub(crate) fn expect_room(out: &Path, checkpoint: u64, log: u64) -> Result<Option<String>> {
    // A disk that says it has nothing at all says nothing.
    let Some([free, _]) = files::room(out).filter(|&[_, all]| all > 0) else { return Ok(None) };
    // What is there will be replaced.
    let there = CHECKPOINTS.iter().filter_map(|name| fs::metadata(out.join(name)).ok());
    let free = free + there.map(|file| file.len()).sum::<u64>();
    let needed = checkpoint * (CHECKPOINTS.len() as u64 + 1) + log;
    let [free_, needed_, one] = [free, needed, checkpoint].map(readable_bytes);
    if free < checkpoint {
        let what = format!("{free_} of the disk are free, and a checkpoint of this run has {one}");
        let advice = "make room, or name another folder by --out";
        return Err(Error::input(what, out.display().to_string(), advice).see(Topic::Promises));
    }
    Ok((free < needed).then(|| {
        format!(
            "{}: {free_} of the disk are free, and this run may write {needed_} (checkpoints of {one} each, and a log): make room",
            out.display()
        )
    }))
}

/// A folder that this process alone may write to: the lock ends with the process, however it ends. Of ranks that train together
/// the first writes, and the others have no lock.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: Option<File>,
}

/// What there is to go on from: a run's checkpoint that was read and found whole.
#[derive(Debug)]
pub struct Found<C> {
    pub(crate) file: Archive,
    config: C,
    pub(super) state: RunState,
    /// Where the run started and went on last; none of what older versions wrote.
    pub(super) starts: Vec<StartRecord>,
    path: PathBuf,
    /// Newer checkpoints that are not sound, each with the reason in one line.
    pub skipped: Vec<String>,
}

impl<C: Settings> Found<C> {
    /// Reads a run's checkpoint.
    ///
    /// # Errors
    /// As [`untrusted::read`] and [`Archive::of`]; [`Error::Input`] too if it holds an encoder alone.
    pub fn read(path: &(impl AsRef<Path> + ?Sized)) -> Result<Found<C>> {
        let path = path.as_ref();
        let (config, bytes) = untrusted::read(path)?;
        let file = Archive::of(bytes, path)?;
        let Some(state) = file.text("run") else {
            return Err(corrupt(path, &"it holds an encoder without its run"));
        };
        let state = serde_json::from_str(state).map_err(|e| corrupt(path, &e))?;
        let starts = file.text(PROVENANCE).and_then(|starts| serde_json::from_str(starts).ok());
        let (starts, path) = (starts.unwrap_or_default(), path.to_path_buf());
        Ok(Found { file, config, state, starts, path, skipped: Vec::new() })
    }

    /// The newest sound checkpoint of a run's folder; `None` if there is no checkpoint at all.
    ///
    /// # Errors
    /// [`Error::Input`] if one is of another kind of run, or none of those there are is sound, naming each.
    pub fn newest(folder: &(impl AsRef<Path> + ?Sized)) -> Result<Option<Found<C>>> {
        let folder = folder.as_ref();
        let mut skipped = Vec::new();
        let there = |path: &PathBuf| path.symlink_metadata().is_ok();
        for path in CHECKPOINTS.map(|name| folder.join(name)).into_iter().filter(there) {
            if let Ok(Some(config)) = untrusted::text(&path, "config") {
                C::KIND.expect(&config, &path.display().to_string())?;
            }
            match Found::read(&path) {
                Ok(found) => return Ok(Some(Found { skipped, ..found })),
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
    pub fn config(&self) -> &C {
        &self.config
    }

    /// The checkpoint's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Steps done when it was written.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Refuses a configuration that differs in more than how long and where a run goes on.
    ///
    /// # Errors
    /// [`Error::Input`] naming each key with both values.
    pub(super) fn accept(&self, config: &C) -> Result<()> {
        let may_change = |changed: &Difference| {
            let key = &changed.key.as_str();
            // Photos of the program itself have no place that could be another.
            let moved = changed.was.is_some() && changed.is.is_some() && C::MAY_MOVE.contains(key);
            moved || C::MAY_CHANGE.contains(key)
        };
        let refused: Vec<String> = differences(&self.config.clone().absolute(), config)
            .into_iter()
            .filter(|changed| !may_change(changed))
            .map(|changed| {
                let [was, is] = changed.values();
                format!("{} was {was}, not {is}", changed.key)
            })
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        let known = settings::known(&self.config);
        let has = |keys: &[&str]| {
            let own = keys.iter().copied().filter(|key| known.iter().any(|own| own == key));
            own.collect::<Vec<_>>().join(", ")
        };
        let advice = format!(
            "leave them as they were, or start another run with another --out; only {} may change, and {} to another place \
             of the same photos",
            has(C::MAY_CHANGE),
            has(C::MAY_MOVE)
        );
        Err(Error::input(
            format!("a run goes on as it began: {}", refused.join("; ")),
            self.path.display().to_string(),
            advice,
        )
        .see(Topic::Promises))
    }

    /// Refuses other photos than those that the run began with.
    ///
    /// # Errors
    /// [`Error::Input`] naming both.
    pub(super) fn expect_photos(&self, config: &C, now: &RunState, place: &str) -> Result<()> {
        let (then, [photos, labelled], was) = (&self.state, config.photos(), self.config.photos());
        let changed = |what: &str, then: &PhotoList, now: &PhotoList, place: &str| {
            Error::input(
                format!("the {what} have changed: {then} then, {now} now"),
                place,
                "put them back as they were, or start another run with another --out",
            )
            .see(Topic::Promises)
        };
        if !then.photos.are(&now.photos, photos != was[0]) {
            return Err(changed("photos", &then.photos, &now.photos, place));
        }
        for (then, now) in then.labelled.iter().flatten().zip(now.labelled.iter().flatten()) {
            if !then.are(now, labelled != was[1]) {
                let place = labelled.map_or(place.to_string(), |path| path.display().to_string());
                return Err(changed("labelled photos", then, now, &place));
            }
        }
        Ok(())
    }

    /// A sentence where the configuration that lies in the run's folder says something else than the checkpoint, and `now`,
    /// which the run goes on with, does not take it up either.
    pub fn edited(&self, now: &C) -> Option<String> {
        let path = self.path.with_file_name(CONFIG);
        let there = match fs::symlink_metadata(&path).is_ok().then(|| C::read(&path))? {
            Ok(there) => there,
            Err(error) => return Some(format!("{error}: the checkpoint's configuration is used")),
        };
        let lost = differences(&there, now);
        let edits = differences(&there, &self.config)
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
        Ok(Folder { path: path.to_path_buf(), _lock: Some(lock) })
    }

    /// A run's folder to which another rank writes.
    pub fn of_another(path: &Path) -> Folder {
        Folder { path: path.to_path_buf(), _lock: None }
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
    pub fn save(&self, entries: &[Entry], texts: HashMap<String, String>) -> Result<()> {
        self.sweep();
        let [newest, previous, _] = CHECKPOINTS.map(|name| self.path.join(name));
        // ORDER: the newest stays where it is until it is replaced by the next: there is always one.
        let kept = self.path.join("kept.tmp");
        let next = self.path.join("next.safetensors");
        archive::write(&next, entries, texts)?;
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

/// Whether a process is at work in a run's folder.
pub fn is_at_work(folder: &Path) -> bool {
    let lock = File::open(folder.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
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
        assert!(is_at_work(folder.path()) && !is_at_work(&folder.path().join("none")));
        drop(first);
        assert!(!is_at_work(folder.path()));
        Folder::open(folder.path()).expect("free again");
    }

    #[test]
    fn a_disk_that_is_too_full_is_seen_before_a_run() {
        let folder = tempfile::tempdir().expect("folder");
        let out = folder.path().join("runs/new");
        let Some([free, _]) = files::room(&out) else {
            return println!("not tested: no call tells the room");
        };
        assert!(expect_room(&out, 1000, 1000).expect("room").is_none());
        // Three are kept, and one is being written; others use this disk meanwhile.
        for [checkpoint, log] in [[free / 3, 0], [1000, 2 * free]] {
            let warning = expect_room(&out, checkpoint, log).expect("room for one").expect("a warning");
            assert!(warning.contains("are free") && warning.contains("make room"), "{warning}");
        }
        let message = expect_room(&out, 2 * free, 0).unwrap_err().to_string();
        assert!(message.contains("runs/new") && message.contains("--out"), "{message}");
    }
}
