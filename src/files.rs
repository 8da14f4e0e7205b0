//! Opening files that others made: no device or pipe is waited for, no length is believed, and every error is one line.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::{Error, Result};

/// Opens a regular file for reading.
///
/// # Errors
/// [`Error::Input`] if it can't be read or is something else: a pipe would be waited for without end.
pub(crate) fn open(path: &Path) -> Result<File> {
    // Judged before it is opened, for opening a pipe waits for its writer.
    if !fs::metadata(path).map_err(|e| unusable(path, &e))?.is_file() {
        let place = path.display().to_string();
        return Err(Error::input("not a file", place, "give a file, no folder, pipe or device"));
    }
    File::open(path).map_err(|e| unusable(path, &e))
}

/// Who hears how far a large file is read: its path, the bytes that are read, and all of them, which also stands for its end.
type Reader = fn(&Path, u64, u64);
static HEARS: OnceLock<Reader> = OnceLock::new();

/// Lets a program hear it.
pub(crate) fn while_reading(heard: Reader) {
    let _ = HEARS.set(heard); // the first holds
}

/// Tells how far a large file is read.
pub(crate) fn reading(path: &Path, done: u64, all: u64) {
    HEARS.get().iter().for_each(|heard| heard(path, done, all));
}

/// The bytes of an open file, at most `limit`.
///
/// # Errors
/// [`Error::Input`] if it can't be read or is longer.
pub(crate) fn read(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let long = || {
        let what = format!("more than the {limit} bytes that such a file can have");
        Error::input(what, path.display().to_string(), "choose another file")
    };
    let length = file.metadata().map_err(|e| unusable(path, &e))?.len();
    if length > limit {
        return Err(long());
    }
    let mut bytes = Vec::with_capacity(length as usize + 1); // the file's own length, and one read to see its end
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| unusable(path, &e))?;
    if bytes.len() as u64 > limit { Err(long()) } else { Ok(bytes) }
}

/// The text of a file of at most `limit` bytes.
///
/// # Errors
/// As [`open`] and [`read`], or if it is not UTF-8, with the offset of the first bad byte.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    text(read(open(path)?, path, limit)?, path)
}

/// Bytes of a file as text.
///
/// # Errors
/// [`Error::Input`] if they are not UTF-8, with the offset of the first bad one.
pub(crate) fn text(bytes: Vec<u8>, path: &Path) -> Result<String> {
    let length = bytes.len() as u64;
    String::from_utf8(bytes).map_err(|e| {
        let bad = e.utf8_error().valid_up_to() as u64;
        Error::input("text that is not UTF-8", at_byte(path, bad, length), "choose a text file")
    })
}

/// A file's path with an offset in it, for the middle part of an error.
pub(crate) fn at_byte(path: &Path, byte: u64, of: u64) -> String {
    format!("{} at byte {byte} of {of}", path.display())
}

/// Writes a file beside another and puts it in its place, so that a full disk leaves the old one as it was.
///
/// # Errors
/// [`Error::Io`] if it can't be written.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_by(path, |beside| fs::write(beside, bytes))
}

/// [`replace`] by what writes a file of a name.
///
/// # Errors
/// [`Error::Io`] if it can't be written.
pub(crate) fn replace_by(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    // What is no file of this folder, as a link or a pipe, is written through.
    if fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return write(path).map_err(|e| Error::io(path, e));
    }
    let beside = part_of(path);
    let written = write(&beside).and_then(|()| fs::rename(&beside, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&beside);
        Error::io(path, e)
    })
}

/// Where a file is written before it is whole: by a name that no person gives.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}

/// Bytes of the disk under a path, or under where it will be, that are free for us, and all that it has; `None` where no call
/// tells it.
pub(crate) fn room(path: &Path) -> Option<[u64; 2]> {
    let folder = path.ancestors().find(|there| there.exists()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
        // SAFETY: a struct of numbers, for which zeros are values.
        let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: a path that ends in a zero, and a struct to be filled.
        let is_known = unsafe { libc::statvfs(path.as_ptr(), &mut found) } == 0;
        // Numbers of blocks have 32 bits on some systems.
        #[allow(clippy::useless_conversion)]
        let bytes = |blocks| u64::try_from(blocks).unwrap_or(u64::MAX).saturating_mul(found.f_frsize as u64);
        is_known.then(|| [bytes(found.f_bavail), bytes(found.f_blocks)])
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// The error for a path that the system refuses.
pub(crate) fn unusable(path: &Path, error: &std::io::Error) -> Error {
    let (what, advice) = match error.kind() {
        std::io::ErrorKind::NotFound => ("no such file or folder".to_string(), "check the path"),
        std::io::ErrorKind::PermissionDenied => {
            ("not allowed to read".to_string(), "change its permissions or choose another")
        }
        _ => (format!("can't be read ({error})"), "check the disk, or choose another place"),
    };
    Error::input(what, path.display().to_string(), advice)
}

/// What a path leads to, through all links: what is there by its device and number, and what is not there yet (or on
/// a system without such numbers) by its whole name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    #[cfg(unix)]
    Number(u64, u64),
    Name(PathBuf),
}

/// The identity of what a path leads to.
pub(crate) fn identity(path: &Path) -> Identity {
    #[cfg(unix)]
    if let Ok(found) = fs::metadata(path) {
        use std::os::unix::fs::MetadataExt;
        return Identity::Number(found.dev(), found.ino());
    }
    Identity::Name(whole_name(path, MAX_LINKS))
}

/// LIMIT: links in a row.
const MAX_LINKS: u32 = 40;

/// The whole name of a path of which only the beginning may be there.
fn whole_name(path: &Path, links: u32) -> PathBuf {
    if let Ok(name) = path.canonicalize() {
        return name;
    }
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return path.to_path_buf(),
    };
    match (fs::read_link(path), path.file_name()) {
        (Ok(to), _) if links > 0 => whole_name(&folder.join(to), links - 1),
        (_, Some(name)) => whole_name(folder, links).join(name),
        (_, None) => path.to_path_buf(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_the_same_by_every_name_and_before_it_is_there() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("inner")).expect("folder");
        fs::write(at("file"), "x").expect("written");
        fs::hard_link(at("file"), at("hard")).expect("linked");
        symlink("file", at("soft")).expect("linked");
        symlink("none", at("dangling")).expect("linked");
        symlink("inner", at("door")).expect("linked");
        symlink("loop", at("loop")).expect("linked");
        let groups = [
            &["file", "hard", "soft", "inner/../file"][..],
            &["none", "dangling", "inner/../none", "door/../none"],
            &["inner/none", "door/none"],
            &["inner", "door"],
            &["loop"],
        ];
        for (i, group) in groups.iter().enumerate() {
            for (j, other) in groups.iter().enumerate() {
                for (a, b) in group.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                    assert_eq!(identity(&at(a)) == identity(&at(b)), i == j, "{a} and {b}");
                }
            }
        }
    }
}
