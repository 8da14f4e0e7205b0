//! Photos with label maps: a class for each pixel.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::photos::read::classes::{IGNORED, MOST, PixelClass, PixelClasses};
use crate::photos::read::endings::bare;
use crate::photos::read::grid::Grid;
use crate::photos::read::object::LabelledBox;
use crate::photos::read::part::{self, Part, Split};
use crate::photos::read::photos::{Item, Photos};
use crate::photos::read::shelf::Shelf;
use crate::photos::read::source::{Fence, Source};
use crate::photos::read::tally::Tally;
use crate::photos::read::{cityscapes, coco, voc};
use crate::topic::Topic;

/// A class for each pixel of a photo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelMap {
    /// Height and width.
    pub size: [usize; 2],
    /// `height * width` indices into [`Labels::classes`], or [`IGNORED`], row by row.
    pub classes: Vec<u8>,
}

/// The label maps of some photos.
#[derive(Clone, Debug)]
pub struct Labels {
    classes: PixelClasses,
    /// What each number stands for.
    table: [Option<u8>; 256],
    maps: Maps,
    counts: Vec<u64>,
    checksum: u32,
}

/// Where label maps come from.
#[derive(Clone, Debug)]
enum Maps {
    /// A file for each photo.
    Files(Fence, Arc<[PathBuf]>),
    /// The masks of each photo's objects; what is nobody's is of class 0.
    Objects,
}

/// Folders in which the photos of a set of pairs lie, and their label maps.
const PHOTOS: [&str; 3] = ["images", "photos", "JPEGImages"];
const MAPS: [&str; 6] = ["labels", "masks", "annotations", "labelmaps", "label_maps", "SegmentationClass"];
/// What follows a photo's name in that of its label map.
const ENDS: [&str; 6] = ["", "_L", "_mask", "_label", "_labels", "_labelIds"];
/// Label maps between news of how many are read.
const TOLD: usize = 64;
/// What pixels are called that are of no object.
const BACKGROUND: &str = "background";

impl Labels {
    /// Photos with a label map each, at a path, whatever it is; `classes`: which classes, if that is known.
    ///
    /// | path | photos and label maps | classes, unless given |
    /// |---|---|---|
    /// | Cityscapes | `leftImg8bit/PART/CITY/*_leftImg8bit.png` and `gtFine/PART/CITY/*_gtFine_labelIds.png`; judged on: val | its 19 |
    /// | Pascal VOC | `SegmentationClass`, parts by `ImageSets/Segmentation` | background and its 20 |
    /// | COCO | masks of objects; of overlapping ones of several classes, of crowds, and of boxes without a usable mask, pixels are ignored | background and its categories |
    /// | pairs | `images/PART/X.jpg` and `labels/PART/X.png`; or `PART/images` and `PART/labels`; or `PART` and `PARTannot` | `classes.txt`, else the numbers that occur |
    ///
    /// Every label map is looked at. Left out and counted in [`Photos::warnings`]: photos without a label map, or whose map has colours or 16
    /// bits, is damaged, is of another size, or holds a number that is no class.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no such set at the path, or if more photos are left out than [`Source::max_broken`] allows.
    pub fn open(
        source: impl Into<Source>,
        split: Split,
        classes: Option<&PixelClasses>,
    ) -> Result<(Photos, Labels)> {
        let source = source.into();
        let root = &source.path;
        if !root.exists() {
            return Err(Error::input("no such folder", root.display().to_string(), "check the path"));
        }
        if root.join("leftImg8bit").is_dir() {
            let (photos, maps) = cityscapes::open(&source, split)?;
            let own = cityscapes::classes();
            let is_trained = maps.iter().flatten().next().is_some_and(|map| cityscapes::is_trained(map));
            // A list of other classes says itself what the numbers are.
            let is_own = classes.is_none_or(|classes| *classes == own);
            let table = (is_trained && is_own).then(|| PixelClasses::of([""; cityscapes::COUNT]).table());
            let fence = source.fence(&root.join(cityscapes::MAPS))?;
            return read(photos, Pairs { fence, maps, table }, classes.or(Some(&own)), source.max_broken);
        }
        if let Some(root) = unpacked(root).iter().find(|root| root.join(voc::PIXELS.folder).is_dir()) {
            let inner = if root == &source.path { source.clone() } else { source.part(root.clone()) };
            return open_voc(&inner, split, classes);
        }
        if let Some((photos, maps)) = pair_folders(root, split) {
            let own = if classes.is_none() { listed(root)? } else { None };
            return Labels::pairs(source.part(photos), source.part(maps), classes.or(own.as_ref()));
        }
        if !coco::instance_files(&root.join("annotations")).is_empty() {
            let photos = Photos::open(source.masks(true), Some(split))?;
            return of_objects(photos, classes);
        }
        let advice = "give a folder of Cityscapes, Pascal VOC (SegmentationClass), COCO, or with images/train, labels/train and the same of test; \
                      or the photos' folder and --labels, the folder of their label maps";
        Err(Error::input("no label maps come with these photos", root.display().to_string(), advice)
            .see(Topic::Data))
    }

