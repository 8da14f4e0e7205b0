//! An album: photos decoded once, kept as far as memory allows, the broken ones known by name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rayon::prelude::*;

use crate::error::{Error, Result, one_line};
use crate::photos::cache::Cache;
use crate::photos::decode::{Read, Rgb};
use crate::photos::locked;
use crate::photos::photo::Photo;
use crate::photos::read::Photos;
use crate::photos::views::{CropBox, Detail, ViewConfig, ViewMaker, quickly_resized_crop};
use crate::rng::KeyedRng;

/// How an [`Album`] keeps photos.
#[derive(Clone, Debug, PartialEq)]
pub struct AlbumOptions {
    /// Bytes of decoded photos to keep; the first ones that come are kept and never given up, since an epoch in
    /// random order leaves nothing to gain from evicting. 0 keeps none.
    pub cache_bytes: usize,
    /// Scale photos down once, when decoded, so that their short side is at most this; `None` leaves them alone.
    /// It trades detail of small crops for time and memory: choose at least twice the view's size.
    pub shrink_to: Option<usize>,
    /// Decode JPEGs at a half, a quarter or an eighth of their size where that, or `shrink_to`, leaves twice the pixels that are
    /// needed along each axis; `None` decodes them whole.
    pub detail: Option<Detail>,
}

impl Default for AlbumOptions {
    /// 1 GiB, no shrinking, all pixels.
    fn default() -> AlbumOptions {
        AlbumOptions { cache_bytes: 1 << 30, shrink_to: None, detail: None }
    }
}

/// A set of photos with a cache, shared by all threads that read it.
#[derive(Debug)]
pub struct Album {
    photos: Photos,
    options: AlbumOptions,
    kept: Vec<OnceLock<Arc<Photo>>>,
    used_bytes: AtomicUsize,
    broken: Mutex<BTreeMap<usize, String>>,
    mended: Mutex<BTreeMap<usize, &'static str>>,
    cache: Option<Cache>,
}

/// A photo's id and pixels, or those of another in its place if anything decodable is near; and the broken photos met on
/// the way, with reasons.
type Found = (Option<(usize, Arc<Photo>)>, Vec<(usize, String)>);

impl Album {
    /// Opens an album; nothing is decoded yet.
    pub fn new(photos: Photos, options: AlbumOptions) -> Album {
        let kept = (0..photos.len()).map(|_| OnceLock::new()).collect();
        Album {
            photos,
            options,
            kept,
            used_bytes: AtomicUsize::new(0),
            broken: Mutex::default(),
            mended: Mutex::default(),
            cache: None,
        }
    }

    /// The same album, which keeps photos decoded in a folder too, for later epochs and later runs: `vista-photos` in the given one.
    /// Pixels are the same with it and without. What is there is mapped into memory and does not count as kept in memory.
    ///
    /// Sets of raw images, and photos that lack a part of their file, are not kept.
    ///
    /// # Errors
    /// [`Error::Input`] if the place is no folder, or its `vista-photos` is not ours. What can't be written is no error:
    /// [`Album::news`] says so.
    pub fn cached_in(self, folder: &(impl AsRef<Path> + ?Sized)) -> Result<Album> {
        let folder = folder.as_ref();
        Ok(Album { cache: Some(Cache::open(folder)?), ..self })
    }

    /// Whether photos are kept in a folder.
    pub fn is_cached(&self) -> bool {
        self.cache.is_some()
    }

    /// What became of the folder of decoded photos since this was last asked, a line each: it can't be written, or is full.
    pub fn news(&self) -> Vec<String> {
        self.cache.iter().flat_map(Cache::news).collect()
    }

    /// Where decoded photos are kept, about how much that will be, and what is free, by some of the photos, which are decoded for it;
    /// `None` where none is kept so.
    pub fn plan(&self) -> Option<String> {
        const SAMPLE: usize = 16;
        let (cache, n) = (self.cache.as_ref()?, self.photos.len());
        let sample: Vec<usize> = (0..n.min(SAMPLE)).map(|i| i * n / n.min(SAMPLE)).collect();
        let look = |&id: &usize| {
            let key = self.key(id)?;
            let is_there = cache.load(&key).is_some();
            Some((self.photo(id).ok()?.image.data.len() as u64, is_there))
        };
        let found: Vec<(u64, bool)> = sample.par_iter().filter_map(look).collect();
        let looked = found.len().max(1);
        let bytes = found.iter().map(|photo| photo.0).sum::<u64>() / looked as u64;
        let there = found.iter().filter(|photo| photo.1).count();
        (!found.is_empty()).then(|| cache.plan(n, bytes, there as f64 / looked as f64))
    }

