//! COCO: one JSON file of instances for a folder of photos.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::data::files::{AGAIN, stays_inside};
use crate::data::list::find_root;
use crate::data::photos::{Item, LabelledBox, Origin};
use crate::data::{Photos, Source, Split};
use crate::error::{Error, Result};
use crate::files::{self, at_byte};

/// What is kept of `instances_*.json`; all else (segmentations, licences, addresses) is skipped while reading.
#[derive(Deserialize)]
struct Instances {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: Box<str>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: i64,
    category_id: i64,
    /// In f64: a number that f32 can't hold makes one box misshapen, not the file.
    bbox: [f64; 4],
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

impl Photos {
    /// COCO: the photos of an `instances_*.json`, several labels each, with boxes.
    ///
    /// Photos come in the file's order, those without an object too. Classes are the categories sorted by id; a
    /// photo's labels are the classes of its annotations, crowds included. The photos lie in `images`, or else
    /// in the folder that the file is named for (`train2017` for `annotations/instances_train2017.json`) or
    /// `images`, beside `annotations` or beside the file. The file is read as a stream: what is not needed is
    /// never held. Annotations of an unknown photo or category, and boxes with a negative or infinite side, are
    /// left out and counted in [`Photos::warnings`].
    ///
    /// # Errors
    /// [`Error::Input`] if the file can't be read or is damaged (with the byte), names two photos or categories
    /// alike, names a file outside its folder, or if its first photo is not there.
    /// # Source
    /// Lin et al., "Microsoft COCO: Common objects in context", 2014.
    pub fn coco(annotations: impl Into<Source>, images: Option<&Path>) -> Result<Photos> {
        let source = annotations.into();
        let path = &source.path;
        let fence = source.fence(images.unwrap_or_else(|| folder_of(path)))?;
        let Instances { images: listed, annotations, mut categories } = read(path)?;
        let wrong = |what: String| Error::input(what, path.display().to_string(), AGAIN);
        categories.sort_by_key(|c| c.id);
        let classes =
            unique(categories.iter().map(|c| c.id)).map_err(|id| wrong(format!("two categories {id}")))?;
        let numbers = unique(listed.iter().map(|i| i.id)).map_err(|id| wrong(format!("two images {id}")))?;
        if let Some(image) = listed.iter().find(|image| !stays_inside(&image.file_name)) {
            return Err(wrong(format!("image {} is {:?}, outside its folder", image.id, image.file_name)));
        }
        let first = listed.first().ok_or_else(|| wrong("no image is listed".into()))?;
        let root = find_root(&fence, path, &candidates(path, images), &first.file_name)?;
        let mut items: Vec<Item> = listed
            .into_iter()
            .map(|image| {
                let origin = Origin::File(root.join(&*image.file_name));
                Item::new(image.file_name.into(), origin, Vec::new())
            })
            .collect();
        let (mut homeless, mut classless, mut misshapen) = (0, 0, 0);
        for a in &annotations {
            match (numbers.get(&a.image_id), classes.get(&a.category_id)) {
                (None, _) => homeless += 1,
                (_, None) => classless += 1,
                _ if !LabelledBox::is_sane(a.bbox.map(|v| v as f32)) => misshapen += 1,
                (Some(&image), Some(&class)) => {
                    let crowd = a.iscrowd != 0;
                    items[image].boxes.push(LabelledBox {
                        class,
                        rect: a.bbox.map(|v| v as f32),
                        difficult: false,
                        crowd,
                    });
                }
            }
        }
        items.iter_mut().for_each(Item::label_by_boxes);
        let names = categories.into_iter().map(|c| c.name).collect();
        let mut photos = Photos::from_items(path.display().to_string(), items, names).within(fence);
        for (count, why) in [
            (homeless, "are of images that are not listed"),
            (classless, "are of categories that are not listed"),
            (misshapen, "have a box with a negative or infinite side"),
        ] {
            if count > 0 {
                let all = annotations.len();
                photos
                    .warnings
                    .push(format!("{}: {count} of {all} annotations {why}: left out", photos.place()));
            }
        }
        Ok(photos)
    }
}

/// The file of instances in `root/annotations` that serves a split: `instances_train*` to learn from,
/// `instances_val*` to judge; of several years the last.
pub(super) fn instances(root: &Path, split: Option<Split>) -> Result<PathBuf> {
    let folder = root.join("annotations");
    let prefix = match split {
        None | Some(Split::Train) => "instances_train",
        Some(Split::Test) => "instances_val",
    };
    let names = instance_files(&folder);
    let found = names.iter().rfind(|name| name.starts_with(prefix));
    let only = (split.is_none() && names.len() == 1).then(|| &names[0]);
    found.or(only).map(|name| folder.join(name)).ok_or_else(|| {
        let what = format!("no {prefix}*.json among {}", names.join(", "));
        Error::input(
            what,
            folder.display().to_string(),
            "put the published annotations there, or give one file",
        )
    })
}

/// Names of the files of instances in a folder, sorted; none if it can't be read.
pub(super) fn instance_files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("instances_") && name.ends_with(".json")).collect();
    names.sort();
    names
}

/// The folder of a set, given one of its files of instances: that which holds `annotations`, or the file.
fn folder_of(file: &Path) -> &Path {
    let beside = file.parent().unwrap_or(Path::new(""));
    beside.parent().unwrap_or(beside)
}

/// Folders in which the photos may lie.
fn candidates(file: &Path, images: Option<&Path>) -> Vec<PathBuf> {
    if let Some(folder) = images {
        return vec![folder.to_path_buf()];
    }
    let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let part = stem.strip_prefix("instances_").unwrap_or(&stem);
    let beside = file.parent().unwrap_or(Path::new(""));
    let bases = [beside.parent(), Some(beside)].into_iter().flatten();
    bases
        .flat_map(|base| [base.join(part), base.join("images").join(part), base.join("images"), base.into()])
        .collect()
}

/// Each id's place; the id if one comes twice.
fn unique(ids: impl Iterator<Item = i64>) -> std::result::Result<HashMap<i64, usize>, i64> {
    let mut places = HashMap::new();
    for (place, id) in ids.enumerate() {
        if places.insert(id, place).is_some() {
            return Err(id);
        }
    }
    Ok(places)
}

/// A reader that knows how far it is.
struct Counted {
    inner: BufReader<std::fs::File>,
    at: u64,
}

impl Read for Counted {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn read(path: &Path) -> Result<Instances> {
    let file = files::open(path)?;
    let length = file.metadata().map(|m| m.len()).unwrap_or(0);
    let mut counted = Counted { inner: BufReader::with_capacity(1 << 16, file), at: 0 };
    let mut json = serde_json::Deserializer::from_reader(&mut counted);
    let instances = Instances::deserialize(&mut json).and_then(|instances| json.end().map(|()| instances));
    instances.map_err(|e| {
        let what = format!("no annotations in COCO's format ({e})");
        Error::input(what, at_byte(path, counted.at, length), AGAIN)
    })
}
