//! A device that is lost on the way, as by a driver that is reset: opened again, and the run goes on.

use super::folder::Found;
use super::setup;
use super::state::RunState;
use super::trainer::{Summary, Trainer};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::topic::Topic;
use std::time::Duration;

/// How long to wait before a lost device is opened again, each time that it is lost.
pub(super) const BACK_OFF: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];

impl Trainer {
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
    pub fn run(mut self) -> Result<Summary> {
        let mut ended = self.train();
        for wait in std::mem::take(&mut self.back_off) {
            let Err(Error::DeviceLost(why)) = ended else { return ended };
            eprintln!("warning: {why}: the device is opened again in {} s", wait.as_secs());
            std::thread::sleep(wait);
            ended = self.reopen().and_then(|()| self.train());
        }
        ended.map_err(|error| match error {
            Error::DeviceLost(why) => {
                let folder = crate::shell::path(self.folder.path());
                let on = match self.folder.checkpoint().exists() {
                    true => {
                        format!("`vista pretrain --resume --out {folder}` goes on from the last checkpoint")
                    }
                    false => "nothing was saved yet".into(),
                };
                Error::DeviceLost(format!(
                    "{why} once more: look into the system's log for the driver's reason; {on}"
                ))
                .see(Topic::Promises)
            }
            other => other,
        })
    }

    /// Opens the device again, with the state of the last checkpoint. One that is not back yet counts as lost once more.
    fn reopen(&mut self) -> Result<()> {
        self.device = Device::open(&self.config.device).map_err(|error| match error {
            Error::Device(why) => Error::DeviceLost(why),
            other => other,
        })?;
        self.learner = setup::learner(&self.config, &self.device)?;
        self.state = RunState::new(&self.config, self.album.photos());
        match Found::newest(self.folder.path())? {
            Some(found) => self.restore(found),
            None => Ok(()),
        }
    }
}
