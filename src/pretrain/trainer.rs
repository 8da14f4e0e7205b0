//! Pretraining as a job: photos in, steps of a method, an encoder that is judged on the way.

use super::batch::batch;
use super::checkpoint;
use super::collapse::Watch;
use super::config::{Config, OptimizerConfig, ScheduleName};
use super::memory;
use super::record::{EvalRecord, StepRecord};
use super::setup;
use super::step::{Learner, StepReport};
use crate::engine::device::Device;
use crate::engine::exchange::{Alone, Exchange};
use crate::engine::nn::Module;
use crate::engine::optim::{Decay, LrSchedule};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::photos::views::ViewConfig;
use crate::photos::{Album, Batch, LoaderOptions, Views};
use crate::run::archive::{Contents, corrupt};
use crate::run::events::Events;
use crate::run::{
    Done, Found, Job, Judge, Judgement, MemoryPlan, Now, Outcome, Pace, Reached, Run, Schedule, Score,
    Scores, Start, Train, expect_room, train,
};
use crate::topic::Topic;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// A pretraining in a folder.
pub type Trainer = Run<Pretraining>;

/// Pretraining of an encoder on unlabelled photos.
pub struct Pretraining {
    config: Config,
    device: Device,
    album: Arc<Album>,
    judge: Option<Box<dyn Judge>>,
    learner: Learner,
    memory: MemoryPlan,
    watch: Watch,
    judged: Judged,
    colour: Option<Score>,
    /// What to say of a disk that may run full.
    no_room: Option<String>,
}

/// How the encoder was judged so far; `None` where there is nothing to judge by, or it has not been yet.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Judged {
    /// The encoder at the start; see [`Scores::start`].
    first: Option<Score>,
    /// The untrained encoder with batch norm's statistics at 0 and 1.
    initial_statistics: Option<Score>,
    /// The last judgement.
    last: Option<Score>,
}

impl Trainer {
    /// Checks the configuration, opens the device, finds the photos and initialises the encoder.
    ///
    /// # Errors
    /// [`Error::Input`] for a configuration or photos that can't be used, or a folder that holds a run or where another is
    /// at work; [`Error::Io`] if `out` can't be written; the device's errors.
    pub fn new(
        config: Config,
        out: &(impl AsRef<Path> + ?Sized),
        judge: Option<Box<dyn Judge>>,
    ) -> Result<Trainer> {
        Trainer::across(config, out, judge, Start::Empty, Rc::new(Alone))
    }

    /// As [`Trainer::new`], in place of a run that may be in the folder.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn overwriting(
        config: Config,
        out: &(impl AsRef<Path> + ?Sized),
        judge: Option<Box<dyn Judge>>,
    ) -> Result<Trainer> {
        Trainer::across(config, out, judge, Start::Over, Rc::new(Alone))
    }

    /// Goes on from a checkpoint as if the run had never stopped: what follows is the same to the bit.
    ///
    /// # Errors
    /// As [`Trainer::new`]; [`Error::Input`] too if the configuration differs in a key that may not change, naming it,
    /// or the photos are others.
    pub fn resume(
        config: Config,
        out: &(impl AsRef<Path> + ?Sized),
        judge: Option<Box<dyn Judge>>,
        found: Found<Config>,
    ) -> Result<Trainer> {
        Trainer::across(config, out, judge, Start::From(Box::new(found)), Rc::new(Alone))
    }

    /// As one of the processes that train together, each of which calls this.
    ///
    /// # Errors
    /// As [`Trainer::new`] or [`Trainer::resume`]; [`Error::Input`] too if the batch can't be dealt to so many, or their
    /// configurations or photos differ; the exchange's.
    pub fn across(
        config: Config,
        out: &(impl AsRef<Path> + ?Sized),
        judge: Option<Box<dyn Judge>>,
        start: Start<Config>,
        exchange: Rc<dyn Exchange>,
    ) -> Result<Trainer> {
        let out = out.as_ref();
        config.check()?;
        let album = Arc::new(setup::album(&config, setup::pretraining_photos(&config)?)?);
        album.photos().expect_batch(config.train.batch)?;
        let blank = matches!(start, Start::From(_));
        Run::open(&config.clone(), out, start, exchange.clone(), || {
            let mut job = Pretraining::new(config, album, judge, blank, exchange)?;
            if job.learner.exchange.rank() == 0 {
                job.no_room = expect_room(out, job.checkpoint_bytes(), job.log_bytes())?;
            }
            Ok(job)
        })
    }

    /// The memory that its steps will take.
    pub fn memory(&self) -> &MemoryPlan {
        &self.job.memory
    }

    /// Warnings about the configuration and the photos that a person should read before a long run.
    pub fn warnings(&self) -> Vec<String> {
        self.job.warnings()
    }

    /// A few lines on what is about to run.
    pub fn describe(&self) -> String {
        self.job.describe()
    }

    /// Steps of the whole run, and seconds of each of three steps that are taken for measure; nothing is written.
    ///
    /// # Errors
    /// Those of a step.
    pub fn rehearse(self) -> Result<(u64, Vec<f64>)> {
        let (mut loader, schedule) = self.batches()?;
        let mut rehearsal = Rehearsal { job: self.job, seconds: Vec::new() };
        train(&mut rehearsal, &mut loader, &Schedule { limit: 0.0, ..schedule }, (0, 0.0))?;
        Ok((schedule.total, rehearsal.seconds))
    }
}

