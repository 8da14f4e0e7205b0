//! A segmenter's training as a job: photos with label maps in, steps, a segmenter that is judged on the way.

use super::config::SegmentConfig;
use super::data::{LabelledAlbum, SegmentSets};
use super::judge::{Heard, Judged, SegmentScores, judge};
use super::learn::{SegmentLearner, SegmentReport};
use super::memory;
use super::model::Segmenter;
use super::start::CLASSES;
use crate::engine::device::Device;
use crate::engine::exchange::{Exchange, share};
use crate::engine::nn::Module;
use crate::engine::optim::LrSchedule;
use crate::error::{Error, Result, counted};
use crate::photos::views::CropConfig;
use crate::photos::{Album, Batch, CropRecipe, Crops, LoaderOptions, PixelClass, PixelClasses, allowed};
use crate::run::archive::{self, Contents, corrupt, entry, parameters, read_parameters};
use crate::run::events::Events;
use crate::run::{
    Done, Found, Job, Judgement, MemoryPlan, Now, Outcome, Pace, Reached, Run, Start, expect_room,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A segmenter's training in a folder.
pub type SegmentRun = Run<Segmentation>;

/// The training of a segmenter.
pub struct Segmentation {
    config: SegmentConfig,
    device: Device,
    sets: SegmentSets,
    exchange: Rc<dyn Exchange>,
    /// What all label maps are known by.
    labels_digest: String,
    /// Photos whose label map was found not to fit any more.
    unfit: BTreeSet<u64>,
    learner: SegmentLearner,
    memory: MemoryPlan,
    last: Option<SegmentScores>,
    no_room: Option<String>,
    /// Hears how many photos are judged, of how many.
    watch: Option<Box<dyn FnMut(usize, usize)>>,
    stop: Arc<AtomicBool>,
    /// Hears what was said of all of them.
    found: Option<Hearer>,
}

/// Who hears what was said of all photos that are judged on.
type Hearer = Box<dyn FnMut(&Judged, &LabelledAlbum) -> Result<()>>;

const OPTIMIZER: &str = "optimizer.";
/// Keys of a run's notes.
const SCORES: &str = "scores";
const LABELS: &str = "labels";

impl SegmentRun {
    /// Checks the configuration, opens the device, finds the photos and makes the segmenter.
    ///
    /// # Errors
    /// [`Error::Input`] for a configuration or photos that can't be used, or a folder that holds a run or where another is at work;
    /// [`Error::Io`] if `out` can't be written; the device's errors.
    pub fn start(
        config: SegmentConfig,
        out: &(impl AsRef<Path> + ?Sized),
        start: Start<SegmentConfig>,
        exchange: Rc<dyn Exchange>,
    ) -> Result<SegmentRun> {
        config.check()?;
        let out = out.as_ref();
        let sets = SegmentSets::open(&config)?;
        let empty = matches!(start, Start::From(_));
        Run::open(&config.clone(), out, start, exchange.clone(), || {
            let writes = exchange.rank() == 0;
            let mut job = Segmentation::new(config, sets, empty, exchange)?;
            if writes {
                job.no_room = expect_room(out, job.memory.parameters + job.memory.optimizer, 0)?;
            }
            Ok(job)
        })
    }

    /// The memory that its steps will take.
    pub fn memory(&self) -> &MemoryPlan {
        &self.job.memory
    }

    /// The segmenter as it is.
    pub fn net(&self) -> &Segmenter {
        &self.job.learner.net
    }

    /// The classes that it tells apart.
    pub fn classes(&self) -> &[PixelClass] {
        self.job.sets.classes()
    }

    /// Warnings about the configuration and the photos that a person should read before a long run.
    pub fn warnings(&self) -> Vec<String> {
        let job = &self.job;
        let albums = std::iter::once(&job.sets.train).chain(&job.sets.test);
        let mut all: Vec<String> = albums.flat_map(|set| set.album.photos().warnings()).cloned().collect();
        let batch = job.config.train.batch;
        let few = (batch < 4).then(|| {
            let photos = counted(batch, "crop", "crops");
            format!("batch norm learns from {photos} at a time, which is few: raise train.batch")
        });
        all.extend(few.into_iter().chain(job.no_room.clone()));
        all
    }

    /// A few lines on what is about to run.
    pub fn describe(&self) -> String {
        let Segmentation { config, device, sets, learner, memory, .. } = &self.job;
        let photos = sets.train.album.photos();
        let tested = match &sets.test {
            None => "none to be judged on".to_string(),
            Some(test) => {
                let photos = test.album.photos();
                format!("{} to be judged on ({})", photos.len(), photos.place())
            }
        };
        format!(
            "device   {}\nphotos   {} of {} ({}), {tested}\nclasses  {}\nnetwork  {}, {}, width {}, {} parameters, from {}\nmemory   {memory}",
            device.name(),
            photos.len(),
            counted(self.classes().len(), "class", "classes"),
            photos.place(),
            shares(self.classes(), sets.train.labels.counts()),
            config.segmenter.kind,
            config.segmenter.backbone,
            config.segmenter.width,
            learner.net.count(),
            config.init.as_ref().map_or("random parameters".to_string(), |init| init.display().to_string()),
        )
    }

    /// Calls `f` with how many photos are judged, of how many, while the segmenter is judged.
    pub fn while_judging(&mut self, f: impl FnMut(usize, usize) + 'static) {
        self.job.watch = Some(Box::new(f));
    }

    /// Calls `f` with what was said of the photos that are judged on, when all of them were.
    pub fn when_judged(&mut self, f: impl FnMut(&Judged, &LabelledAlbum) -> Result<()> + 'static) {
        self.job.found = Some(Box::new(f));
    }
}

/// Classes that are named with their shares.
const NAMED: usize = 6;

/// The classes that most of the labelled pixels are of, with their shares.
fn shares(classes: &[PixelClass], counts: &[u64]) -> String {
    let labelled: u64 = counts.iter().take(classes.len()).sum();
    if labelled == 0 {
        return classes.iter().map(|class| class.name.as_str()).collect::<Vec<_>>().join(", ");
    }
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
    let share = |count: u64, all: u64| format!("{:.1} %", 100.0 * count as f64 / all as f64);
    let one = |&class: &usize| format!("{} {}", classes[class].name, share(counts[class], labelled));
    let named = order.iter().take(NAMED).map(one).collect::<Vec<_>>().join(", ");
    let more = classes.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    let ignored = counts.get(classes.len()).copied().unwrap_or(0);
    format!("{named}{more}; {} of the pixels ignored", share(ignored, labelled + ignored))
}

impl Segmentation {
    fn new(
        config: SegmentConfig,
        sets: SegmentSets,
        empty: bool,
        exchange: Rc<dyn Exchange>,
    ) -> Result<Segmentation> {
        let photos = sets.train.album.photos();
        photos.expect_batch(config.train.batch)?;
        let device = Device::open_one_of(&config.device, exchange.local().0)?;
        let (classes, ranks) = (sets.classes().len(), exchange.ranks());
        config.train.expect_ranks(ranks)?;
        let memory = memory::plan(&config, classes, &device, ranks)?;
        memory::check(&memory, &config, classes, &device, ranks)?;
        let learner = SegmentLearner::new(&config, classes, &device, empty, exchange.clone())?;
        let sum = |set: &LabelledAlbum| [set.labels.checksum(), set.album.photos().objects_checksum()];
        let sums = [&sets.train].into_iter().chain(&sets.test).flat_map(sum);
        let labels_digest = sums.map(|sum| format!("{sum:08x}")).collect();
        Ok(Segmentation {
            config,
            device,
            sets,
            exchange,
            labels_digest,
            unfit: BTreeSet::new(),
            learner,
            memory,
            last: None,
            no_room: None,
            watch: None,
            stop: Arc::default(),
            found: None,
        })
    }

    /// The photos that are judged on: on the way some of them, spread evenly, and all at the end.
    fn judged_photos(&self, test: &Album, reached: &Reached) -> Vec<usize> {
        let (all, some) = (test.photos().len(), self.config.eval.photos);
        if reached.ends || some == 0 || some >= all {
            (0..all).collect()
        } else {
            (0..some).map(|i| i * all / some).collect()
        }
    }
}

/// One step in the log.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentRecord {
    kind: &'static str,
    step: u64,
    epoch: u64,
    /// Crops seen so far.
    views: u64,
    loss: f64,
    terms: Map<String, Value>,
    gradient_norm: f32,
    /// Of the backbone.
    lr: f64,
    seconds: f64,
    images_per_second: f64,
    waiting: f64,
    decoding: f64,
    augmenting: f64,
    bytes_in_use: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranks: Vec<[f64; 2]>,
}

