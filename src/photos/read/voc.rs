//! Pascal VOC: an XML file per photo.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use roxmltree::{Document, Node, ParsingOptions};

use crate::error::{Error, Result};
use crate::photos::read::endings::bare;
use crate::photos::read::loose::truth;
use crate::photos::read::mask::Mask;
use crate::photos::read::numbered::{Masks, masks_in};
use crate::photos::read::object::LabelledBox;
use crate::photos::read::part::{Part, Split, names_in};
use crate::photos::read::photos::{Classes, Item, Photos};
use crate::photos::read::records::{AGAIN, stays_inside};
use crate::photos::read::shelf::Shelf;
use crate::photos::read::source::{Fence, Source};
use crate::photos::read::tally::Tally;

/// The published classes.
pub(super) const CLASSES: &str = "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable \
                       dog horse motorbike person pottedplant sheep sofa train tvmonitor";

/// A task of the set: where the lists of its parts lie, in `ImageSets`, and what a photo needs for it.
pub(super) struct Task {
    lists: &'static str,
    pub(super) folder: &'static str,
    ending: &'static str,
}

/// Objects with their boxes.
pub(super) const OBJECTS: Task = Task { lists: "Main", folder: "Annotations", ending: "xml" };
/// Label maps.
pub(super) const PIXELS: Task = Task { lists: "Segmentation", folder: "SegmentationClass", ending: "png" };

/// LIMIT: the largest annotation, bytes; the published ones have less than 20 KiB.
const MAX_XML: u64 = 4 << 20;
/// LIMIT: the most elements and texts of an annotation; the published ones have less than 1,000.
const MAX_NODES: u32 = 100_000;
/// LIMIT: the most attributes of an annotation; the published ones have none. The time that XML takes grows with the
/// square of an element's attributes and with the cube of nested namespaces.
const MAX_ATTRIBUTES: usize = 4096;
/// The number of pixels in a mask file that are nobody's: edges of objects, and what is too hard.
const VOID: usize = 255;
/// LIMIT: the largest list of a part, bytes.
const MAX_LIST: u64 = 64 << 20;

