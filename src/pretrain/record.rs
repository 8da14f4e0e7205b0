//! From a step's report, and from a judgement, to its line in the log.

use super::config::Config;
use super::step::{StepReport, TermReport};
use crate::photos::{Photos, Views};
use crate::run::{Done, Score};
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// One step in the log.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// Always `step`.
    pub kind: &'static str,
    /// Steps done, this one included.
    pub step: u64,
    /// Epoch it belongs to, from 0.
    pub epoch: u64,
    /// Views seen so far.
    pub views: u64,
    /// The whole loss.
    pub loss: f32,
    /// Each term's value.
    pub terms: serde_json::Map<String, serde_json::Value>,
    /// More values of the method, such as SimSiam's `z_std`.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub watch: serde_json::Map<String, serde_json::Value>,
    /// 2-norm of each unweighted term's gradient with respect to the embeddings.
    pub term_gradient_norms: serde_json::Map<String, serde_json::Value>,
    /// 2-norm of the gradient with respect to the parameters.
    pub gradient_norm: f32,
    /// Share of pseudo-positives that share a label with their query, where the photos have labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purity: Option<f64>,
    /// Mean cosine of two views' projections.
    pub cosine: f64,
    /// Effective rank of the projections, see [`super::Dispersion`].
    pub effective_rank: f64,
    /// Learning rate.
    pub lr: f64,
    /// Seconds since training began, judging left out.
    pub seconds: f64,
    /// Images (not views) per second in this step.
    pub images_per_second: f64,
    /// Share of the step's time that was waited for its views.
    pub waiting: f64,
    /// What decoding its photos took of the loader's threads, as a share of the step's time and of the threads.
    pub decoding: f64,
    /// The same that making its views took.
    pub augmenting: f64,
    /// Bytes of tensors in use on the device.
    pub bytes_in_use: u64,
    /// Of each of several ranks, images per second and the share of the step's time that was waited for its views.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<[f64; 2]>,
}

impl StepRecord {
    /// The record of a step.
    pub(super) fn new(
        config: &Config,
        photos: &Photos,
        done: &Done<StepReport, Views>,
        bytes_in_use: u64,
    ) -> StepRecord {
        let Done { report, batch, .. } = done;
        let numbers = |pick: fn(&TermReport) -> f32| -> Map<String, Value> {
            report.terms.iter().map(|term| (term.name.to_string(), Value::from(pick(term)))).collect()
        };
        let images = done.images() as u64;
        let queries: Vec<u64> = done.ranks.iter().flat_map(|rank| &rank.ids).copied().collect();
        let share = |time: Duration| time.as_secs_f64() / done.took.as_secs_f64();
        StepRecord {
            kind: "step",
            step: done.step,
            epoch: batch.position.epoch,
            views: done.step * images * config.image_views().len() as u64,
            loss: report.loss as f32,
            terms: numbers(|term| term.value),
            watch: report.watch.iter().map(|(name, value)| (name.to_string(), Value::from(*value))).collect(),
            term_gradient_norms: numbers(|term| term.gradient_norm),
            gradient_norm: report.gradient_norm,
            purity: purity(photos, &queries, &report.neighbours),
            cosine: report.spread.cosine,
            effective_rank: report.spread.rank,
            lr: done.now.lr,
            seconds: done.seconds,
            images_per_second: images as f64 / done.took.as_secs_f64(),
            waiting: share(done.waited),
            decoding: share(batch.decoding) / done.threads as f64,
            augmenting: share(batch.augmenting) / done.threads as f64,
            bytes_in_use,
            ranks: done.of_ranks(),
        }
    }
}

/// The encoder judged by kNN.
#[derive(Clone, Debug, Serialize)]
pub struct EvalRecord {
    /// Always `knn`.
    pub kind: &'static str,
    /// Steps done.
    pub step: u64,
    /// Whole epochs done.
    pub epoch: u64,
    /// Views seen so far.
    pub views: u64,
    /// Seconds since training began, judging left out.
    pub seconds: f64,
    /// Share of photos classified rightly.
    pub top1: f64,
    /// Mean over classes of the share classified rightly.
    pub balanced: f64,
    /// Photos judged.
    pub photos: usize,
    /// Standard error of `top1`.
    pub top1_error: f64,
    /// Which photos those are.
    pub protocol: &'static str,
    /// At step 0 of a run from random weights: the same with batch norm's statistics at 0 and 1, beside those of photos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_statistics: Option<Score>,
    /// At step 0: the floor that needs no network, colour histograms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<Score>,
}

/// Share of the images taken for positives that share a label with their query; `None` where no label is known.
/// Slots with their random start count as not shared.
fn purity(photos: &Photos, queries: &[u64], neighbours: &[Option<u64>]) -> Option<f64> {
    if neighbours.is_empty() || photos.classes().is_empty() {
        return None;
    }
    let k = neighbours.len() / queries.len();
    let shared = |query: u64, other: u64| {
        let labels = photos.labels(query as usize);
        photos.labels(other as usize).iter().any(|label| labels.contains(label))
    };
    let pairs = queries.iter().zip(neighbours.chunks(k));
    let count: usize = pairs.map(|(&q, near)| near.iter().flatten().filter(|&&n| shared(q, n)).count()).sum();
    Some(count as f64 / neighbours.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purity_counts_neighbours_that_share_a_label() {
        let photo = |labels: &[usize]| ("x.png".to_string(), Vec::new(), labels.to_vec());
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let photos = Photos::from_bytes(vec![photo(&[0, 1]), photo(&[1]), photo(&[2]), photo(&[])], classes);
        let near = [Some(1), Some(2), None, Some(3), Some(2), Some(0)]; // of photo 0, then of photo 2
        assert_eq!(purity(&photos, &[0, 2], &near), Some(2.0 / 6.0));
        assert_eq!(purity(&photos, &[0, 2], &[]), None);
        let unlabelled = Photos::from_bytes(vec![photo(&[]); 3], Vec::new());
        assert_eq!(purity(&unlabelled, &[0, 2], &near), None);
    }
}
