//! Files that may be damaged: every length is checked before it is believed, and every error names file and offset.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::files::{at_byte, unusable};
use crate::photos::decode::Rgb;
use crate::photos::locked;
use crate::photos::read::source::Fence;

/// What to do about a file that is not as it was published.
pub(super) const AGAIN: &str = "download the file again";

/// An open file of fixed-size records, shared by all photos in it and all threads.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    file: Mutex<File>,
    /// Bytes.
    pub(super) length: u64,
}

impl RecordFile {
    /// Opens a file inside a fence; nothing is read.
    pub(super) fn open(fence: &Fence, path: PathBuf) -> Result<Arc<RecordFile>> {
        let file = fence.open(&path)?;
        let length = file.metadata().map_err(|e| unusable(&path, &e))?.len();
        Ok(Arc::new(RecordFile { path, file: Mutex::new(file), length }))
    }

    /// Labels of `count` images, a byte each, `stride` apart, of ten classes from `first` on; `what` names one.
    ///
    /// # Errors
    /// [`Error::Input`] if a byte can't be read, or is no label.
    pub(super) fn labels(&self, count: usize, what: &str, stride: u64, first: u8) -> Result<Vec<usize>> {
        let label = |i: usize| {
            let (mut byte, at) = ([0], i as u64 * stride);
            self.read(&mut byte, at).map_err(|e| unusable(&self.path, &e))?;
            let class = byte[0].checked_sub(first).filter(|&class| class < 10);
            let wrong = || format!("{what} of {}, not from {first} to {}", byte[0], first + 9);
            class.map(usize::from).ok_or_else(|| self.damaged(wrong(), at))
        };
        (0..count).map(label).collect()
    }

    /// Fills `bytes` from an offset on.
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut file = locked(&self.file);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }

    /// An error at a byte of this file.
    pub(super) fn damaged(&self, what: String, byte: u64) -> Error {
        Error::input(what, at_byte(&self.path, byte, self.length), AGAIN)
    }
}

/// How uncompressed square images lie in a file: each behind `head` bytes, as three planes of `side * side` bytes, red,
/// green, blue.
#[derive(Debug)]
pub(super) struct Layout {
    /// What they are: `STL-10 images`.
    pub(super) what: &'static str,
    pub(super) side: usize,
    /// Whether a plane lies column by column: sample (x, y) at `x * side + y`, not at `y * side + x`.
    pub(super) by_columns: bool,
    pub(super) head: u64,
}

impl Layout {
    /// Bytes of a record.
    pub(super) const fn bytes(&self) -> u64 {
        self.head + 3 * (self.side * self.side) as u64
    }

    /// The images of a file in a folder, and the file.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none, or if the last one is cut off.
    pub(super) fn images(
        &'static self,
        fence: &Fence,
        folder: &Path,
        name: &str,
    ) -> Result<(Vec<RawImage>, Arc<RecordFile>)> {
        let (file, size) = (RecordFile::open(fence, folder.join(name))?, self.bytes());
        let (whole, what) = (file.length / size, self.what);
        if !file.length.is_multiple_of(size) {
            let what = format!("{what} end in the middle of number {whole}");
            return Err(file.damaged(what, whole * size));
        }
        if whole == 0 {
            return Err(file.damaged(format!("no {what} in an empty file"), 0));
        }
        let offsets = (0..whole).map(|i| i * size + self.head);
        let image = |offset| RawImage { file: file.clone(), offset, layout: self };
        Ok((offsets.map(image).collect(), file))
    }
}

/// An image in a file of records.
#[derive(Clone, Debug)]
pub(super) struct RawImage {
    file: Arc<RecordFile>,
    offset: u64,
    layout: &'static Layout,
}

impl RawImage {
    /// Reads the image.
    pub(super) fn read(&self) -> Result<Rgb, String> {
        let &Layout { side, by_columns, .. } = self.layout;
        let plane = side * side;
        let mut planes = vec![0; 3 * plane];
        let offset = self.offset;
        self.file
            .read(&mut planes, offset)
            .map_err(|e| format!("{} from byte {offset} on: {e}", self.file.path.display()))?;
        let mut image = Rgb::new(side, side);
        for (i, pixel) in image.data.chunks_exact_mut(3).enumerate() {
            let sample = if by_columns { i % side * side + i / side } else { i };
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = planes[channel * plane + sample];
            }
        }
        Ok(image)
    }
}

/// Names of the classes, one a line, from a file that may be missing: then the published ones.
pub(super) fn class_names<const N: usize>(
    fence: &Fence,
    path: &Path,
    published: [&str; N],
) -> Result<Vec<String>> {
    if !path.exists() {
        return Ok(published.map(String::from).to_vec());
    }
    let text = fence.read_text(path, 1 << 16)?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
    if names.len() != N {
        let what = format!("{} names of classes instead of {N}", names.len());
        return Err(Error::input(what, path.display().to_string(), AGAIN));
    }
    Ok(names)
}

/// Whether a file's name in a data set stays inside its folder on every system: relative, no drive, no `..`.
pub(super) fn stays_inside(name: &str) -> bool {
    let rooted = name.starts_with(['/', '\\']) || name.get(1..2) == Some(":");
    !name.is_empty() && !rooted && !name.contains('\0') && name.split(['/', '\\']).all(|part| part != "..")
}
