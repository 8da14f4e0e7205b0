//! How well objects are found: average precision of boxes and of masks, as COCO and as Pascal VOC measure it.
//!
//! | file | part |
//! |---|---|
//! | [`coco`](fn@coco) | COCO's twelve numbers, of boxes or masks, to pycocotools' last bit (crate `hotcoco`) |
//! | [`voc`](fn@voc) | VOC's average precision at IoU .5:.05:.95, by 11 points or by area |
//! | [`errors`](fn@errors) | what was missed and what is wrong, the worst photo first |
//! | [`results`] | COCO's results file, written and read |
//!
//! **Why so.** A detection counts if it overlaps an object of its class by an IoU = intersection / union of at least a threshold. With
//! all detections of a class, in all photos, in one order by score, precision = right / found and recall =
//! right / objects make a curve, average precision is the area below it. It is taken over the whole set: a mean over photos or
//! batches is another number.
//!
//! **The trap.** Three rules that are easily missed: of a COCO class at most 100 detections a photo count; an object that is a crowd, difficult or
//! outside the sizes in question is neither found nor missed, and a detection on it is neither right nor wrong; COCO
//! gives a detection the best object that is *left*, VOC the best of all, taken or not.
//!
//! **The test.** Golden cases of pycocotools and of detectron2's rule in `tests/conformance` (`coco_box_ap`, `coco_segm_ap`, `voc_box_ap`);
//! `tests/unit/transfer/metrics/detection` for ties, empty sets and bad numbers.
//!
//! ```
//! # use vista::transfer::metrics::detection::{Detection, Measure, Truth, coco};
//! let cat = Truth::new(0, 0, [10.0, 10.0, 50.0, 40.0]); // photo 0, class 0, a box
//! let found = Detection { photo: 0, class: 0, rect: [12.0, 10.0, 50.0, 40.0], score: 0.9, mask: None };
//! let ap = coco(&[cat], &[found], 1, Measure::Box)?; // IoU 48 / 52
//! assert!((ap.value("AP").expect("an object") - 0.9).abs() < 1e-12); // missed at IoU .95 alone
//! assert_eq!(ap.value("APs"), None); // there is no small object
//! # Ok::<(), vista::Error>(())
//! ```

mod coco;
mod errors;
pub mod results;
mod voc;

pub use coco::{Measure, coco};
pub use errors::{PhotoErrors, errors};
pub use voc::voc;

use super::mean_of_known;
use crate::error::{Error, Result};
use crate::photos::Rle;

/// The IoUs at which average precision is taken, in hundredths: .50, .55, .., .95.
pub const IOUS: [u32; 10] = [50, 55, 60, 65, 70, 75, 80, 85, 90, 95];

/// An object that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Which photo.
    pub photo: usize,
    /// Which class.
    pub class: usize,
    /// x, y, width and height in pixels of the photo; (0, 0) is its upper left corner, pixel i covers [i, i + 1].
    pub rect: [f64; 4],
    /// In pixels, as the annotation says: the mask's in COCO, also where boxes are judged.
    pub area: f64,
    /// Many objects as one, which may be found or not.
    pub crowd: bool,
    /// Too difficult to count, VOC's mark; COCO's measure knows no such thing.
    pub difficult: bool,
    /// Its pixels.
    pub mask: Option<Rle>,
}

impl Truth {
    /// A plain box: no crowd, not difficult, the box's area, no mask.
    pub fn new(photo: usize, class: usize, rect: [f64; 4]) -> Truth {
        Truth { photo, class, rect, area: rect[2] * rect[3], crowd: false, difficult: false, mask: None }
    }

    /// Whether it is to be found, by VOC's rule.
    fn counts(&self) -> bool {
        !self.difficult && !self.crowd
    }
}

