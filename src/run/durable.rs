//! A job in a folder: its steps with log, judging and checkpoints, until it ends or is asked to.

use super::folder::{CONFIG, Folder, Found};
use super::job::{Job, OnNan, Reached};
use super::log::{EndRecord, Log, ReplacedRecord, SkippedRecord, WarningRecord};
use super::progress::Progress;
use super::provenance::{StartRecord, headed};
use super::settings::Settings;
use super::state::RunState;
use super::train::{Done, Now, Schedule, Told, Train, train};
use super::waiting::Waiting;
use crate::engine::device::Device;
use crate::engine::exchange::Exchange;
use crate::error::{Error, Result};
use crate::files;
use crate::photos::{Album, Batch, Loader, Made, Replaced, expect_few};
use crate::shell;
use crate::topic::Topic;
use indicatif::HumanDuration;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a finished run has to show.
#[derive(Debug)]
pub struct Summary<S> {
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The log.
    pub log: PathBuf,
    /// Steps done.
    pub steps: u64,
    /// How its network was judged; `None` without photos to judge by.
    pub scores: Option<S>,
    /// The device that it ended on.
    pub device: Device,
    /// What was left out of its photos and of those it was judged on, a line each.
    pub left_out: Vec<String>,
}

/// What a run's folder may hold at the start.
#[derive(Debug)]
pub enum Start<C> {
    /// No run.
    Empty,
    /// A run that is to be replaced.
    Over,
    /// The run that is to go on: what follows is the same to the bit as if it had never stopped.
    From(Box<Found<C>>),
}

/// What is called with a run's folder after an epoch.
pub type AfterEpoch = Box<dyn FnMut(&Path)>;
/// What is called after a step with the number of steps done.
pub type AfterStep = Box<dyn FnMut(u64, &Device)>;

/// A job that is ready to start, or to go on.
pub struct Run<J> {
    pub(crate) job: J,
    pub(super) folder: Folder,
    pub(super) state: RunState,
    /// Where it started and, if it did, went on last.
    pub(super) starts: Vec<StartRecord>,
    /// The processes that train together: the first writes and speaks for all.
    pub(super) exchange: Rc<dyn Exchange>,
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
/// Steps in a row that may be skipped because a number was not finite.
const MAX_SKIPPED: u64 = 3;

impl<J: Job> Run<J> {
    /// Takes a folder for the job that `make` makes.
    ///
    /// # Errors
    /// [`Error::Input`] for a folder that holds a run or where another is at work; where a run goes on, also if the
    /// configuration differs in a key that may not change, naming it, or the photos are others; [`Error::Io`] if it can't be
    /// written; those of `make`.
    pub fn open(
        config: &J::Config,
        out: &(impl AsRef<Path> + ?Sized),
        start: Start<J::Config>,
        exchange: Rc<dyn Exchange>,
        make: impl FnOnce() -> Result<J>,
    ) -> Result<Run<J>> {
        let out = out.as_ref();
        let writes = exchange.rank() == 0;
        let accepted = || match &start {
            Start::From(found) => found.accept(config),
            Start::Empty if writes => Folder::expect_empty(out),
            Start::Empty | Start::Over => Ok(()),
        };
        if writes {
            Folder::expect_idle(out)?;
        }
        accepted()?;
        let job = make()?;
        let state = RunState::new(job.album().photos(), job.judged_on());
        if let Start::From(found) = &start {
            found.expect_photos(config, &state, job.album().photos().place())?;
        }
        let folder = if writes { Folder::open(out)? } else { Folder::of_another(out) };
        accepted()?; // another run may have come and gone meanwhile
        let mut run = Run {
            job,
            folder,
            state,
            starts: Vec::new(),
            exchange,
            stop: Arc::default(),
            before_steps: None,
            quiet: false,
            after_epoch: None,
            after_step: None,
            back_off: BACK_OFF.to_vec(),
        };
        // ORDER: all that can be refused has been: only now does a run that was there end.
        match start {
            Start::From(found) => run.restore(*found)?,
            _ if writes => run.folder.clear()?,
            _ => {}
        }
        run.note_start();
        if writes {
            let text = headed(&run.starts, &run.job.config().commented());
            files::replace(&out.join(CONFIG), text.as_bytes())?;
        }
        run.expect_alike()?;
        Ok(run)
    }