impl Photos {
    /// A part of Pascal VOC (`train`, `val`, `trainval`, `test`): several labels a photo, with boxes.
    ///
    /// `root` (`VOC2007`) holds `ImageSets/Main/PART.txt`, `Annotations/ID.xml` and `JPEGImages/ID.jpg`, endings in any
    /// case. A line of the list is an id, perhaps with the ending of a photo, or begins with one. A photo's labels are
    /// the classes with an object that is not marked `difficult`, whatever its box; classes whose objects are all
    /// difficult are left out of judging: [`Photos::difficult`]. Boxes (corner pixels counted from 1, both inside)
    /// become `[xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]`. The classes are the published twenty, or,
    /// where another occurs, the sorted ones of this part.
    ///
    /// Where [`Source::masks`] asks for them, masks are those of `SegmentationObject/ID.png`: pixels of value k are the k-th object's,
    /// 255 is nobody's. Width and height of an annotation are [`Photos::stated_size`].
    ///
    /// Left out and counted in [`Photos::warnings`]: photos without an annotation, objects without a name, boxes that are
    /// not four numbers or end before they begin, masks that are missing or damaged. Boxes of no area, or outside their photo, are
    /// counted: nothing can be learned from them. Words for `difficult` that say neither yes nor no count as no.
    ///
    /// # Errors
    /// [`Error::Input`] if the part is missing, an annotation is damaged (with line and column), or more photos or objects
    /// are unusable than [`Source::max_broken`] allows.
    /// # Source
    /// Everingham et al., "The Pascal visual object classes challenge", 2010.
    pub fn voc(root: impl Into<Source>, part: &str) -> Result<Photos> {
        let source = root.into();
        let root = &source.path;
        let mut photos = Photos::at(format_args!("{} ({part})", root.display()), source.fence(root)?);
        let mut missing = Tally::new("photos", "left out");
        let (listed, again) = ids(&photos.fence, root, &OBJECTS, part, &mut missing)?;
        let of = listed.len() + missing.count();
        let mut shelf = Shelf::new(root.join("JPEGImages"), false);
        let mut reading = Reading::default();
        let mask_file = |id: &String| root.join("SegmentationObject").join(format!("{id}.png"));
        let mut masks: Vec<Option<Result<Masks, String>>> = match source.masks {
            true => listed.par_iter().map(|id| masks_in(&photos.fence, &mask_file(id))).collect(),
            false => Vec::new(),
        };
        for (number, id) in listed.iter().enumerate() {
            let path = root.join("Annotations").join(format!("{id}.xml"));
            if !path.exists() {
                missing.note("have no annotation", path.display());
                continue;
            }
            let Some(mut item) = shelf.place(&format!("{id}.jpg")) else { continue };
            let (size, objects) = objects_of(&photos.fence, &path)?;
            item.size = size;
            let masks = match masks.get_mut(number) {
                Some(masks) => reading.sound(masks.take(), id),
                None => None,
            };
            reading.take_in(&mut item, objects, masks, id);
            photos.items.push(item);
        }
        let Reading { classes, objects, nameless, boxless, flat, unmasked, surplus, maskless, odd } = reading;
        let most = Some(source.max_broken);
        photos.account(&missing, of, most)?;
        photos.account(&nameless, objects, most)?;
        photos.account(&unmasked, of, None)?;
        photos.account(&surplus, of, None)?;
        for tally in [boxless, flat, maskless, odd] {
            photos.account(&tally, objects, None)?;
        }
        if again > 0 {
            photos.warn(format_args!("{again} lines of the list name a photo again: left out"));
        }
        let mut names: Vec<String> = CLASSES.split(' ').map(String::from).collect();
        if classes.names.iter().any(|name| !names.contains(name)) {
            names = classes.names.clone();
            names.sort();
        }
        photos.classes = classes.names;
        Ok(photos.only_classes(&names))
    }
}

/// What is known of a part while it is read.
struct Reading {
    classes: Classes,
    objects: usize,
    nameless: Tally,
    boxless: Tally,
    flat: Tally,
    unmasked: Tally,
    surplus: Tally,
    maskless: Tally,
    odd: Tally,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            classes: Classes::default(),
            objects: 0,
            nameless: Tally::new("objects", "left out"),
            boxless: Tally::new("objects", "only their labels are used"),
            flat: Tally::new("objects", "judged, but not learned from"),
            unmasked: Tally::new("photos", "only their boxes are used"),
            surplus: Tally::new("photos", "those masks are passed over"),
            maskless: Tally::new("objects", "only their boxes are used"),
            odd: Tally::new("objects", "taken as not difficult"),
        }
    }
}

impl Reading {
    /// The masks of a photo, if they can be used.
    fn sound(&mut self, masks: Option<Result<Masks, String>>, id: &str) -> Option<Masks> {
        match masks {
            None => self.unmasked.note("have no file in SegmentationObject", id),
            Some(Err(why)) => {
                let reason = "have a file in SegmentationObject that can't be used";
                self.unmasked.note(reason, format_args!("{id} ({why})"));
            }
            Some(Ok(masks)) => return Some(masks),
        }
        None
    }

