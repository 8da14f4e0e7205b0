//! Cityscapes: photos of streets in German cities, label maps of the same names.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::photos::read::classes::{PixelClass, PixelClasses};
use crate::photos::read::part::{self, Part, Split};
use crate::photos::read::photos::Photos;
use crate::photos::read::source::Source;

/// The folder of the label maps.
pub(super) const MAPS: &str = "gtFine";
/// Classes that are judged.
pub(super) const COUNT: usize = 19;
/// Name, number in `labelIds`, colour of each, in the order of `labelTrainIds`. Source: cityscapesScripts, `labels.py`.
const CLASSES: [(&str, u8, [u8; 3]); COUNT] = [
    ("road", 7, [128, 64, 128]),
    ("sidewalk", 8, [244, 35, 232]),
    ("building", 11, [70, 70, 70]),
    ("wall", 12, [102, 102, 156]),
    ("fence", 13, [190, 153, 153]),
    ("pole", 17, [153, 153, 153]),
    ("traffic light", 19, [250, 170, 30]),
    ("traffic sign", 20, [220, 220, 0]),
    ("vegetation", 21, [107, 142, 35]),
    ("terrain", 22, [152, 251, 152]),
    ("sky", 23, [70, 130, 180]),
    ("person", 24, [220, 20, 60]),
    ("rider", 25, [255, 0, 0]),
    ("car", 26, [0, 0, 142]),
    ("truck", 27, [0, 0, 70]),
    ("bus", 28, [0, 60, 100]),
    ("train", 31, [0, 80, 100]),
    ("motorcycle", 32, [0, 0, 230]),
    ("bicycle", 33, [119, 11, 32]),
];
/// The largest number of `labelIds`.
const LAST: u8 = 33;
const PHOTO: &str = "_leftImg8bit";
/// Endings of label maps: own numbers, or those of the classes that are judged.
const OWN: &str = "_gtFine_labelIds.png";
const TRAINED: &str = "_gtFine_labelTrainIds.png";

/// Its classes; all other numbers are ignored.
pub(super) fn classes() -> PixelClasses {
    let all: Vec<PixelClass> =
        CLASSES.iter().map(|&(name, id, color)| PixelClass { name: name.into(), color, id }).collect();
    let ignored = (0..=LAST).filter(|id| all.iter().all(|class| class.id != *id)).collect();
    PixelClasses { all, ignored }
}

/// Whether a label map has the numbers of the classes that are judged.
pub(super) fn is_trained(map: &Path) -> bool {
    map.to_string_lossy().ends_with(TRAINED)
}

/// The photos of a part and the label map of each; judged on is `val`, for the labels of `test` are not published.
pub(super) fn open(source: &Source, split: Split) -> Result<(Photos, Vec<Option<PathBuf>>)> {
    let of = if split == Split::Train { Part::Train } else { Part::Val };
    let [photos, maps] = ["leftImg8bit", MAPS].map(|folder| source.path.join(folder));
    let Some(folder) = part::folder(&photos, of) else {
        let what = format!("no {} part", if split == Split::Train { "train" } else { "val" });
        let advice = "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into one folder";
        return Err(Error::input(what, photos.display().to_string(), advice));
    };
    let part = folder.file_name().map(PathBuf::from).unwrap_or_default();
    let photos = Photos::folder(source.part(folder))?;
    let map = |ending: &str, name: &str| {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let stem = stem.strip_suffix(PHOTO).unwrap_or(stem);
        Some(maps.join(&part).join(format!("{stem}{ending}"))).filter(|path| path.is_file())
    };
    let all = |ending: &str| -> Vec<Option<PathBuf>> {
        (0..photos.len()).map(|photo| map(ending, photos.name(photo))).collect()
    };
    let own = all(OWN);
    let found = if own.iter().any(Option::is_some) { own } else { all(TRAINED) };
    Ok((photos, found))
}
