//! What befalls a run: a disk on which it can't be saved, a device that is lost on the way, as by a driver that is reset.

use super::archive::Contents;
use super::durable::{Run, Summary};
use super::folder::Found;
use super::job::Job;
use super::log::Log;
use super::progress::Progress;
use super::provenance::PROVENANCE;
use super::settings::Settings;
use super::state::RunState;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::shell;
use crate::topic::Topic;
use std::time::{Duration, Instant};

/// How often, and how long after each other, the last checkpoint of a run is tried where it can't be written.
const LAST_TRIES: u32 = 120;
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How often a wait looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

impl<J: Job> Run<J> {
    /// How long to wait before a lost device is opened again: 1, 4 and 16 seconds unless said otherwise. When it is lost
    /// once more than there are waits, the run ends.
    pub fn back_off(&mut self, waits: &[Duration]) {
        self.back_off = waits.to_vec();
    }

    /// Runs to the end. A device that is lost on the way is opened again, up to three times, and the run goes on from the
    /// last checkpoint.
    ///
    /// # Errors
    /// [`Error::Run`] if a number is not finite or too many photos are broken; [`Error::Interrupted`] if the run was
    /// asked to stop; [`Error::DeviceLost`] if the device is lost once more; the device's other errors.
    pub fn run(mut self) -> Result<Summary<J::Scores>> {
        let mut ended = self.train();
        // Of several ranks one can't go back by itself: all end, and go on together from the last checkpoint.
        if self.exchange.ranks() > 1 {
            self.back_off.clear();
        }
        for wait in std::mem::take(&mut self.back_off) {
            let Err(Error::DeviceLost(why)) = ended else { return ended };
            eprintln!("warning: {why}: the device is opened again in {} s", wait.as_secs());
            self.wait(wait);
            if self.is_stopped() {
                return Err(Error::Interrupted(format!(
                    "interrupted while the device was lost; {}",
                    self.what_is_left()
                )));
            }
            ended = self.reopen().and_then(|()| self.train());
        }
        ended.map_err(|error| match error {
            Error::DeviceLost(why) => {
                let left = self.what_is_left();
                Error::DeviceLost(format!(
                    "{why} once more: look into the system's log for the driver's reason; {left}"
                ))
                .see(Topic::Promises)
            }
            other => other,
        })
    }

    /// Opens the lost device again, with the state of the last checkpoint. One that is not back yet counts as lost once more:
    /// where `auto` chose a GPU it is that GPU that is opened, never the CPU in its place.
    fn reopen(&mut self) -> Result<()> {
        let asked = self.job.asked_device();
        let chosen = matches!(self.job.device(), Device::Gpu(_)) && asked == "auto";
        let asked = if chosen { format!("gpu:{}", self.job.device().name()) } else { asked.to_string() };
        let device = Device::open(&asked).map_err(|error| match error {
            Error::Device(why) => Error::DeviceLost(why),
            other => other,
        })?;
        let found = Found::newest(self.folder.path())?;
        self.job.reopen(device, found.is_some())?;
        self.state = RunState::new(self.job.album().photos(), self.job.judged_on());
        self.starts.clear();
        found.map_or(Ok(()), |found| self.restore(found))?;
        self.note_start();
        Ok(())
    }

    fn save(&mut self, best: bool, log: &mut Log) -> Result<()> {
        if self.exchange.rank() > 0 {
            return Ok(());
        }
        (self.state.log_bytes, self.state.events) = log.finish()?;
        self.state.job = self.job.notes();
        let no_json = |e| Error::Run(format!("checkpoint: {e}"));
        let state = serde_json::to_string(&self.state).map_err(no_json)?;
        let starts = serde_json::to_string(&self.starts).map_err(no_json)?;
        let Contents { entries, mut texts } = self.job.arrays()?;
        texts.extend([
            ("run".to_string(), state),
            (PROVENANCE.to_string(), starts),
            ("config".to_string(), self.job.config().to_toml()),
            ("epoch".to_string(), self.state.next.epoch.to_string()),
            ("step".to_string(), self.state.step.to_string()),
        ]);
        self.folder.save(&entries, texts)?;
        if best { self.folder.keep_best() } else { Ok(()) }
    }

    /// Saves what must not be lost: where it can't be written, tries for ten minutes, in which room may be made. A stop ends
    /// that at the next try, which is at once.
    pub(super) fn save_at_last(&mut self, best: bool, log: &mut Log) -> Result<()> {
        let (mut tried, mut waiting) = (1, None);
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
            let waiting = waiting.get_or_insert_with(|| {
                eprintln!(
                    "warning: step {} can't be saved: {}: {source}: make room; tried again up to {} times, every {} s",
                    self.state.step,
                    path.display(),
                    LAST_TRIES - tried,
                    LAST_WAIT.as_secs()
                );
                Progress::new(LAST_TRIES.into())
            });
            waiting.at(tried.into(), || format!("waiting for room: tried {tried} of {LAST_TRIES} times"));
            self.wait(LAST_WAIT);
            tried += 1;
        }
    }

    /// Where a run that could not be saved goes on.
    pub(super) fn what_is_left(&self) -> String {
        let folder = self.folder.path();
        match Found::<J::Config>::newest(folder) {
            Ok(Some(found)) => {
                format!(
                    "`{} --resume --out {}` goes on from step {}",
                    J::Config::KIND.command,
                    shell::path(folder),
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
