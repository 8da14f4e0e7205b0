//! What a path is: the one place that tells data sets apart.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::unusable;
use crate::photos::read::coco;
use crate::photos::read::list::{self, Lines};
use crate::photos::read::part::{self, Part, Split};
use crate::photos::read::photos::Photos;
use crate::photos::read::source::Source;
use crate::photos::read::voc;
use crate::topic::Topic;

/// A data set, told by the files that it has.
enum Kind {
    Stl10(PathBuf),
    Cifar10(PathBuf),
    Voc(PathBuf),
    Coco(PathBuf),
    Instances,
    Csv,
    ClassFolders([PathBuf; 2]),
    Folder,
}

impl Kind {
    fn of(path: &Path) -> Result<Kind> {
        let meta = std::fs::metadata(path).map_err(|e| unusable(path, &e))?;
        let ends_in = |ending: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
        if !meta.is_dir() {
            let packed =
                ["gz", "zip", "tar", "tgz", "bz2", "xz", "zst", "7z", "rar"].into_iter().any(ends_in);
            return match () {
                () if ["csv", "tsv"].into_iter().any(ends_in) => Ok(Kind::Csv),
                () if ends_in("json") => Ok(Kind::Instances),
                () => Err(Error::input(
                    "not a folder, nor a list (.csv), nor COCO annotations (.json)",
                    path.display().to_string(),
                    if packed { "unpack it first" } else { "give the folder that holds the photos" },
                )),
            };
        }
        // Archives unpack into a folder of their own: a path may name it or the folder around it.
        let find = |inner: &[&str], is: &dyn Fn(&Path) -> bool| {
            std::iter::once(path.to_path_buf())
                .chain(inner.iter().map(|i| path.join(i)))
                .find(|root| is(root))
        };
        let stl = |root: &Path| ["train_X.bin", "unlabeled_X.bin"].iter().any(|f| root.join(f).is_file());
        let cifar = |root: &Path| root.join("data_batch_1.bin").is_file();
        let voc = |root: &Path| root.join("JPEGImages").is_dir() && root.join("Annotations").is_dir();
        let vocs = ["VOC2007", "VOCdevkit/VOC2007", "VOC2012", "VOCdevkit/VOC2012"];
        let coco = |root: &Path| !coco::instance_files(&root.join("annotations")).is_empty();
        // Forms of published sets that are not read.
        let pickled = |root: &Path| root.join("data_batch_1").is_file();
        let hundred = |root: &Path| {
            ["train.bin", "train"].iter().any(|f| root.join(f).is_file())
                && ["fine_label_names.txt", "meta"].iter().any(|f| root.join(f).is_file())
        };
        Ok(if let Some(root) = find(&["stl10_binary"], &stl) {
            Kind::Stl10(root)
        } else if let Some(root) = find(&["cifar-10-batches-bin"], &cifar) {
            Kind::Cifar10(root)
        } else if let Some(root) = find(&["cifar-10-batches-py"], &pickled) {
            let advice = "download its binary version, cifar-10-binary.tar.gz";
            return Err(Error::input("CIFAR-10's Python version", root.display().to_string(), advice));
        } else if let Some(root) = find(&["cifar-100-binary", "cifar-100-python"], &hundred) {
            let advice = "give CIFAR-10's binary version, or photos in train/CLASS/ and test/CLASS/";
            return Err(Error::input("CIFAR-100, which is not read", root.display().to_string(), advice));
        } else if let Some(root) = find(&vocs, &voc) {
            Kind::Voc(root)
        } else if coco(path) {
            Kind::Coco(path.to_path_buf())
        } else if let [Some(train), Some(test)] = part::folders(path) {
            Kind::ClassFolders([train, test])
        } else {
            Kind::Folder
        })
    }
}

