//! What a run keeps going: the trait under which a pretraining or a detector is trained in a folder.

use super::archive::Contents;
use super::events::Events;
use super::folder::Found;
use super::settings::Settings;
use super::train::{Done, Now};
use crate::engine::device::Device;
use crate::engine::optim::LrSchedule;
use crate::error::Result;
use crate::photos::{Album, Batch, LoaderOptions, Made, Recipe};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A job that can end at any moment and go on to the same bit: everything that training changes is in [`Job::arrays`],
/// [`Job::notes`] or the run's own state.
pub trait Job {
    /// Whether judging takes so long that what was learned is saved before it, and that it is left for later by a run that stops.
    const JUDGES_LONG: bool = false;
    /// What it is configured by.
    type Config: Settings;
    /// What its batches are made by.
    type Recipe: Recipe + 'static;
    /// What a step has to say.
    type Report;
    /// One step in the log.
    type Record: Serialize;
    /// How good its network was found to be.
    type Scores;

    /// The configuration.
    fn config(&self) -> &Self::Config;
    /// The device.
    fn device(&self) -> &Device;
    /// The device as the configuration asks for it, such as `auto`.
    fn asked_device(&self) -> &str;
    /// The photos that it learns from.
    fn album(&self) -> &Arc<Album>;
    /// The photos that it is judged on, train and test.
    fn judged_on(&self) -> Option<[&Album; 2]>;
    /// How long it goes on, and what happens between its steps.
    fn pace(&self) -> Pace;
    /// Its batches; the run sets where they start.
    fn loader(&self) -> LoaderOptions<Self::Recipe>;
    /// The learning rate over `total` steps.
    fn schedule(&self, total: u64) -> LrSchedule;

    /// Starts anew on a device that was lost and is open again; with `saved`, arrays and notes will be restored.
    ///
    /// # Errors
    /// The device's.
    fn reopen(&mut self, device: Device, saved: bool) -> Result<()>;

    /// Once before the first step, and after the device was opened again.
    ///
    /// # Errors
    /// Those of judging.
    fn begin(&mut self) -> Result<()>;

    /// One step.
    ///
    /// # Errors
    /// The device's.
    fn step(&mut self, batch: &Batch<Made<Self::Recipe>>, now: &Now) -> Result<Self::Report>;

    /// What the run must know of a step.
    fn outcome(report: &Self::Report) -> Outcome;

    /// A step's line in the log, and warnings about what it showed.
    ///
    /// # Errors
    /// The device's.
    fn record(
        &mut self,
        done: &Done<Self::Report, Made<Self::Recipe>>,
    ) -> Result<(Self::Record, Vec<String>)>;

    /// Weights and a batch to look at, for TensorBoard.
    ///
    /// # Errors
    /// The device's.
    fn show(&self, step: u64, batch: &Batch<Made<Self::Recipe>>, events: &mut Events) -> Result<()>;

    /// Takes the flag that says when to stop: who judges long looks at it, and ends with
    /// [`Error::Interrupted`](crate::Error::Interrupted).
    fn stop_when(&mut self, _stop: Arc<AtomicBool>) {}

    /// Judges the network as it is; `None` where there is nothing to judge by.
    ///
    /// # Errors
    /// The device's.
    fn judge(&mut self, reached: &Reached) -> Result<Option<Judgement>>;

    /// What its judgements found.
    fn scores(&self) -> Option<Self::Scores>;

    /// The arrays of a checkpoint, and texts beside them.
    ///
    /// # Errors
    /// The device's.
    fn arrays(&self) -> Result<Contents>;

    /// What else must be kept.
    fn notes(&self) -> Map<String, Value>;

    /// Takes up the arrays of a checkpoint of the same configuration, and the notes.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) naming what is missing or misshapen; the device's errors.
    fn restore(&mut self, found: &Found<Self::Config>, notes: &Map<String, Value>) -> Result<()>;
}

/// How long a run goes on, and what happens between its steps.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Passes over the photos.
    pub epochs: u64,
    /// Steps after which it ends; 0 for no such limit.
    pub steps: u64,
    /// Minutes of training after which it ends; 0 for no such limit.
    pub minutes: f64,
    /// Steps of warm-up that pass by steps even where the run ends by time.
    pub warmup: u64,
    /// Minutes, and steps, between checkpoints; 0 for none.
    pub save: (f64, u64),
    /// Epochs, minutes and steps between judgements; 0 for none.
    pub judge: (u64, f64, u64),
    /// What to do with a step whose loss or gradient is not finite.
    pub on_nan: OnNan,
}

/// What to do with a step whose loss or gradient is not finite. It moves nothing in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNan {
    /// End the run.
    #[default]
    Stop,
    /// Go on with the next batch, at most three times in a row.
    Skip,
}

/// What came of a step.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The whole loss.
    pub loss: f64,
    /// 2-norm of the gradient.
    pub gradient_norm: f32,
    /// False if one of both is not finite: then nothing has changed.
    pub moved: bool,
}

/// Where a run is when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Whether the run has ended.
    pub ends: bool,
}

/// How good a network is.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What checkpoints are compared by: the higher the better.
    pub figure: f64,
    /// Whether only a part of the photos was looked at: the end judges again, however little has changed.
    pub is_part: bool,
    /// For the log.
    pub record: Value,
    /// For a person.
    pub line: String,
}
