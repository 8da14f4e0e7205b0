//! Files of named arrays: safetensors with texts and a checksum, written so that whatever happens meanwhile a reader
//! finds the whole old file or the whole new one.
//!
//! ```
//! # use vista::run::archive::Archive;
//! let refused = Archive::of(b"a photo".to_vec(), "photo.jpg").unwrap_err().to_string();
//! assert!(refused.contains("not a sound checkpoint: photo.jpg"), "{refused}");
//! ```

use crate::engine::device::Device;
use crate::engine::nn::{Module, Param};
use crate::engine::ops::{Half, Packed, run};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::files::part_of;
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What an array holds.
#[derive(Debug)]
pub enum Content {
    /// A tensor as f32; convolution weights OHWI become OIHW, torchvision's layout.
    Full(Tensor),
    /// The same rounded to f16.
    Half(Tensor),
    /// A matrix whose elements are kept as f16.
    Packed(Packed),
    /// Whole numbers.
    Integers(Vec<i64>),
}

/// A named array of a file. Its values leave the device when they are written, one array at a time.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its arrays.
    pub entries: Vec<Entry>,
    /// Texts by their keys.
    pub texts: HashMap<String, String>,
}

/// Key of the checksum among the texts: the CRC-32 of the file in which its own eight digits are zeros.
const CHECKSUM: &str = "checksum";
/// Key of this program's version; a file that has it must have a checksum.
const VERSION: &str = "vista";
const ZEROS: &str = "00000000";

/// Writes a file: beside it first, flushed, then renamed over what was there, the folder flushed.
///
/// # Errors
/// [`Error::Io`] if it can't be written, after which what was there is as it was; the device's errors.
pub(crate) fn write(path: &Path, entries: &[Entry], mut texts: HashMap<String, String>) -> Result<()> {
    let beside = part_of(path);
    texts.insert(CHECKSUM.into(), ZEROS.into());
    texts.insert(VERSION.into(), env!("CARGO_PKG_VERSION").into());
    let written = write_whole(&beside, entries, texts).and_then(|()| rename(&beside, path));
    if written.is_err() {
        // A disk that is full should not stay so for half a file. What can't be removed is overwritten next time.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_whole(path: &Path, entries: &[Entry], texts: HashMap<String, String>) -> Result<()> {
    let failure = RefCell::new(None);
    let views = entries.iter().map(|entry| (&entry.name, Stored::new(entry, &failure)));
    let written = safetensors::serialize_to_file(views, Some(texts), path);
    if let Some(error) = failure.take() {
        return Err(error);
    }
    written.map_err(|e| match e {
        safetensors::SafeTensorError::IoError(e) => Error::io(path, e),
        other => corrupt(path, &other),
    })?;
    let io = |e| Error::io(path, e);
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    let (sum, at) = checksum(&mut file).map_err(io)?;
    let at = at.ok_or_else(|| corrupt(path, &"it lost its checksum"))?;
    file.seek(SeekFrom::Start(at)).map_err(io)?;
    file.write_all(format!("{sum:08x}").as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}

/// Renames a whole file over another and flushes their folder.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    let io = |e| Error::io(to, e);
    fs::rename(from, to).map_err(io)?;
    // The rename itself is only durable once the folder is flushed; Windows can't open folders and needs no such.
    if cfg!(unix)
        && let Some(folder) = to.parent()
    {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder).and_then(|f| f.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// The CRC-32 of a file with its own digits as zeros, and where these digits are.
fn checksum(file: &mut (impl Read + Seek)) -> std::io::Result<(u32, Option<u64>)> {
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let header_bytes = u64::from_le_bytes(length).min(size.saturating_sub(8));
    let mut header = Vec::new();
    file.by_ref().take(header_bytes).read_to_end(&mut header)?;
    // Quotes within a text are escaped, so only the key itself reads like this.
    let key = format!("\"{CHECKSUM}\":\"");
    let digits = header.windows(key.len()).position(|w| w == key.as_bytes()).map(|at| at + key.len());
    let digits = digits.filter(|&at| at + ZEROS.len() <= header.len());
    if let Some(at) = digits {
        header[at..][..ZEROS.len()].copy_from_slice(ZEROS.as_bytes());
    }
    let mut sum = crc32fast::Hasher::new();
    sum.update(&length);
    sum.update(&header);
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => break,
            n => sum.update(&block[..n]),
        }
    }
    Ok((sum.finalize(), digits.map(|at| 8 + at as u64)))
}

/// A file that was read, with a sound checksum if it has one.
#[derive(Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    texts: HashMap<String, String>,
}

impl Archive {
    /// The bytes of a file that was read.
    ///
    /// # Errors
    /// [`Error::Input`] if they are no safetensors file or its checksum is another.
    pub fn of(bytes: Vec<u8>, path: &(impl AsRef<Path> + ?Sized)) -> Result<Archive> {
        let path = path.as_ref();
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| corrupt(path, &e))?;
        let texts = header.metadata().clone().unwrap_or_default();
        if texts.contains_key(CHECKSUM) || texts.contains_key(VERSION) {
            let (sum, _) = checksum(&mut Cursor::new(&bytes)).map_err(|e| Error::io(path, e))?;
            if texts.get(CHECKSUM) != Some(&format!("{sum:08x}")) {
                return Err(corrupt(path, &"it was damaged: its checksum is another"));
            }
        }
        Ok(Archive { bytes, texts })
    }

    /// A text by its key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    /// Its arrays.
    pub fn arrays(&self) -> std::result::Result<SafeTensors<'_>, String> {
        SafeTensors::deserialize(&self.bytes).map_err(|e| e.to_string())
    }
}

