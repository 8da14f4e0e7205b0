//! When a run is saved, and what happens where it can't be.

use super::folder::Found;
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::run::{Log, Progress};
use std::time::{Duration, Instant};

/// How often, and how long after each other, the last checkpoint of a run is tried where it can't be written.
const LAST_TRIES: u32 = 120;
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How often a wait looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

impl Trainer {
    /// Whether it is time to save, the last time having been at `saved`.
    pub(super) fn must_save(&self, saved: Instant) -> bool {
        let train = &self.config.train;
        train.save_minutes > 0.0 && saved.elapsed().as_secs_f64() >= 60.0 * train.save_minutes
            || train.save_steps > 0 && self.state.step.is_multiple_of(train.save_steps)
    }

    fn save(&mut self, best: bool, log: &mut Log) -> Result<()> {
        (self.state.log_bytes, self.state.events) = log.finish()?;
        self.folder.save(&self.learner, &self.config, &self.state)?;
        if best { self.folder.keep_best() } else { Ok(()) }
    }

    /// Saves what must not be lost: where it can't be written, tries for ten minutes, in which room may be made. A stop ends
    /// that at the next try, which is at once.
    pub(super) fn save_at_last(&mut self, best: bool, log: &mut Log) -> Result<()> {
        let mut tried = 1;
        loop {
            let Err(error) = self.save(best, log) else { return Ok(()) };
            let Error::Io { path, source } = &error else { return Err(error) };
            if self.is_stopped() {
                return Err(Error::Interrupted(format!(
                    "interrupted after step {}, which could not be saved (tried {tried} {}): {}: {source}; {}",
                    self.state.step,
                    if tried == 1 { "time" } else { "times" },
                    path.display(),
                    self.what_is_left()
                )));
            }
            if tried == LAST_TRIES {
                return Err(error);
            }
            eprintln!(
                "warning: step {} can't be saved: {}: {source}: make room; tried again {} times, every {} s",
                self.state.step,
                path.display(),
                LAST_TRIES - tried,
                LAST_WAIT.as_secs()
            );
            self.wait(LAST_WAIT);
            tried += 1;
        }
    }

    /// Where a run that could not be saved goes on.
    pub(super) fn what_is_left(&self) -> String {
        let folder = self.folder.path();
        match Found::newest(folder) {
            Ok(Some(found)) => {
                format!(
                    "`vista pretrain --resume --out {}` goes on from step {}",
                    crate::shell::path(folder),
                    found.step()
                )
            }
            _ => "no checkpoint is there".into(),
        }
    }

    /// Waits, but not beyond a stop.
    pub(super) fn wait(&self, time: Duration) {
        let began = Instant::now();
        while !self.is_stopped() && began.elapsed() < time {
            std::thread::sleep(LOOK.min(time));
        }
    }

    /// Saves; a file that can't be written is told and tried again later, since the run itself is well.
    pub(super) fn try_save(&mut self, best: bool, log: &mut Log, progress: &Progress) -> Result<()> {
        match self.save(best, log) {
            Err(Error::Io { path, source }) => {
                let warning = format!(
                    "step {}: {} could not be written ({source}): the last checkpoint stays, the run goes on and tries again",
                    self.state.step,
                    path.display()
                );
                progress.say(&format!("warning: {warning}"));
                Ok(())
            }
            other => other,
        }
    }
}
