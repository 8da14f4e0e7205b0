//! The loop of every training: the next batch, one step, what is made of it.

use crate::error::Result;
use crate::photos::{Batch, Loader, Made, Recipe, Replaced};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Now {
    /// Steps done.
    pub step: u64,
    /// Share of the run that is over, from 0 to 1; what schedules follow.
    pub progress: f64,
    /// Epochs done.
    pub epoch: u64,
    /// The learning rate of the schedule.
    pub lr: f64,
    /// What it falls from, its warm-up over.
    pub base_lr: f64,
}

/// How long a training is, and its learning rate on the way.
pub struct Schedule<'a> {
    /// Steps of the whole run.
    pub total: u64,
    /// Seconds of training after which it ends; 0 for no such limit.
    pub limit: f64,
    /// Steps that pass by steps even where the run ends by time: those of a warm-up that is so many steps long.
    pub warmup: u64,
    /// What the learning rate falls from, its warm-up over.
    pub base_lr: f64,
    /// The learning rate of a step of `total`.
    pub lr: Box<dyn Fn(u64) -> f64 + 'a>,
}

impl Schedule<'_> {
    /// The step of the schedules that belongs to a step and to the seconds spent.
    fn at(&self, step: u64, seconds: f64) -> u64 {
        if self.limit == 0.0 || step < self.warmup {
            return step;
        }
        let by_time = (seconds / self.limit * self.total as f64) as u64;
        step.max(by_time.min(self.total - 1))
    }

    fn goes_on(&self, step: u64, seconds: f64) -> bool {
        step < self.total && (self.limit == 0.0 || seconds < self.limit)
    }

    fn now(&self, step: u64, seconds: f64, epoch: u64) -> Now {
        let at = self.at(step, seconds);
        let progress = at as f64 / self.total.max(1) as f64;
        Now { step, progress, epoch, lr: (self.lr)(at), base_lr: self.base_lr }
    }
}

/// What a loop trains.
pub trait Train {
    /// What its batches are made by.
    type Recipe: Recipe + 'static;
    /// What a step has to say.
    type Report;

    /// One step.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn step(&mut self, batch: &Batch<Made<Self::Recipe>>, now: &Now) -> Result<Self::Report>;

    /// Tells the other ranks how a step went, and hears it of theirs, in rank order.
    ///
    /// # Errors
    /// The exchange's.
    fn tell(&mut self, own: Told) -> Result<Vec<Told>> {
        Ok(vec![own])
    }

    /// What is made of a step that is done; `Break` ends the training after it.
    ///
    /// # Errors
    /// Whatever ends the training.
    fn after(&mut self, done: &Done<Self::Report, Made<Self::Recipe>>) -> Result<ControlFlow<()>>;
}

/// How a step went on a rank.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// Seconds that it took, the wait for its batch included.
    pub took: f64,
    /// How much of that was waited for its batch.
    pub waited: f64,
    /// Whether the run was asked to stop.
    pub stops: bool,
    /// The photo of each image.
    pub ids: Vec<u64>,
    /// Photos that could not be decoded, with their replacements.
    pub replaced: Vec<Replaced>,
}

/// A step that is done.
pub struct Done<'a, R, D> {
    /// What it has to say.
    pub report: R,
    /// The batch that it saw.
    pub batch: &'a Batch<D>,
    /// Where it was.
    pub now: Now,
    /// Steps done, this one included.
    pub step: u64,
    /// Seconds of training so far, this step and the wait for its batch included; what is done between steps is not.
    pub seconds: f64,
    /// The step's own share of it.
    pub took: Duration,
    /// How much of that was waited for its batch.
    pub waited: Duration,
    /// Threads that made it.
    pub threads: usize,
    /// How it went on each rank.
    pub ranks: Vec<Told>,
}

impl<R, D> Done<'_, R, D> {
    /// Of each of several ranks, images per second and the share of its time that was waited for its batch.
    pub fn of_ranks(&self) -> Vec<[f64; 2]> {
        let of = |rank: &Told| [rank.ids.len() as f64 / rank.took, rank.waited / rank.took];
        if self.ranks.len() > 1 { self.ranks.iter().map(of).collect() } else { Vec::new() }
    }

    /// Images of the step, of all ranks.
    pub fn images(&self) -> usize {
        self.ranks.iter().map(|rank| rank.ids.len()).sum()
    }

    /// Whether the step was the last of its epoch.
    pub fn ends_epoch(&self) -> bool {
        self.batch.next.epoch > self.batch.position.epoch
    }
}

/// Trains from a step on, until the schedule or the loader ends it, or [`Train::after`]; `seconds` of training are over.
///
/// # Errors
/// The loader's; those of [`Train::step`] and [`Train::after`].
pub fn train<T: Train>(
    what: &mut T,
    loader: &mut Loader<T::Recipe>,
    schedule: &Schedule,
    (mut step, seconds): (u64, f64),
) -> Result<()> {
    let mut spent = Duration::from_secs_f64(seconds);
    while schedule.goes_on(step, spent.as_secs_f64()) {
        let began = Instant::now();
        let Some(batch) = loader.next().transpose()? else { break };
        let waited = began.elapsed();
        // All ranks go by the time of the first, which they know as it was after the last step.
        let now = schedule.now(step, spent.as_secs_f64(), batch.position.epoch);
        let report = what.step(&batch, &now)?;
        step += 1;
        let took = began.elapsed();
        let ranks = what.tell(Told {
            took: took.as_secs_f64(),
            waited: waited.as_secs_f64(),
            stops: false,
            ids: batch.ids.clone(),
            replaced: batch.replaced.clone(),
        })?;
        spent += ranks.first().map_or(took, |first| Duration::from_secs_f64(first.took));
        let (seconds, threads) = (spent.as_secs_f64(), loader.threads());
        let done = Done { report, batch: &batch, now, step, seconds, took, waited, threads, ranks };
        let next = what.after(&done)?;
        loader.recycle(batch);
        if next.is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ends_by_time_warms_up_by_steps_and_then_follows_the_clock() {
        let schedule = |limit| Schedule {
            total: 1000,
            limit,
            warmup: 10,
            base_lr: 1.0,
            lr: Box::new(|step| step as f64),
        };
        let timed = schedule(60.0);
        assert_eq!([timed.at(0, 0.0), timed.at(9, 30.0), timed.at(10, 30.0)], [0, 9, 500]);
        assert_eq!([timed.at(600, 30.0), timed.at(20, 90.0)], [600, 999]);
        assert_eq!(schedule(0.0).at(20, 90.0), 20);
        let now = timed.now(10, 30.0, 3);
        assert_eq!((now.step, now.progress, now.epoch, now.lr), (10, 0.5, 3, 500.0));
    }
}
