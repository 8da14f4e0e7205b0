//! COCO: one JSON file of instances for a folder of photos.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::photos::read::loose::{self, Entries, Entry, Id};
use crate::photos::read::part::{Split, names_in};
use crate::photos::read::photos::{Classes, Item, LabelledBox, Photos};
use crate::photos::read::records::AGAIN;
use crate::photos::read::shelf::Shelf;
use crate::photos::read::source::Source;
use crate::photos::read::tally::Tally;

/// What is kept of `instances_*.json`; all else (licences, addresses) is skipped while reading.
#[derive(Deserialize)]
struct Instances {
    images: Entries<Image>,
    #[serde(default)]
    annotations: Entries<Annotation>,
    #[serde(default)]
    categories: Entries<Category>,
}

struct Image {
    id: Option<Id>,
    file_name: Box<str>,
}

struct Annotation {
    image: Id,
    category: Option<Id>,
    rect: Option<[f32; 4]>,
    crowd: bool,
}

struct Category {
    id: Id,
    name: String,
}

/// Any of the three, its values as they are written.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    file_name: Option<&'a RawValue>,
    image_id: Option<&'a RawValue>,
    category_id: Option<&'a RawValue>,
    bbox: Option<&'a RawValue>,
    iscrowd: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
}

impl<'a> Raw<'a> {
    fn of(json: &'a str) -> Result<Raw<'a>, &'static str> {
        serde_json::from_str(json).map_err(|_| "are no objects with a value of each name")
    }
}

impl Entry for Image {
    const NOUN: &'static str = "images";

    fn of(json: &str) -> Result<Image, &'static str> {
        let raw = Raw::of(json)?;
        let file_name = raw.file_name.and_then(loose::text).ok_or("have no file_name")?;
        Ok(Image { id: raw.id.and_then(Id::of), file_name: file_name.into() })
    }
}

impl Entry for Annotation {
    const NOUN: &'static str = "annotations";

    fn of(json: &str) -> Result<Annotation, &'static str> {
        let raw = Raw::of(json)?;
        let crowd = raw.iscrowd.and_then(|json| loose::truth(json.get().trim_matches('"')));
        Ok(Annotation {
            image: raw.image_id.and_then(Id::of).ok_or("have no image_id")?,
            category: raw.category_id.and_then(Id::of),
            rect: raw.bbox.and_then(rect),
            crowd: crowd.unwrap_or(false),
        })
    }
}

impl Entry for Category {
    const NOUN: &'static str = "categories";

    fn of(json: &str) -> Result<Category, &'static str> {
        let raw = Raw::of(json)?;
        Ok(Category {
            id: raw.id.and_then(Id::of).ok_or("have no id")?,
            name: raw.name.and_then(loose::text).ok_or("have no name")?,
        })
    }
}

/// A box of four finite numbers whose sides are not negative.
fn rect(json: &RawValue) -> Option<[f32; 4]> {
    let values: Vec<&RawValue> = serde_json::from_str(json.get()).ok()?;
    let values: Option<Vec<f32>> = values.into_iter().map(|v| loose::number(v).map(|v| v as f32)).collect();
    let rect: [f32; 4] = values?.try_into().ok()?;
    LabelledBox::is_sane(rect).then_some(rect)
}

impl Photos {
    /// COCO: the photos of an `instances_*.json`, several labels each, with boxes; or of any list of images in COCO's
    /// format without labels (`image_info_*.json`, captions).
    ///
    /// Photos come in the file's order, those without an object too. Classes are the names of the categories, sorted by
    /// id; a photo's labels are the classes of its annotations, crowds included, whatever their boxes. Ids are compared
    /// by value: 1, 1.0 and `"1"` are the same. The photos lie in `images`, or else in the folder that the file is named
    /// for (`train2017` for `annotations/instances_train2017.json`) or `images`, beside `annotations` or beside the file:
    /// where most of the first ones are. The file is read as a stream: what is not needed is never held.
    ///
    /// Left out and counted in [`Photos::warnings`]: images without a usable name or id, or that share an id, or whose
    /// name leads out of their folder; annotations of an unknown image or category; boxes that are not four finite
    /// numbers with sides of at least 0.
    ///
    /// # Errors
    /// [`Error::Input`] if the file can't be read or is no JSON (with the byte), has no list of images or annotations
    /// without categories, if more images or annotations are unusable than [`Source::max_broken`] allows, or if no photo is there.
    /// # Source
    /// Lin et al., "Microsoft COCO: Common objects in context", 2014.
    pub fn coco(annotations: impl Into<Source>, images: Option<&Path>) -> Result<Photos> {
        let source = annotations.into();
        let path = &source.path;
        let mut photos = Photos::at(path.display(), source.fence(images.unwrap_or_else(|| folder_of(path)))?);
        let Instances { images: mut listed, annotations, categories } = loose::read(path, "COCO's format")?;
        if listed.all == 0 {
            return Err(photos.refused("no image is listed", AGAIN));
        }
        let captions = categories.all == 0;
        if captions && annotations.sound.iter().any(|a| a.category.is_some()) {
            return Err(photos.refused("annotations of categories, but no list of categories", AGAIN));
        }
        let names: Vec<&str> = listed.sound.iter().map(|image| &*image.file_name).collect();
        let shelf = Shelf::choose(&photos.fence, path, &candidates(path, images), &names, false)?;
        let is_labelled = annotations.all > 0 && !captions;
        let (mut items, numbers) = placed(&listed.sound, shelf, is_labelled, &mut listed.left_out);
        let (classes, names) = classes(&categories.sound);
        let [homeless, classless, boxless] = label(&mut items, &annotations.sound, &numbers, &classes);
        (photos.items, photos.classes) = (items, names);
        let most = Some(source.max_broken);
        for (tally, of, most) in [
            (&listed.left_out, listed.all, most),
            (&annotations.left_out, annotations.all, most),
            (&classless, annotations.all, most.filter(|_| !captions)),
            (&categories.left_out, categories.all, None),
            (&homeless, annotations.all, None),
            (&boxless, annotations.all, None),
        ] {
            photos.account(tally, of, most)?;
        }
        Ok(photos)
    }
}

