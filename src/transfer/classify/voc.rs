//! Multi-label classification of frozen features after the VOC 2007 protocol.

use super::svm::{Rows, Svm};
use crate::error::{Error, Result};
use crate::photos::Photos;
use crate::rng::KeyedRng;
use crate::transfer::metrics::ap::{ApKind, average_precision, mean_of_known};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Features of images with any number of classes each.
#[derive(Clone, Copy, Debug)]
pub struct MultiLabelled<'a> {
    /// `[N, C]`, row-major.
    pub features: &'a [f32],
    /// `[N, classes]`: 1 shows the class, 0 does not, -1 is left out for this class (VOC's "difficult").
    pub labels: &'a [i8],
    /// Number of classes.
    pub classes: usize,
}

impl MultiLabelled<'_> {
    /// Number of images.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none, or features and labels do not divide evenly among them.
    pub fn images(&self) -> Result<usize> {
        let (values, labels) = (self.features.len(), self.labels.len());
        let images = labels.checked_div(self.classes).unwrap_or(0);
        if images > 0 && images * self.classes == labels && values > 0 && values.is_multiple_of(images) {
            return Ok(images);
        }
        let what = format!("{values} feature values and {labels} labels of {} classes", self.classes);
        Err(Error::input(what, "multi-label images", "give at least one image, and as many labels for each"))
    }

    /// The labels of one class, `[N]`.
    fn column(&self, class: usize) -> Vec<i8> {
        self.labels.iter().skip(class).step_by(self.classes).copied().collect()
    }
}

/// Of these classes those that at least so many photos of each set show, and one in any case.
pub fn frequent(classes: &[usize], sets: [(&Photos, usize); 2]) -> Vec<usize> {
    let enough = sets.map(|(photos, least)| {
        let mut counts = vec![0; photos.classes().len()];
        (0..photos.len()).flat_map(|id| photos.labels(id)).for_each(|&class| counts[class] += 1);
        counts.into_iter().map(|count| count >= least.max(1)).collect::<Vec<bool>>()
    });
    classes.iter().copied().filter(|&class| enough.iter().all(|enough| enough[class])).collect()
}

/// The protocol: one linear machine against the rest for each class on l2-normalised features; the cost with the
/// highest mean average precision (the `sum` kind) over the folds of a stratified cross-validation on the training
/// set, of equals the lowest; then a machine on the whole training set, judged on the test set by area and 11 points.
///
/// The defaults are the source's: costs 2^-19 to 2^-4 and 10^-7 to 10^2, 3 folds, squared hinge, positives twice.
/// Decided here: folds are shuffled by the seed; machines stop after 1000 passes instead of 2000.
///
/// # Source
/// Goyal, Mahajan, Gupta and Misra, "Scaling and benchmarking self-supervised visual representation learning", 2019,
/// Section 6.1, and its code, `tools/svm/train_svm_kfold.py`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Voc {
    /// Costs to choose from, ascending.
    pub costs: Vec<f64>,
    /// Parts of the cross-validation.
    pub folds: usize,
    /// The machine.
    pub svm: Svm,
    /// Seed of the folds.
    pub seed: u64,
}

impl Default for Voc {
    fn default() -> Voc {
        let mut costs: Vec<f64> =
            (4..20).map(|n| 0.5f64.powi(n)).chain((-7..=2).map(|n| 10f64.powi(n))).collect();
        costs.sort_by(f64::total_cmp);
        Voc { costs, folds: 3, svm: Svm::default(), seed: 0 }
    }
}

/// The cost of a class that has too few positives to choose one.
const COST_OF_THE_RARE: f64 = 1.0;

/// What was found of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassAp {
    /// Positives among the training images.
    pub train_positives: usize,
    /// Positives among the test images.
    pub test_positives: usize,
    /// The cost chosen.
    pub cost: f64,
    /// Mean average precision over the folds at that cost; `None` if no fold could judge.
    pub cross_validated: Option<f64>,
    /// Area under the precision-recall curve of the test images; `None` without a positive.
    pub area: Option<f64>,
    /// 11-point average precision of the test images.
    pub eleven_point: Option<f64>,
    /// What a random ranking is expected to get: the share of positives among the test images.
    pub chance: f64,
}

/// What was found of all classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VocResult {
    /// Mean of the areas: the figure to report.
    pub map_area: f64,
    /// Mean of the 11-point figures, for comparison with older tables.
    pub map_11point: f64,
    /// Mean of the chances.
    pub chance: f64,
    /// By class.
    pub classes: Vec<ClassAp>,
}

impl Voc {
    /// Machines that one run trains, for its progress.
    pub fn fits(&self, classes: usize) -> usize {
        classes * (self.folds * self.costs.len() + 1)
    }

