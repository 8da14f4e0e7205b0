//! A set of photos: names, bytes on demand, labels where known. Decoding and caching are the [`Album`](crate::photos::Album)'s.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::io::BufReader;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Error, Result, counted, one_line};
use crate::photos::decode::{self, Read, Rgb, Scale};
use crate::photos::read::endings::bare;
use crate::photos::read::mask::Mask;
use crate::photos::read::object::LabelledBox;
use crate::photos::read::records::RawImage;
use crate::photos::read::source::Fence;
use crate::photos::read::tally::Tally;

/// Photos in a fixed order; a photo's index is its id everywhere (queues, batches, logs).
#[derive(Clone, Debug, Default)]
pub struct Photos {
    pub(super) place: String,
    pub(super) items: Vec<Item>,
    pub(super) classes: Vec<String>,
    /// What the set itself calls each class, as JSON; empty where it has only names.
    pub(super) class_ids: Vec<Box<str>>,
    pub(super) fence: Fence,
    pub(super) warnings: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) labels: Vec<usize>,
    pub(super) difficult: Vec<usize>,
    pub(super) boxes: Vec<LabelledBox>,
    /// What the set itself calls the photo, as JSON.
    pub(super) id: Option<Box<str>>,
    /// Height and width as the set says.
    pub(super) size: Option<[u32; 2]>,
}

impl Item {
    pub(super) fn new(name: String, origin: Origin, labels: Vec<usize>) -> Item {
        Item { name, origin, labels, difficult: Vec::new(), boxes: Vec::new(), id: None, size: None }
    }

    /// Takes in an object of a class, with its box if it has one; a class whose objects are all difficult is left out of judging.
    /// [`Item::tidy`] goes last.
    pub(super) fn add(&mut self, class: usize, difficult: bool, object: Option<LabelledBox>) {
        if difficult { &mut self.difficult } else { &mut self.labels }.push(class);
        self.boxes.extend(object);
    }

    /// Height and width as the set says.
    pub(super) fn stated_size(&self) -> Option<[usize; 2]> {
        self.size.map(|size| size.map(|side| side as usize))
    }

    /// Labels sorted, each once, and none of them also left out.
    pub(super) fn tidy(&mut self) {
        for classes in [&mut self.labels, &mut self.difficult] {
            classes.sort_unstable();
            classes.dedup();
        }
        self.difficult.retain(|class| self.labels.binary_search(class).is_err());
    }
}

/// Names of classes, numbered as they come.
#[derive(Default)]
pub(super) struct Classes {
    pub(super) names: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Classes {
    /// The number of a class.
    pub(super) fn number(&mut self, name: &str) -> usize {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.names.push(name.to_string());
        self.numbers.insert(name.to_string(), self.names.len() - 1);
        self.names.len() - 1
    }
}

#[derive(Clone, Debug)]
pub(super) enum Origin {
    File(PathBuf),
    Bytes(Cow<'static, [u8]>),
    Raw(RawImage),
}

/// What every reader of a form does: it begins with an empty set and fills it.
impl Photos {
    /// A set without photos: where it lies, for messages, and the fence around it.
    pub(super) fn at(place: impl Display, fence: Fence) -> Photos {
        Photos { place: place.to_string(), fence, ..Photos::default() }
    }

    /// Adds the images of a file of records, with their labels where there are some.
    pub(super) fn add(&mut self, file: &str, images: Vec<RawImage>, labels: &[usize]) {
        let item = |(i, image)| {
            let label = labels.get(i).copied();
            Item::new(format!("{file}#{i}"), Origin::Raw(image), label.into_iter().collect())
        };
        self.items.extend(images.into_iter().enumerate().map(item));
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, what: impl Display) {
        self.warnings.push(one_line(format!("{}: {what}", self.place)));
    }

    /// Adds warnings of the entries, among `of`, that are left out; `most`: the share of them that may be, if not any.
    ///
    /// # Errors
    /// [`Error::Input`] if more of them are, or all.
    pub(super) fn account(&mut self, tally: &Tally, of: usize, most: Option<f64>) -> Result<()> {
        self.warnings.extend(tally.told(&self.place, of, most)?);
        Ok(())
    }

