//! Judging an encoder on the way, beside colours alone.

use super::trainer::Trainer;
use crate::error::Result;
use crate::run::{EvalRecord, Log, Progress};
use crate::run::{Score, Scores};

impl Trainer {
    /// kNN of the labelled photos; whether it is the best of the run's so far.
    pub(super) fn judge(&mut self, log: &mut Log, progress: &Progress) -> Result<bool> {
        let Some(judge) = &self.judge else { return Ok(false) };
        let (step, epoch, seconds) = (self.state.step, self.state.next.epoch, self.state.seconds);
        let views = step * (self.config.train.batch * self.config.image_views().len()) as u64;
        let mut score = judge.judge(&self.learner.net, &self.device)?;
        let mut initial_statistics = None;
        if step == 0 && self.config.init.is_none() {
            initial_statistics = Some(score);
            score = judge.untrained(&self.learner.net, &self.device)?;
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
            protocol: judge.protocol(),
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
        let judged = &self.state.judged;
        let initial_statistics = judged.initial_statistics;
        let (start, trained) = (judged.first?, judged.last?);
        Some(Scores { start, initial_statistics, trained, colour: colour? })
    }
}