    /// The classes of the set at a path, where its kind or a list in it names them.
    ///
    /// # Errors
    /// As [`PixelClasses::read`].
    pub fn named(source: impl Into<Source>) -> Result<Option<PixelClasses>> {
        let source = source.into();
        let is_voc = |root: &&PathBuf| root.join(voc::PIXELS.folder).is_dir();
        Ok(match unpacked(&source.path).iter().find(is_voc) {
            _ if source.path.join("leftImg8bit").is_dir() => Some(cityscapes::classes()),
            Some(_) => Some(voc_classes()),
            None => listed(&source.path)?,
        })
    }

    /// Whether the set at a path has a part to learn from, but none to be judged on.
    pub fn is_train_alone(root: &Path) -> bool {
        pair_folders(root, Split::Train).is_some() && pair_folders(root, Split::Test).is_none()
    }

    /// Photos of a folder with the label maps of another: of `X.jpg` that is `X.png`, or `X_L.png`, `X_mask.png` and the like, in the same
    /// folder of folders. Without `classes` they are the numbers that occur.
    ///
    /// # Errors
    /// As [`Labels::open`].
    pub fn pairs(
        photos: impl Into<Source>,
        maps: impl Into<Source>,
        classes: Option<&PixelClasses>,
    ) -> Result<(Photos, Labels)> {
        let (source, maps) = (photos.into(), maps.into());
        let (max_broken, together) = (source.max_broken, source.path == maps.path);
        let mut photos = Photos::folder(source)?;
        if !maps.path.is_dir() {
            let place = maps.path.display().to_string();
            return Err(Error::input("no folder of label maps", place, "give the folder in which they lie"));
        }
        let fence = maps.fence(&maps.path)?;
        // Maps that lie among the photos are no photos.
        let is_map = |name: &str| ENDS[1..].iter().any(|end| bare(name).ends_with(end));
        photos.items.retain(|item| !(together && is_map(&item.name)));
        let ends = if together { &ENDS[1..] } else { &ENDS };
        let found = photos.items.iter().map(|item| map_of(&maps.path, &item.name, ends)).collect();
        read(photos, Pairs { fence, maps: found, table: None }, classes, max_broken)
    }

    /// The classes that the maps tell apart.
    pub fn classes(&self) -> &[PixelClass] {
        &self.classes.all
    }

    /// The same with the numbers that are ignored: what other label maps of this kind are read by.
    pub fn known(&self) -> &PixelClasses {
        &self.classes
    }

    /// How many pixels of each class there are, those to be ignored last; empty for masks of objects, which are not counted.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// CRC-32 of the CRC-32s of the maps' files, in the order of the photos; 0 for masks of objects.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// The label map of a photo whose height and width, and objects, are these; the reason as a sentence if it has none that fits.
    pub fn map(&self, photo: usize, size: [usize; 2], objects: &[LabelledBox]) -> Result<LabelMap, String> {
        let Maps::Files(fence, maps) = &self.maps else { return Ok(painted(size, objects)) };
        let (map, _) = read_map(fence, &maps[photo], &self.table)?;
        match map.size == size {
            true => Ok(map),
            false => Err(other_size(map.size, size)),
        }
    }
}

/// A label map for each of some photos, as far as it is there, and what its numbers stand for where the classes do not tell that.
struct Pairs {
    fence: Fence,
    maps: Vec<Option<PathBuf>>,
    table: Option<[Option<u8>; 256]>,
}