    /// The error of a set that can't be used.
    pub(super) fn refused(&self, what: impl Into<String>, advice: impl Into<String>) -> Error {
        Error::input(what, self.place.as_str(), advice)
    }
}

impl Photos {
    /// Photos from encoded bytes in memory, with labels.
    pub fn from_bytes(photos: Vec<(String, Vec<u8>, Vec<usize>)>, classes: Vec<String>) -> Photos {
        let item =
            |(name, bytes, labels): (_, Vec<u8>, _)| Item::new(name, Origin::Bytes(bytes.into()), labels);
        let items = photos.into_iter().map(item).collect();
        Photos { items, classes, ..Photos::at("memory", Fence::default()) }
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

    /// Classes that a photo neither has nor lacks: its only objects of them are marked difficult, so that it counts
    /// neither as positive nor as negative when they are judged. Empty for all sets but Pascal VOC.
    pub fn difficult(&self, photo: usize) -> &[usize] {
        &self.items[photo].difficult
    }

    /// The objects in a photo; empty where nothing is known.
    pub fn boxes(&self, photo: usize) -> &[LabelledBox] {
        &self.items[photo].boxes
    }

    /// What the set itself calls a photo, which a file of results in COCO's format names: its `image_id` as it is written, a number or a
    /// text; for other forms of sets its name without the ending.
    pub fn image_id(&self, photo: usize) -> Value {
        let item = &self.items[photo];
        item.id
            .as_deref()
            .and_then(|id| serde_json::from_str(id).ok())
            .unwrap_or_else(|| bare(&item.name).into())
    }

    /// What the set itself calls a class: its `category_id` as it is written; for other forms of sets the class's number, counted from 1.
    /// Null for a class of [`Photos::only_classes`] that a set with ids does not have.
    pub fn class_id(&self, class: usize) -> Value {
        match self.class_ids.get(class) {
            Some(id) => serde_json::from_str(id).unwrap_or_default(),
            None => (class + 1).into(),
        }
    }

    /// CRC-32 of the classes, boxes and masks of all objects.
    pub fn objects_checksum(&self) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        for item in &self.items {
            for object in &item.boxes {
                sum.update(&object.class.to_le_bytes());
                object.rect.iter().for_each(|side| sum.update(&side.to_le_bytes()));
                sum.update(&[u8::from(object.crowd), u8::from(object.mask.is_some())]);
                match object.mask.as_deref() {
                    Some(Mask::Polygons(all)) => {
                        all.iter().for_each(|xy| sum.update(bytemuck::cast_slice(xy)));
                    }
                    Some(Mask::Rle(rle)) => sum.update(bytemuck::cast_slice(&rle.counts)),
                    None => {}
                }
            }
            sum.update(&[0]);
        }
        sum.finalize()
    }

    /// Height and width of a photo, upright, as its annotations say; `None` where they do not.
    pub fn stated_size(&self, photo: usize) -> Option<[usize; 2]> {
        self.items[photo].stated_size()
    }

    /// The objects in a photo whose own height and width are known, as they are when it is decoded; the reason as a sentence if its
    /// annotations were made for another size, so that no box and no mask fits.
    pub fn objects_in(&self, photo: usize, size: [usize; 2]) -> Result<&[LabelledBox], String> {
        match self.stated_size(photo) {
            Some([h, w]) if [h, w] != size => {
                let [height, width] = size;
                Err(format!("it has {width} x {height} pixels, but its annotations were made for {w} x {h}"))
            }
            _ => Ok(self.boxes(photo)),
        }
    }

    /// What was left out while reading, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Names of the classes; empty for unlabelled photos.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Refuses fewer photos than a batch has.
    ///
    /// # Errors
    /// [`Error::Input`] naming both numbers.
    pub(crate) fn expect_batch(&self, batch: usize) -> Result<()> {
        if self.len() >= batch {
            return Ok(());
        }
        let what = format!("{} can't fill a batch of {batch}", counted(self.len(), "photo", "photos"));
        Err(self.refused(what, "lower --batch or give more photos"))
    }

