//! A file that grows while a run goes on, and is cut back to where it was when the run goes on from a checkpoint.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that is only added to. What can't be written, as on a full disk, waits for the next time.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    path: PathBuf,
    /// `None` for one that nobody reads.
    file: Option<File>,
    /// Bytes that are in the file.
    written: u64,
    waiting: Vec<u8>,
}

impl Growing {
    /// Opens a file, made if need be, to go on after its first `bytes`.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub fn open(path: PathBuf, bytes: u64) -> Result<Growing> {
        let io = |e| Error::io(&path, e);
        let mut file = File::options().write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let written = file.metadata().map_err(io)?.len().min(bytes);
        file.set_len(written).map_err(io)?;
        file.seek(SeekFrom::Start(written)).map_err(io)?;
        Ok(Growing { path, file: Some(file), written, waiting: Vec::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds some bytes, at once if it can be; whether nothing waits.
    pub fn add(&mut self, bytes: &[u8]) -> bool {
        if self.file.is_some() {
            self.waiting.extend_from_slice(bytes);
        }
        self.flush().is_ok()
    }

    /// Writes what waits and makes it durable; the bytes of the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be written.
    pub fn finish(&mut self) -> Result<u64> {
        let synced = self.flush().and_then(|()| self.file.as_ref().map_or(Ok(()), File::sync_data));
        synced.map_err(|e| Error::io(&self.path, e))?;
        Ok(self.written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        while !self.waiting.is_empty() {
            match file.write(&self.waiting) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.written += n as u64;
                    self.waiting.drain(..n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
