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
        let listed = listed(data)?;
        let train = match &data.labels {
            Some(labels) => Labels::pairs(source(data, photos), source(data, labels), listed.as_ref())?,
            None => Labels::open(source(data, photos), Split::Train, listed.as_ref())?,
        };
        let train = LabelledAlbum::of(data, train);
        let test = LabelledAlbum::to_be_judged_on(data, train.labels.known())?;
        Ok(SegmentSets { train, test })
    }

    /// The classes that are told apart.
    pub fn classes(&self) -> &[PixelClass] {
        self.train.labels.classes()
    }
}

impl LabelledAlbum {
    fn of(data: &SegmentData, (photos, labels): (Photos, Labels)) -> LabelledAlbum {
        let options = AlbumOptions { cache_bytes: data.cache_mib << 20, shrink_to: None, detail: None };
        LabelledAlbum { album: Arc::new(Album::new(photos, options)), labels: Arc::new(labels) }
    }

    /// The photos of a configuration that segmenters of these classes are judged on, if there are some.
    ///
    /// # Errors
    /// [`Error::Input`] for a set that can't be read, or that has other classes.
    pub fn to_be_judged_on(data: &SegmentData, known: &PixelClasses) -> Result<Option<LabelledAlbum>> {
        let named = match (listed(data)?, &data.photos) {
            (None, Some(photos)) if data.labels.is_none() => Labels::named(source(data, photos))?,
            (listed, _) => listed,
        };
        let names =
            |classes: &PixelClasses| classes.all.iter().map(|class| class.name.clone()).collect::<Vec<_>>();
        // A list of COCO's categories need not name the background.
        let is_alike = |named: &&PixelClasses| {
            let (own, theirs) = (names(known), names(named));
            own == theirs
                || (own.split_first().is_some_and(|(first, rest)| first == "background" && *rest == theirs))
        };
        if let Some(named) = named.as_ref().filter(|named| !is_alike(named)) {
            let [own, theirs] = [known, named].map(|classes| names(classes).join(", "));
            let place = data.photos.as_ref().map_or("data".into(), |photos| photos.display().to_string());
            let what = format!("it tells apart {own}, the photos have {theirs}");
            return Err(Error::input(what, place, "give photos of the same classes"));
        }
        // Of the same classes the photos' own list has their numbers.
        let known = named.as_ref().filter(|named| named.all.len() == known.all.len()).unwrap_or(known);
        let set = match (&data.photos, &data.labels, &data.test_photos, &data.test_labels) {
            (_, _, Some(photos), Some(labels)) => {
                Some(Labels::pairs(source(data, photos), source(data, labels), Some(known))?)
            }
            (Some(photos), None, None, None) if !Labels::is_train_alone(photos) => {
                Some(Labels::open(source(data, photos), Split::Test, Some(known))?)
            }
            (_, _, None, None) => None,
            _ => {
                let what = "photos to be judged on need label maps, and these photos";
                let advice = "name the folders of both by --test-photos and --test-labels";
                return Err(Error::input(what, "data", advice));
            }
        };
        Ok(set.map(|set| LabelledAlbum::of(data, set)))
    }
}

/// The classes of a list that the configuration names, or that lies beside the label maps that it names.
fn listed(data: &SegmentData) -> Result<Option<PixelClasses>> {
    match (&data.classes, &data.labels) {
        (Some(path), _) => PixelClasses::read(path).map(Some),
        (None, Some(labels)) => PixelClasses::listed_in(labels),
        (None, None) => Ok(None),
    }
}

/// A path of the configuration, with links and broken entries as it wants them.
fn source(data: &SegmentData, path: &Path) -> Source {
    Source::from(path).follow_links(data.follow_links).max_broken(data.max_broken)
}
