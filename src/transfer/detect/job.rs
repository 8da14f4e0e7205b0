//! A detector's training as a job: photos with boxes in, steps, a detector that is judged on the way.

use super::config::{DetectConfig, NormKind};
use super::data::{Classes, DetectSets, digest};
use super::judge::{DetectScores, Heard, Judged, Judging, judge};
use super::learn::{DetectLearner, DetectReport};
use super::memory;
use super::model::Detector;
use super::start::CLASSES;
use super::statistics::precise_statistics;
use crate::engine::device::Device;
use crate::engine::exchange::Alone;
use crate::engine::nn::Module;
use crate::engine::optim::LrSchedule;
use crate::error::{Error, Result, counted};
use crate::photos::views::{LeftOut, SceneConfig};
use crate::photos::{Album, Batch, LoaderOptions, Scenes};
use crate::run::archive::{self, Contents, corrupt, entry, parameters, read_parameters};
use crate::run::events::Events;
use crate::run::{
    Done, Found, Job, Judgement, MemoryPlan, Now, Outcome, Pace, Reached, Run, Start, expect_room,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A detector's training in a folder.
pub type DetectRun = Run<Detection>;

/// The training of a detector.
pub struct Detection {
    config: DetectConfig,
    device: Device,
    album: Arc<Album>,
    test: Option<Arc<Album>>,
    classes: Classes,
    /// What the objects that it learns from are known by.
    objects: String,
    learner: DetectLearner,
    memory: MemoryPlan,
    last: Option<DetectScores>,
    no_room: Option<String>,
    /// Hears how many photos are judged, of how many.
    watch: Option<Box<dyn FnMut(usize, usize)>>,
    stop: Arc<AtomicBool>,
    /// Hears what was found in all of them.
    found: Option<Hearer>,
}

/// Who hears what was found in all photos that are judged on.
type Hearer = Box<dyn FnMut(&Judged, &Album) -> Result<()>>;

const OPTIMIZER: &str = "optimizer.";
/// Keys of a run's notes.
const SCORES: &str = "scores";
const OBJECTS: &str = "objects";

impl DetectRun {
    /// Checks the configuration, opens the device, finds the photos and makes the detector.
    ///
    /// # Errors
    /// [`Error::Input`] for a configuration or photos that can't be used, or a folder that holds a run or where another is at work;
    /// [`Error::Io`] if `out` can't be written; the device's errors.
    pub fn start(
        config: DetectConfig,
        out: &(impl AsRef<Path> + ?Sized),
        start: Start<DetectConfig>,
    ) -> Result<DetectRun> {
        config.check()?;
        let out = out.as_ref();
        let sets = DetectSets::open(&config)?;
        let empty = matches!(start, Start::From(_));
        Run::open(&config.clone(), out, start, Rc::new(Alone), || {
            let mut job = Detection::new(config, sets, empty)?;
            job.no_room = expect_room(out, job.memory.parameters + job.memory.optimizer, 0)?;
            Ok(job)
        })
    }

    /// The memory that its steps will take.
    pub fn memory(&self) -> &MemoryPlan {
        &self.job.memory
    }

    /// The detector as it is.
    pub fn net(&self) -> &Detector {
        &self.job.learner.net
    }

    /// The classes that it tells apart.
    pub fn classes(&self) -> &Classes {
        &self.job.classes
    }

    /// Warnings about the configuration and the photos that a person should read before a long run.
    pub fn warnings(&self) -> Vec<String> {
        let job = &self.job;
        let albums = std::iter::once(&job.album).chain(&job.test);
        let mut all: Vec<String> = albums.flat_map(|album| album.photos().warnings()).cloned().collect();
        let DetectConfig { model, train, .. } = &job.config;
        let norms = match (model.norm, &job.config.init) {
            (NormKind::Batch, init) if train.batch < 4 => {
                let frozen = if init.is_some() { ", or keep those of the encoder (--norm frozen)" } else { "" };
                Some(format!(
                    "batch norm learns from {} at a time, which is few: raise train.batch{frozen}",
                    counted(train.batch, "photo", "photos")
                ))
            }
            (NormKind::Frozen, None) => Some(
                "frozen batch norms of a random backbone norm nothing: give an encoder by --init, or set --norm batch".into(),
            ),
            _ => None,
        };
        all.extend(norms.into_iter().chain(job.no_room.clone()));
        all
    }

    /// A few lines on what is about to run.
    pub fn describe(&self) -> String {
        let Detection { config, device, album, test, classes, learner, memory, .. } = &self.job;
        let objects: usize = (0..album.photos().len()).map(|photo| album.photos().boxes(photo).len()).sum();
        let tested = match test {
            None => "none to be judged on".to_string(),
            Some(test) => format!("{} to be judged on ({})", test.photos().len(), test.photos().place()),
        };
        format!(
            "device   {}\nphotos   {} with {objects} objects of {} ({}), {tested}\ndetector {}, {}, width {}, {} parameters, from {}\nmemory   {memory}",
            device.name(),
            album.photos().len(),
            counted(classes.names.len(), "class", "classes"),
            album.photos().place(),
            config.model.kind,
            config.model.backbone,
            config.model.width,
            learner.net.count(),
            config.init.as_ref().map_or("random parameters".to_string(), |init| init.display().to_string()),
        )
    }

    /// Calls `f` with how many photos are judged, of how many, while the detector is judged.
    pub fn while_judging(&mut self, f: impl FnMut(usize, usize) + 'static) {
        self.job.watch = Some(Box::new(f));
    }

    /// Calls `f` with what was found in the photos that are judged on, when it was looked for in all of them.
    pub fn when_judged(&mut self, f: impl FnMut(&Judged, &Album) -> Result<()> + 'static) {
        self.job.found = Some(Box::new(f));
    }
}

impl Detection {
    fn new(config: DetectConfig, sets: DetectSets, empty: bool) -> Result<Detection> {
        let DetectSets { train: album, test, classes } = sets;
        album.photos().expect_batch(config.train.batch)?;
        let device = Device::open(&config.device)?;
        let memory = memory::plan(&config, classes.names.len(), &device)?;
        memory::check(&memory, &config, classes.names.len(), &device)?;
        let learner = DetectLearner::new(&config, classes.names.len(), &device, empty)?;
        let objects = digest([&album].into_iter().chain(&test).map(|album| album.photos()));
        Ok(Detection {
            config,
            device,
            album,
            test,
            classes,
            objects,
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
pub struct DetectRecord {
    kind: &'static str,
    step: u64,
    epoch: u64,
    /// Photos seen so far, as often as they were.
    views: u64,
    loss: f64,
    terms: Map<String, Value>,
    gradient_norm: f32,
    /// Anchors, and regions, of the batch that stood for objects.
    positives: [usize; 2],
    /// Rows and columns of the batch.
    size: [usize; 2],
    lr: f64,
    seconds: f64,
    images_per_second: f64,
    waiting: f64,
    decoding: f64,
    augmenting: f64,
    bytes_in_use: u64,
}

impl Job for Detection {
    const JUDGES_LONG: bool = true;
    type Config = DetectConfig;
    type Recipe = SceneConfig;
    type Report = DetectReport;
    type Record = DetectRecord;
    type Scores = DetectScores;

    fn config(&self) -> &DetectConfig {
        &self.config
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn asked_device(&self) -> &str {
        &self.config.device
    }

    fn album(&self) -> &Arc<Album> {
        &self.album
    }

    fn judged_on(&self) -> Option<[&Album; 2]> {
        self.test.as_ref().map(|test| [&*self.album, &**test])
    }

    fn pace(&self) -> Pace {
        let (train, eval) = (&self.config.train, &self.config.eval);
        Pace {
            epochs: train.epochs,
            steps: train.steps,
            minutes: train.minutes,
            warmup: self.config.optimizer.warmup_steps,
            save: (train.save_minutes, train.save_steps),
            judge: (0, 0.0, eval.every_steps),
            on_nan: train.on_nan,
        }
    }

    fn loader(&self) -> LoaderOptions<SceneConfig> {
        let DetectConfig { train, data, scenes, seed, .. } = &self.config;
        let options = LoaderOptions::new(train.batch, scenes.clone(), *seed);
        LoaderOptions { threads: data.threads, max_broken: data.max_broken, ..options }
    }

    fn schedule(&self, total: u64) -> LrSchedule {
        self.config.schedule(total)
    }

    fn reopen(&mut self, device: Device, saved: bool) -> Result<()> {
        self.device = device;
        self.learner = DetectLearner::new(&self.config, self.classes.names.len(), &self.device, saved)?;
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        Ok(())
    }

    fn step(&mut self, batch: &Batch<Scenes>, now: &Now) -> Result<DetectReport> {
        self.learner.step(&batch.data.all, now)
    }

    fn outcome(report: &DetectReport) -> Outcome {
        Outcome { loss: report.loss, gradient_norm: report.gradient_norm, moved: report.moved }
    }

    fn record(&mut self, done: &Done<DetectReport, Scenes>) -> Result<(DetectRecord, Vec<String>)> {
        let Done { report, batch, .. } = done;
        let share = |time: std::time::Duration| time.as_secs_f64() / done.took.as_secs_f64();
        let photos = self.album.photos();
        let left_out = batch
            .ids
            .iter()
            .zip(&batch.data.all)
            .flat_map(|(&id, scene)| scene.left_out.iter().map(move |left| (id as usize, left)));
        // Of each photo in the first epoch only: it is the same in each.
        let told = left_out.filter(|_| batch.position.epoch == 0).map(|(id, left)| match left {
            LeftOut { object: None, why, .. } => {
                format!("{}: its objects are left out: {why}", photos.name(id))
            }
            LeftOut { object: Some(object), only_mask, why } => {
                let what = if *only_mask { "the mask of object" } else { "object" };
                format!("{}: {what} {} is left out: {why}", photos.name(id), object + 1)
            }
        });
        let record = DetectRecord {
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
            positives: report.positives,
            size: report.size,
            lr: done.now.lr,
            seconds: done.seconds,
            images_per_second: batch.ids.len() as f64 / done.took.as_secs_f64(),
            waiting: share(done.waited),
            decoding: share(batch.decoding) / done.threads as f64,
            augmenting: share(batch.augmenting) / done.threads as f64,
            bytes_in_use: self.device.usage().0,
        };
        Ok((record, told.collect()))
    }

    fn show(&self, step: u64, batch: &Batch<Scenes>, events: &mut Events) -> Result<()> {
        for param in self.learner.net.trained().iter().filter(|param| param.shape().len() > 1) {
            events.histogram(step, param.name(), &param.get().to_vec()?);
        }
        let Some(scene) = batch.data.all.first() else { return Ok(()) };
        let SceneConfig { mean, std, .. } = &self.config.scenes;
        let byte = |(i, v): (usize, &f32)| (255.0 * (v * std[i % 3] + mean[i % 3])) as u8;
        events.image(step, "scene", scene.size, scene.pixels.iter().enumerate().map(byte).collect());
        Ok(())
    }

    fn stop_when(&mut self, stop: Arc<AtomicBool>) {
        self.stop = stop;
    }

    fn judge(&mut self, reached: &Reached) -> Result<Option<Judgement>> {
        // Before the first step there is nothing to find.
        let Some(test) = self.test.clone().filter(|_| reached.step > 0) else { return Ok(None) };
        let ids = self.judged_photos(&test, reached);
        let (stop, mut watch) = (self.stop.clone(), self.watch.as_mut());
        let heard: &mut Heard = &mut |done, all| {
            watch.iter_mut().for_each(|watch| watch(done, all));
            !stop.load(Ordering::Relaxed)
        };
        // ORDER: all was saved before. A judging that is broken off leaves statistics that are neither the old nor the new ones, and nothing is saved
        // after it.
        let net = &self.learner.net;
        let judged = precise_statistics(net, &self.config, &self.album, reached.step, heard)
            .and_then(|()| judge(&Judging { net, config: &self.config, album: &test }, &ids, heard));
        let judged = judged?;
        judged.left_out.iter().for_each(|line| eprintln!("warning: {line}"));
        if let Some(found) = self.found.as_mut().filter(|_| ids.len() == test.photos().len()) {
            found(&judged, &test)?;
        }
        let scores = judged.scores;
        let line = format!("step {:6}  {:7.1} s  {scores}", reached.step, reached.seconds);
        let [ap, ap50, ap75] = scores.boxes;
        let [mask_ap, mask_ap50, mask_ap75] = scores.masks.unwrap_or_default();
        let views = reached.step * self.config.train.batch as u64;
        let record = json!({
            "kind": "ap", "step": reached.step, "epoch": reached.epoch, "views": views, "seconds": reached.seconds,
            "photos": scores.photos, "objects": scores.objects, "ap": ap, "ap50": ap50, "ap75": ap75,
            "mask_ap": mask_ap, "mask_ap50": mask_ap50, "mask_ap75": mask_ap75,
        });
        let (figure, is_part) = (scores.figure(), ids.len() < test.photos().len());
        self.last = Some(scores);
        Ok(Some(Judgement { figure, is_part, record, line }))
    }

    fn scores(&self) -> Option<DetectScores> {
        self.last.clone()
    }

    fn arrays(&self) -> Result<Contents> {
        let mut entries = parameters("", &self.learner.net, false)?;
        for (name, tensor) in self.learner.optimizer.state()? {
            entries.push(entry(format!("{OPTIMIZER}{name}"), tensor, false)?);
        }
        Ok(Contents {
            entries,
            texts: HashMap::from([(CLASSES.to_string(), json!(self.classes).to_string())]),
        })
    }

    fn notes(&self) -> Map<String, Value> {
        let notes = [(SCORES, json!(self.last)), (OBJECTS, json!(self.objects))];
        notes.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }

    fn restore(&mut self, found: &Found<DetectConfig>, notes: &Map<String, Value>) -> Result<()> {
        let bad = |e: String| corrupt(found.path(), &e);
        let kept = found.file.text(CLASSES).and_then(|text| serde_json::from_str::<Classes>(text).ok());
        let same = kept.as_ref() == Some(&self.classes) && notes.get(OBJECTS) == Some(&json!(self.objects));
        if !same {
            let what = "the classes, boxes or masks have changed since the run began";
            let advice = "put the annotations back as they were, or start another run with another --out";
            return Err(Error::input(what, self.album.photos().place(), advice));
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
