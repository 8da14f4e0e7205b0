//! CIFAR-10's binary files.

use std::path::Path;

use crate::error::Result;
use crate::photos::read::part::Split;
use crate::photos::read::photos::Photos;
use crate::photos::read::photos::{Item, Origin};
use crate::photos::read::records::{Order, RawImage, RecordFile, class_names};
use crate::photos::read::source::Fence;
use crate::photos::read::source::Source;

/// Pixels in a row and in a column.
const SIDE: usize = 32;
/// A label, then an image.
const RECORD_BYTES: u64 = 1 + (3 * SIDE * SIDE) as u64;
const TRAIN: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

impl Photos {
    /// CIFAR-10: 32 x 32 pixels, ten classes.
    ///
    /// `folder` holds the published binaries: `data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin`, and
    /// perhaps `batches.meta.txt` with the classes' names. A record is a label from 0 to 9 and three planes (red,
    /// green, blue) of bytes, row by row. Images stay in their files until they are asked for.
    ///
    /// `split` `None` gives the photos to pretrain on: the train photos.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if a file is missing or cut off, or a label is impossible.
    /// # Source
    /// Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    pub fn cifar10(folder: impl Into<Source>, split: Option<Split>) -> Result<Photos> {
        let source = folder.into();
        let (folder, fence) = (&source.path, source.fence(&source.path)?);
        let files = match split {
            None | Some(Split::Train) => &TRAIN[..],
            Some(Split::Test) => &["test_batch.bin"],
        };
        let classes = class_names(&fence, &folder.join("batches.meta.txt"), CLASSES)?;
        let mut items = Vec::new();
        for name in files {
            items.extend(file_items(&fence, folder, name)?);
        }
        Ok(Photos::from_items(folder.display().to_string(), items, classes))
    }
}

fn file_items(fence: &Fence, folder: &Path, name: &str) -> Result<Vec<Item>> {
    let file = RecordFile::open(fence, folder.join(name))?;
    let count = file.count("CIFAR-10 images", RECORD_BYTES)?;
    let labels = file.bytes_at((0..count).map(|i| i * RECORD_BYTES))?;
    let item = |(i, label): (u64, u8)| {
        let offset = i * RECORD_BYTES;
        if label > 9 {
            return Err(file.damaged(format!("a CIFAR-10 label of {label}, not from 0 to 9"), offset));
        }
        let image = RawImage { file: file.clone(), offset: offset + 1, side: SIDE, order: Order::Rows };
        Ok(Item::new(format!("{name}#{i}"), Origin::Raw(image), vec![usize::from(label)]))
    };
    (0..count).zip(labels).map(item).collect()
}
