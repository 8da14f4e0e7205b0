//! A whole run: data, encoder, steps, judging, log and checkpoints.

use super::checkpoint::{self, Progress as Reached};
use super::collapse::{Dispersion, Watch};
use super::config::{Config, ScheduleName};
use super::judge::{Judge, Score};
use super::log::{EvalRecord, Log, Progress, ReplacedRecord, StepRecord, WarningRecord};
use super::setup;
use super::step::{Batch, Learner, StepReport, TermReport};
use crate::data::{self, Album, Loader, LoaderOptions, Photos};
use crate::device::Device;
use crate::encoder::ResNetEncoder;
use crate::error::{Error, Result};
use crate::nn::Module;
use crate::objective::KeyViews;
use crate::optim::CosineSchedule;
use crate::rng::KeyedRng;
use crate::tensor::Tensor;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// kNN of the untrained encoder, of the trained one, and of colour histograms.
    pub scores: Option<[Score; 3]>,
}

/// A run that is ready to start.
pub struct Trainer {
    config: Config,
    device: Device,
    out: PathBuf,
    album: Arc<Album>,
    judge: Option<Judge>,
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
        let album = Arc::new(setup::album(&config, setup::pretraining_photos(&config)?));
        let judge = setup::judge_photos(&config)?.map(|photos| Judge::new(&config, photos));
        setup::check_count(&config, album.photos())?;
        std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
        let path = out.join("config.toml");
        std::fs::write(&path, config.to_toml()).map_err(|e| Error::io(&path, e))?;
        let device = Device::open(&config.device)?;
        let learner = setup::learner(&config, &device)?;
        Ok(Trainer { config, device, out: out.to_path_buf(), album, judge, learner })
    }

    /// Warnings about the configuration and the photos that a person should read before a long run.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.album.photos().warnings().to_vec();
        let photos = self.album.photos().len();
        let slots = self.learner.queue.as_ref().map_or(0, |queue| queue.slots());
        let crowded = (2 * slots > photos).then(|| {
            format!(
                "the queue of {slots} is more than half of the {photos} photos: an image meets its own older keys in it \
                 and becomes its own neighbour; lower objective.queue"
            )
        });
        warnings.extend(crowded.into_iter().chain(setup::chunk_warning(&self.config)));
        warnings
    }

    /// A few lines on what is about to run.
    pub fn describe(&self) -> String {
        let Config { model, train, objective, views, .. } = &self.config;
        let small = match self.config.image_views().last() {
            Some(last) if last.size != views.size => format!(" and {}", last.size),
            _ => String::new(),
        };
        format!(
            "device   {}\nphotos   {} ({})\nencoder  {:?}, width {}, {} parameters\nmethod   {:?}, {} images x {} views of {}{small} px a step",
            self.device.name(),
            self.album.photos().len(),
            self.album.photos().place(),
            model.backbone,
            model.width,
            self.learner.encoder.count(),
            objective.name,
            train.batch,
            self.config.views_per_image(),
            views.size,
        )
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
        let course = Course { total, limit, warmup: self.config.optimizer.warmup_steps };
        let mut progress = Progress::new(if limit > 0.0 { limit as u64 } else { total });
        let colour = self.judge.as_ref().map(Judge::colour).transpose()?;
        let mut watch = Watch::new(self.config.eval.collapse_steps);
        let mut clock = Clock::default();
        let before = self.score(&mut log, &progress, Reached { epoch: 0, step: 0 }, &clock)?;
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
            let at = course.at(reached.step, clock.seconds());
            let lr = self.prepare(reached.step, at, total, views.position.epoch);
            let began = Instant::now();
            let report = self.learner.step(&batch, lr)?;
            reached.step += 1;
            reached.epoch = views.next.epoch;
            let waited = clock.pause();
            let (spread, collapsed) = watch.look(&report)?;
            let pace =
                Pace { step: reached.step, lr, seconds: clock.seconds(), took: waited.max(began.elapsed()) };
            let record = self.record(&report, spread, &views, pace);
            log.write(&record)?;
            for warning in collapsed {
                progress.say(&format!("warning: step {}: {warning}", reached.step));
                log.write(&WarningRecord { kind: "warning", step: reached.step, warning })?;
            }
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
            let by_step = every.every_steps > 0 && reached.step.is_multiple_of(every.every_steps);
            if by_epoch || by_time || by_step {
                (judged_at, judged_step) = (clock.seconds(), reached.step);
                after = self.score(&mut log, &progress, reached, &clock)?;
            }
            loader.recycle(views);
        }
        if reached.step > judged_step {
            after = self.score(&mut log, &progress, reached, &clock)?;
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
        let mut options = LoaderOptions::new(config.train.batch, config.image_views(), config.seed);
        options.threads = config.data.threads;
        options.max_broken = config.data.max_broken;
        options.end_epoch = Some(config.train.epochs);
        Loader::new(self.album.clone(), options)
    }

    /// Puts a batch of views on the device: those of one size in one tensor.
    fn batch(&self, views: &data::Batch, step: u64) -> Result<Batch> {
        let images = views.ids.len();
        let (mut groups, mut rest) = (Vec::new(), &views.images[..]);
        for of_one_size in self.config.image_views().chunk_by(|a, b| a.size == b.size) {
            let (rows, size) = (images * of_one_size.len(), of_one_size[0].size);
            let (values, others) = rest.split_at(rows * size * size * 3);
            groups.push(([rows, size, size, 3], values));
            rest = others;
        }
        let tensor =
            |&([n, h, w, c], values): &([usize; 4], &[f32])| Tensor::new(&self.device, [n, h, w, c], values);
        let (ids, keys) = (views.ids.clone(), self.learner.objective.needs().keys);
        let permutation = |n| KeyedRng::new("shuffle", self.config.seed, [step, 0, 0]).permutation(n);
        if keys == KeyViews::Second {
            let (shape, values) = groups[0];
            let halves = values.split_at(values.len() / 2);
            let half = |values| tensor(&([images, shape[1], shape[2], shape[3]], values));
            let (query, key) = (vec![half(halves.0)?], Some(half(halves.1)?));
            return Ok(Batch { query, key, views: 1, ids, shuffle: permutation(images) });
        }
        let query = groups.iter().map(tensor).collect::<Result<Vec<_>>>()?;
        // Both encoders see both views, each normalised on its own: nothing is to be shuffled.
        let key = (keys == KeyViews::Both).then(|| query[0].clone());
        let shuffle = key.as_ref().map_or(Vec::new(), |key| (0..key.shape()[0]).collect());
        Ok(Batch { query, key, views: views.views, ids, shuffle })
    }

    /// Sets what changes over a run for a step whose schedules are at `at` of `total`, and gives its learning rate.
    fn prepare(&mut self, step: u64, at: u64, total: u64, epoch: u64) -> f64 {
        let Config { objective, optimizer, .. } = &self.config;
        self.learner.objective = self.config.objective(epoch);
        self.learner.frozen = (step < objective.frozen_steps).then_some("prototypes");
        if let Some(target) = &mut self.learner.target {
            let rising = |m: f64| {
                let course =
                    CosineSchedule { base_lr: 1.0 - m, final_lr: 0.0, start_lr: 1.0 - m, warmup: 0, total };
                1.0 - course.lr(at)
            };
            target.m = if objective.m_cosine { rising(objective.m) } else { objective.m };
        }
        let final_lr = if optimizer.schedule == ScheduleName::Cosine { 0.0 } else { optimizer.lr };
        let warmup = optimizer.warmup_steps;
        CosineSchedule { base_lr: optimizer.lr, final_lr, start_lr: 0.0, warmup, total }.lr(at)
    }

    fn record(&self, report: &StepReport, spread: Dispersion, views: &data::Batch, pace: Pace) -> StepRecord {
        let numbers = |pick: fn(&TermReport) -> f32| -> Map<String, Value> {
            report.terms.iter().map(|term| (term.name.to_string(), Value::from(pick(term)))).collect()
        };
        let batch = self.config.train.batch as u64;
        StepRecord {
            kind: "step",
            step: pace.step,
            epoch: views.position.epoch,
            views: pace.step * batch * self.config.views_per_image() as u64,
            loss: report.loss,
            terms: numbers(|term| term.value),
            term_gradient_norms: numbers(|term| term.gradient_norm),
            gradient_norm: report.gradient_norm,
            purity: purity(self.album.photos(), &views.ids, &report.neighbours),
            cosine: spread.cosine,
            effective_rank: spread.rank,
            lr: pace.lr,
            seconds: pace.seconds,
            images_per_second: batch as f64 / pace.took.as_secs_f64(),
            bytes_in_use: self.device.usage().0,
        }
    }

    /// kNN of the labelled test photos among the labelled train photos.
    fn score(&self, log: &mut Log, progress: &Progress, at: Reached, clock: &Clock) -> Result<Option<Score>> {
        let Some(judge) = &self.judge else { return Ok(None) };
        let score = judge.encoder(&self.learner.encoder, &self.config, &self.device)?;
        let views = at.step * (self.config.train.batch * self.config.views_per_image()) as u64;
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

    fn save(&self, reached: Reached) -> Result<PathBuf> {
        let path = self.out.join("checkpoint.safetensors");
        checkpoint::save(&path, &self.learner.encoder, &self.config, reached)?;
        Ok(path)
    }
}