/// A pretraining whose steps are timed.
struct Rehearsal {
    job: Pretraining,
    seconds: Vec<f64>,
}

impl Train for Rehearsal {
    type Recipe = Vec<ViewConfig>;
    type Report = StepReport;

    fn step(&mut self, views: &Batch, now: &Now) -> Result<StepReport> {
        self.job.step(views, now)
    }

    fn after(&mut self, done: &Done<StepReport, Views>) -> Result<ControlFlow<()>> {
        self.seconds.push(done.took.as_secs_f64());
        Ok(if self.seconds.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

impl Pretraining {
    fn new(
        config: Config,
        album: Arc<Album>,
        judge: Option<Box<dyn Judge>>,
        blank: bool,
        exchange: Rc<dyn Exchange>,
    ) -> Result<Pretraining> {
        let device = Device::open_one_of(&config.device, exchange.local().0)?;
        let ranks = exchange.ranks();
        let memory = memory::plan(&config, &device, ranks)?;
        memory::check(&memory, &config, &device, ranks)?;
        let learner = learner(&config, &device, blank, exchange)?;
        let watch = Watch::new(config.eval.collapse_steps);
        let judged = Judged::default();
        Ok(Pretraining {
            config,
            device,
            album,
            judge,
            learner,
            memory,
            watch,
            judged,
            colour: None,
            no_room: None,
        })
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.album.photos().warnings().to_vec();
        warnings.extend(
            self.judged_on().into_iter().flatten().flat_map(|album| album.photos().warnings()).cloned(),
        );
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
        warnings.extend(setup::foreign_warning(&self.config).into_iter().chain(self.no_room.clone()));
        warnings
    }

    /// Bytes of a checkpoint.
    fn checkpoint_bytes(&self) -> u64 {
        let MemoryPlan { parameters, optimizer, queues, .. } = self.memory;
        (parameters + optimizer) / if self.config.half.checkpoint { 2 } else { 1 } + queues
    }

    /// Bytes of the log and the event files of a run that ends by its steps; 0 for one that ends by time.
    fn log_bytes(&self) -> u64 {
        let pace = self.pace();
        let all = pace.epochs.saturating_mul((self.album.photos().len() / self.config.train.batch) as u64);
        let steps = if pace.steps > 0 { pace.steps.min(all) } else { all };
        if pace.minutes > 0.0 { 0 } else { steps.saturating_mul(BYTES_OF_STEP) }
    }

    fn describe(&self) -> String {
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
}

/// Bytes of a step in the log and the event files, measured.
const BYTES_OF_STEP: u64 = 2048;

/// The learner of a configuration; with `blank` one for a checkpoint to be restored into.
fn learner(config: &Config, device: &Device, blank: bool, exchange: Rc<dyn Exchange>) -> Result<Learner> {
    match blank {
        true => setup::blank_learner(config, device, exchange),
        false => setup::learner_of(config, device, exchange),
    }
}

impl Job for Pretraining {
    type Config = Config;
    type Recipe = Vec<ViewConfig>;
    type Report = StepReport;
    type Record = StepRecord;
    type Scores = Scores;

    fn config(&self) -> &Config {
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
        self.judge.as_ref().map(|judge| judge.albums())
    }

    fn pace(&self) -> Pace {
        let (train, eval) = (&self.config.train, &self.config.eval);
        Pace {
            epochs: train.epochs,
            steps: train.steps,
            minutes: train.minutes,
            warmup: self.config.optimizer.warmup_steps,
            save: (train.save_minutes, train.save_steps),
            judge: (eval.every_epochs, eval.every_minutes, eval.every_steps),
            on_nan: train.on_nan,
        }
    }

    fn loader(&self) -> LoaderOptions {
        let Config { train, data, seed, .. } = &self.config;
        let options = LoaderOptions::new(train.batch, self.config.image_views(), *seed);
        LoaderOptions { threads: data.threads, max_broken: data.max_broken, ..options }
    }

    fn schedule(&self, total: u64) -> LrSchedule {
        let OptimizerConfig { lr, schedule, warmup_steps, warmup_share, .. } = self.config.optimizer;
        let warmup = warmup_steps.max((warmup_share * total as f64) as u64);
        let decay = match schedule {
            ScheduleName::Cosine => Decay::Cosine { to: 0.0 },
            ScheduleName::Constant => Decay::Constant,
        };
        LrSchedule { base: lr, start: 0.0, warmup, total, decay }
    }

    fn reopen(&mut self, device: Device, saved: bool) -> Result<()> {
        self.device = device;
        self.learner = learner(&self.config, &self.device, saved, self.learner.exchange.clone())?;
        self.watch = Watch::new(self.config.eval.collapse_steps);
        self.judged = Judged::default();
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.colour = self.judge.as_ref().map(|judge| judge.colour(&self.device)).transpose()?;
        Ok(())
    }

    fn step(&mut self, views: &Batch, now: &Now) -> Result<StepReport> {
        let ranks = self.learner.exchange.ranks();
        let batch = batch(&self.config, views.ids.clone(), ranks, now.step, |shape, values| {
            Tensor::new(&self.device, shape, &views.data.images[values])
        })?;
        self.learner.step(&batch, now)
    }

    fn outcome(report: &StepReport) -> Outcome {
        Outcome { loss: report.loss, gradient_norm: report.gradient_norm, moved: report.moved }
    }

    fn record(&mut self, done: &Done<StepReport, Views>) -> Result<(StepRecord, Vec<String>)> {
        let collapsed = self.watch.look(&done.report);
        let bytes = self.device.usage().0;
        Ok((StepRecord::new(&self.config, self.album.photos(), done, bytes), collapsed))
    }

    fn show(&self, step: u64, views: &Batch, events: &mut Events) -> Result<()> {
        for param in self.learner.trained().iter().filter(|param| param.shape().len() > 1) {
            events.histogram(step, param.name(), &param.get().to_vec()?);
        }
        let view = &self.config.views;
        let (side, count) = (view.size, views.ids.len().min(8));
        let mut picture = vec![0; side * count * side * 3];
        for (i, pixel) in views.data.images[..count * side * side * 3].chunks(3).enumerate() {
            let (image, y, x) = (i / (side * side), i / side % side, i % side);
            let at = 3 * (y * side * count + image * side + x);
            for c in 0..3 {
                picture[at + c] = (255.0 * (pixel[c] * view.std[c] + view.mean[c])) as u8;
            }
        }
        events.image(step, "views", [side, side * count], picture);
        Ok(())
    }

    fn judge(&mut self, reached: &Reached) -> Result<Option<Judgement>> {
        let Some(judge) = &self.judge else { return Ok(None) };
        let Reached { step, epoch, seconds, .. } = *reached;
        let views = step * (self.config.train.batch * self.config.image_views().len()) as u64;
        let mut score = judge.judge(&self.learner.net, &self.device, &*self.learner.exchange)?;
        if step == 0 {
            if self.config.init.is_none() {
                self.judged.initial_statistics = Some(score);
                score = judge.untrained(&self.learner.net, &self.device, &*self.learner.exchange)?;
            }
            self.judged.first = Some(score);
        }
        self.judged.last = Some(score);
        let Score { top1, balanced, photos, error } = score;
        let record = EvalRecord {
            kind: "knn",
            step,
            epoch,
            views,
            seconds,
            top1,
            balanced,
            photos,
            top1_error: error,
            protocol: judge.protocol(),
            initial_statistics: self.judged.initial_statistics.filter(|_| step == 0),
            colour: self.colour.filter(|_| step == 0),
        };
        let first = if self.config.init.is_none() { "untrained" } else { "start" };
        let floors = [(first, self.judged.first.filter(|_| step > 0)), ("colour", self.colour)];
        let floors =
            floors.into_iter().filter_map(|(name, floor)| Some(format!(", {name} {:.3}", floor?.top1)));
        let floors: String = floors.collect();
        let line = format!(
            "step {step:6}  {seconds:7.1} s  {views:8} views  kNN top-1 {top1:.3} ± {error:.3} (n {photos}{floors})  balanced {balanced:.3}"
        );
        let record = serde_json::to_value(record).map_err(|e| Error::Run(format!("log: {e}")))?;
        Ok(Some(Judgement { figure: top1, is_part: false, record, line }))
    }

    fn scores(&self) -> Option<Scores> {
        let Judged { first, initial_statistics, last } = self.judged;
        Some(Scores { start: first?, initial_statistics, trained: last?, colour: self.colour? })
    }

    fn arrays(&self) -> Result<Contents> {
        checkpoint::arrays(&self.learner, self.config.half.checkpoint)
    }

    fn notes(&self) -> Map<String, Value> {
        let notes =
            [("collapse", serde_json::to_value(&self.watch)), ("scores", serde_json::to_value(self.judged))];
        notes.into_iter().map(|(name, value)| (name.to_string(), value.expect("plain values"))).collect()
    }

    fn restore(&mut self, found: &Found<Config>, notes: &Map<String, Value>) -> Result<()> {
        let note = |name: &str| notes.get(name).cloned();
        let bad = |e: serde_json::Error| corrupt(found.path(), &e);
        if let Some(watch) = note("collapse") {
            self.watch = serde_json::from_value(watch).map_err(bad)?;
        }
        if let Some(judged) = note("scores") {
            self.judged = serde_json::from_value(judged).map_err(bad)?;
        }
        checkpoint::restore(&found.file, found.path(), &mut self.learner, &self.device)
    }
}