    /// Gives a photo its objects, with their masks if there are any.
    fn take_in(&mut self, item: &mut Item, objects: Vec<Object>, mut masks: Option<Masks>, id: &str) {
        let size = item.stated_size();
        for (number, Object { name, difficult, rect }) in objects.into_iter().enumerate() {
            self.objects += 1;
            let example = format_args!("{:?} of {id}", name.as_deref().unwrap_or(""));
            if let Err(word) = &difficult {
                let why = "are marked difficult by another word than 0 or 1";
                self.odd.note(why, format_args!("{word:?} of {id}"));
            }
            let mask = masks.as_mut().map(|masks| match masks.remove(&(number + 1)) {
                Some(mask) => Mask::Rle(mask)
                    .fitting(size)
                    .map_err(|why| ("have no mask that can be used", format!(" ({why})"))),
                None => Err(("have no pixel in the mask of their photo", String::new())),
            });
            let Some(name) = &name else {
                self.nameless.note("have no name", example);
                continue;
            };
            let (class, is_difficult) = (self.classes.number(name), difficult == Ok(true));
            let Some(rect) = rect else {
                self.boxless.note("have no box whose numbers begin before they end", example);
                item.add(class, is_difficult, None);
                continue;
            };
            if let Some(why) = LabelledBox::unlearnable(rect, size) {
                self.flat.note(why, example);
            }
            if let Some(Err((why, detail))) = &mask {
                self.maskless.note(why, format_args!("{example}{detail}"));
            }
            let object = LabelledBox { difficult: is_difficult, ..LabelledBox::new(class, rect) };
            item.add(class, is_difficult, Some(object.shaped(None, mask.and_then(Result::ok))));
        }
        if masks.is_some_and(|masks| masks.keys().any(|&number| number != VOID)) {
            self.surplus.note("have masks of objects that they do not have", id);
        }
    }
}

impl Task {
    /// The part's list that serves a split: `trainval` and `test` where there is a test list, else `train` and `val`
    /// (VOC2012's test annotations are not published).
    pub(super) fn part(&self, root: &Path, split: Option<Split>) -> &'static str {
        let has = |part: &str| list_of(root, self, part).is_some();
        match split {
            None if has("trainval") => "trainval",
            Some(Split::Train) if has("trainval") && has("test") => "trainval",
            None | Some(Split::Train) => "train",
            Some(Split::Test) if has("test") => "test",
            Some(Split::Test) => "val",
        }
    }
}

/// The list of a part, however its name is written; the published spelling first.
fn list_of(root: &Path, task: &Task, part: &str) -> Option<PathBuf> {
    let folder = root.join("ImageSets").join(task.lists);
    let is_wanted = |stem: &str| {
        // A trainval list holds val: it is no other list of train.
        let whole = stem.eq_ignore_ascii_case("trainval") || part == "trainval";
        stem.eq_ignore_ascii_case(part)
            || (!whole && Part::of(part).is_some_and(|p| Part::of(stem) == Some(p)))
    };
    let mut lists: Vec<String> = names_in(&folder)
        .into_iter()
        .filter(|name| {
            name.rsplit_once('.')
                .is_some_and(|(stem, end)| end.eq_ignore_ascii_case("txt") && is_wanted(stem))
        })
        .collect();
    lists.sort_by_key(|name| name.strip_suffix(".txt") != Some(part));
    lists.into_iter().map(|name| folder.join(name)).find(|list| list.is_file())
}

/// The photos of a part, and how many lines name one again: each line, or its first word if only that has an
/// annotation, without the ending of a photo.
pub(super) fn ids(
    fence: &Fence,
    root: &Path,
    task: &Task,
    part: &str,
    missing: &mut Tally,
) -> Result<(Vec<String>, usize)> {
    let list = Some(part).filter(|part| stays_inside(part)).and_then(|part| list_of(root, task, part));
    let Some(list) = list else {
        let parts =
            ["train", "val", "trainval", "test"].into_iter().filter(|p| list_of(root, task, p).is_some());
        let known = parts.collect::<Vec<_>>().join(", ");
        let advice = format!("keep the lists in ImageSets/{}; there are: {known}", task.lists);
        return Err(Error::input(format!("no list of part {part:?}"), root.display().to_string(), advice));
    };
    let text = fence.read_text(&list, MAX_LIST)?;
    let annotations = root.join(task.folder);
    let is_annotated =
        |id: &&str| stays_inside(id) && annotations.join(format!("{id}.{}", task.ending)).is_file();
    let (mut ids, mut seen, mut again) = (Vec::new(), HashSet::new(), 0);
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        let Some(word) = line.split_whitespace().next() else { continue };
        let forms = [line, bare(line), word, bare(word), behind_slash(bare(line)), behind_slash(bare(word))];
        let Some(id) =
            forms.into_iter().find(is_annotated).or(Some(bare(word)).filter(|id| stays_inside(id)))
        else {
            missing.note(
                "have a name that leads out of this set",
                format_args!("{word:?} at line {}", number + 1),
            );
            continue;
        };
        if seen.insert(id.to_string()) {
            ids.push(id.to_string());
        } else {
            again += 1;
        }
    }
    if ids.is_empty() {
        return Err(Error::input("an empty list", list.display().to_string(), AGAIN));
    }
    Ok((ids, again))
}

