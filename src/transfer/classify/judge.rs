//! kNN as the judge of a training.

use super::{Features, Knn, KnnProtocol, Votes, colour_features, features, precise_statistics};
use crate::engine::device::Device;
use crate::engine::exchange::Exchange;
use crate::engine::nn::{Module, Param, ResNet};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::photos::Album;
use crate::photos::views::ViewConfig;
use crate::run::{Judge, Score};

/// Labelled photos and the classifier by which a training is judged.
#[derive(Debug)]
pub struct KnnJudge {
    /// Photos that vote.
    pub train: Album,
    /// Photos that are judged.
    pub test: Album,
    /// The classifier.
    pub knn: Knn,
    /// Which photos are judged among which.
    pub protocol: KnnProtocol,
    /// Their views: size, mean and deviation.
    pub views: ViewConfig,
}

impl KnnJudge {
    fn score(&self, device: &Device, train: &Features, test: &Features) -> Result<Score> {
        let votes = self.protocol.votes(&self.knn, device, train, test)?;
        let Votes { predicted, top1, balanced, error, .. } = votes;
        Ok(Score { top1, balanced, photos: predicted.len(), error })
    }
}

impl Judge for KnnJudge {
    fn albums(&self) -> [&Album; 2] {
        [&self.train, &self.test]
    }

    fn protocol(&self) -> &'static str {
        self.protocol.name()
    }

    fn judge(&self, net: &ResNet, device: &Device, ranks: &dyn Exchange) -> Result<Score> {
        let of = |album| features(net, album, &self.views, device, ranks);
        self.score(device, &of(&self.train)?, &of(&self.test)?)
    }

    fn untrained(&self, net: &ResNet, device: &Device, ranks: &dyn Exchange) -> Result<Score> {
        let before: Vec<(Param, Tensor)> =
            net.state().into_iter().map(|param| (param.clone(), param.get())).collect();
        let score = precise_statistics(net, &self.train, &self.views, device)
            .and_then(|()| self.judge(net, device, ranks));
        before.into_iter().try_for_each(|(param, value)| param.set(value))?;
        score
    }

    fn colour(&self, device: &Device) -> Result<Score> {
        self.score(device, &colour_features(&self.train)?, &colour_features(&self.test)?)
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/judge.rs"]
mod tests;