    /// All that the pixels of a photo, as they are kept in a folder, follow from; `None` for one that is not.
    fn key(&self, id: usize) -> Option<Vec<u8>> {
        let AlbumOptions { shrink_to, detail, .. } = self.options;
        let settings = format!("\n{shrink_to:?} {detail:?}");
        Some([&self.photos.identity(id)?[..], settings.as_bytes()].concat())
    }

    /// The photos.
    pub fn photos(&self) -> &Photos {
        &self.photos
    }

    /// How it keeps them.
    pub fn options(&self) -> &AlbumOptions {
        &self.options
    }

    /// Bytes of decoded photos kept at present.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The photos found undecodable so far, by name, each with the reason.
    pub fn broken(&self) -> Vec<(String, String)> {
        let broken = locked(&self.broken);
        broken.iter().map(|(&id, why)| (self.photos.name(id).to_string(), why.clone())).collect()
    }

    /// The photos found undecodable so far, those read though something of their file is missing, and the classes that have
    /// no photo left, a line each.
    pub fn left_out(&self) -> Vec<String> {
        let broken = locked(&self.broken);
        let mut sound = vec![0; self.photos.classes().len()];
        let mut lost = sound.clone();
        for id in 0..self.photos.len() {
            let counts = if broken.contains_key(&id) { &mut lost } else { &mut sound };
            self.photos.labels(id).iter().for_each(|&class| counts[class] += 1);
        }
        let place = self.photos.place();
        let photo =
            |(&id, why): (&usize, &String)| format!("{place}: {}: left out ({why})", self.photos.name(id));
        let class = |(class, name): (usize, &String)| {
            let none = sound[class] == 0 && lost[class] > 0;
            none.then(|| format!("{place}: no photo of class {name} can be decoded"))
        };
        let classes = self.photos.classes().iter().enumerate().filter_map(class);
        let mended = self.mended();
        let mended = mended.iter().map(|(name, what)| format!("{place}: {name}: read, but {what}"));
        broken.iter().map(photo).chain(mended).chain(classes).map(one_line).collect()
    }

    /// The same behind what the reader of the photos left out.
    pub fn all_left_out(&self) -> Vec<String> {
        self.photos.warnings().iter().cloned().map(one_line).chain(self.left_out()).collect()
    }

    /// How many photos there are but for those found undecodable so far.
    pub fn used(&self) -> usize {
        self.photos.len() - locked(&self.broken).len()
    }

    /// The photos read so far though something of their file is missing, by name, each with what it is.
    pub fn mended(&self) -> Vec<(String, &'static str)> {
        let mended = locked(&self.mended);
        mended.iter().map(|(&id, &what)| (self.photos.name(id).to_string(), what)).collect()
    }

    /// One decoded photo, from memory if it is kept; the reason if it can't be decoded.
    pub fn photo(&self, id: usize) -> Result<Arc<Photo>, String> {
        if let Some(photo) = self.kept[id].get() {
            return Ok(photo.clone());
        }
        if let Some(why) = locked(&self.broken).get(&id) {
            return Err(why.clone());
        }
        let place = self.cache.as_ref().and_then(|cache| Some((cache, self.key(id)?)));
        if let Some(photo) = place.as_ref().and_then(|(cache, key)| cache.load(key)) {
            return Ok(Arc::new(photo));
        }
        match self.photos.read(id, &|size| self.scale(size)) {
            Ok(Read { image, size, missing }) => {
                if let Some(what) = missing {
                    locked(&self.mended).insert(id, what);
                }
                let photo = Arc::new(self.shrunk(image, size));
                let is_sound = missing.is_none();
                if !place.is_some_and(|(cache, key)| is_sound && cache.store(&key, &photo)) {
                    self.keep(id, &photo);
                }
                Ok(photo)
            }
            Err(why) => {
                locked(&self.broken).insert(id, why.clone());
                Err(why)
            }
        }
    }

