//! Pascal VOC: an XML file per photo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node, ParsingOptions};

use crate::data::files::{AGAIN, stays_inside};
use crate::data::header::ENDINGS;
use crate::data::photos::{Item, LabelledBox, Origin};
use crate::data::source::Fence;
use crate::data::{Photos, Source, Split};
use crate::error::{Error, Result};

const CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// LIMIT: the largest annotation, bytes; the published ones have less than 20 KiB.
const MAX_XML: u64 = 4 << 20;
/// LIMIT: the most elements and texts of an annotation; the published ones have less than 1,000.
const MAX_NODES: u32 = 100_000;
/// LIMIT: the most attributes of an annotation; the published ones have none. The time that XML takes grows with the
/// square of an element's attributes and with the cube of nested namespaces.
const MAX_ATTRIBUTES: usize = 4096;
/// LIMIT: the largest list of a part, bytes.
const MAX_LIST: u64 = 64 << 20;

impl Photos {
    /// A part of Pascal VOC (`train`, `val`, `trainval`, `test`): several labels a photo, with boxes.
    ///
    /// `root` (`VOC2007`) holds `ImageSets/Main/PART.txt`, `Annotations/ID.xml` and `JPEGImages/ID.jpg`. A photo's
    /// labels are the classes with an object that is not marked `difficult`; classes whose objects are all
    /// difficult are left out of judging: [`Photos::difficult`]. Boxes (corner pixels counted from 1, both inside)
    /// become `[xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1]`. The classes are the published twenty, or,
    /// where another occurs, the sorted ones of this part. Boxes that end before they begin are left out and
    /// counted in [`Photos::warnings`].
    ///
    /// # Errors
    /// [`Error::Input`] if the part or an annotation is missing, or an annotation is damaged, with line and column.
    /// # Source
    /// Everingham et al., "The Pascal visual object classes challenge", 2010.
    pub fn voc(root: impl Into<Source>, part: &str) -> Result<Photos> {
        let source = root.into();
        let (root, fence) = (&source.path, source.fence(&source.path)?);
        let mut annotated = Vec::new();
        for id in ids(&fence, root, part)? {
            let objects = objects(&fence, &root.join("Annotations").join(format!("{id}.xml")))?;
            annotated.push((id, objects));
        }
        let names: BTreeSet<&str> = annotated.iter().flat_map(|(_, o)| o).map(|o| o.name.as_str()).collect();
        let classes: Vec<String> = match names.iter().all(|name| CLASSES.contains(name)) {
            true => CLASSES.map(String::from).to_vec(),
            false => names.iter().map(|name| name.to_string()).collect(),
        };
        let number: BTreeMap<&str, usize> =
            classes.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
        let mut skipped = 0;
        let mut items = Vec::with_capacity(annotated.len());
        for (id, objects) in &annotated {
            let (name, path) = photo(root, id);
            let mut item = Item::new(name, Origin::File(path), Vec::new());
            for object in objects {
                let rect = object.rect();
                match number.get(object.name.as_str()) {
                    Some(&class) if LabelledBox::is_sane(rect) => item.boxes.push(LabelledBox {
                        class,
                        rect,
                        difficult: object.difficult,
                        crowd: false,
                    }),
                    _ => skipped += 1,
                }
            }
            item.label_by_boxes();
            items.push(item);
        }
        let mut photos =
            Photos::from_items(format!("{} ({part})", root.display()), items, classes).within(fence);
        if skipped > 0 {
            photos
                .warnings
                .push(format!("{}: {skipped} boxes end before they begin: left out", photos.place()));
        }
        Ok(photos)
    }
}

/// The part's list that serves a split: `trainval` and `test` where there is a test list, else `train` and `val`
/// (VOC2012's test annotations are not published).
pub(super) fn part(root: &Path, split: Option<Split>) -> &'static str {
    let has = |part: &str| list_of(root, part).is_file();
    match split {
        None if has("trainval") => "trainval",
        Some(Split::Train) if has("trainval") && has("test") => "trainval",
        None | Some(Split::Train) => "train",
        Some(Split::Test) if has("test") => "test",
        Some(Split::Test) => "val",
    }
}

fn list_of(root: &Path, part: &str) -> PathBuf {
    root.join("ImageSets").join("Main").join(format!("{part}.txt"))
}

/// The photos of a part: the first word of each line.
fn ids(fence: &Fence, root: &Path, part: &str) -> Result<Vec<String>> {
    let list = list_of(root, part);
    if !stays_inside(part) || !list.is_file() {
        let parts = ["train", "val", "trainval", "test"].into_iter().filter(|p| list_of(root, p).is_file());
        let known = parts.collect::<Vec<_>>().join(", ");
        let advice = format!("keep the lists in ImageSets/Main; there are: {known}");
        return Err(Error::input(format!("no list of part {part:?}"), root.display().to_string(), advice));
    }
    let text = fence.read_text(&list, MAX_LIST)?;
    let mut ids = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let Some(id) = line.split_whitespace().next() else { continue };
        if !stays_inside(id) {
            let place = format!("{} at line {}", list.display(), number + 1);
            return Err(Error::input(format!("{id:?} names no photo of this set"), place, AGAIN));
        }
        ids.push(id.to_string());
    }
    if ids.is_empty() {
        return Err(Error::input("an empty list", list.display().to_string(), AGAIN));
    }
    Ok(ids)
}

/// A photo's name and path: `.jpg` as published, or another ending if only that is there.
fn photo(root: &Path, id: &str) -> (String, PathBuf) {
    let named = |ending: &str| {
        let name = format!("{id}.{ending}");
        let path = root.join("JPEGImages").join(&name);
        (name, path)
    };
    ENDINGS.map(named).into_iter().find(|(_, path)| path.is_file()).unwrap_or_else(|| named("jpg"))
}

struct Object {
    name: String,
    difficult: bool,
    /// `xmin, ymin, xmax, ymax`, counted from 1, both inside.
    corners: [f32; 4],
}

impl Object {
    fn rect(&self) -> [f32; 4] {
        let [x0, y0, x1, y1] = self.corners;
        [x0 - 1.0, y0 - 1.0, x1 - x0 + 1.0, y1 - y0 + 1.0]
    }
}

/// The objects of an annotation.
fn objects(fence: &Fence, path: &Path) -> Result<Vec<Object>> {
    if !path.exists() {
        return Err(Error::input(
            "a photo of this part has no annotation",
            path.display().to_string(),
            "unpack the archive with the annotations, or choose a part that has them",
        ));
    }
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
    let object = |node: Node| -> Result<Object> {
        let name = text_of(node, "name").ok_or_else(|| damaged("an object without a name".into(), node))?;
        let difficult = match text_of(node, "difficult").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(other) => return Err(damaged(format!("difficult is {other:?}, neither 0 nor 1"), node)),
        };
        let bounds = node.children().find(|child| child.has_tag_name("bndbox"));
        let bounds = bounds.ok_or_else(|| damaged(format!("object {name:?} has no bndbox"), node))?;
        let mut corners = [0.0; 4];
        for (corner, tag) in corners.iter_mut().zip(["xmin", "ymin", "xmax", "ymax"]) {
            let number =
                text_of(bounds, tag).and_then(|text| text.parse().ok()).filter(|n: &f32| n.is_finite());
            *corner =
                number.ok_or_else(|| damaged(format!("{tag} of object {name:?} is no number"), bounds))?;
        }
        Ok(Object { name, difficult, corners })
    };
    root.children().filter(|child| child.has_tag_name("object")).map(object).collect()
}
