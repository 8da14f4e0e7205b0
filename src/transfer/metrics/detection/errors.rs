//! Where a detector is wrong, photo by photo.

use std::collections::BTreeMap;

use super::{Detection, Truth, iou};

/// What was found on one photo and what was not, each as places in the lists that were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhotoErrors {
    /// Which photo.
    pub photo: usize,
    /// Detections of an object, the best one of each.
    pub right: Vec<usize>,
    /// Detections of nothing, of another class, too far off, or of an object that was found before.
    pub wrong: Vec<usize>,
    /// Objects without a detection.
    pub missed: Vec<usize>,
    /// How bad it is: 1 for each object that was missed and the score of each detection that is wrong.
    pub cost: f64,
}

/// The photos that have objects or detections, the worst first, of equal ones the one of the lower number. Detections of a score
/// below `least` are left out, so an object is missed if it was not found that surely; scores are taken to lie between 0 and 1.
///
/// Boxes are compared as COCO does at an IoU of .5: by descending score each detection takes the object of its class with the
/// largest IoU that is left. A crowd or a difficult object is never missed, and what lies on it is neither right nor wrong.
pub fn errors(truths: &[Truth], detections: &[Detection], least: f64) -> Vec<PhotoErrors> {
    let mut photos: BTreeMap<usize, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (i, truth) in truths.iter().enumerate() {
        photos.entry(truth.photo).or_default().0.push(i);
    }
    for (i, found) in detections.iter().enumerate().filter(|(_, found)| found.score >= least) {
        photos.entry(found.photo).or_default().1.push(i);
    }
    let mut all: Vec<PhotoErrors> = photos
        .into_iter()
        .map(|(photo, (here, mut found))| {
            let mut errors = PhotoErrors { photo, ..PhotoErrors::default() };
            found.sort_by(|&a, &b| detections[b].score.total_cmp(&detections[a].score));
            let [mut left, ignored]: [Vec<usize>; 2] = [true, false]
                .map(|counts| here.iter().copied().filter(|&i| truths[i].counts() == counts).collect());
            for i in found {
                let overlap = |truth: &usize| {
                    let truth = &truths[*truth];
                    let same = truth.class == detections[i].class;
                    if same { iou(&detections[i].rect, &truth.rect, truth.crowd) } else { 0.0 }
                };
                let best = (0..left.len()).max_by(|&a, &b| overlap(&left[a]).total_cmp(&overlap(&left[b])));
                match best.filter(|&best| overlap(&left[best]) >= 0.5) {
                    Some(best) => {
                        left.swap_remove(best);
                        errors.right.push(i);
                    }
                    None if ignored.iter().any(|truth| overlap(truth) >= 0.5) => {}
                    None => errors.wrong.push(i),
                }
            }
            left.sort_unstable();
            errors.cost = left.len() as f64 + errors.wrong.iter().map(|&i| detections[i].score).sum::<f64>();
            errors.missed = left;
            errors
        })
        .collect();
    all.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    all
}
