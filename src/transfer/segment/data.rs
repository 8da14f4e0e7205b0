//! Photos with label maps, to learn from and to be judged on.

use super::config::{SegmentConfig, SegmentData};
use crate::error::{Error, Result};
use crate::photos::{Album, AlbumOptions, Labels, Photos, PixelClass, PixelClasses, Source, Split};
use crate::topic::Topic;
use std::path::Path;
use std::sync::Arc;

/// Photos with label maps.
#[derive(Clone, Debug)]
pub struct LabelledAlbum {
    /// The photos.
    pub album: Arc<Album>,
    /// Their label maps.
    pub labels: Arc<Labels>,
}

/// Photos with label maps, to learn from and to be judged on.
#[derive(Clone, Debug)]
pub struct SegmentSets {
    /// To learn from.
    pub train: LabelledAlbum,
    /// To be judged on, if there are some; their classes are those of the others.
    pub test: Option<LabelledAlbum>,
}

impl SegmentSets {
    /// The sets of a configuration.
    ///
    /// # Errors
    /// [`Error::Input`] for sets that can't be read.
    pub fn open(config: &SegmentConfig) -> Result<SegmentSets> {
        let data = &config.data;
        let Some(photos) = &data.photos else {
            let advice = "name a folder of Cityscapes, Pascal VOC, COCO or of pairs by --data, or one of photos with --labels MAPS";
            return Err(Error::input("no photos to learn from", "data.photos", advice).see(Topic::Data));
        };
        let listed = data.classes.as_ref().map(|path| PixelClasses::read(path)).transpose()?;
        let source = |path: &Path| source(data, path);
        let train = match &data.labels {
            Some(labels) => {
                let own = labels.join("classes.txt");
                let own =
                    (listed.is_none() && own.is_file()).then(|| PixelClasses::read(&own)).transpose()?;
                Labels::pairs(source(photos), source(labels), listed.as_ref().or(own.as_ref()))?
            }
            None => Labels::open(source(photos), Split::Train, listed.as_ref())?,
        };
        let known = Some(train.1.known());
        let test = match (&data.labels, &data.test_photos, &data.test_labels) {
            (None, None, None) => Some(Labels::open(source(photos), Split::Test, known)?),
            (_, Some(photos), Some(labels)) => Some(Labels::pairs(source(photos), source(labels), known)?),
            (Some(_), None, None) => None,
            _ => {
                let advice = "name the folders of both by --test-photos and --test-labels";
                return Err(Error::input(
                    "photos to be judged on need label maps, and these photos",
                    "data",
                    advice,
                ));
            }
        };
        let album = |(photos, labels): (Photos, Labels)| {
            let options = AlbumOptions { cache_bytes: data.cache_mib << 20, shrink_to: None, detail: None };
            LabelledAlbum { album: Arc::new(Album::new(photos, options)), labels: Arc::new(labels) }
        };
        Ok(SegmentSets { train: album(train), test: test.map(album) })
    }

    /// The classes that are told apart.
    pub fn classes(&self) -> &[PixelClass] {
        self.train.labels.classes()
    }
}

/// A path of the configuration, with links and broken entries as it wants them.
fn source(data: &SegmentData, path: &Path) -> Source {
    Source::from(path).follow_links(data.follow_links).max_broken(data.max_broken)
}