impl Photos {
    /// Photos at a path, whatever it is. Links lead out of its folder only if the [`Source`] says so.
    ///
    /// | path | `None`: to pretrain on | `Some(split)` |
    /// |---|---|---|
    /// | STL-10's binaries | unlabelled and train | train, test |
    /// | CIFAR-10's binaries | train | train, test |
    /// | Pascal VOC (`Annotations/`, `JPEGImages/`) | `trainval`, else `train` | `trainval` and `test`, else `train` and `val` |
    /// | COCO (`annotations/instances_*.json`) | train, else `image_info_unlabeled*` | train, val |
    /// | one `instances_*.json`, or any list of images in COCO's format | all its photos | refused |
    /// | csv list | lines of any split but that to be judged on | lines of split `train`, of `test`, else `val` |
    /// | folder with `train/CLASS/` and `test/CLASS/` (or `val/CLASS/`) | all photos below, without labels | `train/`, `test/`, else `val/` |
    /// | any other folder | all photos below, without labels | refused |
    ///
    /// Names of parts are compared without case, and `training`, `testing` and `validation` are the same parts.
    ///
    /// # Errors
    /// [`Error::Input`] if there is nothing at the path, it has no such split, or as the reader of its kind.
    pub fn open(source: impl Into<Source>, split: Option<Split>) -> Result<Photos> {
        let source = source.into();
        let path = source.path.as_path();
        match (Kind::of(path)?, split) {
            (Kind::Stl10(root), _) => Photos::stl10(source.part(root), split),
            (Kind::Cifar10(root), _) => Photos::cifar10(source.part(root), split),
            (Kind::Voc(root), _) => {
                let part = voc::part(&root, split);
                Photos::voc(source.part(root), part)
            }
            (Kind::Coco(root), _) => Photos::coco(source.part(coco::instances(&root, split)?), None),
            (Kind::Csv, split) => list::csv(&source, None, split.map_or(Lines::Unjudged, Lines::Split)),
            (Kind::Instances, None) => Photos::coco(source, None),
            (Kind::ClassFolders(_) | Kind::Folder, None) => Photos::folder(source),
            (Kind::ClassFolders([train, test]), Some(split)) => {
                Photos::labelled(source.part(if split == Split::Train { train } else { test }))
            }
            (Kind::Folder | Kind::Instances, Some(split)) => {
                let there = part::folders(path).into_iter().flatten().next();
                let there = there.map(|part| format!(" beside {}", part.display())).unwrap_or_default();
                Err(Error::input(
                    format!("no {} part{there}", split.name()),
                    path.display().to_string(),
                    "give a folder with train/CLASS/ and test/CLASS/ (or val/CLASS/), a csv list with a split column, \
                     or the folder of STL-10, CIFAR-10, Pascal VOC or COCO",
                ))
            }
        }
    }

    /// Photos with labels at a path: the train part of a set that has parts, or class folders, or the lines of a csv list
    /// that nothing is judged on.
    ///
    /// # Errors
    /// As [`Photos::open`] and [`Photos::labelled`].
    pub(crate) fn known(source: impl Into<Source>) -> Result<Photos> {
        let source = source.into();
        match Kind::of(&source.path)? {
            Kind::Csv | Kind::Instances => Photos::open(source, None),
            Kind::Folder => {
                let train = part::folder(&source.path, Part::Train);
                Photos::labelled(train.map_or(source.clone(), |train| source.part(train)))
            }
            _ => Photos::open(source, Some(Split::Train)),
        }
    }
}

