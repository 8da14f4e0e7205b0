//! Batches, made by worker threads ahead of the device: of views, of scenes, or of crops with labels.
//!
//! Workers take photos in the epoch's order, one at a time, and lay what they make of them into the batches that are open; who
//! completes the one that is due hands it over. What a [`Maker`] makes depends on (seed, epoch, photo) only, so
//! the number of threads changes nothing, and a run can go on from any batch.

mod crops;
mod recipe;
mod scenes;
mod views;

pub use crops::{CropRecipe, Crops, CropsMaker};
pub use recipe::{Draw, Maker, Recipe};
pub use scenes::{Scenes, ScenesMaker};
pub use views::{Views, ViewsMaker};

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::exchange::share;
use crate::error::{Error, Result, counted, no_thread};
use crate::photos::album::Album;
use crate::photos::locked;
use crate::photos::read::Photos;
use crate::photos::read::tally::allowed;
use crate::photos::views::ViewConfig;
use crate::rng::KeyedRng;
use crate::topic::Topic;
use serde::{Deserialize, Serialize};

/// LIMIT: worker threads.
const MAX_THREADS: usize = 1024;

/// A place in a run: the batch to be made next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Epochs before this one.
    pub epoch: u64,
    /// Batches of this epoch before this one.
    pub batch: u64,
}

/// What a [`Loader`] makes.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions<R = Vec<ViewConfig>> {
    /// B, images in a batch.
    pub batch: usize,
    /// The number of this process and how many there are, each with an equal part of every batch.
    pub rank: (usize, usize),
    /// What is made of each: one configuration for each of the K views of an image.
    pub recipe: R,
    /// Seed of the order, of what is made and of the replacements.
    pub seed: u64,
    /// Worker threads; 0 for as many as there are processors.
    pub threads: usize,
    /// Finished batches that may wait for the device.
    pub ahead: usize,
    /// The first batch to make: where a resumed run stopped.
    pub start: Position,
    /// End before this epoch; `None` goes on for ever.
    pub end_epoch: Option<u64>,
    /// Leave out the photos at the end of an epoch that do not fill a batch.
    pub drop_last: bool,
    /// Names of undecodable photos that a resumed run has met.
    pub broken: BTreeSet<String>,
    /// The fraction of photos that may be undecodable (one always may, unless this is 0) before the run stops.
    pub max_broken: f64,
}

impl<R> LoaderOptions<R> {
    /// All processors, two batches ahead, from the start, without end, last ones dropped, 1 % may be broken.
    pub fn new(batch: usize, recipe: R, seed: u64) -> LoaderOptions<R> {
        LoaderOptions {
            batch,
            rank: (0, 1),
            recipe,
            seed,
            threads: 0,
            ahead: 2,
            start: Position::default(),
            end_epoch: None,
            drop_last: true,
            broken: BTreeSet::new(),
            max_broken: 0.01,
        }
    }
}

/// A photo that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replaced {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Name of the photo shown in its place; `None` if it was itself met while looking for a replacement.
    pub by: Option<String>,
}

/// B images and what was made of them.
#[derive(Clone, Debug, Default)]
pub struct Batch<D = Views> {
    /// What was made of them.
    pub data: D,
    /// The photo of each of the B images.
    pub ids: Vec<u64>,
    /// Where in the run this batch belongs.
    pub position: Position,
    /// Where to go on after this batch.
    pub next: Position,
    /// Photos that could not be decoded, with their replacements.
    pub replaced: Vec<Replaced>,
    /// Time of the worker threads, all together, that its photos took to be decoded or fetched from where they are kept.
    pub decoding: Duration,
    /// The same that it took to make something of them.
    pub augmenting: Duration,
}

/// Where a slot (an image of the run, counted from epoch 0) belongs.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    photos: u64,
    batch: u64,
    batches: u64,
}

impl Schedule {
    fn new(photos: usize, batch: usize, drop_last: bool) -> Schedule {
        let (photos, batch) = (photos as u64, batch as u64);
        Schedule { photos, batch, batches: if drop_last { photos / batch } else { photos.div_ceil(batch) } }
    }

    /// Images used in an epoch.
    fn per_epoch(&self) -> u64 {
        self.photos.min(self.batches * self.batch)
    }

    fn first_slot(&self, p: Position) -> u64 {
        p.epoch * self.per_epoch() + (p.batch * self.batch).min(self.per_epoch())
    }

    fn position(&self, slot: u64) -> Position {
        Position { epoch: slot / self.per_epoch(), batch: slot % self.per_epoch() / self.batch }
    }

    fn after(&self, p: Position) -> Position {
        self.position(self.first_slot(p) + self.images_in(p) as u64)
    }

    fn images_in(&self, p: Position) -> usize {
        self.batch.min(self.per_epoch() - p.batch * self.batch) as usize
    }
}

/// What all threads of a loader share.
struct Shared<R: Recipe> {
    album: Arc<Album>,
    options: LoaderOptions<R>,
    schedule: Schedule,
    next_slot: AtomicU64,
    stop: AtomicBool,
    open: Mutex<Open<Made<R>>>,
    free: Mutex<Vec<Made<R>>>,
}

