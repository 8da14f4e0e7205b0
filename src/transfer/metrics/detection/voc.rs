//! Pascal VOC's measure.

use std::collections::{HashMap, HashSet};

use super::{ClassAp, Detection, DetectionAp, IOUS, Truth, check, iou};
use crate::error::Result;
use crate::transfer::metrics::ApKind;
use crate::transfer::metrics::ap::{area_below, points};

/// How well objects were found, by VOC's rules: `AP`, the mean over [`IOUS`], and `AP50` and `AP75`, each a mean over classes.
///
/// - By descending score each detection takes the object of its class and photo with the largest IoU, *even if that is taken*. Above the
///   threshold it is right the first time and wrong later; not above it, it is wrong.
/// - An object that is difficult, or a crowd, is not to be found, and a detection of it counts nothing.
/// - A class without detections has 0; one without objects to be found does not enter the means.
/// - VOC's boxes are whole pixels, both ends inside, counted from 1: [`Truth::rect`] is `[xmin - 1, ymin - 1, xmax - xmin + 1,
///   ymax - ymin + 1]`.
/// - Detections of equal score enter the curve together.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if a class is beyond the count, [`Error::Run`](crate::Error::Run) if a score or a box is no
/// number.
/// # Source
/// VOC 2007's development kit (`VOCevaldet`), at one IoU; at ten, detectron2's `PascalVOCDetectionEvaluator`.
pub fn voc(truths: &[Truth], detections: &[Detection], classes: usize, kind: ApKind) -> Result<DetectionAp> {
    check(truths, detections, classes)?;
    let mut objects: Vec<Objects> = vec![HashMap::new(); classes];
    for (i, truth) in truths.iter().enumerate() {
        objects[truth.class].entry(truth.photo).or_default().push((i, truth));
    }
    let mut found: Vec<Vec<&Detection>> = vec![Vec::new(); classes];
    for detection in detections {
        found[detection.class].push(detection);
    }
    let classes = objects.iter().zip(&mut found).map(|(objects, found)| class_ap(objects, found, kind));
    let mut all = DetectionAp { summary: Vec::new(), classes: classes.collect(), text: String::new() };
    all.summary = vec![
        ("AP", all.mean(ClassAp::mean)),
        ("AP50", all.mean(|class| class.at(50))),
        ("AP75", all.mean(|class| class.at(75))),
    ];
    let line = |(name, value): &(&str, Option<f64>)| match value {
        Some(share) => format!("{name:4} = {:.3}", 100.0 * share),
        None => format!("{name:4} = nan"),
    };
    all.text = all.summary.iter().map(line).collect::<Vec<_>>().join("\n");
    Ok(all)
}

/// The objects of a class by photo, each with its place among all.
type Objects<'t> = HashMap<usize, Vec<(usize, &'t Truth)>>;

fn class_ap(objects: &Objects, found: &mut [&Detection], kind: ApKind) -> Option<ClassAp> {
    let positives = objects.values().flatten().filter(|(_, truth)| truth.counts()).count();
    if positives == 0 {
        return None;
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let scores: Vec<f64> = found.iter().map(|detection| detection.score).collect();
    // The object of largest IoU, of equal ones the first; whatever the threshold, for it may be taken.
    let best = |detection: &&Detection| {
        let here = objects.get(&detection.photo).into_iter().flatten();
        let overlaps = here.map(|&(i, truth)| (iou(&detection.rect, &truth.rect, false), i, truth));
        overlaps.reduce(|best, next| if next.0 > best.0 { next } else { best })
    };
    let best: Vec<Option<(f64, usize, &Truth)>> = found.iter().map(best).collect();
    let curves = IOUS.map(|threshold| {
        let threshold = f64::from(threshold) / 100.0;
        let mut taken = HashSet::new();
        let mut label = |best: &Option<(f64, usize, &Truth)>| match best {
            Some((iou, i, truth)) if *iou > threshold => match truth.counts() {
                true => i8::from(taken.insert(*i)),
                false => -1,
            },
            _ => 0,
        };
        let labels: Vec<i8> = best.iter().map(&mut label).collect();
        points(&scores, &labels)
    });
    let ap = curves.each_ref().map(|points| area_below(points, positives, kind));
    let shares = |&(hits, n): &(usize, usize)| [hits as f64 / positives as f64, hits as f64 / n as f64];
    Some(ClassAp { ap, curves: curves.map(|points| points.iter().map(shares).collect()) })
}