impl Job for Segmentation {
    const JUDGES_LONG: bool = true;
    type Config = SegmentConfig;
    type Recipe = CropRecipe;
    type Report = SegmentReport;
    type Record = SegmentRecord;
    type Scores = SegmentScores;

    fn config(&self) -> &SegmentConfig {
        &self.config
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn asked_device(&self) -> &str {
        &self.config.device
    }

    fn album(&self) -> &Arc<Album> {
        &self.sets.train.album
    }

    fn judged_on(&self) -> Option<[&Album; 2]> {
        self.sets.test.as_ref().map(|test| [&*self.sets.train.album, &*test.album])
    }

    fn pace(&self) -> Pace {
        let (train, eval) = (&self.config.train, &self.config.eval);
        Pace {
            epochs: train.epochs,
            steps: train.steps,
            minutes: train.minutes,
            warmup: 0,
            save: (train.save_minutes, train.save_steps),
            judge: (0, 0.0, eval.every_steps),
            on_nan: train.on_nan,
        }
    }

    fn loader(&self) -> LoaderOptions<CropRecipe> {
        let SegmentConfig { train, data, crops, seed, .. } = &self.config;
        let recipe = CropRecipe { config: crops.clone(), labels: self.sets.train.labels.clone() };
        let options = LoaderOptions::new(train.batch, recipe, *seed);
        LoaderOptions { threads: data.threads, max_broken: data.max_broken, ..options }
    }

    fn schedule(&self, total: u64) -> LrSchedule {
        self.config.schedule(total)
    }

    fn reopen(&mut self, device: Device, saved: bool) -> Result<()> {
        self.device = device;
        self.learner = SegmentLearner::new(
            &self.config,
            self.sets.classes().len(),
            &self.device,
            saved,
            self.exchange.clone(),
        )?;
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    fn step(&mut self, batch: &Batch<Crops>, now: &Now) -> Result<SegmentReport> {
        self.learner.step(&batch.data, now)
    }

    fn outcome(report: &SegmentReport) -> Outcome {
        Outcome { loss: report.loss, gradient_norm: report.gradient_norm, moved: report.moved }
    }

    fn record(&mut self, done: &Done<SegmentReport, Crops>) -> Result<(SegmentRecord, Vec<String>)> {
        let Done { report, batch, .. } = done;
        let share = |time: std::time::Duration| time.as_secs_f64() / done.took.as_secs_f64();
        let photos = self.sets.train.album.photos();
        // All fitted when the run began: these have changed since.
        let mut told = Vec::new();
        for (&id, why) in batch.ids.iter().zip(&batch.data.left_out) {
            if let Some(why) = why.as_ref().filter(|_| self.unfit.insert(id)) {
                let line = format!("{}: its label map is left out: {why}", photos.name(id as usize));
                if self.unfit.len() > allowed(photos.len(), self.config.data.max_broken) {
                    let what = format!(
                        "{} label maps can't be used any more, such as that of {line}",
                        self.unfit.len()
                    );
                    return Err(Error::input(
                        what,
                        photos.place(),
                        "put them back as they were, and go on with --resume",
                    ));
                }
                told.push(line);
            }
        }
        let record = SegmentRecord {
            kind: "step",
            step: done.step,
            epoch: batch.position.epoch,
            views: done.step * self.config.train.batch as u64,
            loss: report.loss,
            terms: report
                .terms
                .iter()
                .map(|&(name, value)| (name.to_string(), json!(value as f32)))
                .collect(),
            gradient_norm: report.gradient_norm,
            lr: done.now.lr,
            seconds: done.seconds,
            images_per_second: done.images() as f64 / done.took.as_secs_f64(),
            waiting: share(done.waited),
            decoding: share(batch.decoding) / done.threads as f64,
            augmenting: share(batch.augmenting) / done.threads as f64,
            bytes_in_use: self.device.usage().0,
            ranks: done.of_ranks(),
        };
        Ok((record, told))
    }

    fn show(&self, step: u64, batch: &Batch<Crops>, events: &mut Events) -> Result<()> {
        for param in self.learner.net.trained().iter().filter(|param| param.shape().len() > 1) {
            events.histogram(step, param.name(), &param.get().to_vec()?);
        }
        let CropConfig { size, mean, std, .. } = &self.config.crops;
        let first = &batch.data.pixels[..size * size * 3];
        let byte = |(i, v): (usize, &f32)| (255.0 * (v * std[i % 3] + mean[i % 3])) as u8;
        events.image(step, "crop", [*size; 2], first.iter().enumerate().map(byte).collect());
        Ok(())
    }

    fn stop_when(&mut self, stop: Arc<AtomicBool>) {
        self.stop = stop;
    }

    fn judge(&mut self, reached: &Reached) -> Result<Option<Judgement>> {
        // Before the first step there is nothing to judge.
        let Some(test) = self.sets.test.clone().filter(|_| reached.step > 0) else { return Ok(None) };
        let ids = self.judged_photos(&test.album, reached);
        let (stop, mut watch) = (self.stop.clone(), self.watch.as_mut());
        let heard: &mut Heard = &mut |done, all| {
            watch.iter_mut().for_each(|watch| watch(done, all));
            !stop.load(Ordering::Relaxed)
        };
        // Each rank looks at a part of the photos.
        let own = &ids[share(ids.len(), self.exchange.rank(), self.exchange.ranks())];
        let judged = judge(&self.learner.net, &self.config, &test, own, heard, &mut |_, _| Ok(()))
            .and_then(|own| own.of_all(&*self.exchange));
        let judged = judged?;
        judged.left_out.iter().for_each(|line| eprintln!("warning: {line}"));
        if let Err(nothing) = judged.expect_some(&test) {
            eprintln!("warning: {nothing}");
            return Ok(None);
        }
        let all = test.album.photos().len();
        if let Some(found) = self.found.as_mut().filter(|_| ids.len() == all) {
            found(&judged, &test)?;
        }
        let scores = judged.scores;
        let line = format!("step {:6}  {:7.1} s  {scores}", reached.step, reached.seconds);
        let views = reached.step * self.config.train.batch as u64;
        let record = json!({
            "kind": "miou", "step": reached.step, "epoch": reached.epoch, "views": views, "seconds": reached.seconds,
            "photos": scores.photos, "miou": scores.miou, "macc": scores.macc, "aacc": scores.aacc,
        });
        let (figure, is_part) = (scores.miou, ids.len() < all);
        self.last = Some(scores);
        Ok(Some(Judgement { figure, is_part, record, line }))
    }

    fn scores(&self) -> Option<SegmentScores> {
        self.last.clone()
    }

    fn arrays(&self) -> Result<Contents> {
        let mut entries = parameters("", &self.learner.net, false)?;
        for (name, tensor) in self.learner.optimizer.state()? {
            entries.push(entry(format!("{OPTIMIZER}{name}"), tensor, false)?);
        }
        let classes = json!(self.sets.train.labels.known()).to_string();
        Ok(Contents { entries, texts: HashMap::from([(CLASSES.to_string(), classes)]) })
    }

    fn notes(&self) -> Map<String, Value> {
        let notes = [(SCORES, json!(self.last)), (LABELS, json!(self.labels_digest))];
        notes.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    fn restore(&mut self, found: &Found<SegmentConfig>, notes: &Map<String, Value>) -> Result<()> {
        let bad = |e: String| corrupt(found.path(), &e);
        let kept: Option<PixelClasses> =
            found.file.text(CLASSES).and_then(|text| serde_json::from_str(text).ok());
        let classes = self.sets.train.labels.known();
        let same = kept.as_ref() == Some(classes) && notes.get(LABELS) == Some(&json!(self.labels_digest));
        if !same {
            let what = "the classes or label maps have changed since the run began";
            let advice = "put them back as they were, or start another run with another --out";
            return Err(Error::input(what, self.sets.train.album.photos().place(), advice));
        }
        let arrays = found.file.arrays().map_err(bad)?;
        read_parameters(&arrays, "", &self.learner.net, &self.device).map_err(bad)?;
        let remembered = archive::remembered(&arrays, OPTIMIZER, &self.device).map_err(bad)?;
        self.learner.optimizer.load(&self.learner.net.trained(), &remembered)?;
        if let Some(scores) = notes.get(SCORES) {
            self.last = serde_json::from_value(scores.clone()).map_err(|e| corrupt(found.path(), &e))?;
        }
        Ok(())
    }
}
