//! Where a data set lies, and the fence around it: links lead out of its folder only if that was asked for.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{self, unusable};
use crate::photos::decode::{self, Read, Scale};

/// What to do about a link out of the data folder.
const ADVICE: &str = "put the files there, or follow links (--follow-links, data.follow_links = true)";

/// A data set's folder or list, and whether links in it may lead elsewhere; any path is one whose links may not.
///
/// ```no_run
/// use vista::photos::{Photos, Source};
/// let photos = Photos::open(Source::from("photos").follow_links(true), None)?;
/// # Ok::<(), vista::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Source {
    /// The folder or list.
    pub(super) path: PathBuf,
    /// The folder that was given, if `path` was found in it.
    given: Option<PathBuf>,
    follow_links: bool,
    pub(super) max_broken: f64,
    pub(super) masks: bool,
    pub(super) class: Option<String>,
}

impl<P: AsRef<Path>> From<P> for Source {
    fn from(path: P) -> Source {
        let path = path.as_ref().to_path_buf();
        Source { path, given: None, follow_links: false, max_broken: 0.01, masks: false, class: None }
    }
}

impl Source {
    /// The same with links followed wherever they lead, or not.
    pub fn follow_links(self, follow_links: bool) -> Source {
        Source { follow_links, ..self }
    }

    /// The same with another share of a list's entries that may be unusable before the set is refused: 0.01 unless
    /// set, and always one unless it is 0.
    pub fn max_broken(self, max_broken: f64) -> Source {
        Source { max_broken, ..self }
    }

    /// The same with the objects' masks held, or not, as is usual: they take memory, and of some sets a file a photo is read for them.
    pub fn masks(self, masks: bool) -> Source {
        Source { masks, ..self }
    }

    /// The same with a name for the only class of a set that has masks without names; `object` unless set.
    pub fn class(self, name: &str) -> Source {
        Source { class: Some(name.into()), ..self }
    }

    /// Another set, read in the same way.
    pub(super) fn other(&self, path: &Path) -> Source {
        Source { path: path.to_path_buf(), given: None, ..self.clone() }
    }

    /// A part of this set: its links may lead anywhere in the whole.
    pub(super) fn part(&self, path: PathBuf) -> Source {
        let given = Some(self.given.as_ref().unwrap_or(&self.path).clone());
        Source { path, given, ..self.clone() }
    }

    /// The fence around a folder of this set: that which was given, if it was found in it.
    ///
    /// # Errors
    /// [`Error::Input`] if a link leads out to this set.
    pub(super) fn fence(&self, folder: &Path) -> Result<Fence> {
        if self.follow_links {
            return Ok(Fence(None));
        }
        let folder = self.given.as_deref().unwrap_or(folder);
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        // A folder that is not there holds nothing: who reads it says so.
        let fence = Fence(Some(folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf())));
        if self.given.is_some() {
            fence.check(&self.path)?;
        }
        Ok(fence)
    }
}

/// The folder, without links, that everything of a set lies in; `None` for anywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence(Option<PathBuf>);

impl Fence {
    /// Whether a path, links followed, lies inside. What is not there lies nowhere.
    pub(super) fn holds(&self, path: &Path) -> std::io::Result<bool> {
        match &self.0 {
            None => Ok(true),
            Some(folder) => Ok(path.canonicalize()?.starts_with(folder)),
        }
    }

    /// The folder, for messages.
    fn place(&self) -> String {
        self.0.as_ref().map(|folder| folder.display().to_string()).unwrap_or_default()
    }

    /// Refuses a path that leads out.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        match self.holds(path).map_err(|e| unusable(path, &e))? {
            true => Ok(()),
            false => {
                let what = format!("leads out of {}", self.place());
                Err(Error::input(what, path.display().to_string(), ADVICE))
            }
        }
    }

    /// Opens a regular file inside.
    pub(super) fn open(&self, path: &Path) -> Result<File> {
        self.check(path)?;
        files::open(path)
    }

    /// The text of a file inside, of at most `limit` bytes.
    pub(super) fn read_text(&self, path: &Path, limit: u64) -> Result<String> {
        self.check(path)?;
        files::read_text(path, limit)
    }

    /// The bytes of a photo inside.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        files::read(self.open(path)?, path, MAX_FILE)
    }

    /// Decodes a photo inside; the reason as a sentence fragment if it can't be.
    pub(super) fn decode(&self, path: &Path, scale: Scale) -> Result<Read, String> {
        if !self.holds(path).map_err(|e| e.to_string())? {
            return Err("outside the data folder (--follow-links allows it)".into());
        }
        if !std::fs::metadata(path).map_err(|e| e.to_string())?.is_file() {
            return Err("not a file".into()); // a pipe would be waited for
        }
        let file = File::open(path).map_err(|e| e.to_string())?;
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        if length > MAX_FILE {
            return Err(format!("a file of more than {MAX_FILE} bytes"));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        decode::read(&bytes, scale)
    }

    /// A warning of links that were left out, if any were.
    pub(super) fn warning(&self, skipped: usize) -> Option<String> {
        (skipped > 0)
            .then(|| format!("{}: {skipped} links lead out of it and are left out: {ADVICE}", self.place()))
    }
}

/// LIMIT: bytes of a photo's file.
const MAX_FILE: u64 = 1 << 29;
