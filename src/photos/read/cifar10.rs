//! CIFAR-10's binary files.

use crate::error::Result;
use crate::photos::read::part::Split;
use crate::photos::read::photos::Photos;
use crate::photos::read::records::{Layout, class_names};
use crate::photos::read::source::Source;

/// Each behind its label.
static IMAGES: Layout = Layout { what: "CIFAR-10 images", side: 32, by_columns: false, head: 1 };
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
        let folder = &source.path;
        let mut photos = Photos::at(folder.display(), source.fence(folder)?);
        let files = match split {
            None | Some(Split::Train) => &TRAIN[..],
            Some(Split::Test) => &["test_batch.bin"],
        };
        photos.classes = class_names(&photos.fence, &folder.join("batches.meta.txt"), CLASSES)?;
        for name in files {
            let (images, file) = IMAGES.images(&photos.fence, folder, name)?;
            let labels = file.labels(images.len(), "a CIFAR-10 label", IMAGES.bytes(), 0)?;
            photos.add(name, images, &labels);
        }
        Ok(photos)
    }
}