    /// Refuses ranks that would not do the same: of another configuration, photos or checkpoint.
    fn expect_alike(&self) -> Result<()> {
        let state = &self.state;
        let facts = (self.job.config().to_toml(), state.step, state.photos, state.labelled);
        let facts = serde_json::to_vec(&facts).map_err(|e| Error::Run(format!("ranks: {e}")))?;
        let all = self.exchange.tell(&facts)?;
        match all.iter().position(|theirs| *theirs != all[0]) {
            None => Ok(()),
            Some(rank) => {
                let what = format!(
                    "rank {rank} has another configuration, other photos or another checkpoint than rank 0"
                );
                let advice = "all ranks need the same files under the same paths, as on a shared disk";
                Err(Error::input(what, self.folder.path().display().to_string(), advice).see(Topic::Ranks))
            }
        }
    }

    /// Notes that it starts, or goes on, in this process on this device.
    pub(super) fn note_start(&mut self) {
        let RunState { step, photos, labelled, .. } = &self.state;
        let start = StartRecord::new(self.job.device(), *step, photos, labelled.as_ref());
        self.starts.truncate(1);
        self.starts.push(start);
    }

    /// Takes up what a checkpoint holds.
    pub(super) fn restore(&mut self, found: Found<J::Config>) -> Result<()> {
        self.job.restore(&found, &found.state.job)?;
        // The photos were found to be the same, and are known as they are now.
        let RunState { photos, labelled, .. } = self.state.clone();
        self.state = RunState { photos, labelled, ..found.state };
        self.starts = found.starts;
        Ok(())
    }

    /// Ends the run after the step that is at work when `stop` becomes true, with a checkpoint.
    pub fn stop_when(&mut self, stop: Arc<AtomicBool>) {
        self.job.stop_when(stop.clone());
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

    fn is_quiet(&self) -> bool {
        self.quiet || self.exchange.rank() > 0
    }

    /// The configuration.
    pub fn config(&self) -> &J::Config {
        self.job.config()
    }

    /// The device.
    pub fn device(&self) -> &Device {
        self.job.device()
    }

    /// The batches from where the run is, and how long it goes on.
    pub(crate) fn batches(&self) -> Result<(Loader<J::Recipe>, Schedule<'static>)> {
        let mut options = self.job.loader();
        options.rank = (self.exchange.rank(), self.exchange.ranks());
        options.start = self.state.next;
        options.broken = self.state.broken.clone();
        let pace = self.job.pace();
        options.end_epoch = Some(pace.epochs);
        let loader = Loader::new(self.job.album().clone(), options)?;
        let all = loader.batches_per_epoch() * pace.epochs;
        let total = if pace.steps == 0 { all } else { all.min(pace.steps) };
        let schedule = self.job.schedule(total);
        let base_lr = schedule.base;
        let lr = Box::new(move |step| schedule.lr(step));
        Ok((loader, Schedule { total, limit: pace.minutes * 60.0, warmup: pace.warmup, base_lr, lr }))
    }

    pub(super) fn train(&mut self) -> Result<Summary<J::Scores>> {
        let (folder, state) = (self.folder.path(), &self.state);
        let mut log = match self.exchange.rank() {
            0 => Log::open(folder, state.step, state.log_bytes, state.events.as_ref())?,
            _ => Log::default(),
        };
        self.starts.last().map_or(Ok(()), |start| log.line(start))?;
        let (mut loader, schedule) = self.batches()?;
        self.job.begin()?;
        let Schedule { total, limit, .. } = schedule;
        let progress =
            Progress::new(if limit > 0.0 { limit as u64 } else { total }).quiet_if(self.is_quiet());
        others(&self.job)
            .flat_map(Album::left_out)
            .for_each(|line| progress.say(&format!("warning: {line}")));
        let albums = std::iter::once(&**self.job.album()).chain(others(&self.job));
        albums.filter_map(Album::plan).for_each(|plan| progress.say(&plan));
        let reached = (state.step, state.seconds);
        let (saved, before_steps) = (Instant::now(), self.before_steps.take());
        let waiting = Waiting::default();
        let mut course = Recorded { run: self, log, progress, waiting, total, limit, saved, shown: None };
        if reached.0 == 0 || course.owes_judging() {
            course.judge(false)?;
        }
        if let Some(f) = before_steps {
            f();
        }
        train(&mut course, &mut loader, &schedule, reached)?;
        course.end()
    }
}

/// The photos that a job is judged on, but for those that it learns from.
fn others<J: Job>(job: &J) -> impl Iterator<Item = &Album> {
    let own: &Album = job.album();
    job.judged_on().into_iter().flatten().filter(move |album| !std::ptr::eq(*album, own))
}

/// A run while its steps are taken.
struct Recorded<'a, J> {
    run: &'a mut Run<J>,
    log: Log,
    progress: Progress,
    waiting: Waiting,
    total: u64,
    limit: f64,
    saved: Instant,
    shown: Option<Instant>,
}

impl<J: Job> Train for Recorded<'_, J> {
    type Recipe = J::Recipe;
    type Report = J::Report;

