//! Judging an encoder on the way: kNN on labelled photos, beside colours alone.

use super::config::Config;
use super::setup::album;
use crate::data::{Album, Photos};
use crate::device::Device;
use crate::encoder::ResNetEncoder;
use crate::error::Result;
use crate::eval::{Features, Knn, colour_features, features};
use serde::{Deserialize, Serialize};

/// How well frozen features tell classes apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of test photos classified rightly.
    pub top1: f64,
    /// Mean over classes of that share.
    pub balanced: f64,
}

/// Labelled photos and the classifier they are judged by.
#[derive(Debug)]
pub(super) struct Judge {
    train: Album,
    test: Album,
    knn: Knn,
}

impl Judge {
    pub fn new(config: &Config, [train, test]: [Photos; 2]) -> Judge {
        let knn = Knn { k: config.eval.knn_k, tau: config.eval.knn_tau };
        Judge { train: album(config, train), test: album(config, test), knn }
    }

    /// The labelled photos, train and test.
    pub fn photos(&self) -> [&Photos; 2] {
        [self.train.photos(), self.test.photos()]
    }

    /// kNN of the test photos among the train photos by an encoder's features.
    pub fn encoder(&self, encoder: &ResNetEncoder, config: &Config, device: &Device) -> Result<Score> {
        let of = |album| features(encoder, album, &config.views, device);
        self.score(&of(&self.train)?, &of(&self.test)?)
    }

    /// The same by colour histograms.
    pub fn colour(&self) -> Result<Score> {
        self.score(&colour_features(&self.train)?, &colour_features(&self.test)?)
    }

    fn score(&self, train: &Features, test: &Features) -> Result<Score> {
        let votes = self.knn.classify(&train.labelled(), &test.labelled())?;
        Ok(Score { top1: votes.top1, balanced: votes.balanced })
    }
}