/// Share of the images taken for positives that share a label with their query; `None` where no label is known.
/// Slots with their random start count as not shared.
fn purity(photos: &Photos, queries: &[u64], neighbours: &[Option<u64>]) -> Option<f64> {
    if neighbours.is_empty() || photos.classes().is_empty() {
        return None;
    }
    let k = neighbours.len() / queries.len();
    let shared = |query: u64, other: u64| {
        let labels = photos.labels(query as usize);
        photos.labels(other as usize).iter().any(|label| labels.contains(label))
    };
    let pairs = queries.iter().zip(neighbours.chunks(k));
    let count: usize = pairs.map(|(&q, near)| near.iter().flatten().filter(|&&n| shared(q, n)).count()).sum();
    Some(count as f64 / neighbours.len() as f64)
}

/// Where a step was in its run, and how long it took.
#[derive(Clone, Copy, Debug)]
struct Pace {
    step: u64,
    lr: f64,
    seconds: f64,
    took: Duration,
}

/// How far a run is: by steps, or where it ends by time, by time once its warm-up is over.
#[derive(Clone, Copy, Debug)]
struct Course {
    total: u64,
    limit: f64,
    warmup: u64,
}

impl Course {
    /// The step of the schedules that belongs to a step and to the seconds spent.
    fn at(self, step: u64, seconds: f64) -> u64 {
        if self.limit == 0.0 || step < self.warmup {
            return step;
        }
        let by_time = (seconds / self.limit * self.total as f64) as u64;
        step.max(by_time.min(self.total - 1))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ends_by_time_warms_up_by_steps_and_then_follows_the_clock() {
        let course = Course { total: 1000, limit: 60.0, warmup: 10 };
        assert_eq!([course.at(0, 0.0), course.at(9, 30.0), course.at(10, 30.0)], [0, 9, 500]);
        assert_eq!([course.at(600, 30.0), course.at(20, 90.0)], [600, 999]);
        assert_eq!(Course { limit: 0.0, ..course }.at(20, 90.0), 20);
    }

    #[test]
    fn purity_counts_neighbours_that_share_a_label() {
        let photo = |labels: &[usize]| ("x.png".to_string(), Vec::new(), labels.to_vec());
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let photos = Photos::from_bytes(vec![photo(&[0, 1]), photo(&[1]), photo(&[2]), photo(&[])], classes);
        let near = [Some(1), Some(2), None, Some(3), Some(2), Some(0)]; // of photo 0, then of photo 2
        assert_eq!(purity(&photos, &[0, 2], &near), Some(2.0 / 6.0));
        assert_eq!(purity(&photos, &[0, 2], &[]), None);
        let unlabelled = Photos::from_bytes(vec![photo(&[]); 3], Vec::new());
        assert_eq!(purity(&unlabelled, &[0, 2], &near), None);
    }
}
