//! A whole run: data, encoder, steps, judging, log and checkpoints.

use super::batch::batch;
use super::config::{Config, OptimizerConfig, ScheduleName};
use super::course::{Clock, Course, Pace};
use super::folder::{CONFIG, Folder, Found};
use super::memory::{self, MemoryPlan};
use super::method::Now;
use super::passes::Batch;
use super::record::{message, record};
use super::setup;
use super::state::RunState;
use super::step::Learner;
use crate::engine::device::Device;
use crate::engine::nn::Module;
use crate::engine::optim::CosineSchedule;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::files;
use crate::photos::{self, Album, Loader, LoaderOptions};
use crate::run::{Judge, Scores};
use crate::run::{Log, Progress, WarningRecord};
use crate::shell;
use crate::topic::Topic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a finished run has to show.
#[derive(Debug)]
pub struct Summary {
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The log.
    pub log: PathBuf,
    /// Steps done.
    pub steps: u64,
    /// kNN at the start, at the end, and of colour histograms.
    pub scores: Option<Scores>,
    /// The device that it ended on.
    pub device: Device,
    /// What was left out of its photos and of those it was judged on, a line each.
    pub left_out: Vec<String>,
}

/// What is called with a run's folder after an epoch.
pub type AfterEpoch = Box<dyn FnMut(&Path)>;
/// What is called after a step with the number of steps done.
pub type AfterStep = Box<dyn FnMut(u64, &Device)>;

/// A run that is ready to start, or to go on.
pub struct Trainer {
    pub(super) config: Config,
    pub(super) device: Device,
    pub(super) folder: Folder,
    pub(super) album: Arc<Album>,
    pub(super) judge: Option<Box<dyn Judge>>,
    pub(super) learner: Learner,
    memory: MemoryPlan,
    pub(super) state: RunState,
    stop: Arc<AtomicBool>,
    before_steps: Option<Box<dyn FnOnce()>>,
    quiet: bool,
    after_epoch: Option<AfterEpoch>,
    after_step: Option<AfterStep>,
    pub(super) back_off: Vec<Duration>,
}

/// How long to wait before a lost device is opened again, each time that it is lost.
const BACK_OFF: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];
/// Weights and views are shown at the end of an epoch, but not more often than this: event files should stay small.
const SHOW_EVERY: Duration = Duration::from_secs(60);

impl Trainer {
    /// Checks the configuration, opens the device, finds the photos and initialises the encoder.
    ///
    /// # Errors
    /// [`Error::Input`] for a configuration or photos that can't be used, or a folder that holds a run or where another is
    /// at work; [`Error::Io`] if `out` can't be written; the device's errors.
    pub fn new(config: Config, out: &Path, judge: Option<Box<dyn Judge>>) -> Result<Trainer> {
        Trainer::open(config, out, judge, None, false)
    }