/// An entry as the file has it.
struct Stored<'a> {
    entry: &'a Entry,
    shape: Vec<usize>,
    /// Why values could not be had from the device.
    failure: &'a RefCell<Option<Error>>,
}

impl<'a> Stored<'a> {
    fn new(entry: &'a Entry, failure: &'a RefCell<Option<Error>>) -> Stored<'a> {
        let shape = match &entry.content {
            Content::Full(tensor) | Content::Half(tensor) => stored_shape(tensor.shape()),
            Content::Packed(packed) => packed.shape().to_vec(),
            Content::Integers(values) => vec![values.len()],
        };
        Stored { entry, shape, failure }
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let permuted = |tensor: &Tensor| Ok(permuted(tensor.to_vec()?, tensor.shape(), [0, 3, 1, 2]));
        Ok(match &self.entry.content {
            Content::Full(tensor) => permuted(tensor)?.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Content::Half(tensor) => {
                permuted(tensor)?.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
            }
            Content::Packed(packed) => {
                packed.words().to_vec()?.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect()
            }
            Content::Integers(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        })
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.entry.content {
            Content::Full(_) => Dtype::F32,
            Content::Half(_) | Content::Packed(_) => Dtype::F16,
            Content::Integers(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.bytes().unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            vec![0; self.data_len()]
        });
        bytes.into()
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype().bitsize() / 8
    }
}

/// The shape in a file of a tensor of this shape.
pub(crate) fn stored_shape(shape: &[usize]) -> Vec<usize> {
    match shape[..] {
        [o, h, w, i] => vec![o, i, h, w],
        ref other => other.to_vec(),
    }
}

/// The values of an array in the order of a tensor of this shape.
///
/// # Errors
/// A sentence if its shape or type does not fit.
pub(crate) fn values(view: &TensorView, shape: &[usize]) -> std::result::Result<Vec<f32>, String> {
    let stored = stored_shape(shape);
    if view.shape() != stored {
        return Err(format!("is {:?}, not {stored:?}", view.shape()));
    }
    let values = match view.dtype() {
        Dtype::F32 => bytemuck::pod_collect_to_vec(view.data()),
        Dtype::F16 => {
            view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        other => return Err(format!("is {other:?}, neither F32 nor F16")),
    };
    Ok(permuted(values, &stored, [0, 2, 3, 1]))
}

/// A four-dimensional array with its dimensions in another order; others stay.
fn permuted(values: Vec<f32>, shape: &[usize], order: [usize; 4]) -> Vec<f32> {
    let &[a, b, c, d] = shape else { return values };
    let strides = [b * c * d, c * d, d, 1];
    let sizes = [a, b, c, d];
    let [i, j, k, l] = order;
    let mut out = Vec::with_capacity(values.len());
    for p in 0..sizes[i] {
        for q in 0..sizes[j] {
            for r in 0..sizes[k] {
                let base = p * strides[i] + q * strides[j] + r * strides[k];
                out.extend((0..sizes[l]).map(|s| values[base + s * strides[l]]));
            }
        }
    }
    out
}

/// The state of a module, each name behind `prefix`; with `half` as f16.
///
/// # Errors
/// The device's.
pub(crate) fn parameters(prefix: &str, module: &(impl Module + ?Sized), half: bool) -> Result<Vec<Entry>> {
    module.state().iter().map(|param| entry(format!("{prefix}{}", param.name()), param.get(), half)).collect()
}

/// An array; with `half` as f16, but what has one dimension stays f32.
///
/// # Errors
/// The device's.
pub(crate) fn entry(name: String, tensor: Tensor, half: bool) -> Result<Entry> {
    let content = match half && tensor.shape().len() > 1 {
        true => Content::Half(run(&Half::Round, &[&tensor])?.swap_remove(0)),
        false => Content::Full(tensor),
    };
    Ok(Entry { name, content })
}

/// Gives a module the arrays of its names, each behind `prefix`.
///
/// # Errors
/// A sentence naming what is missing or misshapen.
pub(crate) fn read_parameters(
    arrays: &SafeTensors,
    prefix: &str,
    module: &(impl Module + ?Sized),
    device: &Device,
) -> std::result::Result<(), String> {
    let read = |param: &Param| {
        let name = format!("{prefix}{}", param.name());
        let view = arrays.tensor(&name).map_err(|_| format!("{name} is missing"))?;
        let values = values(&view, &param.shape()).map_err(|e| format!("{name} {e}"))?;
        let tensor = Tensor::new(device, param.shape(), &values).map_err(|e| e.to_string())?;
        param.set(tensor).map_err(|e| e.to_string())
    };
    module.state().iter().try_for_each(read)
}

/// The arrays behind a prefix, convolution weights turned back: what an optimiser remembers of each parameter, whose own shape decides
/// when that takes it up.
pub(crate) fn remembered(
    arrays: &SafeTensors,
    prefix: &str,
    device: &Device,
) -> std::result::Result<Vec<(String, Tensor)>, String> {
    let mut all = Vec::new();
    for (name, view) in arrays.iter() {
        let Some(name) = name.strip_prefix(prefix) else { continue };
        let shape = match view.shape() {
            &[o, i, h, w] => vec![o, h, w, i],
            other => other.to_vec(),
        };
        let values = values(&view, &shape).map_err(|e| format!("{name} {e}"))?;
        all.push((name.to_string(), Tensor::new(device, shape, &values).map_err(|e| e.to_string())?));
    }
    Ok(all)
}

/// A file that can't be used, and why.
pub(crate) fn corrupt(path: &Path, why: &dyn std::fmt::Display) -> Error {
    let why = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::input(
        "not a sound checkpoint",
        path.display().to_string(),
        format!("{why}: use one that `vista pretrain` wrote"),
    )
}

#[cfg(test)]
#[path = "../../tests/unit/run/archive.rs"]
mod tests;
