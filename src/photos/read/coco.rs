//! COCO: one JSON file of instances for a folder of photos.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::photos::read::instances::{ANNOTATIONS, Annotation, Category, Image, Instances};
use crate::photos::read::loose::{self, Id};
use crate::photos::read::object::LabelledBox;
use crate::photos::read::part::{Split, names_in};
use crate::photos::read::photos::{Classes, Item, Photos};
use crate::photos::read::records::AGAIN;
use crate::photos::read::shelf::Shelf;
use crate::photos::read::source::Source;
use crate::photos::read::tally::Tally;

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
    /// Masks are read where [`Source::masks`] asks for them: polygons, and runs as a list or as compressed text. A height and a width of an
    /// image are [`Photos::stated_size`].
    ///
    /// Left out and counted in [`Photos::warnings`]: images without a usable name or id, or that share an id, or whose
    /// name leads out of their folder; annotations of an unknown image or category, or that are repeated; boxes that are not four finite
    /// numbers with sides of at least 0; masks that are damaged or of another size. Boxes of no area, or outside their photo, are kept, for
    /// pycocotools judges by them, and counted, for nothing can be learned from them.
    ///
    /// # Errors
    /// [`Error::Input`] if the file can't be read or is no JSON (with the byte), has no list of images or annotations
    /// without categories, if more images or annotations are unusable than [`Source::max_broken`] allows, or if no photo is there.
    /// # Source
    /// Lin et al., "Microsoft COCO: Common objects in context", 2014.
    pub fn coco(annotations: impl Into<Source>, images: Option<&Path>) -> Result<Photos> {
        let source = annotations.into();
        if source.masks { read::<true>(&source, images) } else { read::<false>(&source, images) }
    }
}

fn read<const MASKS: bool>(source: &Source, images: Option<&Path>) -> Result<Photos> {
    let path = &source.path;
    let mut photos = Photos::at(path.display(), source.fence(images.unwrap_or_else(|| folder_of(path)))?);
    let Instances::<MASKS> { images: mut listed, annotations, categories } =
        loose::read(path, "COCO's format")?;
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
    let (items, numbers) = placed(&listed.sound, shelf, is_labelled, &mut listed.left_out);
    let classes = classes(&categories.sound);
    photos.items = items;
    let left = label(&mut photos.items, annotations.sound, &numbers, &classes.of);
    (photos.classes, photos.class_ids) = (classes.names, classes.ids);
    let most = Some(source.max_broken);
    for (tally, of, most) in [
        (&listed.left_out, listed.all, most),
        (&annotations.left_out, annotations.all, most),
        (&left.classless, annotations.all, most.filter(|_| !captions)),
        (&categories.left_out, categories.all, None),
        (&left.homeless, annotations.all, None),
        (&left.again, annotations.all, None),
        (&left.shared, annotations.all, None),
        (&left.boxless, annotations.all, None),
        (&left.flat, annotations.all, None),
        (&left.maskless, annotations.all, None),
    ] {
        photos.account(tally, of, most)?;
    }
    Ok(photos)
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
                    let item = Item { id: image.written.clone(), size: image.size, ..item };
                    numbers.extend(id.iter().map(|id| (id, items.len())));
                    items.push(item);
                }
            },
        }
    }
    (items, numbers)
}

/// What is not used of annotations, or of the photos' objects.
struct Left {
    homeless: Tally,
    classless: Tally,
    again: Tally,
    shared: Tally,
    boxless: Tally,
    flat: Tally,
    maskless: Tally,
}