    /// As [`Trainer::new`], in place of a run that may be in the folder.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn overwriting(config: Config, out: &Path, judge: Option<Box<dyn Judge>>) -> Result<Trainer> {
        Trainer::open(config, out, judge, None, true)
    }

    /// Goes on from a checkpoint as if the run had never stopped: what follows is the same to the bit.
    ///
    /// # Errors
    /// As [`Trainer::new`]; [`Error::Input`] too if the configuration differs in a key that may not change, naming it,
    /// or the photos are others.
    pub fn resume(
        config: Config,
        out: &Path,
        judge: Option<Box<dyn Judge>>,
        found: Found,
    ) -> Result<Trainer> {
        Trainer::open(config, out, judge, Some(found), false)
    }

    fn open(
        config: Config,
        out: &Path,
        judge: Option<Box<dyn Judge>>,
        found: Option<Found>,
        overwrite: bool,
    ) -> Result<Trainer> {
        config.check()?;
        let album = Arc::new(setup::album(&config, setup::pretraining_photos(&config)?));
        setup::check_count(&config, album.photos())?;
        let accepted = || match &found {
            Some(found) => found.accept(&config),
            None if overwrite => Ok(()),
            None => Folder::expect_empty(out),
        };
        Folder::expect_idle(out).and_then(|()| accepted())?;
        let device = Device::open(&config.device)?;
        let memory = MemoryPlan::of(&config, &device)?;
        if let Some(limit) = memory::limit(&config, &device) {
            memory.check(&config, &device, limit)?;
        }
        let learner = match found {
            Some(_) => setup::blank_learner(&config, &device)?,
            None => setup::learner(&config, &device)?,
        };
        let state = RunState::new(&config, album.photos(), judge.as_deref());
        if let Some(found) = &found {
            found.expect_photos(&config, &state, album.photos().place())?;
        }
        let folder = Folder::open(out)?;
        accepted()?; // another run may have come and gone meanwhile
        let mut trainer = Trainer {
            config,
            device,
            folder,
            album,
            judge,
            learner,
            memory,
            state,
            stop: Arc::default(),
            before_steps: None,
            quiet: false,
            after_epoch: None,
            after_step: None,
            back_off: BACK_OFF.to_vec(),
        };
        // ORDER: all that can be refused has been: only now does a run that was there end.
        match found {
            Some(found) => trainer.restore(found)?,
            None => trainer.folder.clear()?,
        }
        files::replace(&out.join(CONFIG), trainer.config.to_toml().as_bytes())?;
        Ok(trainer)
    }

    /// Takes up what a checkpoint holds.
    pub(super) fn restore(&mut self, found: Found) -> Result<()> {
        found.saved.restore(&found.path, &mut self.learner, &self.device)?;
        // The photos were found to be the same, and are known as they are now.
        let RunState { photos, labelled, .. } = self.state.clone();
        self.state = RunState { photos, labelled, ..found.saved.state };
        Ok(())
    }

    /// Ends the run after the step that is at work when `stop` becomes true, with a checkpoint.
    pub fn stop_when(&mut self, stop: Arc<AtomicBool>) {
        self.stop = stop;
    }

    /// Calls `f` before the first step, until when there is nothing to save.
    pub fn before_steps(&mut self, f: impl FnOnce() + 'static) {
        self.before_steps = Some(Box::new(f));
    }

    /// Whether the run was asked to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Calls `f` with the run's folder at the end of each epoch.
    pub fn after_epoch(&mut self, f: impl FnMut(&Path) + 'static) {
        self.after_epoch = Some(Box::new(f));
    }

    /// Calls `f` after each step with the number of steps done, and the device.
    pub fn after_step(&mut self, f: impl FnMut(u64, &Device) + 'static) {
        self.after_step = Some(Box::new(f));
    }

    /// Shows no progress.
    pub fn be_quiet(&mut self) {
        self.quiet = true;
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The memory that its steps will take.
    pub fn memory(&self) -> &MemoryPlan {
        &self.memory
    }

    /// Warnings about the configuration and the photos that a person should read before a long run.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.album.photos().warnings().to_vec();
        warnings.extend(self.judged_albums().flat_map(|album| album.photos().warnings()).cloned());
        let photos = self.album.photos().len();
        let slots = self.learner.method.queue.as_ref().map_or(0, |queue| queue.slots());
        let crowded = (2 * slots > photos).then(|| {
            format!(
                "the queue of {slots} is more than half of the {photos} photos: an image meets its own older keys in it \
                 and becomes its own neighbour; lower method.queue ({})",
                Topic::Queue
            )
        });
        warnings.extend(crowded.into_iter().chain(setup::chunk_warning(&self.config)));
        warnings
    }

    /// The photos that it is judged on.
    fn judged_albums(&self) -> impl Iterator<Item = &Album> {
        self.judge.iter().flat_map(|judge| judge.albums())
    }

    /// A few lines on what is about to run.
    pub fn describe(&self) -> String {
        let Config { model, train, method, views, .. } = &self.config;
        let all = self.config.image_views();
        let small = match all.last() {
            Some(last) if last.size != views.size => format!(" and {}", last.size),
            _ => String::new(),
        };
        format!(
            "device   {}\nphotos   {} ({})\nencoder  {:?}, width {}, {} parameters\nmethod   {}, {} images x {} views of {}{small} px a step\nmemory   {}",
            self.device.name(),
            self.album.photos().len(),
            self.album.photos().place(),
            model.backbone,
            model.width,
            self.learner.count(),
            method.name(),
            train.batch,
            all.len(),
            views.size,
            self.memory,
        )
    }

    /// Steps of the whole run, and seconds of each of three steps that are taken for measure; nothing is written.
    ///
    /// # Errors
    /// Those of a step.
    pub fn rehearse(mut self) -> Result<(u64, Vec<f64>)> {
        let mut loader = self.loader()?;
        let total = self.total(&loader);
        let mut seconds = Vec::new();
        for step in 0..3.min(total) {
            let began = Instant::now();
            let Some(views) = loader.next().transpose()? else { break };
            let batch = self.batch(&views, step)?;
            let now = self.now(step, step, total, views.position.epoch);
            self.learner.step(&batch, &now)?;
            seconds.push(began.elapsed().as_secs_f64());
            loader.recycle(views);
        }
        Ok((total, seconds))
    }

    /// Steps of the whole run.
    fn total(&self, loader: &Loader) -> u64 {
        let all = loader.batches_per_epoch() * self.config.train.epochs;
        if self.config.train.steps == 0 { all } else { all.min(self.config.train.steps) }
    }

    pub(super) fn train(&mut self) -> Result<Summary> {
        let mut log =
            Log::open(self.folder.path(), self.state.step, self.state.log_bytes, self.state.events.as_ref())?;
        let mut loader = self.loader()?;
        let total = self.total(&loader);
        let limit = self.config.train.minutes * 60.0;
        let course = Course { total, limit, warmup: self.config.optimizer.warmup_steps };
        let mut progress = Progress::new(if limit > 0.0 { limit as u64 } else { total }).quiet_if(self.quiet);
        let colour = self.judge.as_ref().map(|judge| judge.colour()).transpose()?;
        let left_out = self.judged_albums().flat_map(Album::left_out);
        left_out.for_each(|line| progress.say(&format!("warning: {line}")));
        let mut clock = Clock::after(self.state.seconds);
        let (mut saved, mut shown) = (Instant::now(), None);
        if self.state.step == 0 {
            self.judge(&mut log, &progress)?;
        }
        if let Some(f) = self.before_steps.take() {
            f();
        }
        while self.state.step < total && (limit == 0.0 || clock.seconds() < limit) {
            clock.start();
            let Some(views) = loader.next() else { break };
            let views = views?;
            self.note_replaced(&views, &mut log, &progress)?;
            let batch = self.batch(&views, self.state.step)?;
            let at = course.at(self.state.step, clock.seconds());
            let now = self.now(self.state.step, at, total, views.position.epoch);
            let began = Instant::now();
            let report = self.learner.step(&batch, &now)?;
            self.state.step += 1;
            self.state.next = views.next;
            let waited = clock.pause();
            self.state.seconds = clock.seconds();
            if report.moved {
                self.state.skipped = 0;
                let (spread, collapsed) = self.state.watch.look(&report)?;
                let took = waited.max(began.elapsed());
                let pace = Pace { step: self.state.step, lr: now.lr, seconds: clock.seconds(), took };
                let (photos, bytes) = (self.album.photos(), self.device.usage().0);
                let record = record(&self.config, photos, (&report, spread), &views, pace, bytes);
                log.write(&record)?;
                for warning in collapsed {
                    progress.say(&format!("warning: step {}: {warning}", self.state.step));
                    log.write(&WarningRecord { kind: "warning", step: self.state.step, warning })?;
                }
                let done = if limit > 0.0 { clock.seconds() as u64 } else { self.state.step };
                progress.at(done, || message(&record, total, limit));
            } else {
                self.not_finite(&report, &views, &mut log, &progress)?;
            }
            if log.just_failed() {
                progress.say(&format!(
                    "warning: {} can't be written (is the disk full?): its lines are kept and tried again",
                    log.path().display()
                ));
            }
            if views.next.epoch > views.position.epoch {
                if shown.is_none_or(|at: Instant| at.elapsed() >= SHOW_EVERY) {
                    shown = Some(Instant::now());
                    self.show(&views, &mut log)?;
                }
                if let Some(f) = &mut self.after_epoch {
                    f(self.folder.path());
                }
            }
            if let Some(f) = &mut self.after_step {
                f(self.state.step, &self.device);
            }
            let best = self.is_due(&views, &clock) && self.judge(&mut log, &progress)?;
            let stop = self.is_stopped();
            let last = self.state.step == total;
            if !last && !stop && (best || self.must_save(saved)) {
                saved = Instant::now();
                self.try_save(best, &mut log, &progress)?;
            }
            if stop {
                progress.end();
                self.save_at_last(best, &mut log)?;
                return Err(Error::Interrupted(format!(
                    "interrupted after step {}, which is saved: go on with `vista pretrain --resume --out {}`",
                    self.state.step,
                    shell::path(self.folder.path())
                )));
            }
            loader.recycle(views);
        }
        let judged = self.state.judged.at.map(|(step, _)| step);
        let best = judged != Some(self.state.step) && self.judge(&mut log, &progress)?;
        progress.end();
        self.save_at_last(best, &mut log)?;
        let scores = self.scores(colour);
        let checkpoint = self.folder.checkpoint();
        let (log, steps, device) = (log.path().to_path_buf(), self.state.step, self.device.clone());
        let mut left_out = self.album.all_left_out();
        left_out.extend(self.judged_albums().flat_map(Album::all_left_out));
        Ok(Summary { checkpoint, log, steps, scores, device, left_out })
    }

    fn loader(&self) -> Result<Loader> {
        let config = &self.config;
        let mut options = LoaderOptions::new(config.train.batch, config.image_views(), config.seed);
        options.threads = config.data.threads;
        options.max_broken = config.data.max_broken;
        options.start = self.state.next;
        options.broken = self.state.broken.clone();
        options.end_epoch = Some(config.train.epochs);
        Loader::new(self.album.clone(), options)
    }

    /// Whether it is time to judge.
    fn is_due(&self, views: &photos::Batch, clock: &Clock) -> bool {
        let every = &self.config.eval;
        let (epoch, step) = (views.next.epoch, self.state.step);
        let epoch_ended = epoch > views.position.epoch;
        let judged_at = self.state.judged.at.map_or(0.0, |(_, seconds)| seconds);
        epoch_ended && every.every_epochs > 0 && epoch.is_multiple_of(every.every_epochs)
            || every.every_minutes > 0.0 && clock.seconds() - judged_at >= 60.0 * every.every_minutes
            || every.every_steps > 0 && step.is_multiple_of(every.every_steps)
    }

    /// Puts a batch of views on the device.
    fn batch(&self, views: &photos::Batch, step: u64) -> Result<Batch> {
        batch(&self.config, views.ids.clone(), step, |shape, values| {
            Tensor::new(&self.device, shape, &views.images[values])
        })
    }

    /// Where a step is whose schedules are at `at` of `total`.
    fn now(&self, step: u64, at: u64, total: u64, epoch: u64) -> Now {
        let OptimizerConfig { lr, schedule, warmup_steps: warmup, .. } = self.config.optimizer;
        let final_lr = if schedule == ScheduleName::Cosine { 0.0 } else { lr };
        let schedule = CosineSchedule { base_lr: lr, final_lr, start_lr: 0.0, warmup, total };
        Now { step, progress: at as f64 / total.max(1) as f64, epoch, lr: schedule.lr(at), base_lr: lr }
    }
}
