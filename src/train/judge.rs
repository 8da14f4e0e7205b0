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

    /// kNN of the test photos among the train photos by an encoder's features.
    pub fn encoder(&self, encoder: &ResNetEncoder, config: &Config, device: &Device) -> Result<Score> {
        let of = |album| features(encoder, album, &config.views, device);
        self.score(&of(&self.train)?, &of(&self.test)?)
    }

    /// The same by colour histograms.
    pub fn colour(&self) -> Result<Score> {
        self.score(&colour_features(&self.train)?, &colour_features(&self.test)?)
    }

    /// What its photos' reader left out.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        [&self.train, &self.test].into_iter().flat_map(|album| album.photos().warnings())
    }

    /// What could not be decoded so far: see [`Album::left_out`].
    pub fn left_out(&self) -> Vec<String> {
        [&self.train, &self.test].into_iter().flat_map(Album::left_out).collect()
    }

    /// The same behind the warnings of its photos' reader.
    pub fn all_left_out(&self) -> Vec<String> {
        [&self.train, &self.test].map(Album::all_left_out).concat()
    }

    fn score(&self, train: &Features, test: &Features) -> Result<Score> {
        let votes = self.knn.classify(&train.labelled(), &test.labelled())?;
        Ok(Score { top1: votes.top1, balanced: votes.balanced })
    }
}
