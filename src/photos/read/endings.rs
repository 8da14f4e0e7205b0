//! Which files are photos, by their endings, and what is said of the others.

use std::collections::BTreeMap;
use std::path::Path;

/// Endings of the files that are taken for photos, in any case; what a file is its first bytes tell.
const PHOTO: [&str; 10] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff"];
/// Endings of pictures that are not read.
const PICTURE: [&str; 15] = [
    "arw", "avif", "cr2", "cr3", "dng", "heic", "heif", "jp2", "jxl", "nef", "orf", "raf", "rw2", "svg",
    "tga",
];
/// Files that systems put into any folder, in lower case.
const CLUTTER: [&str; 3] = ["thumbs.db", "desktop.ini", "__macosx"];
/// LIMIT: endings that are named; folders of numbered files have thousands.
const MOST: usize = 12;

/// Whether a file's name has the ending of a photo.
pub(super) fn is_photo(path: &Path) -> bool {
    path.extension().is_some_and(|e| PHOTO.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// A photo's name without its ending.
pub(super) fn bare(name: &str) -> &str {
    name.rsplit_once('.').filter(|_| is_photo(Path::new(name))).map_or(name, |(stem, _)| stem)
}

/// Whether a name is hidden, or of those that systems leave behind.
pub(super) fn is_clutter(name: &str) -> bool {
    name.starts_with('.') || CLUTTER.contains(&name.to_lowercase().as_str())
}

/// The endings of photos as text: `.jpg, .jpeg or .png`.
pub(super) fn known() -> String {
    let (last, others) = PHOTO.split_last().expect("there are endings");
    let others = others.iter().map(|e| format!(".{e}")).collect::<Vec<_>>().join(", ");
    format!("{others} or .{last}")
}

/// Files that are no photos by their endings, counted.
#[derive(Debug, Default)]
pub(super) struct Others(BTreeMap<String, usize>);

impl Others {
    /// Counts a file.
    pub(super) fn note(&mut self, path: &Path) {
        let ending = path.extension().map(|e| format!(".{}", e.to_string_lossy().to_lowercase()));
        *self.0.entry(ending.unwrap_or_default()).or_default() += 1;
    }

    /// A line for each ending, those of pictures and the most frequent first.
    pub(super) fn lines(&self) -> Vec<String> {
        let is_picture = |ending: &str| PICTURE.contains(&ending.trim_start_matches('.'));
        let mut all: Vec<(&str, usize)> = self.0.iter().map(|(ending, &n)| (ending.as_str(), n)).collect();
        all.sort_by_key(|&(ending, n)| (!is_picture(ending), std::cmp::Reverse(n)));
        let line = |&(ending, n): &(&str, usize)| {
            let files = if n == 1 { "1 file".into() } else { format!("{n} files") };
            let of =
                if ending.is_empty() { "without an ending".into() } else { format!("of ending {ending}") };
            let are = if n == 1 { "is" } else { "are" };
            let what = if is_picture(ending) { "save pictures as" } else { "photos end in" };
            format!("{files} {of} {are} left out: {what} {}", known())
        };
        let mut lines: Vec<String> = all.iter().take(MOST).map(line).collect();
        if let Some(more) = all.get(MOST..).filter(|more| !more.is_empty()) {
            let files: usize = more.iter().map(|(_, n)| n).sum();
            lines.push(format!("{files} files of {} other endings are left out", more.len()));
        }
        lines
    }
}