/// What each id stands for; `None` if for several.
fn meanings<'a>(entries: impl Iterator<Item = (&'a Id, &'a str)>) -> BTreeMap<&'a Id, Option<&'a str>> {
    let mut meanings = BTreeMap::new();
    for (id, name) in entries {
        let known = meanings.entry(id).or_insert(Some(name));
        *known = known.filter(|known| *known == name);
    }
    meanings
}

/// The photos of the images, and the number of each id.
fn placed<'a>(
    images: &'a [Image],
    mut shelf: Shelf,
    is_labelled: bool,
    left_out: &mut Tally,
) -> (Vec<Item>, HashMap<&'a Id, usize>) {
    let files = meanings(images.iter().filter_map(|image| Some((image.id.as_ref()?, &*image.file_name))));
    let (mut items, mut numbers) = (Vec::with_capacity(images.len()), HashMap::new());
    for image in images {
        let mut unusable = |why| left_out.note(why, format_args!("{:?}", image.file_name));
        match &image.id {
            Some(id) if files[id].is_some() && numbers.contains_key(id) => {} // the same image again
            // What is not labelled needs no id.
            None if is_labelled => unusable("have no id"),
            Some(id) if is_labelled && files[id].is_none() => unusable("have the id of another image"),
            id => match shelf.place(&image.file_name) {
                None => unusable("lie outside the folder of photos"),
                Some(item) => {
                    numbers.extend(id.iter().map(|id| (id, items.len())));
                    items.push(item);
                }
            },
        }
    }
    (items, numbers)
}

/// Gives the photos the labels and the boxes of their annotations; those that are of nothing known, that have no category,
/// and that have no box.
fn label(
    items: &mut [Item],
    annotations: &[Annotation],
    numbers: &HashMap<&Id, usize>,
    classes: &HashMap<&Id, Option<usize>>,
) -> [Tally; 3] {
    let [mut homeless, mut classless, mut boxless] =
        ["left out", "left out", "only their labels are used"].map(|what| Tally::new(Annotation::NOUN, what));
    for a in annotations {
        let example = format_args!("one of image {}", a.image);
        match (numbers.get(&a.image), a.category.as_ref().map(|category| classes.get(category))) {
            (None, _) => homeless.note("are of images that are not listed", example),
            (_, None) => classless.note("have no category_id", example),
            (_, Some(None)) => homeless.note("are of categories that are not listed", example),
            (_, Some(Some(None))) => homeless.note("are of a category id that has several names", example),
            (Some(&image), Some(Some(&Some(class)))) => {
                if a.rect.is_none() {
                    boxless.note("have no box of four numbers with sides of at least 0", example);
                }
                items[image].add(class, a.rect, false, a.crowd);
            }
        }
    }
    items.iter_mut().for_each(Item::tidy);
    [homeless, classless, boxless]
}

/// The class of each category id, `None` for one that stands for several names, and the classes' names.
fn classes(categories: &[Category]) -> (HashMap<&Id, Option<usize>>, Vec<String>) {
    let mut known = Classes::default();
    let named = meanings(categories.iter().map(|category| (&category.id, &*category.name)));
    let classes = named.into_iter().map(|(id, name)| (id, name.map(|name| known.number(name)))).collect();
    (classes, known.names)
}

/// The file of images in `root/annotations` that serves a split: `instances_train*` to learn from, or else
/// `image_info_unlabeled*`; `instances_val*` to judge, or else `instances_test*`; of several years the last.
pub(super) fn instances(root: &Path, split: Option<Split>) -> Result<PathBuf> {
    let folder = root.join("annotations");
    let prefixes = match split {
        None => &["instances_train", "image_info_unlabeled"][..],
        Some(Split::Train) => &["instances_train"],
        Some(Split::Test) => &["instances_val", "instances_test"],
    };
    let names = instance_files(&folder);
    let starting = |prefix: &&str| names.iter().rfind(|name| name.to_lowercase().starts_with(*prefix));
    let only = (split.is_none() && names.len() == 1).then(|| &names[0]);
    prefixes.iter().find_map(starting).or(only).map(|name| folder.join(name)).ok_or_else(|| {
        let what = format!("no {}*.json among {}", prefixes[0], names.join(", "));
        Error::input(
            what,
            folder.display().to_string(),
            "put the published annotations there, or give one file",
        )
    })
}

/// Names of the files of instances and of lists of images in a folder, sorted; none if it can't be read.
pub(super) fn instance_files(folder: &Path) -> Vec<String> {
    let is_list = |name: &String| {
        let name = name.to_lowercase();
        PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && name.ends_with(".json")
    };
    names_in(folder).into_iter().filter(is_list).collect()
}

/// How the names of the published files begin.
const PREFIXES: [&str; 2] = ["instances_", "image_info_"];

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
    let part = PREFIXES.iter().find_map(|prefix| stem.strip_prefix(prefix)).unwrap_or(&stem);
    let beside = file.parent().unwrap_or(Path::new(""));
    let bases = [beside.parent(), Some(beside)].into_iter().flatten();
    bases
        .flat_map(|base| [base.join(part), base.join("images").join(part), base.join("images"), base.into()])
        .collect()
}
