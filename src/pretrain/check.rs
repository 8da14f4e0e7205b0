//! Values that no run can have.

use super::config::Config;
use super::method::HalfConfig;
use crate::error::{Error, Result};
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
        // ORDER: a method may have any number of views until it has been asked.
        self.method.check(self.train.batch, &self.half)?;
        self.check_batch()?;
        if self.model.width == 0 {
            return refuse("model.width", "a width of 0", "set it to 64");
        }
        if self.init_prefix.is_some() && self.init.is_none() {
            return refuse("init_prefix", "a prefix of names without their file", "give --init too");
        }
        if self.optimizer.lr.is_nan() || self.optimizer.lr < 0.0 {
            return refuse("optimizer.lr", "the learning rate must not be negative", "set it to 0.001");
        }
        let share = self.optimizer.warmup_share;
        if !(0.0..=1.0).contains(&share) || (share > 0.0 && self.optimizer.warmup_steps > 0) {
            let what = "a warm-up is a share of the run, from 0 to 1, or a number of steps";
            return refuse("optimizer.warmup_share", what, "set it to 0.05 and optimizer.warmup_steps to 0");
        }
        if self.eval.knn_k == 0 || self.eval.knn_tau.is_nan() || self.eval.knn_tau <= 0.0 {
            let what = "kNN needs at least one neighbour and a temperature above 0";
            return refuse("eval", what, "set knn_k = 20, knn_tau = 0.07");
        }
        self.image_views().iter().try_for_each(|view| view.check())
    }

    fn check_batch(&self) -> Result<()> {
        let train = &self.train;
        if train.batch < 2 {
            let what = "a batch of less than 2 has no negatives and no batch statistics";
            return explained(Topic::Method, "train.batch", what, "raise --batch");
        }
        if train.batch > MAX_BATCH {
            let what = format!("{} images", train.batch);
            return refuse("train.batch", &what, &format!("choose at most {MAX_BATCH}"));
        }
        if train.groups == 0 || !self.query_rows().is_multiple_of(train.groups) {
            let what =
                format!("{} groups do not divide the {} views of a pass", train.groups, self.query_rows());
            return explained(Topic::Train, "train.groups", &what, "choose a divisor");
        }
        Ok(())
    }
}

/// Refuses a temperature that is not above 0.
pub(super) fn check_tau(tau: f32, usual: f32) -> Result<()> {
    match tau > 0.0 {
        true => Ok(()),
        false => refuse("method.tau", "the temperature must be above 0", &format!("set it to {usual}")),
    }
}

/// Refuses a weight outside of 0 to `most`.
pub(super) fn check_weight(key: &str, weight: f32, most: f32) -> Result<()> {
    match (0.0..=most).contains(&weight) {
        true => Ok(()),
        false if most.is_finite() => refuse(key, &format!("it must be from 0 to {most}"), "set it to 0.5"),
        false => refuse(key, "a weight must not be negative", "set it to 0.5"),
    }
}

/// Refuses a share of the key encoder outside of 0 to 1.
pub(super) fn check_momentum(m: f64) -> Result<()> {
    match (0.0..=1.0).contains(&m) {
        true => Ok(()),
        false => {
            let what = "the share that stays must be from 0 to 1";
            explained(Topic::Encoder, "method.m", what, "set it to 0.995")
        }
    }
}

/// Refuses a number of views of each image.
pub(super) fn check_views(views: usize, least: usize) -> Result<()> {
    match (least..=MAX_VIEWS).contains(&views) {
        true => Ok(()),
        false => {
            let what = format!("{views} views: this method needs {least} to {MAX_VIEWS} of each image");
            explained(Topic::Method, "method.views", &what, "choose another --views")
        }
    }
}

/// Refuses a queue that is smaller than the keys of a step, or keys that can't be kept as f16.
pub(super) fn check_queue(half: &HalfConfig, slots: usize, enqueued: usize, projection: usize) -> Result<()> {
    if slots < enqueued {
        let what = format!("a queue of {slots} is smaller than the {enqueued} keys of a step");
        return explained(Topic::Queue, "method.queue", &what, "raise it or lower --batch");
    }
    if half.queue && !projection.is_multiple_of(2) {
        let what = format!("keys of {projection} elements are not whole words of two f16");
        return explained(Topic::Half, "half.queue", &what, "choose an even method.projection");
    }
    Ok(())
}

pub(super) fn refuse(key: &str, what: &str, advice: &str) -> Result<()> {
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
        for setting in ["train.batch=1", "method.views=1", "method.tau=0", "eval.knn_k=0", "model.width=0"] {
            let message = demo.with(setting).expect("parsed").check().unwrap_err().to_string();
            assert!(message.matches(": ").count() >= 2, "{message}");
        }
        for (method, settings) in [
            ("mls", ["method.k=300", "method.k=65", "method.queue=8", "train.groups=3"]),
            ("swav", ["method.prototypes=1", "method.sinkhorn_eps=0", "method.views=3", "method.queue=9"]),
            ("densecl", ["method.lambda=2", "method.m=2", "method.lambda=nan", "method.queue=8"]),
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
        let demo = Config::preset("demo").expect("preset");
        for (method, sizes) in [("byol", vec![64; 2]), ("swav", vec![64, 64, 32, 32, 32, 32])] {
            let config = demo.with_method(method).expect("method").with("views.size=64").expect("size");
            assert_eq!(config.image_views().iter().map(|view| view.size).collect::<Vec<_>>(), sizes);
        }
    }
}