/// Looks at every label map and leaves out the photos that have none that can be used.
fn read(
    mut photos: Photos,
    pairs: Pairs,
    classes: Option<&PixelClasses>,
    max_broken: f64,
) -> Result<(Photos, Labels)> {
    let items = std::mem::take(&mut photos.items);
    let of = items.len();
    let any = std::array::from_fn(|number| Some(number as u8));
    let table = pairs.table.or(classes.map(PixelClasses::table)).unwrap_or(any);
    let (done, place) = (AtomicUsize::new(0), Path::new(&photos.place).to_path_buf());
    let look = |(item, map): (&Item, &Option<PathBuf>)| {
        let looked = map.as_ref().map(|map| {
            let (map, checksum) = read_map(&pairs.fence, map, &table)?;
            match photos.upright_size(item) {
                Some(size) if map.size != size => Err(other_size(map.size, size)),
                _ => Ok(tallied(&map, checksum)),
            }
        });
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(TOLD) || done == of {
            files::reading(&place, done as u64, of as u64);
        }
        looked
    };
    let looked: Vec<_> = items.par_iter().zip(&pairs.maps).map(look).collect();
    let mut unusable = Tally::new("photos", "left out");
    let (mut kept, mut counts, mut sum) = (Vec::new(), vec![0; 256], crc32fast::Hasher::new());
    for ((item, map), looked) in items.into_iter().zip(pairs.maps).zip(looked) {
        match (looked, map) {
            (Some(Ok((of_map, checksum))), Some(map)) => {
                counts.iter_mut().zip(&of_map[..]).for_each(|(count, more)| *count += more);
                sum.update(&checksum.to_le_bytes());
                photos.items.push(item);
                kept.push(map);
            }
            (Some(Err(why)), _) => {
                unusable.note("have a label map that can't be used", format_args!("{} ({why})", item.name));
            }
            _ => unusable.note("have no label map", &item.name),
        }
    }
    photos.account(&unusable, of, Some(max_broken))?;
    let (classes, table, counts) = match classes {
        Some(classes) => {
            let mut of_classes = counts[..classes.all.len()].to_vec();
            of_classes.push(counts[usize::from(IGNORED)]);
            (classes.clone(), table, of_classes)
        }
        None => occurring(&photos, &counts)?,
    };
    let maps = Maps::Files(pairs.fence, kept.into());
    Ok((photos, Labels { classes, table, maps, counts, checksum: sum.finalize() }))
}

/// Classes named by the numbers that occur.
fn occurring(photos: &Photos, counts: &[u64]) -> Result<(PixelClasses, [Option<u8>; 256], Vec<u64>)> {
    let found: Vec<u8> = (0..IGNORED).filter(|&number| counts[usize::from(number)] > 0).collect();
    if !(2..=MOST).contains(&found.len()) {
        let what = format!("the label maps hold {} numbers of classes", found.len());
        return Err(photos
            .refused(what, "give label maps with 2 to 254 classes; 255 is ignored")
            .see(Topic::Data));
    }
    let all = found.iter().map(|&id| PixelClass::nameless(id)).collect();
    let classes = PixelClasses { all, ignored: Vec::new() };
    let counts = found.iter().chain([&IGNORED]).map(|&number| counts[usize::from(number)]).collect();
    let table = classes.table();
    Ok((classes, table, counts))
}

/// How often each class occurs.
fn tallied(map: &LabelMap, checksum: u32) -> (Box<[u64; 256]>, u32) {
    let mut counts = Box::new([0; 256]);
    map.classes.iter().for_each(|&class| counts[usize::from(class)] += 1);
    (counts, checksum)
}

/// A label map in a file and its CRC-32; the reason as a sentence fragment if it can't be used.
fn read_map(fence: &Fence, path: &Path, table: &[Option<u8>; 256]) -> Result<(LabelMap, u32), String> {
    let bytes = fence.read(path).map_err(|e| e.to_string())?;
    let Grid { size, bits, numbers } = Grid::read(&bytes, "classes")?;
    if bits > 8 {
        return Err(format!("its numbers have {bits} bits: save it with 8"));
    }
    let mut classes = Vec::with_capacity(numbers.len());
    let mut unknown = None;
    for &number in &numbers {
        let class = table[usize::from(number)];
        if class.is_none() {
            unknown = Some(number);
        }
        classes.push(class.unwrap_or(IGNORED));
    }
    match unknown {
        None => Ok((LabelMap { size, classes }, crc32fast::hash(&bytes))),
        Some(number) => {
            let count = numbers.iter().filter(|&&other| other == number).count();
            Err(format!("{count} of its pixels have the number {number}, which is no class"))
        }
    }
}

