//! Checkpoints that a stranger made: judged by their header before the rest is read, and before anything is built.
//!
//! A safetensors file holds numbers and text, no code, and names no other file that reading it would open. What is left
//! is memory: a header of any size, tensors of any size, and a configuration of any encoder. All three are bounded by
//! the file's own length here.
//!
//! ```
//! # use vista::pretrain::Config;
//! let refused = vista::run::untrusted::read::<Config>("Cargo.toml").unwrap_err().to_string();
//! assert!(refused.contains("not a sound checkpoint"), "{refused}"); // known by its header, the rest is not read
//! ```

use super::archive::corrupt;
use super::kind::Kind;
use super::settings::Settings;
use crate::error::Result;
use crate::files;
use safetensors::tensor::Metadata;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

/// LIMIT: bytes of a header; that of a ResNet-50 with its optimiser has 100 KiB.
const MAX_HEADER: u64 = 4 << 20;
/// LIMIT: bytes of a checkpoint; that of a ResNet-50 with everything has 600 MiB.
const MAX_FILE: u64 = 16 << 30;

/// Reads a checkpoint: the configuration in its metadata and all its bytes.
///
/// Nothing is allocated but 4 MiB for the header until lengths, offsets and configuration agree with the file's length.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the file can't be read, is not safetensors, has another length than its header says, is of another
/// [kind](Kind), holds no configuration that this program knows, or is too small for the encoder of that configuration.
pub fn read<C: Settings>(path: &(impl AsRef<Path> + ?Sized)) -> Result<(C, Vec<u8>)> {
    let path = path.as_ref();
    let place = path.display().to_string();
    let unsound = |why: String| corrupt(path, &why);
    let mut file = files::open(path)?;
    let header = header(&mut file, path)?;
    let length = file.metadata().map_err(|e| files::unusable(path, &e))?.len();
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get("config"));
    let text = text.ok_or_else(|| unsound("it has no configuration in its metadata".into()))?;
    C::KIND.expect(text, &place)?;
    let config = C::kept(text, &place)?;
    if !config.elements().is_ok_and(|elements| 2 * elements <= length) {
        return Err(unsound(format!("its encoder has more than the {length} bytes of the file")));
    }
    file.rewind().map_err(|e| files::unusable(path, &e))?;
    Ok((config, files::read(file, path, MAX_FILE)?))
}

/// A text of a checkpoint, of which no more than the header is read.
///
/// # Errors
/// As [`read`], of the header.
pub fn text(path: &(impl AsRef<Path> + ?Sized), key: &str) -> Result<Option<String>> {
    let path = path.as_ref();
    let header = header(&mut files::open(path)?, path)?;
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(key).cloned()))
}

/// The kind of run that a checkpoint is of; `None` if that is not known, as of a file that can't be read.
pub fn kind(path: &(impl AsRef<Path> + ?Sized)) -> Option<&'static Kind> {
    Kind::of(&text(path, "config").ok()??)
}

/// The header of a file whose length is as that says.
fn header(file: &mut File, path: &Path) -> Result<Metadata> {
    let unsound = |why: String| corrupt(path, &why);
    let unreadable = |e: std::io::Error| files::unusable(path, &e);
    let length = file.metadata().map_err(unreadable)?.len();
    let mut start = [0; 8];
    if length < 8 {
        return Err(unsound(format!("{length} bytes are too few for a header")));
    }
    file.read_exact(&mut start).map_err(unreadable)?;
    let size = u64::from_le_bytes(start);
    if size > MAX_HEADER.min(length - 8) {
        return Err(unsound(format!("a header of {size} bytes in a file of {length}")));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(unreadable)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|e| unsound(e.to_string()))?;
    let end = (header.data_len() as u64).checked_add(8 + size);
    if end != Some(length) {
        return Err(unsound(format!(
            "its tensors end at byte {} of {length}",
            8 + size.saturating_add(header.data_len() as u64)
        )));
    }
    Ok(header)
}
