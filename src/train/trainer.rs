//! A whole run: data, encoder, steps, judging, log and checkpoints.

use super::checkpoint::{self, Progress as Reached};
use super::config::{Config, Method, ScheduleName};
use super::log::{EvalRecord, Log, Progress, ReplacedRecord, StepRecord};
use super::step::{Batch, Learner, Momentum, StepReport};
use crate::data::{self, Album, AlbumOptions, Layout, Loader, LoaderOptions, Photos, Position, Split};
use crate::device::Device;
use crate::encoder::{ResNetEncoder, copy_state};
use crate::error::{Error, Result};
use crate::eval::{Features, Knn, colour_features, features};
use crate::nn::Module;
use crate::optim::CosineSchedule;
use crate::queue::Queue;
use crate::rng::KeyedRng;
use crate::tensor::Tensor;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How well frozen features tell classes apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Share of test photos classified rightly.
    pub top1: f64,
    /// Mean over classes of that share.
    pub balanced: f64,
}

/// What a finished run has to show.
#[derive(Debug)]
pub struct Summary {
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The log.
    pub log: PathBuf,
    /// Steps done.
    pub steps: u64,
    /// kNN of the untrained encoder, of the trained one, and of colour histograms.
    pub scores: Option<[Score; 3]>,
}

/// A run that is ready to start.
pub struct Trainer {
    config: Config,
    device: Device,
    out: PathBuf,
    album: Arc<Album>,
    judges: Option<[Album; 2]>,
    learner: Learner<ResNetEncoder>,
}

impl Trainer {
    /// Checks the configuration, opens the device, finds the photos and initialises the encoder.
    ///
    /// # Errors
    /// [`Error::Input`] for a configuration or photos that can't be used; [`Error::Io`] if `out` can't be written;
    /// the device's errors.
    pub fn new(config: Config, out: &Path) -> Result<Trainer> {
        config.check()?;
        let album = Arc::new(album(&config, pretraining_photos(&config)?));
        let judges = judge_photos(&config)?.map(|photos| photos.map(|p| self::album(&config, p)));
        let count = album.photos().len();
        if count < config.train.batch {
            let what = format!("{count} photos do not fill a batch of {}", config.train.batch);
            return Err(Error::input(what, album.photos().place(), "lower --batch or give more photos"));
        }
        std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
        let path = out.join("config.toml");
        std::fs::write(&path, config.to_toml()).map_err(|e| Error::io(&path, e))?;
        let device = Device::open(&config.device)?;
        let learner = learner(&config, &device)?;
        Ok(Trainer { config, device, out: out.to_path_buf(), album, judges, learner })
    }

    /// Warnings about the configuration that a person should read before a long run.
    pub fn warnings(&self) -> Vec<String> {
        let (photos, queue) = (self.album.photos().len(), self.config.objective.queue);
        if self.config.objective.name == Method::S2r2 || 2 * queue <= photos {
            return Vec::new();
        }
        vec![format!(
            "the queue of {queue} is more than half of the {photos} photos: an image meets its own older keys in it \
             and becomes its own neighbour; lower objective.queue"
        )]
    }

    /// A few lines on what is about to run.
    pub fn describe(&self) -> String {
        let Config { model, train, objective, views, .. } = &self.config;
        format!(
            "device   {}\nphotos   {} ({})\nencoder  {:?}, width {}, {} parameters\nmethod   {:?}, {} images x {} views of {} px a step",
            self.device.name(),
            self.album.photos().len(),
            self.album.photos().place(),
            model.backbone,
            model.width,
            self.learner.encoder.count(),
            objective.name,
            train.batch,
            self.views_per_image(),
            views.size,
        )
    }