fn other_size([h, w]: [usize; 2], [height, width]: [usize; 2]) -> String {
    format!("it is made for a photo of {w} x {h} pixels, this one has {width} x {height}")
}

/// The label map of a photo of a name, which has one of these ends; `None` if there is none.
fn map_of(folder: &Path, photo: &str, ends: &[&str]) -> Option<PathBuf> {
    let stem = bare(photo);
    let paths = ends.iter().flat_map(|end| ["png", "PNG"].map(|ending| format!("{stem}{end}.{ending}")));
    paths.map(|name| folder.join(name)).find(|path| path.is_file())
}

/// The folders of the photos and of the label maps of a part.
fn pair_folders(root: &Path, split: Split) -> Option<(PathBuf, PathBuf)> {
    let parts = match split {
        Split::Train => vec![Part::Train],
        Split::Test => vec![Part::Test, Part::Val],
    };
    let first =
        |folder: &Path, names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.is_dir());
    parts.into_iter().find_map(|of| {
        let apart = || {
            let [photos, maps] = [first(root, &PHOTOS)?, first(root, &MAPS)?];
            Some((part::folder(&photos, of)?, part::folder(&maps, of)?))
        };
        let together = || {
            let part = part::folder(root, of)?;
            Some((first(&part, &PHOTOS)?, first(&part, &MAPS)?))
        };
        let beside = || {
            let part = part::folder(root, of)?;
            let maps = part.with_file_name(format!("{}annot", part.file_name()?.to_string_lossy()));
            maps.is_dir().then_some((part, maps))
        };
        apart().or_else(together).or_else(beside)
    })
}

/// The list of classes of a set of pairs: beside its folders, or beside its label maps.
fn listed(root: &Path) -> Result<Option<PixelClasses>> {
    let maps = pair_folders(root, Split::Train).or_else(|| pair_folders(root, Split::Test));
    let beside = maps.into_iter().flat_map(|(_, maps)| [maps.parent().map(Path::to_path_buf), Some(maps)]);
    let folders = std::iter::once(Some(root.to_path_buf())).chain(beside).flatten();
    let list = folders.map(|folder| PixelClasses::listed_in(&folder)).find(|list| !matches!(list, Ok(None)));
    list.unwrap_or(Ok(None))
}

/// Where Pascal VOC may lie in its folder.
fn unpacked(root: &Path) -> [PathBuf; 5] {
    ["", "VOC2012", "VOCdevkit/VOC2012", "VOC2007", "VOCdevkit/VOC2007"].map(|inner| root.join(inner))
}

fn voc_classes() -> PixelClasses {
    PixelClasses::of([BACKGROUND].into_iter().chain(voc::CLASSES.split_whitespace()))
}

/// A part of Pascal VOC.
fn open_voc(source: &Source, split: Split, classes: Option<&PixelClasses>) -> Result<(Photos, Labels)> {
    let (root, task) = (&source.path, &voc::PIXELS);
    let part = task.part(root, Some(split));
    let mut photos = Photos::at(format_args!("{} ({part})", root.display()), source.fence(root)?);
    let mut missing = Tally::new("photos", "left out");
    let (listed, again) = voc::ids(&photos.fence, root, task, part, &mut missing)?;
    let of = listed.len() + missing.count();
    let mut shelf = Shelf::new(root.join("JPEGImages"), false);
    let mut maps = Vec::new();
    for id in listed {
        let Some(item) = shelf.place(&format!("{id}.jpg")) else { continue };
        maps.push(Some(root.join(task.folder).join(format!("{id}.png"))).filter(|path| path.is_file()));
        photos.items.push(item);
    }
    photos.account(&missing, of, Some(source.max_broken))?;
    if again > 0 {
        photos.warn(format_args!("{again} lines of the list name a photo again: left out"));
    }
    let own = voc_classes();
    let fence = photos.fence.clone();
    read(photos, Pairs { fence, maps, table: None }, classes.or(Some(&own)), source.max_broken)
}

