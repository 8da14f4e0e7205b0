//! The course of a run: where its schedules are, the time it took, what progress says.

use std::time::{Duration, Instant};

/// Where a step was in its run, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub step: u64,
    pub lr: f64,
    pub seconds: f64,
    pub took: Duration,
}

/// How far a run is: by steps, or where it ends by time, by time once its warm-up is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// Steps of the whole run.
    pub total: u64,
    /// Seconds of training after which it ends; 0 for no such limit.
    pub limit: f64,
    /// Steps of warm-up.
    pub warmup: u64,
}

impl Course {
    /// The step of the schedules that belongs to a step and to the seconds spent.
    pub fn at(self, step: u64, seconds: f64) -> u64 {
        if self.limit == 0.0 || step < self.warmup {
            return step;
        }
        let by_time = (seconds / self.limit * self.total as f64) as u64;
        step.max(by_time.min(self.total - 1))
    }
}

/// Time spent training: judging and saving are left out.
#[derive(Debug, Default)]
pub(super) struct Clock {
    spent: Duration,
    since: Option<Instant>,
}

impl Clock {
    /// A clock that has run before.
    pub fn after(seconds: f64) -> Clock {
        Clock { spent: Duration::from_secs_f64(seconds), since: None }
    }

    pub fn start(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Stops; the time since the start.
    pub fn pause(&mut self) -> Duration {
        let lap = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.spent += lap;
        lap
    }

    pub fn seconds(&self) -> f64 {
        self.spent.as_secs_f64() + self.since.map_or(0.0, |since| since.elapsed().as_secs_f64())
    }
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
}
