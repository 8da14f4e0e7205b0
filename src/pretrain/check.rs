//! Values that no run can have.

use super::config::{Config, Method};
use crate::engine::ops::top_k::{MAX_COLUMNS, MAX_K};
use crate::error::{Error, Result};
use crate::pretrain::objective::{KeyViews, LossTerm};
use crate::topic::Topic;

/// LIMIT: images in a batch.
const MAX_BATCH: usize = 1 << 20;
/// LIMIT: views of an image.
const MAX_VIEWS: usize = 1 << 10;

impl Config {
    /// Refuses values that no run can have.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first key that does not fit and why.
    pub fn check(&self) -> Result<()> {
        self.check_batch()?;
        self.check_objective()?;
        self.check_queue()?;
        if self.model.width == 0 || self.model.projection == 0 {
            return refuse("model", "a width of 0", "set model.width to 64 and model.projection to 128");
        }
        if self.init_prefix.is_some() && self.init.is_none() {
            return refuse("init_prefix", "a prefix of names without their file", "give --init too");
        }
        if self.optimizer.lr.is_nan() || self.optimizer.lr < 0.0 {
            return refuse("optimizer.lr", "the learning rate must not be negative", "set it to 0.001");
        }
        if self.eval.knn_k == 0 || self.eval.knn_tau.is_nan() || self.eval.knn_tau <= 0.0 {
            let what = "kNN needs at least one neighbour and a temperature above 0";
            return refuse("eval", what, "set knn_k = 20, knn_tau = 0.07");
        }
        if let Some(second) = &self.second_view
            && second.size != self.views.size
        {
            let what = format!("views of {} and of {} pixels", self.views.size, second.size);
            return refuse("second_view.size", &what, "make it views.size, or use --image-size");
        }
        self.image_views().iter().try_for_each(|view| view.check())
    }

    fn check_batch(&self) -> Result<()> {
        let (train, splits) = (&self.train, self.objective.bn_splits);
        if train.batch < 2 {
            let what = "a batch of less than 2 has no negatives and no batch statistics";
            return explained(Topic::Objective, "train.batch", what, "raise --batch");
        }
        if train.batch > MAX_BATCH || train.views > MAX_VIEWS {
            let what = format!("{} images of {} views", train.batch, train.views);
            let advice = format!("choose at most {MAX_BATCH} and {MAX_VIEWS}");
            return refuse("train", &what, &advice);
        }
        let name = self.objective.name;
        if matches!(name, Method::S2r2 | Method::Swav) && train.views < 2 {
            let what = "this method needs at least 2 views of each image";
            return explained(Topic::Objective, "train.views", what, "raise --views");
        }
        if let (Method::Swav, Some(small)) = (name, self.small_views)
            && train.views < small.count.saturating_add(2)
        {
            let what = format!("{} views of each image, {} of them small", train.views, small.count);
            return refuse("train.views", &what, "SwAV needs two full ones beside the small ones");
        }
        if splits == 0 || !self.query_rows().is_multiple_of(splits) {
            let what = format!("{splits} groups do not divide the {} views of a pass", self.query_rows());
            return explained(Topic::Train, "objective.bn_splits", &what, "choose a divisor");
        }
        Ok(())
    }

    fn check_objective(&self) -> Result<()> {
        let objective = &self.objective;
        if objective.tau.is_nan() || objective.tau <= 0.0 {
            let advice = "set it to 0.2 (MLS, MoCo), 0.05 (S2R2), 0.5 (SimCLR) or 0.1 (SwAV)";
            return refuse("objective.tau", "the temperature must be above 0", advice);
        }
        if objective.lambda.is_nan() || objective.lambda < 0.0 {
            return refuse("objective.lambda", "a weight must not be negative", "set it to 0.5");
        }
        if !(0.0..=1.0).contains(&objective.m) {
            let what = "the share that stays must be from 0 to 1";
            return explained(Topic::Encoder, "objective.m", what, "set it to 0.995");
        }
        if objective.name == Method::Densecl && objective.lambda > 1.0 {
            return refuse(
                "objective.lambda",
                "the share of the dense term must be from 0 to 1",
                "set it to 0.5",
            );
        }
        if objective.name == Method::Swav {
            if self.model.prototypes < 2 {
                return refuse("model.prototypes", "SwAV needs at least 2 prototypes", "set it to 512");
            }
            if objective.sinkhorn_eps.is_nan()
                || objective.sinkhorn_eps <= 0.0
                || objective.sinkhorn_iterations == 0
            {
                let what = "Sinkhorn's algorithm needs an entropy above 0 and an iteration";
                return refuse(
                    "objective.sinkhorn_eps",
                    what,
                    "set sinkhorn_eps = 0.05, sinkhorn_iterations = 3",
                );
            }
        }
        Ok(())
    }

