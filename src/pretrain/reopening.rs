//! A device that is lost on the way, as by a driver that is reset: opened again, and the run goes on.

use super::folder::Found;
use super::setup;
use super::state::RunState;
use super::trainer::{Summary, Trainer};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::topic::Topic;
use std::time::Duration;

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

    /// Opens the device again, with the state of the last checkpoint. One that is not back yet counts as lost once more: where
    /// `auto` chose a GPU it is that GPU that is opened, never the CPU in its place.
    fn reopen(&mut self) -> Result<()> {
        let chosen = matches!(self.device, Device::Gpu(_)) && self.config.device == "auto";
        let device = if chosen { format!("gpu:{}", self.device.name()) } else { self.config.device.clone() };
        self.device = Device::open(&device).map_err(|error| match error {
            Error::Device(why) => Error::DeviceLost(why),
            other => other,
        })?;
        let found = Found::newest(self.folder.path())?;
        self.learner = match found {
            Some(_) => setup::blank_learner(&self.config, &self.device)?,
            None => setup::learner(&self.config, &self.device)?,
        };
        self.state = RunState::new(&self.config, self.album.photos(), self.judge.as_deref());
        found.map_or(Ok(()), |found| self.restore(found))
    }
}