/// The last part of a path, on any system: other programs write paths into lists.
fn behind_slash(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// An object as far as it is written.
struct Object {
    name: Option<String>,
    /// Whether it is hard to recognise; else a word that does not say.
    difficult: Result<bool, String>,
    rect: Option<[f32; 4]>,
}

/// The box of corners `xmin, ymin, xmax, ymax`, counted from 1, both inside.
fn rect([x0, y0, x1, y1]: [f32; 4]) -> Option<[f32; 4]> {
    let rect = [x0 - 1.0, y0 - 1.0, x1 - x0 + 1.0, y1 - y0 + 1.0];
    LabelledBox::is_sane(rect).then_some(rect)
}

/// The height and width that an annotation tells, and its objects.
fn objects_of(fence: &Fence, path: &Path) -> Result<(Option<[u32; 2]>, Vec<Object>)> {
    let text = fence.read_text(path, MAX_XML)?;
    let attributes = text.bytes().filter(|&b| b == b'=').count();
    if attributes > MAX_ATTRIBUTES || text.contains("xmlns") {
        let what =
            format!("namespaces, or {attributes} attributes of {MAX_ATTRIBUTES} that an annotation can have");
        return Err(Error::input(what, path.display().to_string(), AGAIN));
    }
    let place = |row: u32, column: u32| format!("{} at line {row} column {column}", path.display());
    // No DTD, so no entities that could unfold to gigabytes.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options).map_err(|e| {
        let what = format!("an annotation that is not XML ({})", e.to_string().replace('\n', " "));
        Error::input(what, place(e.pos().row, e.pos().col), AGAIN)
    })?;
    let damaged = |what: String, node: Node| {
        let at = document.text_pos_at(node.range().start);
        Error::input(what, place(at.row, at.col), AGAIN)
    };
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        return Err(damaged(format!("<{}> instead of <annotation>", root.tag_name().name()), root));
    }
    let text_of = |node: Node, tag: &'static str| {
        let child = node.children().find(|child| child.has_tag_name(tag));
        child.and_then(|child| child.text()).map(str::trim).filter(|text| !text.is_empty()).map(String::from)
    };
    let object = |node: Node| {
        let difficult = text_of(node, "difficult").map_or(Ok(false), |word| truth(&word).ok_or(word));
        let bounds = node.children().find(|child| child.has_tag_name("bndbox"));
        let corner = |tag| text_of(bounds?, tag)?.parse::<f32>().ok();
        let corners = || Some([corner("xmin")?, corner("ymin")?, corner("xmax")?, corner("ymax")?]);
        Object { name: text_of(node, "name"), difficult, rect: corners().and_then(rect) }
    };
    let size = root.children().find(|child| child.has_tag_name("size"));
    let side = |tag| text_of(size?, tag)?.parse::<u32>().ok().filter(|&side| side > 0);
    let size = side("height").zip(side("width")).map(|(height, width)| [height, width]);
    Ok((size, root.children().filter(|child| child.has_tag_name("object")).map(object).collect()))
}