/// What a recipe's batches are made of.
pub type Made<R> = <<R as Recipe>::Maker as Maker>::Made;

/// Batches that are not handed over yet.
struct Open<D> {
    /// The one to be handed over next.
    due: Position,
    /// Each with the number of images that are missing in it.
    batches: BTreeMap<Position, (Batch<D>, usize)>,
}

/// An iterator over batches; dropping it ends its threads.
pub struct Loader<R: Recipe = Vec<ViewConfig>> {
    shared: Arc<Shared<R>>,
    batches: Option<Receiver<Result<Batch<Made<R>>>>>,
    threads: Vec<JoinHandle<()>>,
    broken: BTreeSet<String>,
}

impl<R: Recipe + 'static> Loader<R> {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Input`] if the recipe is invalid, B is 0 or no multiple of the ranks, or with `drop_last` there are fewer photos
    /// than B.
    pub fn new(album: Arc<Album>, options: LoaderOptions<R>) -> Result<Loader<R>> {
        let place = album.photos().place().to_string();
        let maker = options.recipe.maker()?;
        if options.batch == 0 {
            let advice = "use at least one image and one view";
            return Err(Error::input("no batch can be made", "configuration", advice));
        }
        let ranks = options.rank.1;
        if !options.batch.is_multiple_of(ranks) {
            let what = format!("a batch of {} images can't be dealt to {ranks} ranks", options.batch);
            return Err(Error::input(what, "train.batch", "choose a multiple of the ranks").see(Topic::Ranks));
        }
        let schedule = Schedule::new(album.photos().len(), options.batch, options.drop_last);
        if schedule.batches == 0 {
            let what = format!(
                "{} can't fill a batch of {}",
                counted(album.photos().len(), "photo", "photos"),
                options.batch
            );
            return Err(Error::input(what, place, "lower --batch or give more photos"));
        }
        if options.threads > MAX_THREADS {
            let what = format!("{} loader threads", options.threads);
            let advice = format!("give at most {MAX_THREADS}, or 0 for as many as there are processors");
            return Err(Error::input(what, "data.threads", advice));
        }
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let first_slot = schedule.first_slot(options.start);
        let (sender, batches) = sync_channel(options.ahead.max(1));
        let broken = options.broken.clone();
        let shared = Arc::new(Shared {
            next_slot: AtomicU64::new(first_slot),
            album,
            schedule,
            stop: AtomicBool::new(false),
            open: Mutex::new(Open { due: schedule.position(first_slot), batches: BTreeMap::new() }),
            free: Mutex::default(),
            options,
        });
        let mut loader = Loader { shared, batches: Some(batches), threads: Vec::new(), broken };
        for i in 0..threads {
            let (shared, maker, sender) = (loader.shared.clone(), maker.clone(), sender.clone());
            let thread = std::thread::Builder::new().name(format!("loader-{i}"));
            let thread = thread.spawn(move || work(&shared, maker, &sender)).map_err(no_thread)?;
            loader.threads.push(thread);
        }
        Ok(loader)
    }

    /// Worker threads.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Batches in an epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.shared.schedule.batches
    }

    /// Names of the undecodable photos met so far.
    pub fn broken(&self) -> &BTreeSet<String> {
        &self.broken
    }

    /// Gives a used batch's memory back for later batches.
    pub fn recycle(&self, batch: Batch<Made<R>>) {
        let mut free = locked(&self.shared.free);
        if free.len() <= self.shared.options.ahead {
            free.push(batch.data);
        }
    }

    /// Adds a batch's broken photos to those known, and judges.
    ///
    /// ORDER: counted as batches are handed over, not as workers meet them, so that every run stops at the same one.
    fn judge(&mut self, batch: Batch<Made<R>>) -> Result<Batch<Made<R>>> {
        self.broken.extend(batch.replaced.iter().map(|r| r.name.clone()));
        let fraction = self.shared.options.max_broken;
        expect_few(self.shared.album.photos(), self.broken.len(), fraction, &batch.replaced)?;
        Ok(batch)
    }
}

/// Refuses to go on where so many photos, the last found ones among them, turned out to be undecodable.
///
/// # Errors
/// [`Error::Input`] if they are more than `fraction` of all.
pub fn expect_few(photos: &Photos, broken: usize, fraction: f64, last: &[Replaced]) -> Result<()> {
    let (n, allowed) = (photos.len(), allowed(photos.len(), fraction));
    match last.first() {
        Some(first) if broken > allowed => Err(Error::input(
            format!("{broken} of {n} photos can't be decoded, {allowed} may be"),
            photos.place(),
            format!("remove or repair them, such as {} ({})", first.name, first.reason),
        )
        .see(Topic::Data)),
        _ => Ok(()),
    }
}

impl<R: Recipe + 'static> Iterator for Loader<R> {
    type Item = Result<Batch<Made<R>>>;

    /// The next batch; an error ends the loader.
    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.as_ref()?.recv().ok()?.and_then(|batch| self.judge(batch));
        if batch.is_err() {
            self.batches = None;
        }
        Some(batch)
    }
}