/// The train and the test photos at a path, at most one label each: what kNN and the linear probe judge by.
///
/// # Errors
/// [`Error::Input`] as for [`Photos::open`], if the classes of both differ, if a photo has several labels, or if
/// either half has no label.
pub fn labelled_split(source: impl Into<Source>) -> Result<[Photos; 2]> {
    let source = source.into();
    let path = source.path.as_path();
    let place = path.display().to_string();
    let several = |what: String| {
        let advice =
            "kNN and the linear probe need one label a photo: give class folders, STL-10 or CIFAR-10";
        Err(Error::input(what, place.clone(), advice).see(Topic::Eval))
    };
    if let Kind::Voc(_) | Kind::Coco(_) | Kind::Instances = Kind::of(path)? {
        return several("photos with several labels each".into());
    }
    let halves =
        [Photos::open(source.clone(), Some(Split::Train))?, Photos::open(source.clone(), Some(Split::Test))?];
    let [train, test] = halves.each_ref().map(Photos::classes);
    if train != test {
        let only = |mine: &[String], others: &[String]| -> Vec<String> {
            mine.iter().filter(|class| !others.contains(class)).cloned().collect()
        };
        let (train, test) = (only(train, test), only(test, train));
        let list = |part: &str, classes: Vec<String>| {
            (!classes.is_empty()).then(|| format!("{} in {part} alone", classes.join(", ")))
        };
        let what =
            [list("train", train), list("test", test)].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let warnings =
            halves.iter().flat_map(Photos::warnings).map(|w| format!(" ({w})")).collect::<String>();
        let advice = format!("give both the same class folders with photos{warnings}");
        return Err(Error::input(format!("train and test have other classes: {what}"), place, advice));
    }
    let mut halves = halves;
    let [train, test] = halves.each_ref().map(positives);
    warn_of_halves(&mut halves, [&train, &test]);
    for (photos, split) in halves.iter().zip([Split::Train, Split::Test]) {
        if let Some(id) = (0..photos.len()).find(|&id| photos.labels(id).len() > 1) {
            return several(format!("photo {} has {} labels", photos.name(id), photos.labels(id).len()));
        }
        if (0..photos.len()).all(|id| photos.labels(id).is_empty()) {
            let what = format!("no {} photo has a label", split.name());
            return Err(Error::input(what, place, "give photos with labels").see(Topic::Eval));
        }
    }
    Ok(halves)
}

/// The train and the test photos at a path, any number of labels each: what a multi-label mean average precision
/// is computed on.
///
/// Both have the same classes: those with a positive photo in both, in the train set's order.
///
/// # Errors
/// [`Error::Input`] as for [`Photos::open`], or if no class has positives in both.
pub fn multi_label_split(source: impl Into<Source>) -> Result<[Photos; 2]> {
    let source = source.into();
    let path = source.path.as_path();
    let halves =
        [Photos::open(source.clone(), Some(Split::Train))?, Photos::open(source.clone(), Some(Split::Test))?];
    let [train, test] = halves.each_ref().map(positives);
    let common = halves[0].classes().iter().filter(|class| train.contains(*class) && test.contains(*class));
    let common: Vec<String> = common.cloned().collect();
    if common.is_empty() {
        return Err(Error::input(
            "no class has photos in both train and test",
            path.display().to_string(),
            "give photos with labels in both",
        ));
    }
    let mut halves = halves;
    warn_of_halves(&mut halves, [&train, &test]);
    Ok(halves.map(|photos| photos.only_classes(&common)))
}

/// Names classes that have photos in one half alone; what both halves of one list say is said once.
fn warn_of_halves(halves: &mut [Photos; 2], [train, test]: [&HashSet<String>; 2]) {
    let [first, second] = &mut *halves;
    second.warnings.retain(|warning| !first.warnings.contains(warning));
    for (half, mine, others, other) in [(0, train, test, "test"), (1, test, train, "train")] {
        let photos = &mut halves[half];
        let alone = photos.classes().iter().filter(|class| mine.contains(*class) && !others.contains(*class));
        let alone: Vec<&str> = alone.map(String::as_str).collect();
        if !alone.is_empty() {
            let (place, names) = (photos.place(), alone[..alone.len().min(MOST)].join(", "));
            let more = alone.len().saturating_sub(MOST);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let warning = format!("{place}: no {other} photo of class {names}{more}");
            photos.warnings.push(warning);
        }
    }
}

/// LIMIT: classes that a warning names.
const MOST: usize = 20;

/// Names of the classes that a photo has.
fn positives(photos: &Photos) -> HashSet<String> {
    let classes: HashSet<usize> = (0..photos.len()).flat_map(|id| photos.labels(id)).copied().collect();
    classes.into_iter().map(|class| photos.classes()[class].clone()).collect()
}
