//! A set of photos: names, bytes on demand, labels where known. Decoding and caching are the [`Album`](super::Album)'s.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::data::{Rgb, decode, list};
use crate::error::{Error, Result};

/// Photos in a fixed order; a photo's index is its id everywhere (queues, batches, logs).
#[derive(Clone, Debug)]
pub struct Photos {
    place: String,
    items: Vec<Item>,
    classes: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) labels: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Origin {
    File(PathBuf),
    Bytes(Cow<'static, [u8]>),
}

impl Photos {
    pub(super) fn from_items(place: String, items: Vec<Item>, classes: Vec<String>) -> Photos {
        Photos { place, items, classes }
    }

    /// Every JPEG and PNG below a folder, unlabelled.
    ///
    /// Files are told by their extension (`jpg`, `jpeg`, `png`, in any case), sorted by path, hidden ones left
    /// out. A folder that links back to one already seen is not entered again.
    ///
    /// # Errors
    /// [`Error::Input`] if the folder is not there, can't be read, or holds no photo.
    pub fn folder(folder: impl AsRef<Path>) -> Result<Photos> {
        let folder = folder.as_ref();
        let files = list::photo_files(folder)?;
        if files.is_empty() {
            return Err(Error::input(
                "no photo in this folder",
                folder.display().to_string(),
                "give a folder that holds .jpg, .jpeg or .png files, in it or in folders below it",
            ));
        }
        let items = files
            .into_iter()
            .map(|(name, path)| Item { name, origin: Origin::File(path), labels: Vec::new() })
            .collect();
        Ok(Photos::from_items(folder.display().to_string(), items, Vec::new()))
    }

    /// Photos in one folder per class: `folder/CLASS/**/photo.jpg`; classes are sorted by name.
    ///
    /// # Errors
    /// [`Error::Input`] as for [`Photos::folder`], or if there are photos beside the class folders, for they
    /// would have no label.
    pub fn labelled(folder: impl AsRef<Path>) -> Result<Photos> {
        let folder = folder.as_ref();
        let mut photos = Photos::folder(folder)?;
        let class_of = |name: &str| name.split_once('/').map(|(class, _)| class.to_string());
        for item in &photos.items {
            let class = class_of(&item.name).ok_or_else(|| {
                Error::input(
                    format!("photo {} lies outside any class folder", item.name),
                    folder.display().to_string(),
                    "give a folder that holds one folder of photos per class and no photos of its own",
                )
            })?;
            if photos.classes.last() != Some(&class) {
                photos.classes.push(class);
            }
        }
        photos.classes.sort();
        photos.classes.dedup();
        let classes = &photos.classes;
        for item in &mut photos.items {
            item.labels = class_of(&item.name)
                .and_then(|class| classes.binary_search(&class).ok())
                .into_iter()
                .collect();
        }
        Ok(photos)
    }

    /// Photos named by a csv list: a column of files, one of labels (several joined by `;`), perhaps one of splits.
    ///
    /// Columns are found by their headings (`file`, `path`, `image`, `filename`; `labels`, `label`, `class`;
    /// `split`, `set`); without such headings they are taken in the order file, labels, split. Files are relative
    /// to `root`, or else to the list's folder, or else to the folder `images` beside the list. With `split`,
    /// only its lines are taken. Classes are the sorted labels of the *whole* list, so that a label has the same
    /// number in every split.
    ///
    /// # Errors
    /// [`Error::Input`] if the list can't be read, has no line of that split, or if its first file is not there.
    pub fn csv(list: impl AsRef<Path>, root: Option<&Path>, split: Option<&str>) -> Result<Photos> {
        list::csv(list.as_ref(), root, split)
    }

    /// Photos from encoded bytes in memory, with labels.
    pub fn from_bytes(photos: Vec<(String, Vec<u8>, Vec<usize>)>, classes: Vec<String>) -> Photos {
        let items = photos
            .into_iter()
            .map(|(name, bytes, labels)| Item { name, origin: Origin::Bytes(bytes.into()), labels })
            .collect();
        Photos::from_items("memory".into(), items, classes)
    }

    /// How many photos there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Where the photos come from, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A photo's path relative to its folder or list, with `/` on every system.
    pub fn name(&self, photo: usize) -> &str {
        &self.items[photo].name
    }

    /// A photo's labels as indices into [`Photos::classes`]; empty where nothing is known.
    pub fn labels(&self, photo: usize) -> &[usize] {
        &self.items[photo].labels
    }

    /// A photo's only label; `None` if it has none or several.
    pub fn label(&self, photo: usize) -> Option<usize> {
        match self.labels(photo) {
            [label] => Some(*label),
            _ => None,
        }
    }

    /// Names of the classes; empty for unlabelled photos.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The first `n` photos: a smaller set for a quick try.
    pub fn take(mut self, n: usize) -> Photos {
        self.items.truncate(n);
        self
    }

    /// Reads and decodes one photo, uncached; the reason if that fails.
    pub fn decode(&self, photo: usize) -> Result<Rgb, String> {
        match &self.items[photo].origin {
            Origin::File(path) => decode(&std::fs::read(path).map_err(|e| e.to_string())?),
            Origin::Bytes(bytes) => decode(bytes),
        }
    }
}