    fn check_queue(&self) -> Result<()> {
        let (objective, needs) = (&self.objective, self.objective(0).needs());
        if needs.rings == crate::pretrain::queue::Rings::default() {
            return Ok(());
        }
        let enqueued = self.train.batch * if needs.keys == KeyViews::None { 2 } else { 1 };
        if objective.queue < enqueued {
            let what =
                format!("a queue of {} is smaller than the {enqueued} keys of a step", objective.queue);
            return explained(Topic::Queue, "objective.queue", &what, "raise it or lower --batch");
        }
        if self.half.queue && !self.model.projection.is_multiple_of(2) {
            let what = format!("keys of {} elements are not whole words of two f16", self.model.projection);
            return explained(Topic::Half, "half.queue", &what, "choose an even model.projection");
        }
        if objective.name == Method::Mls && objective.term != LossTerm::None {
            if objective.k == 0 || objective.k > objective.queue.min(MAX_K) {
                let what = format!("k = {} pseudo-positives of a queue of {}", objective.k, objective.queue);
                let advice = "choose k from 1 to the smaller of 64 and the queue";
                return explained(Topic::Objective, "objective.k", &what, advice);
            }
            if objective.queue > MAX_COLUMNS {
                let what = format!("a queue of {} slots", objective.queue);
                return refuse("objective.queue", &what, "choose at most 65536 for MLS");
            }
        }
        Ok(())
    }
}

fn refuse(key: &str, what: &str, advice: &str) -> Result<()> {
    Err(Error::input(what, key, advice))
}

fn explained(topic: Topic, key: &str, what: &str, advice: &str) -> Result<()> {
    refuse(key, what, advice).map_err(|error| error.see(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_refused_with_advice() {
        let demo = Config::preset("demo").expect("preset");
        for setting in ["train.batch=1", "train.views=1", "objective.tau=0", "eval.knn_k=0", "model.width=0"]
        {
            let message = demo.with(setting).expect("parsed").check().unwrap_err().to_string();
            assert!(message.matches(": ").count() >= 2, "{message}");
        }
        for (method, settings) in [
            ("mls", ["objective.k=300", "objective.k=65", "objective.queue=8", "objective.bn_splits=3"]),
            (
                "swav",
                ["model.prototypes=1", "objective.sinkhorn_eps=0", "train.views=3", "objective.queue=9"],
            ),
            ("densecl", ["objective.lambda=2", "objective.m=2", "objective.lambda=nan", "objective.queue=8"]),
        ] {
            let config = demo.with_method(method).expect("method");
            config.check().expect("the method's own values");
            for setting in settings {
                assert!(config.with(setting).expect("parsed").check().is_err(), "{method} {setting}");
            }
        }
    }

    #[test]
    fn a_size_of_views_is_one_for_all_views_that_are_compared() {
        let demo = Config::preset("demo").expect("preset").with_size(64);
        let byol = demo.with_method("byol").expect("method");
        assert_eq!(byol.image_views().iter().map(|view| view.size).collect::<Vec<_>>(), [64, 64]);
        let swav = demo.with_method("swav").expect("method").with_size(96);
        assert_eq!(swav.small_views.map(|small| small.size), Some(48));
        let uneven = byol.with("second_view.size=32").expect("parsed");
        assert!(uneven.check().unwrap_err().to_string().contains("second_view.size"));
    }
}