/// An object that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Which photo.
    pub photo: usize,
    /// Which class.
    pub class: usize,
    /// As [`Truth::rect`].
    pub rect: [f64; 4],
    /// How sure, on any scale.
    pub score: f64,
    /// Its pixels.
    pub mask: Option<Rle>,
}

/// How well the objects of a set were found.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectionAp {
    /// Names and values, as shares: [`coco`](fn@coco)'s twelve, [`voc`](fn@voc)'s three. `None` where there is no object to find.
    pub summary: Vec<(&'static str, Option<f64>)>,
    /// Of each class; `None` without an object to find.
    pub classes: Vec<Option<ClassAp>>,
    /// The summary as the measure's own program prints it.
    pub text: String,
}

/// How well the objects of one class were found.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassAp {
    /// At each of [`IOUS`].
    pub ap: [f64; IOUS.len()],
    /// At each of [`IOUS`], recall and precision by rising recall; COCO's at 101 recalls, precision made non-increasing.
    pub curves: [Vec<[f64; 2]>; IOUS.len()],
}

impl DetectionAp {
    /// A number of the summary by its name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.summary.iter().find(|(known, _)| *known == name)?.1
    }

    /// Mean over the classes of what is said of one; `None` if none has an object.
    fn mean(&self, of: impl Fn(&ClassAp) -> f64) -> Option<f64> {
        let known: Vec<Option<f64>> = self.classes.iter().map(|class| class.as_ref().map(&of)).collect();
        known.iter().any(Option::is_some).then(|| mean_of_known(&known))
    }
}

impl ClassAp {
    /// Mean over all of [`IOUS`].
    pub fn mean(&self) -> f64 {
        self.ap.iter().sum::<f64>() / IOUS.len() as f64
    }

    /// At an IoU in hundredths, one of [`IOUS`].
    ///
    /// # Panics
    /// If it is none of them.
    pub fn at(&self, iou: u32) -> f64 {
        self.ap[place(iou)]
    }
}

/// Where an IoU in hundredths stands among [`IOUS`].
fn place(iou: u32) -> usize {
    IOUS.iter().position(|&known| known == iou).expect("one of .50, .55, .., .95")
}

/// Intersection over union of two boxes; over the first one's area if the other is a crowd. 0 of empty boxes.
fn iou(a: &[f64; 4], b: &[f64; 4], crowd: bool) -> f64 {
    let shared = |k: usize| ((a[k] + a[k + 2]).min(b[k] + b[k + 2]) - a[k].max(b[k])).max(0.0);
    let intersection = shared(0) * shared(1);
    let area = |rect: &[f64; 4]| rect[2] * rect[3];
    let whole = if crowd { area(a) } else { area(a) + area(b) - intersection };
    if whole > 0.0 { intersection / whole } else { 0.0 }
}

/// Classes below the count and numbers throughout, which no measure is defined without.
fn check(truths: &[Truth], detections: &[Detection], classes: usize) -> Result<()> {
    let of = |kind: &str, i: usize, photo: usize| format!("{kind} {i}, of photo {photo}");
    let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
    let class_is = |class: usize| format!("class {class} where there are {classes}");
    for (i, truth) in truths.iter().enumerate() {
        let place = || of("object", i, truth.photo);
        if truth.class >= classes {
            return Err(Error::input(class_is(truth.class), place(), "give the number of classes"));
        }
        if !finite(&truth.rect) || !truth.area.is_finite() {
            return Err(Error::input("a box or area that is no number", place(), "correct the annotations"));
        }
    }
    for (i, found) in detections.iter().enumerate() {
        let place = || of("detection", i, found.photo);
        if found.class >= classes {
            return Err(Error::input(class_is(found.class), place(), "give the number of classes"));
        }
        if !finite(&found.rect) || !found.score.is_finite() {
            let what = format!("{} has a box or score that is no number", place());
            return Err(Error::Run(format!("{what}: training diverged, lower lr")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "../../../../tests/unit/transfer/metrics/detection/mod.rs"]
mod tests;
