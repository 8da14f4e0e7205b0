//! Judging an encoder on the way: kNN on labelled photos, beside colours alone.

use super::config::Config;
use super::log::{EvalRecord, Log, Progress};
use super::setup::album;
use super::trainer::Trainer;
use crate::engine::device::Device;
use crate::engine::nn::{Module, Param};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::{Album, Photos};
use crate::pretrain::encoder::ResNetEncoder;
use crate::transfer::classify::{
    Features, Knn, KnnProtocol, Votes, colour_features, features, precise_statistics,
};
use serde::{Deserialize, Serialize};

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

impl From<Votes> for Score {
    fn from(Votes { predicted, top1, balanced, error, .. }: Votes) -> Score {
        Score { top1, balanced, photos: predicted.len(), error }
    }
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
    /// Which photos were judged.
    pub protocol: KnnProtocol,
}

/// Labelled photos and the classifier they are judged by.
#[derive(Debug)]
pub(super) struct Judge {
    train: Album,
    test: Album,
    knn: Knn,
    protocol: KnnProtocol,
}

impl Judge {
    pub fn new(config: &Config, [train, test]: [Photos; 2]) -> Judge {
        let knn = Knn { k: config.eval.knn_k, tau: config.eval.knn_tau };
        let protocol = KnnProtocol::of(config.data.labelled.is_none());
        Judge { train: album(config, train), test: album(config, test), knn, protocol }
    }

    /// The labelled photos, train and test.
    pub fn photos(&self) -> [&Photos; 2] {
        [self.train.photos(), self.test.photos()]
    }

    /// kNN by an encoder's features.
    pub fn encoder(&self, encoder: &ResNetEncoder, config: &Config, device: &Device) -> Result<Score> {
        let of = |album| features(&encoder.backbone, album, &config.views, device);
        self.score(&of(&self.train)?, &of(&self.test)?)
    }

    /// kNN by an encoder that has not been trained, batch norm with statistics of photos; it is left as it was.
    pub fn untrained(&self, encoder: &ResNetEncoder, config: &Config, device: &Device) -> Result<Score> {
        let state = encoder.backbone.state();
        let before: Vec<(Param, Tensor)> =
            state.into_iter().map(|param| (param.clone(), param.get())).collect();
        let score = precise_statistics(&encoder.backbone, &self.train, &config.views, device)
            .and_then(|()| self.encoder(encoder, config, device));
        before.into_iter().try_for_each(|(param, value)| param.set(value))?;
        score
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
        Ok(self.protocol.votes(&self.knn, train, test)?.into())
    }
}

impl Trainer {
    /// kNN of the labelled photos; whether it is the best of the run's so far.
    pub(super) fn judge(&mut self, log: &mut Log, progress: &Progress) -> Result<bool> {
        let Some(judge) = &self.judge else { return Ok(false) };
        let (step, epoch, seconds) = (self.state.step, self.state.next.epoch, self.state.seconds);
        let views = step * (self.config.train.batch * self.config.views_per_image()) as u64;
        let mut score = judge.encoder(&self.learner.encoder, &self.config, &self.device)?;
        let mut initial_statistics = None;
        if step == 0 && self.config.init.is_none() {
            initial_statistics = Some(score);
            score = judge.untrained(&self.learner.encoder, &self.config, &self.device)?;
        }
        let Score { top1, balanced, photos, error } = score;
        log.write(&EvalRecord {
            kind: "knn",
            step,
            epoch,
            views,
            seconds,
            top1,
            balanced,
            photos,
            top1_error: error,
            protocol: judge.protocol,
            initial_statistics,
        })?;
        progress.say(&format!(
            "step {step:6}  {seconds:7.1} s  {views:8} views  kNN top-1 {top1:.3} ± {error:.3}  balanced {balanced:.3}"
        ));
        let judged = &mut self.state.judged;
        judged.initial_statistics = judged.initial_statistics.or(initial_statistics);
        judged.first = judged.first.or(Some(score));
        judged.last = Some(score);
        judged.at = Some((step, seconds));
        let best = step > 0 && judged.best.is_none_or(|best| top1 > best);
        if best {
            judged.best = Some(top1);
        }
        Ok(best)
    }

    /// How the run was judged; `None` without labelled photos.
    pub(super) fn scores(&self, colour: Option<Score>) -> Option<Scores> {
        let (judged, protocol) = (&self.state.judged, self.judge.as_ref()?.protocol);
        let initial_statistics = judged.initial_statistics;
        let (start, trained) = (judged.first?, judged.last?);
        Some(Scores { start, initial_statistics, trained, colour: colour?, protocol })
    }
}