    /// The first `n` photos: a smaller set for a quick try.
    pub fn take(mut self, n: usize) -> Photos {
        self.items.truncate(n);
        self
    }

    /// These photos of the set, in this order.
    pub fn only(&self, ids: &[usize]) -> Photos {
        let items = ids.iter().map(|&id| self.items[id].clone()).collect();
        Photos {
            items,
            classes: self.classes.clone(),
            class_ids: self.class_ids.clone(),
            fence: self.fence.clone(),
            ..Photos::at(&self.place, Fence::default())
        }
    }

    /// The same photos with these classes, in this order; labels and boxes of other classes are forgotten.
    pub fn only_classes(mut self, names: &[String]) -> Photos {
        let place = |class: &String| names.iter().position(|name| name == class);
        let new: Vec<Option<usize>> = self.classes.iter().map(place).collect();
        for item in &mut self.items {
            for classes in [&mut item.labels, &mut item.difficult] {
                *classes = classes.iter().filter_map(|&class| new[class]).collect();
            }
            item.tidy();
            item.boxes.retain_mut(|object| new[object.class].map(|class| object.class = class).is_some());
        }
        if !self.class_ids.is_empty() {
            let old = |name| self.classes.iter().position(|class| class == name);
            let id = |name| old(name).map_or("null".into(), |class| self.class_ids[class].clone());
            self.class_ids = names.iter().map(id).collect();
        }
        self.classes = names.to_vec();
        self
    }

    /// CRC-32 of one photo as it is stored; `None` if it can't be read.
    pub(crate) fn checksum(&self, photo: usize) -> Option<u32> {
        match &self.items[photo].origin {
            Origin::File(path) => self.fence.read(path).ok().map(|bytes| crc32fast::hash(&bytes)),
            Origin::Bytes(bytes) => Some(crc32fast::hash(bytes)),
            Origin::Raw(image) => image.read().ok().map(|image| crc32fast::hash(&image.data)),
        }
    }

    /// Height and width of a photo that is upright, as its file begins; `None` where that can't be read.
    pub(super) fn upright_size(&self, item: &Item) -> Option<[usize; 2]> {
        let Origin::File(path) = &item.origin else { return None };
        decode::upright_size(BufReader::new(self.fence.open(path).ok()?))
    }

    /// Bytes of a photo's file; `None` for a photo that is no file of its own, or one that can't be read.
    pub(in crate::photos) fn bytes(&self, photo: usize) -> Option<u64> {
        let Origin::File(path) = &self.items[photo].origin else { return None };
        let file = self.fence.holds(path).ok()?.then(|| std::fs::metadata(path).ok())??;
        file.is_file().then_some(file.len())
    }

    /// What a photo's file is: path, bytes, time of its last change; `None` for a photo that is no file of its own, or one
    /// that can't be read.
    pub(in crate::photos) fn identity(&self, photo: usize) -> Option<Vec<u8>> {
        let Origin::File(path) = &self.items[photo].origin else { return None };
        let file = self.fence.holds(path).ok()?.then(|| std::fs::metadata(path).ok())??;
        let changed = file.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
        let path = std::path::absolute(path).ok()?;
        let facts = format!("\n{} {changed}", file.len());
        file.is_file().then(|| [path.as_os_str().as_encoded_bytes(), facts.as_bytes()].concat())
    }

    /// Reads and decodes one photo, uncached; the reason if that fails.
    pub fn decode(&self, photo: usize) -> Result<Rgb, String> {
        self.read(photo, &|_| 1).map(|read| read.image)
    }

    /// [`Photos::decode`] at a scale that follows from the photo's size, with that and what is missing of a file whose pixels are
    /// all there.
    pub(in crate::photos) fn read(&self, photo: usize, scale: Scale) -> Result<Read, String> {
        match &self.items[photo].origin {
            Origin::File(path) => self.fence.decode(path, scale),
            Origin::Bytes(bytes) => decode::read(bytes, scale),
            Origin::Raw(image) => {
                image.read().map(|image| Read { size: [image.width, image.height], image, missing: None })
            }
        }
    }
}
