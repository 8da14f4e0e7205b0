//! STL-10's binary files.

use std::path::Path;

use crate::error::Result;
use crate::photos::read::part::Split;
use crate::photos::read::photos::Photos;
use crate::photos::read::photos::{Item, Origin};
use crate::photos::read::records::{Order, RawImage, RecordFile, class_names};
use crate::photos::read::source::Fence;
use crate::photos::read::source::Source;

/// Pixels in a row and in a column.
const SIDE: usize = 96;
const IMAGE_BYTES: u64 = (3 * SIDE * SIDE) as u64;
const CLASSES: [&str; 10] =
    ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"];

impl Photos {
    /// STL-10: 96 x 96 pixels, ten classes.
    ///
    /// `folder` holds the published binaries: `unlabeled_X.bin`, `train_X.bin`, `train_y.bin`, `test_X.bin`,
    /// `test_y.bin`, and perhaps `class_names.txt`. An image is three planes (red, green, blue) of bytes, each
    /// column by column; a label is a byte from 1 to 10. Images stay in their files until they are asked for. The
    /// folds of `fold_indices.txt` are not used: S2R2's classifier learns from all train photos.
    ///
    /// `split` `None` gives the photos to pretrain on: the unlabelled ones, then the train ones with their labels, if they
    /// are there.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a file is missing or cut off, or a label is impossible.
    /// # Source
    /// Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised feature learning", 2011; the
    /// pretraining set is S2R2's.
    pub fn stl10(folder: impl Into<Source>, split: Option<Split>) -> Result<Photos> {
        let source = folder.into();
        let (folder, fence) = (&source.path, source.fence(&source.path)?);
        let parts = match split {
            None => &["unlabeled", "train"][..],
            Some(Split::Train) => &["train"],
            Some(Split::Test) => &["test"],
        };
        let classes = class_names(&fence, &folder.join("class_names.txt"), CLASSES)?;
        let mut items = Vec::new();
        // To pretrain, the unlabelled ones are enough.
        let absent = split.is_none() && !folder.join("train_X.bin").exists();
        for part in parts.iter().filter(|part| !(absent && **part == "train")) {
            items.extend(part_items(&fence, folder, part)?);
        }
        let mut photos = Photos::from_items(folder.display().to_string(), items, classes);
        if absent {
            photos
                .warnings
                .push(format!("{}: train_X.bin is not there: unlabelled photos alone", photos.place()));
        }
        Ok(photos)
    }
}

/// The images of `PART_X.bin`, with the labels of `PART_y.bin` unless the part is unlabelled.
fn part_items(fence: &Fence, folder: &Path, part: &str) -> Result<Vec<Item>> {
    let file_name = format!("{part}_X.bin");
    let file = RecordFile::open(fence, folder.join(&file_name))?;
    let count = file.count("STL-10 images", IMAGE_BYTES)?;
    let labels = match part {
        "unlabeled" => None,
        _ => Some(labels(fence, folder, part, count)?),
    };
    let item = |i: u64| {
        let image =
            RawImage { file: file.clone(), offset: i * IMAGE_BYTES, side: SIDE, order: Order::Columns };
        let label = labels.as_ref().map(|labels| labels[i as usize]);
        Item::new(format!("{file_name}#{i}"), Origin::Raw(image), label.into_iter().collect())
    };
    Ok((0..count).map(item).collect())
}

/// The labels of a part, counted from 0.
fn labels(fence: &Fence, folder: &Path, part: &str, images: u64) -> Result<Vec<usize>> {
    let file = RecordFile::open(fence, folder.join(format!("{part}_y.bin")))?;
    if file.length() != images {
        let what = format!("{} STL-10 labels for {images} images", file.length());
        return Err(file.damaged(what, file.length().min(images)));
    }
    let class = |(i, label): (usize, u8)| match label {
        1..=10 => Ok(usize::from(label) - 1),
        _ => Err(file.damaged(format!("an STL-10 label of {label}, not from 1 to 10"), i as u64)),
    };
    file.bytes_at(0..images)?.into_iter().enumerate().map(class).collect()
}
