//! When a run is saved, and what happens where it can't be.

use super::log::{Log, Progress};
use super::trainer::Trainer;
use crate::error::{Error, Result};
use std::time::{Duration, Instant};

/// How often, and how long after each other, the last checkpoint of a run is tried where it can't be written.
const LAST_TRIES: u32 = 120;
const LAST_WAIT: Duration = Duration::from_secs(5);

impl Trainer {
    /// Whether it is time to save, the last time having been at `saved`.
    pub(super) fn must_save(&self, saved: Instant) -> bool {
        let train = &self.config.train;
        train.save_minutes > 0.0 && saved.elapsed().as_secs_f64() >= 60.0 * train.save_minutes
            || train.save_steps > 0 && self.state.step.is_multiple_of(train.save_steps)
    }

    fn save(&mut self, log: &mut Log) -> Result<()> {
        self.state.log_bytes = log.finish()?;
        self.folder.save(&self.learner, &self.config, &self.state)
    }

    /// Saves what must not be lost: where it can't be written, tries for ten minutes, in which room may be made.
    pub(super) fn save_at_last(&mut self, best: bool, log: &mut Log) -> Result<()> {
        for left in (0..LAST_TRIES).rev() {
            let saved = self.save(log).and_then(|()| if best { self.folder.keep_best() } else { Ok(()) });
            match saved {
                Err(Error::Io { path, source }) if left > 0 => {
                    eprintln!(
                        "warning: step {} can't be saved: {}: {source}: make room; tried again {left} times, every {} s",
                        self.state.step,
                        path.display(),
                        LAST_WAIT.as_secs()
                    );
                    std::thread::sleep(LAST_WAIT);
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// Saves; a file that can't be written is told and tried again later, since the run itself is well.
    pub(super) fn try_save(&mut self, best: bool, log: &mut Log, progress: &Progress) -> Result<()> {
        let saved = self.save(log).and_then(|()| if best { self.folder.keep_best() } else { Ok(()) });
        match saved {
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