/// Photos whose label maps are the masks of their objects; those of classes that are not wanted are forgotten.
fn of_objects(mut photos: Photos, wanted: Option<&PixelClasses>) -> Result<(Photos, Labels)> {
    let wanted: Option<Vec<&PixelClass>> = wanted.map(|wanted| {
        let first = wanted.all.first().is_some_and(|class| class.name == BACKGROUND);
        wanted.all.iter().skip(usize::from(first)).collect()
    });
    if let Some(wanted) = &wanted {
        let names: Vec<String> = wanted.iter().map(|class| class.name.clone()).collect();
        let unknown: Vec<&String> = names.iter().filter(|name| !photos.classes().contains(name)).collect();
        for name in unknown {
            photos.warn(format_args!("no category is called {name:?}: no pixel is of that class"));
        }
        photos = photos.only_classes(&names);
    }
    if photos.classes().len() >= MOST {
        let what = format!("{} categories", photos.classes().len());
        return Err(photos.refused(what, "give a set of at most 253: a label map has a byte for each pixel"));
    }
    // Their own numbers, where those are bytes, none of them taken by others; or in a row.
    let of_a_list = wanted.as_ref().map(|wanted| wanted.iter().map(|class| Some(class.id)).collect());
    let ids = (0..photos.classes().len()).map(|class| photos.class_id(class).as_u64()?.try_into().ok());
    let ids: Vec<Option<u8>> = of_a_list.unwrap_or_else(|| ids.collect());
    let mut seen = vec![0, IGNORED];
    let mut is_free = |id: &u8| {
        !seen.contains(id) && {
            seen.push(*id);
            true
        }
    };
    let ids: Option<Vec<u8>> = ids.into_iter().map(|id| id.filter(&mut is_free)).collect();
    let ids = ids.unwrap_or_else(|| (1..=photos.classes().len() as u8).collect());
    let mut all = vec![PixelClass::voc(0, BACKGROUND)];
    all.extend(photos.classes().iter().zip(ids).map(|(name, id)| PixelClass::voc(id, name)));
    for (class, wanted) in all[1..].iter_mut().zip(wanted.into_iter().flatten()) {
        class.color = wanted.color;
    }
    let classes = PixelClasses { all, ignored: Vec::new() };
    let table = classes.table();
    Ok((photos, Labels { classes, table, maps: Maps::Objects, counts: Vec::new(), checksum: 0 }))
}

/// A label map of objects: each pixel of the class of the objects over it, and ignored where they are of several; ignored too where nothing
/// is painted in a crowd, or in the box of an object whose mask can't be used.
///
/// # Source
/// torchvision's reference for segmentation of COCO, which takes crowds and objects without a mask for background, and ignores where
/// objects of one class overlap, too.
fn painted(size: [usize; 2], objects: &[LabelledBox]) -> LabelMap {
    let mut classes = vec![0; size[0] * size[1]];
    let mask = |object: &LabelledBox| {
        object.mask.as_ref().and_then(|mask| mask.rle(size).ok()).map(|rle| rle.bitmap().pixels)
    };
    let mut unknown = Vec::new();
    for object in objects {
        match mask(object) {
            Some(mask) if !object.crowd => {
                let class = (object.class + 1) as u8;
                for (pixel, _) in classes.iter_mut().zip(&mask).filter(|(_, is)| **is == 1) {
                    *pixel = if *pixel == 0 || *pixel == class { class } else { IGNORED };
                }
            }
            mask => unknown.push(mask.unwrap_or_else(|| filled(size, object.rect))),
        }
    }
    for mask in unknown {
        let open = classes.iter_mut().zip(&mask).filter(|(class, is)| **is == 1 && **class == 0);
        open.for_each(|(class, _)| *class = IGNORED);
    }
    LabelMap { size, classes }
}

/// The pixels that a box `[x, y, width, height]` touches.
fn filled([height, width]: [usize; 2], [x, y, w, h]: [f32; 4]) -> Vec<u8> {
    let within = |at: usize, from: f32, length: f32| (at + 1) as f32 > from && (at as f32) < from + length;
    let row = |row: usize| (0..width).map(move |column| u8::from(within(row, y, h) && within(column, x, w)));
    (0..height).flat_map(row).collect()
}
