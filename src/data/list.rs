//! Listing photos: a walk through folders, and csv lists.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::data::header::is_photo;
use crate::data::photos::{Item, Origin};
use crate::data::source::Fence;
use crate::data::{Photos, Source};
use crate::error::{Error, Result};
use crate::files::{self, unusable};

/// All photo files below `folder` as (name with `/`, path), sorted by name, and the number of links left out because
/// they lead out of the fence.
pub(super) fn photo_files(folder: &Path, fence: &Fence) -> Result<(Vec<(String, PathBuf)>, usize)> {
    let kind = fs::metadata(folder).map_err(|e| unusable(folder, &e))?;
    if !kind.is_dir() {
        return Err(Error::input(
            "not a folder",
            folder.display().to_string(),
            "give the folder that holds the photos",
        ));
    }
    let (mut files, mut skipped) = (Vec::new(), 0);
    let mut seen = HashSet::new();
    let mut open = vec![(String::new(), folder.to_path_buf())];
    while let Some((prefix, folder)) = open.pop() {
        if !seen.insert(fs::canonicalize(&folder).map_err(|e| unusable(&folder, &e))?) {
            continue;
        }
        let mut entries = fs::read_dir(&folder)
            .and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>())
            .map_err(|e| unusable(&folder, &e))?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name())); // `open` is popped from its end
        for entry in entries {
            let (file_name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let name = format!("{prefix}{file_name}");
            let is_dir = path.is_dir();
            if file_name.starts_with('.') || !(is_dir || is_photo(&path)) {
                continue;
            }
            let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            // A link to nothing is kept: it is named with the photos that can't be decoded.
            if link && matches!(fence.holds(&path), Ok(false)) {
                skipped += 1;
            } else if is_dir {
                open.push((format!("{name}/"), path));
            } else {
                files.push((name, path));
            }
        }
    }
    files.sort();
    Ok((files, skipped))
}

/// Columns of a list: where the file name, the labels and the split stand.
struct Columns {
    file: usize,
    labels: Option<usize>,
    split: Option<usize>,
}

const FILE: [&str; 4] = ["file", "path", "image", "filename"];
const LABELS: [&str; 3] = ["labels", "label", "class"];
const SPLIT: [&str; 2] = ["split", "set"];

impl Columns {
    /// From the headings; `None` if the first line names no file column, so is no line of headings.
    fn from_headings(line: &csv::StringRecord) -> Option<Columns> {
        let find = |names: &[&str]| {
            line.iter().position(|cell| names.iter().any(|name| cell.trim().eq_ignore_ascii_case(name)))
        };
        Some(Columns { file: find(&FILE)?, labels: find(&LABELS), split: find(&SPLIT) })
    }
}

/// Which lines of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lines<'a> {
    All,
    Split(&'a str),
    AllBut(&'a str),
}

impl Lines<'_> {
    fn take(self, split: &str) -> bool {
        match self {
            Lines::All => true,
            Lines::Split(wanted) => split == wanted,
            Lines::AllBut(unwanted) => split != unwanted,
        }
    }
}

/// See [`Photos::csv`].
pub(super) fn csv(source: &Source, root: Option<&Path>, wanted: Lines) -> Result<Photos> {
    let list = &source.path;
    let fence = source.fence(root.or(list.parent()).unwrap_or(Path::new("")))?;
    let place = list.display().to_string();
    let bad_line = |e: csv::Error| {
        Error::input(
            format!("not a csv list ({e})"),
            place.clone(),
            "give lines of file,labels or file,labels,split",
        )
    };
    let file = files::open(list)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut lines = reader.records().collect::<csv::Result<Vec<_>>>().map_err(bad_line)?;
    let headings = lines.first().and_then(Columns::from_headings);
    if headings.is_some() {
        lines.remove(0);
    }
    let columns = headings.unwrap_or(Columns { file: 0, labels: Some(1), split: Some(2) });
    let cell = |line: &csv::StringRecord, column: Option<usize>| {
        column.and_then(|c| line.get(c)).unwrap_or("").trim().to_string()
    };
    let labels_of = |line: &csv::StringRecord| -> Vec<String> {
        cell(line, columns.labels)
            .split(';')
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(String::from)
            .collect()
    };
    let classes: Vec<String> =
        lines.iter().flat_map(labels_of).collect::<BTreeSet<_>>().into_iter().collect();
    let splits: BTreeSet<String> = lines.iter().map(|line| cell(line, columns.split)).collect();
    lines.retain(|line| wanted.take(&cell(line, columns.split)));
    let Some(first) = lines.first().map(|line| cell(line, Some(columns.file))) else {
        return Err(match wanted {
            Lines::Split(wanted) => {
                let named = splits.iter().filter(|s| !s.is_empty()).map(|s| s.escape_debug().to_string());
                let known = named.collect::<Vec<_>>().join(", ");
                Error::input(
                    format!("no line of split {wanted:?}"),
                    place,
                    format!("choose among its splits: {known}"),
                )
            }
            Lines::AllBut(unwanted) if !splits.is_empty() => {
                let advice = "give photos of another split, or a list without splits";
                Error::input(format!("every line is of split {unwanted:?}"), place, advice)
            }
            _ => Error::input("an empty list", place, "give lines of file,labels or file,labels,split"),
        });
    };
    let beside = list.parent().unwrap_or(Path::new(""));
    let candidates = match root {
        Some(root) => vec![root.to_path_buf()],
        None => vec![beside.to_path_buf(), beside.join("images")],
    };
    let root = find_root(&fence, list, &candidates, &first)?;
    let items = lines
        .iter()
        .map(|line| {
            let name = cell(line, Some(columns.file));
            let mut labels: Vec<usize> =
                labels_of(line).iter().filter_map(|label| classes.binary_search(label).ok()).collect();
            labels.sort_unstable();
            labels.dedup();
            let origin = Origin::File(root.join(&name));
            Item::new(name, origin, labels)
        })
        .collect();
    Ok(Photos::from_items(place, items, classes).within(fence))
}

/// The folder that a list's file names are relative to: the first of the candidates that holds its first photo.
pub(super) fn find_root(fence: &Fence, list: &Path, candidates: &[PathBuf], first: &str) -> Result<PathBuf> {
    let found = candidates.iter().find(|root| root.join(first).is_file());
    if let Some(root) = found {
        fence.check(&root.join(first))?;
    }
    found.cloned().ok_or_else(|| {
        let folder =
            |c: &PathBuf| if c.as_os_str().is_empty() { ".".into() } else { c.display().to_string() };
        let looked = candidates.iter().map(folder).collect::<Vec<_>>().join(", ");
        Error::input(
            format!("its first photo {first:?} is not there"),
            list.display().to_string(),
            format!("put the photos in one of the folders {looked}"),
        )
    })
}