    /// A photo, or a replacement if it can't be decoded: the next decodable one from a place drawn by
    /// `(seed, epoch, id)`, so that every run and every thread finds the same.
    pub(super) fn photo_or_other(&self, id: usize, seed: u64, epoch: u64) -> Found {
        const TRIES: usize = 1000;
        let mut broken = Vec::new();
        let n = self.photos.len();
        let start = KeyedRng::new("replace", seed, [epoch, id as u64, 0]).below(n as u64) as usize;
        let others = (start..start + n.min(TRIES)).map(|i| i % n).filter(|&other| other != id);
        for id in std::iter::once(id).chain(others) {
            match self.photo(id) {
                Ok(photo) => return (Some((id, photo)), broken),
                Err(why) => broken.push((id, why)),
            }
        }
        (None, broken)
    }

    /// By how much a photo of a size is decoded smaller.
    fn scale(&self, size: [usize; 2]) -> usize {
        let Some(views) = self.options.detail else { return 1 };
        let shrunk = self.options.shrink_to.map_or(1, |limit| Detail::of_side(limit).scale(size));
        views.scale(size).max(shrunk)
    }

    /// A photo of a size, scaled down if its short side is longer than it may be.
    fn shrunk(&self, image: Rgb, [width, height]: [usize; 2]) -> Photo {
        let image = match self.options.shrink_to {
            Some(limit) if image.width.min(image.height) > limit => {
                let side = |x: usize| (x * limit + width.min(height) / 2) / width.min(height);
                quickly_resized_crop(&image, CropBox::whole(&image), side(width), side(height))
            }
            _ => image,
        };
        Photo { image, width, height }
    }

    fn keep(&self, id: usize, photo: &Arc<Photo>) {
        let bytes = photo.image.data.len();
        let reserve = |used: usize| (used + bytes <= self.options.cache_bytes).then_some(used + bytes);
        let reserved = self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok();
        if reserved && self.kept[id].set(photo.clone()).is_err() {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed); // another thread was faster
        }
    }

    /// Evaluation views of some photos, in order: see [`ViewMaker::center`]. Broken photos are left out.
    ///
    /// Returns the views, `[ids.len(), size, size, 3]` at most, and the ids that they belong to.
    ///
    /// # Errors
    /// [`Error::Input`] if the configuration is invalid or no photo among `ids` can be decoded.
    pub fn center_views(&self, ids: &[usize], config: &ViewConfig) -> Result<(Vec<f32>, Vec<usize>)> {
        let (views, kept) = self.sound_views(ids, config)?;
        if kept.is_empty() && !ids.is_empty() {
            return Err(self.nothing_decodable());
        }
        Ok((views, kept))
    }

    /// The error of photos of which none can be decoded, with a reason.
    pub(crate) fn nothing_decodable(&self) -> Error {
        let example = self.broken().into_iter().next();
        let example = example.map(|(name, why)| format!(", such as {name} ({why})")).unwrap_or_default();
        Error::input(
            format!("no photo can be decoded{example}"),
            self.photos.place(),
            "give photos that a viewer can open",
        )
    }

    /// [`Album::center_views`] of what can be decoded, perhaps of nothing.
    pub(crate) fn sound_views(&self, ids: &[usize], config: &ViewConfig) -> Result<(Vec<f32>, Vec<usize>)> {
        let maker = ViewMaker::new(config.clone())?;
        let length = config.size * config.size * 3;
        let view = |maker: &mut ViewMaker, &id: &usize| {
            let photo = self.photo(id).ok()?;
            let mut view = vec![0.0; length];
            maker.center(&photo.image, &mut view);
            Some((view, id))
        };
        let made: Vec<Option<(Vec<f32>, usize)>> = ids.par_iter().map_init(|| maker.clone(), view).collect();
        let mut views = Vec::with_capacity(ids.len() * length);
        let mut kept = Vec::with_capacity(ids.len());
        for (view, id) in made.into_iter().flatten() {
            views.extend_from_slice(&view);
            kept.push(id);
        }
        Ok((views, kept))
    }
}
