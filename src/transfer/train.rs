//! What the trainings of detectors and segmenters share: length and batch, the encoder that they start from, and checks of values.

use crate::engine::nn::{Module, Param, ResNet, ResNetConfig};
use crate::error::{Error, Result};
use crate::interop::{Source, Weights};
use crate::run::OnNan;
use crate::topic::Topic;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Length and batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Photos in a batch.
    pub batch: usize,
    /// Steps; 0 for as many as `epochs` have.
    pub steps: u64,
    /// Passes over the photos at most.
    pub epochs: u64,
    /// Stop after this many minutes of training; 0 for no such limit.
    pub minutes: f64,
    /// Most memory of all tensors, MiB, beyond which a run is refused before it starts; 0 for what is free, where that
    /// can be known.
    pub memory_limit_mib: usize,
    /// Write a checkpoint every so many minutes; 0 only at the end and when the network was judged the best so far.
    pub save_minutes: f64,
    /// Write one every so many steps too; 0 never.
    pub save_steps: u64,
    /// What to do with a step whose loss or gradient is not finite: `stop`, or `skip` it, at most three in a row.
    pub on_nan: OnNan,
}

impl TrainConfig {
    /// Refuses what no training can be as long as.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key.
    pub(super) fn check(&self) -> Result<()> {
        expect_count("train.batch", self.batch)?;
        if self.epochs == 0 {
            return refused("train.epochs", 0, "give a number from 1");
        }
        expect_amount("train.minutes", self.minutes)?;
        expect_amount("train.save_minutes", self.save_minutes)
    }
}

impl TrainConfig {
    /// Refuses a batch that can't be dealt in equal parts to so many ranks.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key.
    pub(super) fn expect_ranks(&self, ranks: usize) -> Result<()> {
        if self.batch.is_multiple_of(ranks) && self.batch >= ranks {
            return Ok(());
        }
        let what = format!("a batch of {} photos can't be dealt to {ranks} ranks", self.batch);
        Err(Error::input(what, "train.batch", "choose a multiple of the ranks").see(Topic::Ranks))
    }
}

/// LIMIT: of counts and widths; a published detector has 12,000 proposals.
const MOST: usize = 1 << 16;

fn refused<T>(key: &str, value: impl std::fmt::Display, advice: &str) -> Result<T> {
    Err(Error::input(format!("{key} is {value}"), "configuration", advice))
}

/// Refuses a count that is 0 or too large.
pub(super) fn expect_count(key: &str, value: usize) -> Result<()> {
    if (1..=MOST).contains(&value) { Ok(()) } else { refused(key, value, "give a number from 1 to 65,536") }
}

/// Refuses what is no share.
pub(super) fn expect_share(key: &str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { refused(key, value, "give a share from 0 to 1") }
}

/// Refuses a number below 0, and what is none.
pub(super) fn expect_amount(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        refused(key, value, "give a number of at least 0")
    }
}

/// Gives a backbone the encoder of the file `init`.
///
/// # Errors
/// [`Error::Input`] if the file holds no encoder, or one of another kind.
pub(super) fn take_encoder(init: &Path, prefix: Option<&str>, backbone: &ResNet) -> Result<()> {
    let place = init.display().to_string();
    let weights = Weights::read(init)?;
    let source = Source::find(&weights, prefix, None, &place)?;
    source.expect(backbone.config(), &place)?;
    source.load(&weights, [backbone, &Nothing], &place)?;
    Ok(())
}

/// The kind of the encoder in a file.
///
/// # Errors
/// [`Error::Input`] if the file holds none.
pub(super) fn encoder_kind(init: &Path, prefix: Option<&str>) -> Result<ResNetConfig> {
    Ok(Source::find(&Weights::read(init)?, prefix, None, &init.display().to_string())?.backbone)
}

/// No heads: what a file has beside its backbone is not looked for.
struct Nothing;

impl Module for Nothing {
    fn visit(&self, _: &mut dyn FnMut(&Param)) {}
}
