//! What a path is: the one place that tells data sets apart.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::unusable;
use crate::photos::read::endings::is_photo;
use crate::photos::read::list::{self, Lines};
use crate::photos::read::part::{self, Part, Split};
use crate::photos::read::photos::Photos;
use crate::photos::read::source::Source;
use crate::photos::read::{coco, numbered, voc};
use crate::topic::Topic;

type Reader = fn(Source, Option<Split>) -> Result<Photos>;

/// A form of data set.
struct Form {
    /// Folders that its archives unpack into: a path may name one, or the folder around it.
    unpacked: &'static [&'static str],
    /// Whether a path is one.
    is: fn(&Path) -> bool,
    /// Its reader; or what it is, if it is not read, and what to do.
    read: Result<Reader, [&'static str; 2]>,
    /// Whether a photo may have several labels.
    several: bool,
}

/// The forms but for folders of photos, which any other folder is; the first of them that fits is taken.
static FORMS: [Form; 10] = [
    Form {
        unpacked: &[],
        is: |path| !path.is_dir() && is_photo(path),
        read: Ok(|file, split| match split {
            None => Photos::file(&file),
            Some(split) => Err(no_part(&file.path, split)),
        }),
        several: false,
    },
    Form {
        unpacked: &[],
        is: |path| !path.is_dir() && ends_in(path, &["csv", "tsv"]),
        read: Ok(|list, split| list::csv(&list, None, split.map_or(Lines::Unjudged, Lines::Split))),
        several: false,
    },
    Form {
        unpacked: &[],
        is: |path| !path.is_dir() && ends_in(path, &["json"]),
        read: Ok(|file, split| match split {
            None => Photos::coco(file, None),
            Some(split) => Err(no_part(&file.path, split)),
        }),
        several: true,
    },
    Form {
        unpacked: &["stl10_binary"],
        is: |root| has(root, &["train_X.bin", "unlabeled_X.bin"]),
        read: Ok(Photos::stl10),
        several: false,
    },
    Form {
        unpacked: &["cifar-10-batches-bin"],
        is: |root| has(root, &["data_batch_1.bin"]),
        read: Ok(Photos::cifar10),
        several: false,
    },
    Form {
        unpacked: &["cifar-10-batches-py"],
        is: |root| has(root, &["data_batch_1"]),
        read: Err(["CIFAR-10's Python version", "download its binary version, cifar-10-binary.tar.gz"]),
        several: false,
    },
    Form {
        unpacked: &["cifar-100-binary", "cifar-100-python"],
        is: |root| has(root, &["train.bin", "train"]) && has(root, &["fine_label_names.txt", "meta"]),
        read: Err([
            "CIFAR-100, which is not read",
            "give CIFAR-10's binary version, or photos in train/CLASS/ and test/CLASS/",
        ]),
        several: false,
    },
    Form {
        unpacked: &["VOC2007", "VOCdevkit/VOC2007", "VOC2012", "VOCdevkit/VOC2012"],
        is: |root| root.join("JPEGImages").is_dir() && root.join("Annotations").is_dir(),
        read: Ok(|root, split| {
            let part = voc::OBJECTS.part(&root.path, split);
            Photos::voc(root, part)
        }),
        several: true,
    },
    Form {
        unpacked: &["PennFudanPed"],
        is: |root| numbered::FOLDERS.iter().all(|folder| root.join(folder).is_dir()),
        read: Ok(Photos::penn_fudan),
        several: true,
    },
    Form {
        unpacked: &[],
        is: |root| !coco::instance_files(&root.join("annotations")).is_empty(),
        read: Ok(|root, split| Photos::coco(root.part(coco::instances(&root.path, split)?), None)),
        several: true,
    },
];

/// Whether a folder has any of these files.
fn has(folder: &Path, files: &[&str]) -> bool {
    files.iter().any(|file| folder.join(file).is_file())
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|own| endings.iter().any(|ending| own.eq_ignore_ascii_case(ending)))
}

impl Form {
    /// The form of what is at a path, and where it lies; `None` for a folder of photos.
    fn of(path: &Path) -> Result<Option<(&'static Form, PathBuf)>> {
        let is_dir = std::fs::metadata(path).map_err(|e| unusable(path, &e))?.is_dir();
        let root_of = |form: &Form| {
            let inner = form.unpacked.iter().map(|folder| path.join(folder));
            std::iter::once(path.to_path_buf()).chain(inner).find(|root| (form.is)(root))
        };
        let found = FORMS.iter().find_map(|form| Some((form, root_of(form)?)));
        if found.is_some() || is_dir {
            return Ok(found);
        }
        let packed = ends_in(path, &["gz", "zip", "tar", "tgz", "bz2", "xz", "zst", "7z", "rar"]);
        Err(Error::input(
            "not a folder, nor a photo, nor a list (.csv), nor COCO annotations (.json)",
            path.display().to_string(),
            if packed { "unpack it first" } else { "give the folder that holds the photos" },
        ))
    }
}

/// A folder of photos, or of those to learn from and to be judged on.
fn folder(source: Source, split: Option<Split>) -> Result<Photos> {
    match (split, part::folders(&source.path)) {
        (None, _) => Photos::folder(source),
        (Some(Split::Train), [Some(part), Some(_)]) | (Some(Split::Test), [Some(_), Some(part)]) => {
            Photos::labelled(source.part(part))
        }
        (Some(split), _) => Err(no_part(&source.path, split)),
    }
}