impl<R: Recipe> Drop for Loader<R> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.batches = None; // wakes the worker that waits to hand a batch over
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A worker: takes the next slot until told to stop, or until the last epoch is over.
fn work<R: Recipe>(shared: &Shared<R>, mut maker: R::Maker, batches: &SyncSender<Result<Batch<Made<R>>>>) {
    let mut order = (u64::MAX, Vec::new());
    while !shared.stop.load(Ordering::Relaxed) {
        let slot = shared.next_slot.fetch_add(1, Ordering::Relaxed);
        let position = shared.schedule.position(slot);
        let epoch = position.epoch;
        if shared.options.end_epoch.is_some_and(|end| epoch >= end) {
            return;
        }
        let first = shared.schedule.first_slot(position);
        let own = share(shared.schedule.images_in(position), shared.options.rank.0, shared.options.rank.1);
        let Some(image) = ((slot - first) as usize).checked_sub(own.start).filter(|&image| image < own.len())
        else {
            continue;
        };
        if order.0 != epoch {
            let mut rng = KeyedRng::new("epoch", shared.options.seed, [epoch, 0, 0]);
            order = (epoch, rng.permutation(shared.schedule.photos as usize));
        }
        let photo = order.1[(slot % shared.schedule.per_epoch()) as usize];
        // After a panic the batch of this slot would never be complete.
        let made = catch_unwind(AssertUnwindSafe(|| make(shared, &mut maker, epoch, photo)));
        let name = || shared.album.photos().name(photo);
        let made =
            made.unwrap_or_else(|_| Err(Error::Run(format!("a loader thread failed at photo {}", name()))));
        let is_wanted = match made {
            Ok(one) => lay(shared, (position, image, own.len()), one, &mut maker, batches),
            Err(error) => {
                shared.stop.store(true, Ordering::Relaxed);
                batches.send(Err(error)).is_ok()
            }
        };
        if !is_wanted {
            return;
        }
    }
}

/// A photo of which something was made.
struct One {
    id: u64,
    replaced: Vec<Replaced>,
    decoding: Duration,
    augmenting: Duration,
}

/// Decodes a photo, or its replacement, and makes something of it.
fn make<R: Recipe>(shared: &Shared<R>, maker: &mut R::Maker, epoch: u64, photo: usize) -> Result<One> {
    let (photos, seed, began) = (shared.album.photos(), shared.options.seed, Instant::now());
    let (found, broken) = shared.album.photo_or_other(photo, seed, epoch);
    let decoding = began.elapsed();
    let by = found.as_ref().map(|(id, _)| photos.name(*id).to_string());
    let replaced = |(id, reason)| {
        let by = by.clone().filter(|_| id == photo);
        Replaced { name: photos.name(id).into(), reason, by }
    };
    let replaced: Vec<Replaced> = broken.into_iter().map(replaced).collect();
    let Some((id, shown)) = found else {
        let first = replaced.first().map(|r| format!("{} ({})", r.name, r.reason)).unwrap_or_default();
        let what = format!("{} photos in a row can't be decoded, such as {first}", replaced.len());
        return Err(Error::input(what, photos.place(), "give photos that a viewer can open"));
    };
    let objects = photos.objects_in(id, [shown.height, shown.width]);
    maker.make(&shown, &Draw { seed, epoch, turn: photo as u64, photo: id, objects });
    Ok(One { id: id as u64, replaced, decoding, augmenting: began.elapsed() - decoding })
}

/// Lays what was made of one image into its batch, which has so many of this process, and hands over what is complete, in order;
/// whether anyone takes it.
///
/// ORDER: who waits for a place in the channel keeps the others from running ahead.
fn lay<R: Recipe>(
    shared: &Shared<R>,
    (position, image, n): (Position, usize, usize),
    mut one: One,
    maker: &mut R::Maker,
    sender: &SyncSender<Result<Batch<Made<R>>>>,
) -> bool {
    let Open { due, batches } = &mut *locked(&shared.open);
    let (batch, missing) =
        batches.entry(position).or_insert_with(|| (empty_batch(shared, maker, position, n), n));
    batch.ids[image] = one.id;
    batch.replaced.append(&mut one.replaced);
    batch.decoding += one.decoding;
    batch.augmenting += one.augmenting;
    maker.lay(image, n, &mut batch.data);
    *missing -= 1;
    while let Some(entry) = batches.first_entry().filter(|entry| entry.key() == due && entry.get().1 == 0) {
        let mut batch = entry.remove().0;
        batch.replaced.sort();
        *due = batch.next;
        if sender.send(Ok(batch)).is_err() {
            return false;
        }
    }
    true
}

fn empty_batch<R: Recipe>(
    shared: &Shared<R>,
    maker: &R::Maker,
    position: Position,
    n: usize,
) -> Batch<Made<R>> {
    Batch {
        data: maker.room(n, locked(&shared.free).pop()),
        ids: vec![0; n],
        position,
        next: shared.schedule.after(position),
        ..Batch::default()
    }
}
