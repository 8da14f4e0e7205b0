//! Decoded photos kept in a folder, for later epochs and later runs: `data.cache_dir`.
//!
//! ```text
//! CACHE_DIR/vista-photos/README.txt      says that the folder is ours: no other is written into
//!                        part/           files that are not whole yet; what a killed process left is removed
//!                        3f/3fa1..       a photo: head, key, pixels
//! ```
//!
//! A photo's key is all that its pixels follow from: path, bytes and time of change of its file, how it is scaled down, and the
//! version of the decoder. Files come whole into their place, with a checksum; one that is damaged is as good as none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use memmap2::Mmap;

use crate::error::{Error, Result, readable_bytes};
use crate::files::room;
use crate::photos::decode::Rgb;
use crate::photos::locked;
use crate::photos::photo::Photo;
use crate::photos::pixels::Pixels;

/// Our own folder in the one that is given.
const FOLDER: &str = "vista-photos";
const MARK: &str = "README.txt";
const MARK_TEXT: &str =
    "Decoded photos that `vista` keeps (data.cache_dir). Remove them whenever you like.\n";
/// Files that are not whole yet.
const PART: &str = "part";
/// What a file begins with; another number whenever the pixels of any photo change, or the form of the file.
const MAGIC: &[u8; 8] = b"vistapx1";
/// Magic, checksum of all behind it, and as u32: length of the key, the photo's own size, the image's size.
const HEAD: usize = 8 + 4 + 5 * 4;
/// A part this old belongs to no process that is at work.
const STALE: Duration = Duration::from_secs(3600);
/// LIMIT: bytes of a disk that are left free, and their share of it: checkpoints need room.
const LEFT_FREE: u64 = 1 << 30;
const LEFT_SHARE: u64 = 20;

/// A folder of decoded photos.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    /// Where files are written first; there once a photo came.
    parts: OnceLock<PathBuf>,
    /// Whether photos are still added.
    adds: AtomicBool,
    /// Files written so far.
    count: AtomicU64,
    /// What a person should know, until it is asked for.
    news: Mutex<Vec<String>>,
}

impl Cache {
    /// The cache in a folder; both are made when the first photo comes. Where nothing can be written, what is there is used.
    ///
    /// # Errors
    /// [`Error::Input`] if the place is no folder, or if a folder of our name in it is not ours.
    pub(super) fn open(given: &Path) -> Result<Cache> {
        let folder = given.join(FOLDER);
        let refused = |what: &str, place: &Path| {
            Err(Error::input(what, place.display().to_string(), "choose another data.cache_dir"))
        };
        if fs::metadata(given).is_ok_and(|there| !there.is_dir()) {
            return refused("not a folder", given);
        }
        if fs::symlink_metadata(&folder).is_ok_and(|there| !there.is_dir()) {
            return refused("not a folder of decoded photos", &folder);
        }
        let is_empty = fs::read_dir(&folder).map_or(true, |mut entries| entries.next().is_none());
        if !is_ours(&folder) && !is_empty {
            return refused("holds other files than decoded photos", &folder);
        }
        let (parts, news) = (OnceLock::new(), Mutex::default());
        Ok(Cache { folder, parts, adds: true.into(), count: AtomicU64::new(0), news })
    }

    /// The folder for parts, which is made first, and the mark before all; what killed processes left in it is removed.
    fn parts(&self) -> io::Result<PathBuf> {
        let parts = self.folder.join(PART);
        fs::create_dir_all(&self.folder)?;
        if !is_ours(&self.folder) {
            fs::write(self.folder.join(MARK), MARK_TEXT)?;
        }
        fs::create_dir_all(&parts)?;
        for part in fs::read_dir(&parts)?.flatten() {
            let changed = part.metadata().and_then(|there| there.modified());
            let age = changed.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_some_and(|age| age > STALE) {
                let _ = fs::remove_file(part.path());
            }
        }
        Ok(parts)
    }

    /// Adds nothing more, and says so once.
    fn stop(&self, why: &str) {
        if self.adds.swap(false, Ordering::Relaxed) {
            let (folder, what) = (self.folder.display(), "photos that are not there are decoded each time");
            locked(&self.news).push(format!("{folder}: no more is written ({why}): {what}"));
        }
    }

