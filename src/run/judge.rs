//! What tells how good a network is while it is trained; who trains knows no more of it than this.

use crate::engine::device::Device;
use crate::engine::exchange::Exchange;
use crate::engine::nn::ResNet;
use crate::error::Result;
use crate::photos::Album;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// How well frozen features tell classes apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of photos classified rightly.
    pub top1: f64,
    /// Mean over classes of that share.
    pub balanced: f64,
    /// Photos judged.
    #[serde(default)]
    pub photos: usize,
    /// Standard error of `top1`.
    #[serde(default)]
    pub error: f64,
}

/// How a run's encoder was judged, and beside what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// The encoder that the run started with; an untrained one with batch norm's statistics of photos.
    pub start: Score,
    /// The untrained encoder with the statistics that batch norm starts with, 0 and 1: another network of the same weights,
    /// and no floor. `None` if the run started from a file.
    pub initial_statistics: Option<Score>,
    /// The encoder at the end.
    pub trained: Score,
    /// Colour histograms.
    pub colour: Score,
}

/// Judges a backbone on labelled photos.
pub trait Judge: Debug {
    /// The labelled photos, train and test.
    fn albums(&self) -> [&Album; 2];

    /// By which protocol, in a word.
    fn protocol(&self) -> &'static str;

    /// The backbone as it is: each rank looks at a part of the photos, and all know what came of it.
    ///
    /// # Errors
    /// The device's and the exchange's; [`crate::Error::Input`] where no photo can be decoded.
    fn judge(&self, net: &ResNet, device: &Device, ranks: &dyn Exchange) -> Result<Score>;

    /// A backbone that has not been trained, batch norm with statistics of photos; it is left as it was.
    ///
    /// # Errors
    /// As [`Judge::judge`].
    fn untrained(&self, net: &ResNet, device: &Device, ranks: &dyn Exchange) -> Result<Score>;

    /// The floor that needs no network: colour histograms.
    ///
    /// # Errors
    /// As [`Judge::judge`].
    fn colour(&self, device: &Device) -> Result<Score>;
}
