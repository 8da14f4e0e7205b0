//! Photos below a folder, found by a walk.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::unusable;
use crate::photos::cache::is_ours;
use crate::photos::read::endings::{self, Others, is_clutter, is_photo};
use crate::photos::read::photos::{Item, Origin, Photos};
use crate::photos::read::source::{Fence, Source};
use crate::photos::read::tally::allowed;

/// LIMIT: folders that can't be read and are named.
const MOST: usize = 20;

/// What a walk found below a folder.
#[derive(Default)]
struct Walk {
    fence: Fence,
    /// Folders that it was in, without links.
    seen: HashSet<PathBuf>,
    /// Photos as (name with `/`, path), sorted by name.
    files: Vec<(String, PathBuf)>,
    /// Names of the folders in the first one.
    folders: BTreeSet<String>,
    /// Links left out because they lead out of the fence.
    links: usize,
    others: Others,
    /// Folders that can't be read, each with the reason.
    closed: Vec<(PathBuf, io::Error)>,
}

impl Walk {
    fn through(folder: &Path, fence: Fence) -> Result<Walk> {
        let kind = fs::metadata(folder).map_err(|e| unusable(folder, &e))?;
        if !kind.is_dir() {
            let advice = "give the folder that holds the photos";
            return Err(Error::input("not a folder", folder.display().to_string(), advice));
        }
        let mut walk = Walk { fence, ..Walk::default() };
        let mut open = vec![(String::new(), folder.to_path_buf())];
        while let Some((prefix, path)) = open.pop() {
            match walk.enter(&prefix, &path) {
                Ok(inner) => open.extend(inner),
                Err(e) if prefix.is_empty() => return Err(unusable(folder, &e)),
                Err(e) => walk.closed.push((path, e)),
            }
        }
        walk.files.sort();
        Ok(walk)
    }

    /// Takes the photos of a folder; the folders in it are returned.
    fn enter(&mut self, prefix: &str, folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        let mut inner = Vec::new();
        if !self.seen.insert(fs::canonicalize(folder)?) {
            return Ok(inner);
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (file_name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            if is_clutter(&file_name) || is_ours(&path) {
                continue;
            }
            let (is_dir, name) = (path.is_dir(), format!("{prefix}{file_name}"));
            if is_dir && prefix.is_empty() {
                self.folders.insert(name.clone());
            }
            let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            // A link to nothing is kept: it is named with the photos that can't be decoded.
            if link && (is_dir || is_photo(&path)) && matches!(self.fence.holds(&path), Ok(false)) {
                self.links += 1;
            } else if is_dir {
                inner.push((format!("{name}/"), path));
            } else if is_photo(&path) {
                self.files.push((name, path));
            } else if path.is_file() {
                self.others.note(&path);
            }
        }
        // They are taken from the end: of two links to one folder the first by name is entered.
        inner.sort_by(|a, b| b.cmp(a));
        Ok(inner)
    }

    /// What was left out, a sentence each.
    fn warnings(&self, folder: &Path) -> Vec<String> {
        let place = folder.display();
        let closed = self.closed.iter().take(MOST).map(|(path, e)| {
            let name = path.strip_prefix(folder).unwrap_or(path).display();
            format!("{place}: folder {name} can't be read and is left out ({e})")
        });
        let more = self.closed.len().saturating_sub(MOST);
        let more = (more > 0).then(|| format!("{place}: {more} more folders can't be read and are left out"));
        let others = self.others.lines().into_iter().map(|line| format!("{place}: {line}"));
        closed.chain(more).chain(self.fence.warning(self.links)).chain(others).collect()
    }
}

impl Photos {
    /// Every photo below a folder, unlabelled.
    ///
    /// Files are told by their extension (`jpg`, `jpeg`, `jpe`, `jfif`, `png`, `webp`, `gif`, `bmp`, `tif`, `tiff`, in any
    /// case), sorted by path, hidden ones left out. A folder that links back to one already seen is not entered again; links
    /// that lead out of the folder are left out, unless the [`Source`] follows them. These links, folders below it that can't
    /// be read, and files of other endings are counted in [`Photos::warnings`].
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if the folder is not there, can't be read, or holds no photo.
    pub fn folder(folder: impl Into<Source>) -> Result<Photos> {
        read(&folder.into()).map(|(photos, _)| photos)
    }

    /// One photo, wherever links lead from its name.
    pub(super) fn file(file: &Source) -> Result<Photos> {
        let path = file.path.canonicalize().map_err(|e| unusable(&file.path, &e))?;
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fence = file.fence(path.parent().unwrap_or(&path))?;
        Ok(Photos {
            items: vec![Item::new(name, Origin::File(path), Vec::new())],
            ..Photos::at(file.path.display(), fence)
        })
    }

    /// Photos in one folder per class: `folder/CLASS/**/photo.jpg`; classes are sorted by name.
    ///
    /// Photos beside the class folders have no label: they are left out, and so are class folders without a photo; both
    /// are named in [`Photos::warnings`].
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) as for [`Photos::folder`], or if more photos lie beside the class folders
    /// than [`Source::max_broken`] allows.
    pub fn labelled(folder: impl Into<Source>) -> Result<Photos> {
        let source = folder.into();
        let (mut photos, folders) = read(&source)?;
        let class_of = |item: &Item| item.name.split_once('/').map(|(class, _)| class.to_string());
        let found = photos.len();
        let stray: Vec<Item> = photos.items.extract_if(.., |item| class_of(item).is_none()).collect();
        if let Some(first) = stray.first() {
            let count = stray.len();
            if count > allowed(found, source.max_broken) || count == found {
                return Err(photos.refused(
                    format!("photo {} lies outside any class folder", first.name),
                    "give a folder that holds one folder of photos per class and no photos of its own",
                ));
            }
            let what = format!("{count} of {found} photos lie outside any class folder and are left out");
            photos.warn(format_args!("{what}, such as {}", first.name));
        }
        let classes: BTreeSet<String> = photos.items.iter().filter_map(class_of).collect();
        for empty in folders.difference(&classes) {
            photos.warn(format_args!("class folder {empty} holds no photo: its class is left out"));
        }
        photos.classes = classes.into_iter().collect();
        for item in &mut photos.items {
            let class = class_of(item).and_then(|class| photos.classes.binary_search(&class).ok());
            item.labels = class.into_iter().collect();
        }
        Ok(photos)
    }
}

/// The photos below a folder, and the names of the folders in it.
fn read(source: &Source) -> Result<(Photos, BTreeSet<String>)> {
    let folder = &source.path;
    let mut photos = Photos::at(folder.display(), source.fence(folder)?);
    let walk = Walk::through(folder, photos.fence.clone())?;
    photos.warnings = walk.warnings(folder);
    if walk.files.is_empty() {
        let found = match &photos.warnings[..] {
            [] => String::new(),
            warnings => format!(" ({})", warnings.join("; ")),
        };
        let files = format!("{} files, in it or in folders below it{found}", endings::known());
        return Err(photos.refused("no photo in this folder", format!("give a folder that holds {files}")));
    }
    let item = |(name, path)| Item::new(name, Origin::File(path), Vec::new());
    photos.items = walk.files.into_iter().map(item).collect();
    Ok((photos, walk.folders))
}
