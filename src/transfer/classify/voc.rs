//! Multi-label classification of frozen features after the VOC 2007 protocol.
//!
//! ```
//! # use vista::transfer::classify::{MultiLabelled, Voc};
//! let features: Vec<f32> = (0..12).flat_map(|i| if i % 2 == 0 { [1.0, 0.1] } else { [0.1, 1.0] }).collect();
//! let labels: Vec<i8> = (0..12).map(|i| i8::from(i % 2 == 0)).collect(); // the one class of every second image
//! let photos = MultiLabelled { features: &features, labels: &labels, classes: 1 };
//! assert_eq!(Voc::default().run(&photos, &photos, &|_| {})?.map_area, 1.0);
//! # Ok::<(), vista::Error>(())
//! ```

use super::svm::{CostPath, Rows, Svm, Trained};
use crate::error::{Error, Result};
use crate::photos::Photos;
use crate::rng::KeyedRng;
use crate::transfer::metrics::ap::{ApKind, average_precision, mean_of_known};
use serde::{Deserialize, Serialize};
use std::sync::Mutex;
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
        let labels: Vec<Vec<i8>> = (0..train.classes).map(|class| train.column(class)).collect();
        let cross_validated = self.cross_validate(&rows, &labels, &tick)?;
        let chosen = |ap: &Vec<Option<f64>>| self.best(ap).map_or(COST_OF_THE_RARE, |(cost, _)| cost);
        let paths = labels.iter().zip(&cross_validated).map(|(labels, ap)| {
            let signs = labels.iter().map(|&label| sign(label)).collect();
            CostPath { signs, costs: vec![chosen(ap)] }
        });
        let paths: Vec<CostPath> = paths.collect();
        let machines = Mutex::new(vec![0.0; train.classes * (width + 1)]);
        self.svm.fit_paths(&rows, &paths, &|machine: Trained| {
            let mut all = machines.lock().expect("no thread panics with it");
            all[machine.path * (width + 1)..][..width + 1].copy_from_slice(machine.w);
            tick();
            Ok(())
        })?;
        let scores = test_rows.scores(&machines.into_inner().expect("no thread panics with it"));
        let classes = (0..train.classes)
            .map(|class| {
                let (labels, test_labels) = (&labels[class], test.column(class));
                let scores = &scores[class * test_count..][..test_count];
                let test_positives = test_labels.iter().filter(|l| **l == 1).count();
                let judged = test_labels.iter().filter(|l| **l >= 0).count();
                Ok(ClassAp {
                    train_positives: labels.iter().filter(|l| **l == 1).count(),
                    test_positives,
                    cost: paths[class].costs[0],
                    cross_validated: self.best(&cross_validated[class]).map(|(_, ap)| ap),
                    area: average_precision(scores, &test_labels, ApKind::Area)?,
                    eleven_point: average_precision(scores, &test_labels, ApKind::ElevenPoint)?,
                    chance: test_positives as f64 / judged.max(1) as f64,
                })
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

    /// Mean average precision over the folds, for each class and cost; `None` where no fold has positives in both its parts.
    fn cross_validate(
        &self,
        rows: &Rows,
        labels: &[Vec<i8>],
        tick: &(dyn Fn() + Sync),
    ) -> Result<Vec<Vec<Option<f64>>>> {
        let of_class = |(class, labels): (usize, &Vec<i8>)| -> Vec<(CostPath, Vec<i8>)> {
            let fold_of = folds(labels, self.folds, self.seed, class as u64);
            let part = |fold: usize| {
                let inside = |i: usize| fold_of[i] == fold;
                let kept = (0..labels.len()).map(|i| if inside(i) { 0 } else { sign(labels[i]) });
                let held = (0..labels.len()).map(|i| if inside(i) { labels[i] } else { -1 });
                let (signs, held): (Vec<i8>, Vec<i8>) = kept.zip(held).unzip();
                // Without a positive there is nothing to learn.
                let costs = if signs.contains(&1) { self.costs.clone() } else { Vec::new() };
                (CostPath { signs, costs }, held)
            };
            (0..self.folds).map(part).collect()
        };
        let (paths, held): (Vec<CostPath>, Vec<Vec<i8>>) =
            labels.iter().enumerate().flat_map(of_class).unzip();
        let found = Mutex::new(vec![vec![None; self.costs.len()]; paths.len()]);
        self.svm.fit_paths(rows, &paths, &|machine: Trained| {
            let ap = average_precision(machine.scores, &held[machine.path], ApKind::Sum)?;
            found.lock().expect("no thread panics with it")[machine.path][machine.cost] = ap;
            tick();
            Ok(())
        })?;
        paths.iter().filter(|p| p.costs.is_empty()).flat_map(|_| &self.costs).for_each(|_| tick());
        let found = found.into_inner().expect("no thread panics with it");
        let mean = |folds: &[Vec<Option<f64>>], k: usize| {
            let known: Vec<Option<f64>> = folds.iter().map(|fold| fold[k]).collect();
            known.iter().any(Option::is_some).then(|| mean_of_known(&known))
        };
        let of_class = |folds: &[Vec<Option<f64>>]| (0..self.costs.len()).map(|k| mean(folds, k)).collect();
        Ok(found.chunks(self.folds).map(of_class).collect())
    }

    /// The cost with the highest average precision, of equals the first, with it.
    fn best(&self, ap: &[Option<f64>]) -> Option<(f64, f64)> {
        let known = self.costs.iter().zip(ap).filter_map(|(&cost, ap)| Some((cost, (*ap)?)));
        known.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }
}

/// The side of an image on which a machine is trained; 0 if it is left out.
fn sign(label: i8) -> i8 {
    match label {
        1 => 1,
        0 => -1,
        _ => 0,
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