    /// What happened since this was last asked, a line each.
    pub(super) fn news(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.news))
    }

    fn path(&self, key: &[u8]) -> PathBuf {
        let name = format!("{:016x}", fnv(key));
        self.folder.join(&name[..2]).join(name)
    }

    /// The photo of a key, mapped into memory; `None` if it is not there, or damaged.
    pub(super) fn load(&self, key: &[u8]) -> Option<Photo> {
        let file = File::open(self.path(key)).ok()?;
        // SAFETY: we never change a file that has its name, and nobody else has a reason to; a change would be seen as other
        // pixels. LIMIT: of a file that is cut off, or a disk that fails, while a photo is looked at, the system ends the process.
        let file = unsafe { Mmap::map(&file) }.ok()?;
        let (head, rest) = file.split_first_chunk::<HEAD>()?;
        let sum = crc32fast::hash(&file[12..]);
        if !head.starts_with(MAGIC) || head[8..12] != sum.to_le_bytes() {
            return None;
        }
        let mut numbers = head[12..].as_chunks::<4>().0.iter().map(|&four| u32::from_le_bytes(four) as usize);
        let [length, width, height, image_width, image_height] =
            std::array::from_fn(|_| numbers.next().unwrap_or(0));
        let (own_key, pixels) = rest.split_at_checked(length)?;
        if own_key != key || pixels.len() != 3 * image_width * image_height {
            return None;
        }
        let data = Pixels::mapped(file, HEAD + length);
        Some(Photo { image: Rgb { width: image_width, height: image_height, data }, width, height })
    }

    /// Keeps the photo of a key; whether it is there now.
    pub(super) fn store(&self, key: &[u8], photo: &Photo) -> bool {
        if !self.adds.load(Ordering::Relaxed) {
            return false;
        }
        if let Some([free, all]) = room(&self.folder)
            && free < photo.image.data.len() as u64 + LEFT_FREE.max(all / LEFT_SHARE)
        {
            self.stop(&format!("{} of the disk are free and stay so", readable_bytes(free)));
            return false;
        }
        let written = self.write(key, photo);
        if let Err(error) = &written {
            self.stop(&error.to_string());
        }
        written.is_ok()
    }

    fn write(&self, key: &[u8], photo: &Photo) -> io::Result<()> {
        let parts = match self.parts.get() {
            Some(parts) => parts,
            None => {
                let parts = self.parts()?;
                self.parts.get_or_init(|| parts)
            }
        };
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let part = parts.join(format!("{}-{number}", std::process::id()));
        let written = self.write_by(&part, key, photo);
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// Writes a file under another name and puts it in its place.
    fn write_by(&self, part: &Path, key: &[u8], photo: &Photo) -> io::Result<()> {
        let Rgb { width, height, data } = &photo.image;
        let numbers =
            [key.len(), photo.width, photo.height, *width, *height].map(|n| (n as u32).to_le_bytes());
        let mut sum = crc32fast::Hasher::new();
        [numbers.as_flattened(), key, data].iter().for_each(|bytes| sum.update(bytes));
        let mut file = File::create(part)?;
        file.write_all(&[MAGIC, &sum.finalize().to_le_bytes()[..], numbers.as_flattened(), key].concat())?;
        file.write_all(data)?;
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        fs::rename(part, path)
    }

    /// What the cache will hold, in a line: `bytes` a photo in the mean, of `photos`, the share `there` already.
    pub(super) fn plan(&self, photos: usize, bytes: u64, there: f64) -> String {
        let all = bytes * photos as u64;
        let missing = (all as f64 * (1.0 - there)) as u64;
        let (folder, size) = (self.folder.display(), readable_bytes(all));
        let mut plan = format!("decoded photos are kept in {folder}: about {size} for {photos} photos");
        if there > 0.0 {
            plan += &format!(", {:.0} % of them there", 100.0 * there);
        }
        if let Some([free, all]) = room(&self.folder) {
            let usable = free.saturating_sub(LEFT_FREE.max(all / LEFT_SHARE));
            plan += &format!("; {} are free", readable_bytes(free));
            if usable < missing {
                plan += &format!(
                    ", {} of them for photos: the rest is decoded each time",
                    readable_bytes(usable)
                );
            }
        }
        plan
    }
}

/// Whether a folder holds decoded photos of ours.
pub(super) fn is_ours(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == FOLDER) && folder.join(MARK).is_file()
}

/// FNV-1a, 64 bits: the same for every version of the program, which the standard library's hashes are not.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[path = "../../tests/unit/photos/cache.rs"]
mod tests;
