//! Photos with boxes, to learn from and to be judged on.

use super::config::{DetectConfig, DetectData};
use crate::error::{Error, Result};
use crate::photos::{Album, AlbumOptions, Photos, Source, Split, has_objects};
use crate::topic::Topic;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Photos with boxes.
#[derive(Clone, Debug)]
pub struct DetectSets {
    /// To learn from.
    pub train: Arc<Album>,
    /// To be judged on, if there are some; its classes are those of the others.
    pub test: Option<Arc<Album>>,
    /// The classes.
    pub classes: Classes,
}

/// The classes that a detector tells apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// Their names.
    pub names: Vec<String>,
    /// What results in COCO's format call them.
    pub ids: Vec<Value>,
}

impl Classes {
    fn of(photos: &Photos) -> Classes {
        let ids = (0..photos.classes().len()).map(|class| photos.class_id(class)).collect();
        Classes { names: photos.classes().to_vec(), ids }
    }
}

/// What the objects of some sets of photos are known by.
pub(super) fn digest<'a>(sets: impl IntoIterator<Item = &'a Photos>) -> String {
    sets.into_iter().map(|photos| format!("{:08x}", photos.objects_checksum())).collect()
}

impl DetectSets {
    /// The sets of a configuration.
    ///
    /// # Errors
    /// [`Error::Input`] for sets that can't be read, without a box, or without a mask where masks are to be learned.
    pub fn open(config: &DetectConfig) -> Result<DetectSets> {
        let data = &config.data;
        let Some(photos) = &data.photos else {
            let advice = "name a folder of Pascal VOC or COCO by --data, or one of photos with --annotations FILE.json";
            return Err(Error::input("no photos to learn from", "data.photos", advice).see(Topic::Data));
        };
        let source = |path: &Path| source(config, path);
        let (train, test) = match &data.annotations {
            Some(train) => {
                let test = data.test.as_ref().map(|test| {
                    let folder = data.test_photos.as_ref().unwrap_or(photos);
                    Photos::annotated(source(test), folder)
                });
                (Photos::annotated(source(train), photos)?, test.transpose()?)
            }
            None if !has_objects(photos)? => {
                let what = "no boxes come with these photos";
                let advice = "give a folder of COCO (annotations/instances_*.json), Pascal VOC (Annotations/*.xml) or Penn-Fudan, or the \
                              photos' folder and --annotations: a file in COCO's format, or a folder of masks";
                return Err(Error::input(what, photos.display().to_string(), advice).see(Topic::Data));
            }
            None => {
                let part = |part: Split| Photos::open(source(photos), Some(part));
                (part(Split::Train)?, Some(part(Split::Test)?))
            }
        };
        let has = |what: fn(&crate::photos::LabelledBox) -> bool| {
            (0..train.len()).any(|photo| train.boxes(photo).iter().any(what))
        };
        if !has(|_| true) {
            let advice = "give annotations with boxes";
            return Err(
                Error::input("no photo has an object with a box", train.place(), advice).see(Topic::Data)
            );
        }
        let kind = config.model.kind;
        if kind.mask_side().is_some() && !has(|object| object.mask.is_some()) {
            let advice = format!(
                "choose --model {}, which learns boxes alone, or give annotations with masks",
                kind.of_boxes()
            );
            return Err(Error::input("no object has a mask", train.place(), advice).see(Topic::Data));
        }
        let classes = Classes::of(&train);
        let album = |photos: Photos| {
            let options = AlbumOptions { cache_bytes: data.cache_mib << 20, shrink_to: None, detail: None };
            Arc::new(Album::new(photos, options))
        };
        let test = test.map(|test| test.only_classes(&classes.names));
        if let Some(test) = test.as_ref().filter(|test| (0..test.len()).all(|id| test.boxes(id).is_empty())) {
            let what = format!("no photo to be judged on has an object of {}", classes.names.join(", "));
            let advice = "give annotations with boxes by --test, or leave it out: nothing is judged then";
            return Err(Error::input(what, test.place(), advice).see(Topic::Data));
        }
        let test = test.map(album);
        Ok(DetectSets { train: album(train), test, classes })
    }
}

/// A path of the configuration, with links, broken entries and masks as it wants them.
pub(super) fn source(config: &DetectConfig, path: &Path) -> Source {
    let DetectData { follow_links, max_broken, ref class, .. } = config.data;
    let masks = config.model.kind.mask_side().is_some();
    Source::from(path).follow_links(follow_links).max_broken(max_broken).masks(masks).class(class)
}
