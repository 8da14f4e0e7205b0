//! Cells in a file: each is written as soon as it is known.

use super::Cell;
use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Cells of all comparisons with a run, whatever the photos. The command stands first: by that the file is known.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    command: String,
    vista: String,
    /// In the order in which they were found.
    pub cells: Vec<Cell>,
}

impl Kept {
    /// Those in a file; none if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be read; [`Error::Input`] if it is another file.
    pub fn read(path: &Path) -> Result<Kept> {
        if !path.exists() {
            let (command, vista) = ("worth".into(), env!("CARGO_PKG_VERSION").into());
            return Ok(Kept { command, vista, cells: Vec::new() });
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        serde_json::from_str(&text).map_err(|e| {
            let advice = "move it away: its figures are trained for again";
            Error::input(
                format!("not the figures of `vista worth` ({e})"),
                path.display().to_string(),
                advice,
            )
        })
    }

    /// Adds a cell to what is in a file by now, whoever wrote it.
    ///
    /// # Errors
    /// As [`Kept::read`]; [`Error::Io`] if it can't be written.
    pub fn add(path: &Path, cell: &Cell) -> Result<()> {
        let mut kept = Kept::read(path)?;
        kept.cells.retain(|other| other.key != cell.key);
        kept.cells.push(cell.clone());
        let text = serde_json::to_string_pretty(&kept).map_err(|e| Error::Run(format!("worth: {e}")))?;
        files::replace(path, text.as_bytes())
    }
}