    fn step(&mut self, batch: &Batch<Made<J::Recipe>>, now: &Now) -> Result<J::Report> {
        self.run.job.step(batch, now)
    }

    fn tell(&mut self, own: Told) -> Result<Vec<Told>> {
        let exchange = &self.run.exchange;
        if exchange.ranks() == 1 {
            return Ok(vec![own]);
        }
        let bad = |e| Error::Run(format!("ranks: {e}"));
        let own = Told { stops: self.run.is_stopped(), ..own };
        let all = exchange.tell(&serde_json::to_vec(&own).map_err(bad)?)?;
        all.iter().map(|told| serde_json::from_slice(told).map_err(bad)).collect()
    }

    fn after(&mut self, done: &Done<J::Report, Made<J::Recipe>>) -> Result<ControlFlow<()>> {
        let state = &mut self.run.state;
        state.step = done.step;
        state.next = done.batch.next;
        state.seconds = done.seconds;
        self.note_replaced(done)?;
        match J::outcome(&done.report).moved {
            true => self.note(done)?,
            false => self.not_finite(done)?,
        }
        let job = &self.run.job;
        for line in job.album().news().into_iter().chain(others(job).flat_map(Album::news)) {
            self.progress.say(&format!("warning: {line}"));
        }
        if self.log.just_failed() {
            self.progress.say(&format!(
                "warning: {} can't be written (is the disk full?): its lines are kept and tried again",
                self.log.path().display()
            ));
        }
        if done.ends_epoch() {
            self.epoch_ended(done)?;
        }
        let run = &mut *self.run;
        if let Some(f) = &mut run.after_step {
            f(run.state.step, run.job.device());
        }
        let last = done.step == self.total;
        // What one rank was asked all do, after the same step.
        let stops = |run: &Run<J>| match run.exchange.ranks() {
            1 => run.is_stopped(),
            _ => done.ranks.iter().any(|rank| rank.stops),
        };
        let mut due = self.is_due(done);
        if J::JUDGES_LONG && due {
            // The end judges by itself; a run that stops leaves it to the one that goes on.
            due = !last && !stops(self.run);
            self.run.try_save(false, &mut self.log, &self.progress)?;
        }
        let best = due && self.judge(false)?;
        let stop = stops(self.run);
        if !last && !stop && (best || self.must_save()) {
            self.saved = Instant::now();
            self.run.try_save(best, &mut self.log, &self.progress)?;
        }
        if stop {
            self.progress.end();
            self.run.save_at_last(best, &mut self.log)?;
            self.note_end("interrupted")?;
            return Err(Error::Interrupted(format!(
                "interrupted after step {}, which is saved: go on with `{} --resume --out {}`",
                done.step,
                J::Config::KIND.command,
                shell::path(self.run.folder.path())
            )));
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl<J: Job> Recorded<'_, J> {
    /// Judges for the last time, and saves.
    fn end(mut self) -> Result<Summary<J::Scores>> {
        let judged = self.run.state.judged;
        let judges = judged.is_part || judged.at.is_none_or(|(step, _)| step != self.run.state.step);
        if J::JUDGES_LONG && judges {
            self.run.try_save(false, &mut self.log, &self.progress)?;
        }
        let best = judges && self.judge(true)?;
        self.progress.end();
        self.run.save_at_last(best, &mut self.log)?;
        self.note_end("done")?;
        let Run { job, folder, state, .. } = self.run;
        let mut left_out = job.album().all_left_out();
        left_out.extend(others(&*job).flat_map(Album::all_left_out));
        Ok(Summary {
            checkpoint: folder.checkpoint(),
            log: self.log.path().to_path_buf(),
            steps: state.step,
            scores: job.scores(),
            device: job.device().clone(),
            left_out,
        })
    }

    /// The last line of the log.
    fn note_end(&mut self, how: &'static str) -> Result<()> {
        let RunState { step, seconds, .. } = self.run.state;
        self.log.line(&EndRecord { kind: "end", step, seconds, how })
    }

    /// A step's line in the log, and on the terminal.
    fn note(&mut self, done: &Done<J::Report, Made<J::Recipe>>) -> Result<()> {
        self.run.state.skipped = 0;
        let (record, warnings) = self.run.job.record(done)?;
        self.log.write(&record)?;
        let step = done.step;
        for warning in warnings {
            self.progress.say(&format!("warning: step {step}: {warning}"));
            self.log.write(&WarningRecord { kind: "warning", step, warning })?;
        }
        self.waiting.add(done.waited, done.took);
        let job = &self.run.job;
        let fills_cache = job.album().is_cached() && done.batch.position.epoch == 0;
        if !fills_cache && let Some(hint) = self.waiting.hint(job.album(), &job.loader()) {
            // Not in the log, which is the same whenever the run was stopped and went on.
            self.progress.say(&format!("hint: step {step}: {hint}"));
        }
        let (total, limit, seconds) = (self.total, self.limit, done.seconds);
        // Where time ends the run, how many steps it has is not known.
        let (reached, of, left) = match limit > 0.0 {
            true => (seconds as u64, String::new(), limit - seconds),
            false => (step, format!("/{total}"), seconds / step as f64 * (total - step) as f64),
        };
        self.progress.at(reached, || {
            format!(
                "step {step}{of}  loss {:.4}  {:.1} images/s  {:.0} % waiting  {} left",
                J::outcome(&done.report).loss,
                done.images() as f64 / done.took.as_secs_f64(),
                100.0 * self.waiting.share(),
                HumanDuration(Duration::from_secs_f64(left.max(0.0)))
            )
        });
        Ok(())
    }

    /// Tells of photos that could not be decoded, on whatever rank.
    fn note_replaced(&mut self, done: &Done<J::Report, Made<J::Recipe>>) -> Result<()> {
        let all: Vec<&Replaced> = done.ranks.iter().flat_map(|rank| &rank.replaced).collect();
        for replaced in &all {
            if self.run.state.broken.insert(replaced.name.clone()) {
                self.progress.say(&format!("{}: cannot be used ({})", replaced.name, replaced.reason));
            }
            let (photo, reason, by) = (replaced.name.clone(), replaced.reason.clone(), replaced.by.clone());
            self.log.write(&ReplacedRecord { kind: "replaced", photo, reason, by })?;
        }
        // A loader knows of its own; together they may be too many.
        let (photos, broken) = (self.run.job.album().photos(), self.run.state.broken.len());
        let last: Vec<Replaced> = all.into_iter().cloned().collect();
        expect_few(photos, broken, self.run.job.loader().max_broken, &last)
    }

    /// A step whose loss or gradient is not finite, and which has changed nothing: skipped, or the end of the run.
    fn not_finite(&mut self, done: &Done<J::Report, Made<J::Recipe>>) -> Result<()> {
        let Run { job, folder, state, .. } = &mut *self.run;
        state.skipped += 1;
        let ids = done.ranks.iter().flat_map(|rank| &rank.ids);
        let photos: Vec<String> = ids.map(|&id| job.album().photos().name(id as usize).to_string()).collect();
        let (step, outcome) = (done.step, J::outcome(&done.report));
        self.log.write(&SkippedRecord::new(step, outcome.loss, outcome.gradient_norm, photos.clone()))?;
        let what = format!(
            "step {step}: the loss is {}, the gradient's norm {}",
            outcome.loss, outcome.gradient_norm
        );
        let on_nan = job.pace().on_nan;
        if on_nan == OnNan::Skip && state.skipped <= MAX_SKIPPED {
            self.progress.say(&format!("warning: {what}: skipped, nothing has moved"));
            return Ok(());
        }
        self.log.line(&EndRecord { kind: "end", step, seconds: done.seconds, how: "failed" })?;
        self.progress.end();
        let last = folder.checkpoint();
        let from = if last.exists() { last.display().to_string() } else { "none yet".into() };
        let skipped = match on_nan {
            OnNan::Skip => format!(" ({MAX_SKIPPED} steps before it were skipped)"),
            OnNan::Stop => String::new(),
        };
        let shown = photos.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        Err(Error::Run(format!(
            "{what}{skipped}: lower optimizer.lr, or look at the batch's {} photos ({shown}, .. all in {}); last sound \
             checkpoint: {from}",
            photos.len(),
            self.log.path().display()
        ))
        .see(Topic::Train))
    }

    fn epoch_ended(&mut self, done: &Done<J::Report, Made<J::Recipe>>) -> Result<()> {
        if self.run.exchange.rank() > 0 {
            return Ok(());
        }
        if self.shown.is_none_or(|at| at.elapsed() >= SHOW_EVERY) {
            self.shown = Some(Instant::now());
            self.run.job.show(done.step, done.batch, &mut self.log.events)?;
        }
        if let Some(f) = &mut self.run.after_epoch {
            f(self.run.folder.path());
        }
        Ok(())
    }

    /// Whether it is time to judge.
    fn is_due(&self, done: &Done<J::Report, Made<J::Recipe>>) -> bool {
        let (epochs, minutes, steps) = self.run.job.pace().judge;
        let judged_at = self.run.state.judged.at.map_or(0.0, |(_, seconds)| seconds);
        done.ends_epoch() && epochs > 0 && done.batch.next.epoch.is_multiple_of(epochs)
            || minutes > 0.0 && done.seconds - judged_at >= 60.0 * minutes
            || steps > 0 && done.step.is_multiple_of(steps)
    }

    /// Whether a judging was due after the last step and is still to come: the run stopped before it.
    fn owes_judging(&self) -> bool {
        let (every, RunState { step, judged, .. }) = (self.run.job.pace().judge.2, &self.run.state);
        let is_due = every > 0 && step.is_multiple_of(every) && *step < self.total;
        J::JUDGES_LONG && is_due && judged.at.map(|(at, _)| at) != Some(*step)
    }

    /// Judges the network; whether it is the best of the run's so far.
    fn judge(&mut self, ends: bool) -> Result<bool> {
        let Run { job, state, folder, .. } = &mut *self.run;
        let reached = Reached { step: state.step, epoch: state.next.epoch, seconds: state.seconds, ends };
        let judged = job.judge(&reached).map_err(|error| match error {
            Error::Interrupted(what) => Error::Interrupted(format!(
                "{what} while it was judged; step {} is saved: go on with `{} --resume --out {}`",
                state.step,
                J::Config::KIND.command,
                shell::path(folder.path())
            )),
            other => other,
        });
        let Some(judgement) = judged? else { return Ok(false) };
        self.log.write(&judgement.record)?;
        self.progress.say(&judgement.line);
        state.judged.at = Some((state.step, state.seconds));
        state.judged.is_part = judgement.is_part;
        let best = state.step > 0 && state.judged.best.is_none_or(|best| judgement.figure > best);
        if best {
            state.judged.best = Some(judgement.figure);
        }
        Ok(best)
    }

    /// Whether it is time to save.
    fn must_save(&self) -> bool {
        let (minutes, steps) = self.run.job.pace().save;
        minutes > 0.0 && self.saved.elapsed().as_secs_f64() >= 60.0 * minutes
            || steps > 0 && self.run.state.step.is_multiple_of(steps)
    }
}
