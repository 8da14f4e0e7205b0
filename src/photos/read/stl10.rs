//! STL-10's binary files.

use crate::error::Result;
use crate::photos::read::part::Split;
use crate::photos::read::photos::Photos;
use crate::photos::read::records::{Layout, RecordFile, class_names};
use crate::photos::read::source::Source;

static IMAGES: Layout = Layout { what: "STL-10 images", side: 96, by_columns: true, head: 0 };
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
        let folder = &source.path;
        let mut photos = Photos::at(folder.display(), source.fence(folder)?);
        let parts = match split {
            None => &["unlabeled", "train"][..],
            Some(Split::Train) => &["train"],
            Some(Split::Test) => &["test"],
        };
        photos.classes = class_names(&photos.fence, &folder.join("class_names.txt"), CLASSES)?;
        // To pretrain, the unlabelled ones are enough.
        let absent = split.is_none() && !folder.join("train_X.bin").exists();
        for part in parts.iter().filter(|part| !(absent && **part == "train")) {
            let (name, mut labels) = (format!("{part}_X.bin"), Vec::new());
            let (images, _) = IMAGES.images(&photos.fence, folder, &name)?;
            if *part != "unlabeled" {
                let file = RecordFile::open(&photos.fence, folder.join(format!("{part}_y.bin")))?;
                if file.length != images.len() as u64 {
                    let what = format!("{} STL-10 labels for {} images", file.length, images.len());
                    return Err(file.damaged(what, file.length.min(images.len() as u64)));
                }
                labels = file.labels(images.len(), "an STL-10 label", 1, 1)?;
            }
            photos.add(&name, images, &labels);
        }
        if absent {
            photos.warn("train_X.bin is not there: unlabelled photos alone");
        }
        Ok(photos)
    }
}