    /// Trains on `train`, judges on `test`; `watch` hears how many machines are trained, from any thread.
    ///
    /// # Errors
    /// [`Error::Input`] if the sets do not fit together or a constant is out of range; [`Error::Run`] if a feature
    /// is not finite.
    pub fn run(
        &self,
        train: &MultiLabelled,
        test: &MultiLabelled,
        watch: &(dyn Fn(usize) + Sync),
    ) -> Result<VocResult> {
        let (count, test_count) = (train.images()?, test.images()?);
        let (width, test_width) = (train.features.len() / count, test.features.len() / test_count);
        if width != test_width || train.classes != test.classes {
            let what = format!(
                "{width} features and {} classes in training, {test_width} and {} in the test",
                train.classes, test.classes
            );
            return Err(Error::input(what, "multi-label images", "take both from one encoder and one list"));
        }
        self.check()?;
        let rows = Rows::normalized(train.features, width)?;
        let test_rows = Rows::normalized(test.features, width)?;
        let done = AtomicUsize::new(0);
        let tick = || watch(done.fetch_add(1, Ordering::Relaxed) + 1);
        let classes = (0..train.classes)
            .into_par_iter()
            .map(|class| {
                let labels = train.column(class);
                let folds = (0..self.folds)
                    .into_par_iter()
                    .map(|fold| self.judge_fold(&rows, &labels, class, fold, &tick))
                    .collect::<Result<Vec<_>>>()?;
                let found = self.judge_class(&rows, &test_rows, &labels, &test.column(class), &folds);
                tick();
                found
            })
            .collect::<Result<Vec<ClassAp>>>()?;
        let mean =
            |pick: fn(&ClassAp) -> Option<f64>| mean_of_known(&classes.iter().map(pick).collect::<Vec<_>>());
        Ok(VocResult {
            map_area: mean(|c| c.area),
            map_11point: mean(|c| c.eleven_point),
            chance: mean(|c| c.area.map(|_| c.chance)),
            classes,
        })
    }

    /// Refuses constants that no run can have.
    ///
    /// # Errors
    /// [`Error::Input`] if there are less than 2 folds, no cost, or a cost that is not above 0.
    pub fn check(&self) -> Result<()> {
        let sound = |c: &f64| *c > 0.0 && c.is_finite();
        if self.folds < 2 || self.costs.is_empty() || !self.costs.iter().all(sound) {
            let what = format!("{} folds, costs {:?}", self.folds, self.costs);
            return Err(Error::input(what, "voc", "choose at least 2 folds and 1 cost above 0"));
        }
        Ok(())
    }

    /// Average precision in one fold for each cost; `None` where a part has no positive.
    fn judge_fold(
        &self,
        rows: &Rows,
        labels: &[i8],
        class: usize,
        fold: usize,
        tick: &(dyn Fn() + Sync),
    ) -> Result<Vec<Option<f64>>> {
        let fold_of = folds(labels, self.folds, self.seed, class as u64);
        let part = |inside: bool| -> Vec<usize> {
            (0..labels.len()).filter(|&i| labels[i] >= 0 && (fold_of[i] == fold) == inside).collect()
        };
        let (held, kept) = (part(true), part(false));
        let positive: Vec<bool> = kept.iter().map(|&i| labels[i] == 1).collect();
        let held_labels: Vec<i8> = held.iter().map(|&i| labels[i]).collect();
        let mut start: Option<Vec<f64>> = None;
        let judge = |&cost: &f64| {
            tick();
            if !positive.contains(&true) {
                return Ok(None);
            }
            let fit = self.svm.fit(rows, &kept, &positive, cost, start.as_deref());
            let scores = fit.scores(rows, &held);
            start = Some(fit.alpha);
            average_precision(&scores, &held_labels, ApKind::Sum)
        };
        self.costs.iter().map(judge).collect()
    }

    fn judge_class(
        &self,
        rows: &Rows,
        test_rows: &Rows,
        labels: &[i8],
        test_labels: &[i8],
        folds: &[Vec<Option<f64>>],
    ) -> Result<ClassAp> {
        let mut best: Option<(f64, f64)> = None; // cost and its average precision
        for (k, &cost) in self.costs.iter().enumerate() {
            let known: Vec<Option<f64>> = folds.iter().map(|fold| fold[k]).collect();
            let ap = mean_of_known(&known);
            if known.iter().any(Option::is_some) && best.is_none_or(|(_, so_far)| ap > so_far) {
                best = Some((cost, ap));
            }
        }
        let cost = best.map_or(COST_OF_THE_RARE, |(cost, _)| cost);
        let images: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] >= 0).collect();
        let positive: Vec<bool> = images.iter().map(|&i| labels[i] == 1).collect();
        let fit = self.svm.fit(rows, &images, &positive, cost, None);
        let everything: Vec<usize> = (0..test_labels.len()).collect();
        let scores = fit.scores(test_rows, &everything);
        let test_positives = test_labels.iter().filter(|l| **l == 1).count();
        let judged = test_labels.iter().filter(|l| **l >= 0).count();
        Ok(ClassAp {
            train_positives: positive.iter().filter(|p| **p).count(),
            test_positives,
            cost,
            cross_validated: best.map(|(_, ap)| ap),
            area: average_precision(&scores, test_labels, ApKind::Area)?,
            eleven_point: average_precision(&scores, test_labels, ApKind::ElevenPoint)?,
            chance: test_positives as f64 / judged.max(1) as f64,
        })
    }
}

/// The fold of each image: positives and the others are shuffled apart and dealt in turn, so that every fold has its
/// share of both.
fn folds(labels: &[i8], folds: usize, seed: u64, class: u64) -> Vec<usize> {
    let mut rng = KeyedRng::new("folds", seed, [class, 0, 0]);
    let mut all = vec![0; labels.len()];
    for positive in [true, false] {
        let mut group: Vec<usize> = (0..labels.len()).filter(|&i| (labels[i] == 1) == positive).collect();
        rng.shuffle(&mut group);
        for (turn, i) in group.into_iter().enumerate() {
            all[i] = turn % folds;
        }
    }
    all
}

#[cfg(test)]
#[path = "../../../tests/unit/transfer/classify/voc.rs"]
mod tests;