/// The error of a set that has not two parts.
fn no_part(path: &Path, split: Split) -> Error {
    let there = part::folders(path).into_iter().flatten().next();
    let there = there.map(|part| format!(" beside {}", part.display())).unwrap_or_default();
    Error::input(
        format!("no {} part{there}", split.name()),
        path.display().to_string(),
        "give a folder with train/CLASS/ and test/CLASS/ (or val/CLASS/), a csv list with a split column, \
         or the folder of STL-10, CIFAR-10, Pascal VOC or COCO",
    )
}

/// Whether the objects of photos are annotated at a path, in parts to learn from and to be judged on.
///
/// # Errors
/// [`Error::Input`] if there is nothing at the path.
pub fn has_objects(path: &Path) -> Result<bool> {
    Ok(Form::of(path)?.is_some_and(|(form, _)| form.several) && path.is_dir())
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
    /// | Penn-Fudan (`PNGImages/`, `PedMasks/`) | all its photos | four of five photos, each fifth |
    /// | one `instances_*.json`, or any list of images in COCO's format | all its photos | refused |
    /// | one photo | it | refused |
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
        let Some((form, root)) = Form::of(&source.path)? else { return folder(source, split) };
        match form.read {
            Ok(read) if root == source.path => read(source, split),
            Ok(read) => read(source.part(root), split),
            Err([what, advice]) => Err(Error::input(what, root.display().to_string(), advice)),
        }
    }

    /// Photos with labels at a path: the train part of a set that has parts, or class folders, or the lines of a csv list
    /// that nothing is judged on.
    ///
    /// # Errors
    /// As [`Photos::open`] and [`Photos::labelled`].
    pub(crate) fn known(source: impl Into<Source>) -> Result<Photos> {
        let source = source.into();
        if Form::of(&source.path)?.is_none() {
            let train = part::folder(&source.path, Part::Train);
            return Photos::labelled(train.map_or(source.clone(), |train| source.part(train)));
        }
        let split = source.path.is_dir().then_some(Split::Train);
        Photos::open(source, split)
    }
}

/// The folder to learn from where a path has class folders in `train/` and `test/` (or `val/`), so that what is judged on is not
/// learned from; `None` for any other path.
pub fn train_folder(path: &Path) -> Option<PathBuf> {
    match (Form::of(path), part::folders(path)) {
        (Ok(None), [Some(train), Some(_)]) => Some(train),
        _ => None,
    }
}

/// The train and the test photos at a path, at most one label each: what kNN and the linear probe judge by.
///
/// # Errors
/// [`Error::Input`] as for [`Photos::open`], if the classes of both differ, if a photo has several labels, or if
/// either half has no label.
pub fn labelled_split(source: impl Into<Source>) -> Result<[Photos; 2]> {
    let source = source.into();
    let place = source.path.display().to_string();
    let several = |what: String| {
        let advice =
            "kNN and the linear probe need one label a photo: give class folders, STL-10 or CIFAR-10";
        Err(Error::input(what, place.clone(), advice).see(Topic::Eval))
    };
    if Form::of(&source.path)?.is_some_and(|(form, _)| form.several) {
        return several("photos with several labels each".into());
    }
    let mut halves = halves(&source)?;
    let [train, test] = halves.each_ref().map(Photos::classes);
    if train != test {
        let only = |part: &str, mine: &[String], others: &[String]| {
            let alone: Vec<&str> =
                mine.iter().filter(|class| !others.contains(class)).map(String::as_str).collect();
            (!alone.is_empty()).then(|| format!("{} in {part} alone", alone.join(", ")))
        };
        let what = [only("train", train, test), only("test", test, train)];
        let what = what.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let warnings =
            halves.iter().flat_map(Photos::warnings).map(|w| format!(" ({w})")).collect::<String>();
        let advice = format!("give both the same class folders with photos{warnings}");
        return Err(Error::input(format!("train and test have other classes: {what}"), place, advice));
    }
    warn_of_halves(&mut halves);
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
    let mut halves = halves(&source)?;
    let [train, test] = halves.each_ref().map(positives);
    let common = halves[0].classes().iter().filter(|class| train.contains(*class) && test.contains(*class));
    let common: Vec<String> = common.cloned().collect();
    if common.is_empty() {
        return Err(Error::input(
            "no class has photos in both train and test",
            source.path.display().to_string(),
            "give photos with labels in both",
        ));
    }
    warn_of_halves(&mut halves);
    Ok(halves.map(|photos| photos.only_classes(&common)))
}

fn halves(source: &Source) -> Result<[Photos; 2]> {
    let open = |split| Photos::open(source.clone(), Some(split));
    Ok([open(Split::Train)?, open(Split::Test)?])
}

/// Names classes that have photos in one half alone; what both halves of one list say is said once.
fn warn_of_halves(halves: &mut [Photos; 2]) {
    let [train, test] = halves.each_ref().map(positives);
    let [first, second] = halves;
    second.warnings.retain(|warning| !first.warnings.contains(warning));
    for (photos, mine, others, other) in [(first, &train, &test, "test"), (second, &test, &train, "train")] {
        let alone = photos.classes.iter().filter(|class| mine.contains(*class) && !others.contains(*class));
        let alone: Vec<&str> = alone.map(String::as_str).collect();
        if !alone.is_empty() {
            let names = alone[..alone.len().min(MOST)].join(", ");
            let more = alone.len().saturating_sub(MOST);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            photos.warn(format_args!("no {other} photo of class {names}{more}"));
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