/// Gives the photos the labels and the objects of their annotations.
fn label<const MASKS: bool>(
    items: &mut [Item],
    annotations: Vec<Annotation<MASKS>>,
    numbers: &HashMap<&Id, usize>,
    classes: &HashMap<&Id, Option<usize>>,
) -> Left {
    let tally = |outcome| Tally::new(ANNOTATIONS, outcome);
    let mut left = Left {
        homeless: tally("left out"),
        classless: tally("left out"),
        again: tally("left out"),
        shared: tally("used nevertheless"),
        boxless: tally("only their labels are used"),
        flat: tally("judged, but not learned from"),
        maskless: tally("only their boxes are used"),
    };
    // The photo of each annotation's id, and where among its objects it is.
    let mut seen: HashMap<Id, (usize, usize)> = HashMap::new();
    for a in annotations {
        let example = format_args!("one of image {}", a.image);
        let mut out = |tally: fn(&mut Left) -> &mut Tally, why| tally(&mut left).note(why, example);
        let category = a.category.as_ref().map(|category| classes.get(category));
        let (image, class) = match (numbers.get(&a.image), category) {
            (Some(&image), Some(Some(&Some(class)))) => (image, class),
            (None, _) => {
                out(|left| &mut left.homeless, "are of images that are not listed");
                continue;
            }
            (_, None) => {
                out(|left| &mut left.classless, "have no category_id");
                continue;
            }
            (_, Some(None)) => {
                out(|left| &mut left.homeless, "are of categories that are not listed");
                continue;
            }
            (_, Some(Some(None))) => {
                out(|left| &mut left.homeless, "are of a category id that has several names");
                continue;
            }
        };
        let item = &mut items[image];
        let Some(rect) = a.rect else {
            out(|left| &mut left.boxless, "have no box of four numbers with sides of at least 0");
            item.add(class, false, None);
            continue;
        };
        if let Some(&(other, at)) = a.id.as_ref().and_then(|id| seen.get(id)) {
            let is_same = |o: &LabelledBox| (o.class, o.rect, o.crowd) == (class, rect, a.crowd);
            if other == image && is_same(&item.boxes[at]) {
                out(|left| &mut left.again, "are repeated");
                continue;
            }
            out(|left| &mut left.shared, "have the id of another");
        }
        let size = item.stated_size();
        if let Some(why) = LabelledBox::unlearnable(rect, size) {
            out(|left| &mut left.flat, why);
        }
        let mask = match a.mask.map(|mask| (*mask)?.fitting(size)) {
            Some(Err(why)) => {
                left.maskless.note("have no mask that can be used", format_args!("{example} ({why})"));
                None
            }
            sound => sound.and_then(Result::ok),
        };
        seen.extend(a.id.map(|id| (id, (image, item.boxes.len()))));
        let object = LabelledBox { crowd: a.crowd, ..LabelledBox::new(class, rect) };
        item.add(class, false, Some(object.shaped(a.area, mask)));
    }
    items.iter_mut().for_each(Item::tidy);
    left
}

/// Categories as classes.
struct Numbered<'a> {
    /// The class of each id, `None` for an id that stands for several names.
    of: HashMap<&'a Id, Option<usize>>,
    names: Vec<String>,
    /// The first id of each, as it is written.
    ids: Vec<Box<str>>,
}

fn classes(categories: &[Category]) -> Numbered<'_> {
    let mut known = Classes::default();
    let (mut of, mut ids) = (HashMap::new(), Vec::new());
    let written: HashMap<&Id, &str> = categories.iter().map(|c| (&c.id, &*c.written)).collect();
    for (id, name) in meanings(categories.iter().map(|category| (&category.id, &*category.name))) {
        let class = name.map(|name| known.number(name));
        if class == Some(ids.len()) {
            ids.push(written[id].into());
        }
        of.insert(id, class);
    }
    Numbered { of, names: known.names, ids }
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
    let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let part = PREFIXES.iter().find_map(|prefix| stem.strip_prefix(prefix)).unwrap_or(&stem);
    if let Some(folder) = images {
        return vec![folder.into(), folder.join(part), folder.join("images")];
    }
    let beside = file.parent().unwrap_or(Path::new(""));
    let bases = [beside.parent(), Some(beside)].into_iter().flatten();
    bases
        .flat_map(|base| [base.join(part), base.join("images").join(part), base.join("images"), base.into()])
        .collect()
}
