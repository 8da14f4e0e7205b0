//! What is kept of a file in COCO's format, read as a stream.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::photos::read::loose::{self, Entries, Entry, Id};
use crate::photos::read::mask::Mask;
use crate::photos::read::object::LabelledBox;

/// What is kept of `instances_*.json`; all else (licences, addresses) is skipped while reading.
#[derive(Deserialize)]
pub(super) struct Instances<const MASKS: bool> {
    pub(super) images: Entries<Image>,
    #[serde(default)]
    pub(super) annotations: Entries<Annotation<MASKS>>,
    #[serde(default)]
    pub(super) categories: Entries<Category>,
}

pub(super) struct Image {
    pub(super) id: Option<Id>,
    /// The id as it is written.
    pub(super) written: Option<Box<str>>,
    pub(super) file_name: Box<str>,
    /// Height and width.
    pub(super) size: Option<[u32; 2]>,
}

pub(super) struct Annotation<const MASKS: bool> {
    pub(super) id: Option<Id>,
    pub(super) image: Id,
    pub(super) category: Option<Id>,
    pub(super) rect: Option<[f32; 4]>,
    pub(super) area: Option<f32>,
    pub(super) crowd: bool,
    /// Where masks are held; the reason if it can't be used.
    pub(super) mask: Option<Box<Result<Mask, String>>>,
}

pub(super) struct Category {
    pub(super) id: Id,
    pub(super) written: Box<str>,
    pub(super) name: String,
}

/// What entries of annotations are called.
pub(super) const ANNOTATIONS: &str = "annotations";

/// Any of the three, its values as they are written.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    file_name: Option<&'a RawValue>,
    height: Option<&'a RawValue>,
    width: Option<&'a RawValue>,
    image_id: Option<&'a RawValue>,
    category_id: Option<&'a RawValue>,
    bbox: Option<&'a RawValue>,
    area: Option<&'a RawValue>,
    segmentation: Option<&'a RawValue>,
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
        let id = raw.id.and_then(Id::of);
        let written = id.as_ref().and(raw.id).map(|id| id.get().into());
        let side = |json| loose::number(json).filter(|side| *side >= 1.0).map(|side| side as u32);
        let size = raw.height.and_then(side).zip(raw.width.and_then(side)).map(|(h, w)| [h, w]);
        Ok(Image { id, written, file_name: file_name.into(), size })
    }
}

impl<const MASKS: bool> Entry for Annotation<MASKS> {
    const NOUN: &'static str = ANNOTATIONS;

    fn of(json: &str) -> Result<Annotation<MASKS>, &'static str> {
        let raw = Raw::of(json)?;
        let crowd = raw.iscrowd.and_then(|json| loose::truth(json.get().trim_matches('"')));
        let area = raw.area.and_then(loose::number).map(|area| area as f32);
        Ok(Annotation {
            id: raw.id.and_then(Id::of),
            image: raw.image_id.and_then(Id::of).ok_or("have no image_id")?,
            category: raw.category_id.and_then(Id::of),
            rect: raw.bbox.and_then(rect),
            area: area.filter(|area| area.is_finite() && *area >= 0.0),
            crowd: crowd.unwrap_or(false),
            mask: MASKS.then(|| Mask::of_coco(raw.segmentation).into()),
        })
    }
}

impl Entry for Category {
    const NOUN: &'static str = "categories";

    fn of(json: &str) -> Result<Category, &'static str> {
        let raw = Raw::of(json)?;
        Ok(Category {
            id: raw.id.and_then(Id::of).ok_or("have no id")?,
            written: raw.id.map_or("", RawValue::get).into(),
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