    fn views_per_image(&self) -> usize {
        if self.learner.momentum.is_some() { 2 } else { self.config.train.views }
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// [`Error::Run`] if a loss is not finite or too many photos are broken; the device's errors.
    pub fn run(mut self) -> Result<Summary> {
        let mut log = Log::create(&self.out)?;
        let mut loader = self.loader()?;
        let per_epoch = loader.batches_per_epoch();
        let total = match self.config.train.steps {
            0 => per_epoch * self.config.train.epochs,
            steps => steps.min(per_epoch * self.config.train.epochs),
        };
        let limit = self.config.train.minutes * 60.0;
        let mut progress = Progress::new(if limit > 0.0 { limit as u64 } else { total });
        let colour = self.judges.as_ref().map(|judges| self.colour_score(judges)).transpose()?;
        let mut clock = Clock::default();
        let before = self.judge(&mut log, &progress, Reached { epoch: 0, step: 0 }, &clock)?;
        let mut after = before;
        let (mut judged_at, mut judged_step) = (0.0, 0);
        let mut reached = Reached { epoch: 0, step: 0 };
        while reached.step < total && (limit == 0.0 || clock.seconds() < limit) {
            clock.start();
            let Some(views) = loader.next() else { break };
            let views = views?;
            for replaced in &views.replaced {
                progress.say(&format!("{}: cannot be used ({})", replaced.name, replaced.reason));
                let (photo, reason, by) =
                    (replaced.name.clone(), replaced.reason.clone(), replaced.by.clone());
                log.write(&ReplacedRecord { kind: "replaced", photo, reason, by })?;
            }
            let batch = self.batch(&views, reached.step)?;
            let lr = self.learning_rate(reached.step, total, clock.seconds(), limit);
            let began = Instant::now();
            let report = self.learner.step(&batch, lr)?;
            reached.step += 1;
            reached.epoch = views.next.epoch;
            let waited = clock.pause();
            let record =
                self.record(&report, views.position, reached.step, lr, &clock, waited.max(began.elapsed()));
            log.write(&record)?;
            if !report.loss.is_finite() {
                return Err(Error::Run(format!(
                    "the loss is {} at step {}: lower optimizer.lr; the log is {}",
                    report.loss,
                    reached.step,
                    log.path().display()
                )));
            }
            let done = if limit > 0.0 { clock.seconds() as u64 } else { reached.step };
            progress.at(done, || message(&record, total, limit));
            let epoch_ended = views.next.epoch > views.position.epoch;
            if epoch_ended {
                self.save(reached)?;
            }
            let every = &self.config.eval;
            let by_epoch =
                epoch_ended && every.every_epochs > 0 && reached.epoch.is_multiple_of(every.every_epochs);
            let by_time =
                every.every_minutes > 0.0 && clock.seconds() - judged_at >= 60.0 * every.every_minutes;
            if by_epoch || by_time {
                (judged_at, judged_step) = (clock.seconds(), reached.step);
                after = self.judge(&mut log, &progress, reached, &clock)?;
            }
            loader.recycle(views);
        }
        if reached.step > judged_step {
            after = self.judge(&mut log, &progress, reached, &clock)?;
        }
        progress.end();
        let checkpoint = self.save(reached)?;
        let scores = match (before, after, colour) {
            (Some(before), Some(after), Some(colour)) => Some([before, after, colour]),
            _ => None,
        };
        Ok(Summary { checkpoint, log: log.path().to_path_buf(), steps: reached.step, scores })
    }

    fn loader(&self) -> Result<Loader> {
        let config = &self.config;
        let mut options =
            LoaderOptions::new(config.train.batch, self.views_per_image(), config.views.clone(), config.seed);
        options.threads = config.data.threads;
        options.max_broken = config.data.max_broken;
        options.end_epoch = Some(config.train.epochs);
        if self.learner.momentum.is_some() {
            options.layout = Layout::ViewMajor;
        }
        Loader::new(self.album.clone(), options)
    }

    /// Puts a batch of views on the device.
    fn batch(&self, views: &data::Batch, step: u64) -> Result<Batch> {
        let size = self.config.views.size;
        let images = views.ids.len();
        let tensor = |rows: usize, values: &[f32]| Tensor::new(&self.device, [rows, size, size, 3], values);
        if self.learner.momentum.is_none() {
            let query = tensor(images * views.views, &views.images)?;
            return Ok(Batch {
                query,
                key: None,
                views: views.views,
                ids: views.ids.clone(),
                shuffle: Vec::new(),
            });
        }
        let (query, key) = views.images.split_at(views.images.len() / 2);
        let shuffle = KeyedRng::new("shuffle", self.config.seed, [step, 0, 0]).permutation(images);
        let (query, key) = (tensor(images, query)?, Some(tensor(images, key)?));
        Ok(Batch { query, key, views: 1, ids: views.ids.clone(), shuffle })
    }

    /// The learning rate of a step. A run that ends by time follows its schedule by time.
    fn learning_rate(&self, step: u64, total: u64, seconds: f64, limit: f64) -> f64 {
        let config = &self.config.optimizer;
        let final_lr = if config.schedule == ScheduleName::Cosine { 0.0 } else { config.lr };
        let schedule = CosineSchedule {
            base_lr: config.lr,
            final_lr,
            start_lr: 0.0,
            warmup: config.warmup_steps,
            total,
        };
        let by_time = (seconds / limit * total as f64) as u64;
        let at = if limit > 0.0 { step.max(by_time.min(total - 1)) } else { step };
        schedule.lr(at)
    }

    fn record(
        &self,
        report: &StepReport,
        position: Position,
        step: u64,
        lr: f64,
        clock: &Clock,
        took: Duration,
    ) -> StepRecord {
        let numbers = |pick: fn(&(&'static str, f32, f32)) -> f32| -> Map<String, Value> {
            report.terms.iter().map(|term| (term.0.to_string(), Value::from(pick(term)))).collect()
        };
        let batch = self.config.train.batch as u64;
        StepRecord {
            kind: "step",
            step,
            epoch: position.epoch,
            views: step * batch * self.views_per_image() as u64,
            loss: report.loss,
            terms: numbers(|term| term.1),
            term_gradient_norms: numbers(|term| term.2),
            gradient_norm: report.gradient_norm,
            lr,
            seconds: clock.seconds(),
            images_per_second: batch as f64 / took.as_secs_f64(),
            bytes_in_use: self.device.usage().0,
        }
    }

    /// kNN of the labelled test photos among the labelled train photos.
    fn judge(&self, log: &mut Log, progress: &Progress, at: Reached, clock: &Clock) -> Result<Option<Score>> {
        let Some([train, test]) = &self.judges else { return Ok(None) };
        let judged = |album| features(&self.learner.encoder, album, &self.config.views, &self.device);
        let score = self.score(&judged(train)?, &judged(test)?)?;
        let views = at.step * (self.config.train.batch * self.views_per_image()) as u64;
        log.write(&EvalRecord {
            kind: "knn",
            step: at.step,
            epoch: at.epoch,
            views,
            seconds: clock.seconds(),
            top1: score.top1,
            balanced: score.balanced,
        })?;
        progress.say(&format!(
            "step {:6}  {:7.1} s  {views:8} views  kNN top-1 {:.3}  balanced {:.3}",
            at.step,
            clock.seconds(),
            score.top1,
            score.balanced
        ));
        Ok(Some(score))
    }

    fn score(&self, train: &Features, test: &Features) -> Result<Score> {
        let knn = Knn { k: self.config.eval.knn_k, tau: self.config.eval.knn_tau };
        let votes = knn.classify(&train.labelled(), &test.labelled())?;
        Ok(Score { top1: votes.top1, balanced: votes.balanced })
    }

    fn colour_score(&self, [train, test]: &[Album; 2]) -> Result<Score> {
        self.score(&colour_features(train)?, &colour_features(test)?)
    }

    fn save(&self, reached: Reached) -> Result<PathBuf> {
        let path = self.out.join("checkpoint.safetensors");
        checkpoint::save(&path, &self.learner.encoder, &self.config, reached)?;
        Ok(path)
    }
}

/// Time spent training: judging and saving are left out.
#[derive(Debug, Default)]
struct Clock {
    spent: Duration,
    since: Option<Instant>,
}

impl Clock {
    fn start(&mut self) {
        self.since = Some(Instant::now());
    }
    fn pause(&mut self) -> Duration {
        let lap = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.spent += lap;
        lap
    }
    fn seconds(&self) -> f64 {
        self.spent.as_secs_f64() + self.since.map_or(0.0, |since| since.elapsed().as_secs_f64())
    }
}

fn message(record: &StepRecord, total: u64, limit: f64) -> String {
    let left = match limit > 0.0 {
        true => limit - record.seconds,
        false => record.seconds / record.step as f64 * (total - record.step) as f64,
    };
    format!(
        "step {}/{total}  loss {:.4}  {:.1} images/s  {} left",
        record.step,
        record.loss,
        record.images_per_second,
        indicatif::HumanDuration(Duration::from_secs_f64(left.max(0.0)))
    )
}

/// Photos decoded as a run of this configuration decodes them.
pub(crate) fn album(config: &Config, photos: Photos) -> Album {
    let shrink_to = (config.data.shrink_to > 0).then_some(config.data.shrink_to);
    Album::new(photos, AlbumOptions { cache_bytes: config.data.cache_mib << 20, shrink_to })
}

/// The photos to learn from.
pub(crate) fn pretraining_photos(config: &Config) -> Result<Photos> {
    match &config.data.photos {
        None => Ok(Photos::bundled_pretrain()),
        Some(path) if path.extension().is_some_and(|e| e == "csv") => Photos::csv(path, None, None),
        Some(path) => Photos::folder(path),
    }
}

/// Labelled train and test photos, if there are any to judge by.
pub(crate) fn judge_photos(config: &Config) -> Result<Option<[Photos; 2]>> {
    match (&config.data.labelled, &config.data.photos) {
        (Some(folder), _) => Ok(Some(labelled_split(folder)?)),
        (None, None) => Ok(Some([Split::Train, Split::Test].map(Photos::bundled_labelled))),
        (None, Some(_)) => Ok(None),
    }
}

/// `FOLDER/train/CLASS/*` and `FOLDER/test/CLASS/*`.
///
/// # Errors
/// [`Error::Input`] if either is not there or their classes differ.
pub fn labelled_split(folder: &Path) -> Result<[Photos; 2]> {
    let [train, test] = ["train", "test"].map(|part| Photos::labelled(folder.join(part)));
    let (train, test) = (train?, test?);
    if train.classes() != test.classes() {
        return Err(Error::input(
            "train and test have other classes",
            folder.display().to_string(),
            "give both the same class folders",
        ));
    }
    Ok([train, test])
}

/// A freshly initialised learner: the key encoder starts as a copy of the query encoder.
fn learner(config: &Config, device: &Device) -> Result<Learner<ResNetEncoder>> {
    let mut rng = StdRng::seed_from_u64(config.seed);
    let mut encoder = || ResNetEncoder::new(device, &mut rng, &config.resnet(), config.model.projection);
    let (query, key) = (encoder()?, encoder()?);
    let objective = config.objective();
    let momentum = if objective.needs().keys {
        copy_state(&key, &query)?;
        let widths = [config.resnet().features(), config.model.projection];
        let queue = Queue::random(device, &mut rng, config.objective.queue, widths)?;
        Some(Momentum { encoder: key, queue, m: config.objective.m })
    } else {
        None
    };
    Ok(Learner {
        encoder: query,
        momentum,
        objective,
        optimizer: config.optimizer(),
        bn_splits: config.objective.bn_splits,
    })
}
