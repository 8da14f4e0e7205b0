//! What is kept between runs in the user's cache folder: built pipelines and tuned choices. Both only save time: a file
//! that is missing, damaged or of another version is ignored with one line of warning.

use crate::error::{Error, Result};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// First line of each file; another version of this crate ignores it.
const HEAD: &str = concat!("vista ", env!("CARGO_PKG_VERSION"));

/// The user's folder for it: `VISTA_CACHE` (empty for none), else the system's folder for caches.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os("VISTA_CACHE") {
        Some(path) => (!path.is_empty()).then(|| path.into()),
        None => Some(dirs::cache_dir()?.join("vista")),
    }
}

/// A file's name for one adapter and driver.
pub(super) fn file_name(kind: &str, adapter: &str, driver: &str) -> String {
    let plain = |text: &str| -> String {
        let letters = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        letters.collect::<String>().trim_matches('-').to_lowercase()
    };
    format!("{kind}-{}-{}", plain(adapter), plain(driver))
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The contents of a file that [`write`] has written whole; `None`, with a warning, if it is another's or damaged.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => return ignored(path, &e.to_string()),
    };
    let head = format!("{HEAD}\n");
    let Some(rest) = bytes.strip_prefix(head.as_bytes()) else {
        return ignored(path, "written by another version");
    };
    match rest.split_first_chunk() {
        Some((sum, contents)) if u64::from_le_bytes(*sum) == checksum(contents) => Some(contents.to_vec()),
        _ => ignored(path, "damaged"),
    }
}

/// Says that a file is ignored.
pub(super) fn ignored<T>(path: &Path, why: &str) -> Option<T> {
    eprintln!("warning: {} is ignored ({why}): it will be written anew, or delete it", path.display());
    None
}

/// Writes a file whole or not at all: into a temporary file beside it that then takes its name.
///
/// # Errors
/// [`Error::Io`] if the folder or the file can't be written.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let beside = path.with_extension(format!("{}.part", std::process::id()));
    let bytes = [format!("{HEAD}\n").as_bytes(), &checksum(contents).to_le_bytes(), contents].concat();
    let done = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    done.map_err(|e| Error::io(path, e))
}

/// A driver's built pipelines, kept in a file.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub cache: wgpu::PipelineCache,
    path: PathBuf,
}

impl Pipelines {
    /// Those of an earlier run, if there are any; `None` if the adapter can't keep pipelines.
    pub fn open(folder: &Path, device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Option<Pipelines> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let path =
            folder.join(file_name(&wgpu::util::pipeline_cache_key(info)?, &info.name, &info.driver_info));
        let data = read(&path);
        // SAFETY: the data is what `get_data` gave: the checksum holds. The driver checks that it is its own, and
        // with `fallback` starts afresh if not.
        let cache = unsafe {
            device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
                label: Some("vista"),
                data: data.as_deref(),
                fallback: true,
            })
        };
        Some(Pipelines { cache, path })
    }

    /// Writes all pipelines built so far. That it can't is only worth a warning.
    pub fn save(&self) {
        let Some(data) = self.cache.get_data() else { return };
        if let Err(error) = write(&self.path, &data) {
            eprintln!("warning: built pipelines are not kept: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_whole_and_a_damaged_one_not_at_all() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("deeper").join("file");
        assert_eq!(read(&path), None);
        write(&path, b"contents").expect("write");
        assert_eq!(read(&path).as_deref(), Some(&b"contents"[..]));
        assert_eq!(std::fs::read_dir(path.parent().expect("folder")).expect("files").count(), 1);
        let whole = std::fs::read(&path).expect("bytes");
        let mut flipped = whole.clone();
        *flipped.last_mut().expect("a byte") ^= 1;
        for bad in [&whole[..whole.len() - 1], &flipped, &whole[1..], b"", b"vista"] {
            std::fs::write(&path, bad).expect("write");
            assert_eq!(read(&path), None);
        }
    }

    #[test]
    fn a_file_is_named_for_its_adapter_and_driver() {
        assert_eq!(
            file_name("tuned", "AMD Radeon RX 6800 (RADV)", "Mesa 24.1"),
            "tuned-amd-radeon-rx-6800--radv-mesa-24-1"
        );
    }
}
