//! COCO's measure, through `hotcoco`, whose matching and sums are pycocotools' own.

use std::collections::HashMap;

use hotcoco::{Annotation, COCO, COCOeval, Category, Dataset, Image, IouType, Segmentation};

use super::{ClassAp, Detection, DetectionAp, IOUS, Truth, check};
use crate::error::{Error, Result};
use crate::photos::Rle;

/// COCO's numbers, in the order in which pycocotools prints them.
const SUMMARY: [&str; 12] =
    ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"];

/// What is laid over each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Boxes.
    Box,
    /// Masks.
    Mask,
}

/// How well objects were found, by COCO's rules.
///
/// | number | what |
/// |---|---|
/// | `AP`, `AP50`, `AP75` | mean over classes of the mean precision at 101 recalls; mean over [`IOUS`], at .50, at .75 |
/// | `APs`, `APm`, `APl` | `AP` of objects below 32², to 96², above 96² pixels, by [`Truth::area`] |
/// | `AR1`, `AR10`, `AR100` | recall reached with that many detections a photo and class, mean over [`IOUS`] and classes |
/// | `ARs`, `ARm`, `ARl` | `AR100` by size |
///
/// - Of a class at most the 100 best detections of a photo count; each takes, the best first, the object of largest IoU that is left.
/// - Of equal scores the earlier detection is first, of two photos the one of the lower number: number the photos by rising id to
///   have pycocotools' order.
/// - The size of a detection is its mask's where masks are judged, its box's otherwise. (pycocotools takes the box's where a results
///   file has both, which changes `APs` to `APl` and `ARs` to `ARl` of masks; leave `bbox` out of the file there, as detectron2 does.)
///
/// # Errors
/// [`Error::Input`] if a class is beyond the count, a mask is missing where masks are judged, or the masks of a photo differ in
/// size; [`Error::Run`] if a score or a box is no number.
/// # Source
/// pycocotools 2.0, `COCOeval`; <https://cocodataset.org/#detection-eval>.
pub fn coco(
    truths: &[Truth],
    detections: &[Detection],
    classes: usize,
    measure: Measure,
) -> Result<DetectionAp> {
    check(truths, detections, classes)?;
    if measure == Measure::Mask {
        check_masks(truths, detections)?;
    }
    let objects = truths.iter().enumerate().map(|(i, truth)| Annotation {
        area: Some(truth.area),
        iscrowd: truth.crowd,
        ..annotation(i, truth.photo, truth.class, truth.rect, &truth.mask, measure)
    });
    let found = detections.iter().enumerate().map(|(i, found)| {
        let area = match (measure, &found.mask) {
            (Measure::Mask, Some(mask)) => mask.area() as f64,
            _ => found.rect[2] * found.rect[3],
        };
        let known = annotation(i, found.photo, found.class, found.rect, &found.mask, measure);
        Annotation { area: Some(area), score: Some(found.score), ..known }
    });
    let photos = truths.iter().map(|t| t.photo).chain(detections.iter().map(|d| d.photo)).max();
    let set = |annotations: Vec<Annotation>| {
        COCO::from_dataset(Dataset {
            images: (0..photos.map_or(0, |last| last as u64 + 1))
                .map(|id| Image { id, ..Image::default() })
                .collect(),
            categories: (0..classes as u64)
                .map(|id| Category { id, name: id.to_string(), ..Category::default() }) // one without a name is told to the user
                .collect(),
            annotations,
            ..Dataset::default()
        })
    };
    let kind = if measure == Measure::Mask { IouType::Segm } else { IouType::Bbox };
    let mut judged = COCOeval::new(set(objects.collect()), set(found.collect()), kind);
    judged.evaluate().map_err(|e| Error::Run(format!("COCO's measure: {e}")))?;
    judged.accumulate();
    judged.summarize_lines(); // makes the numbers; its lines lack a space that pycocotools prints
    let known = |&value: &f64| (value >= 0.0).then_some(value); // -1 where there is no object
    let values = judged.stats().expect("the summary was made");
    let summary: Vec<_> = SUMMARY.into_iter().zip(values.iter().map(known)).collect();
    let text = summary.iter().map(|&(name, value)| line(name, value)).collect::<Vec<_>>().join("\n");
    Ok(DetectionAp { summary, classes: (0..classes).map(|class| class_ap(&judged, class)).collect(), text })
}

/// A number as pycocotools prints it.
fn line(name: &str, value: Option<f64>) -> String {
    let kind = &name[..2];
    let title = if kind == "AP" { "Average Precision" } else { "Average Recall" };
    let (iou, area, most) = match &name[2..] {
        "50" => ("0.50", "all", "100"),
        "75" => ("0.75", "all", "100"),
        "s" => ("0.50:0.95", "small", "100"),
        "m" => ("0.50:0.95", "medium", "100"),
        "l" => ("0.50:0.95", "large", "100"),
        "" => ("0.50:0.95", "all", "100"),
        most => ("0.50:0.95", "all", most),
    };
    let value = value.unwrap_or(-1.0);
    format!(" {title:<18} ({kind}) @[ IoU={iou:<9} | area={area:>6} | maxDets={most:>3} ] = {value:.3}")
}

/// An object as the library has it. Ids start at 1: to pycocotools one of 0 is no match.
fn annotation(
    i: usize,
    photo: usize,
    class: usize,
    rect: [f64; 4],
    mask: &Option<Rle>,
    measure: Measure,
) -> Annotation {
    let segmentation = mask.as_ref().filter(|_| measure == Measure::Mask).map(|Rle { size, counts }| {
        Segmentation::UncompressedRle { size: size.map(|side| side as u32), counts: counts.clone() }
    });
    Annotation {
        id: i as u64 + 1,
        image_id: photo as u64,
        category_id: class as u64,
        bbox: Some(rect),
        segmentation,
        ..Annotation::default()
    }
}

/// The curves of a class and the areas below them; `None` without an object.
fn class_ap(judged: &COCOeval, class: usize) -> Option<ClassAp> {
    let all = judged.accumulated().expect("it was accumulated");
    let recalls = &judged.params.rec_thrs;
    let most = judged.params.max_det_idx();
    let curves: [Vec<[f64; 2]>; IOUS.len()] = std::array::from_fn(|iou| {
        let precision = |r| all.precision[all.precision_idx(iou, r, class, 0, most)];
        recalls.iter().enumerate().map(|(r, &recall)| [recall, precision(r)]).collect()
    });
    if curves[0][0][1] < 0.0 {
        return None;
    }
    let area = |curve: &Vec<[f64; 2]>| curve.iter().map(|point| point[1]).sum::<f64>() / curve.len() as f64;
    Some(ClassAp { ap: curves.each_ref().map(area), curves })
}

/// Every object and every detection has a mask, those of a photo of one size.
fn check_masks(truths: &[Truth], detections: &[Detection]) -> Result<()> {
    let mut sizes = HashMap::new();
    let truths = truths.iter().map(|t| ("object", t.photo, &t.mask));
    let detections = detections.iter().map(|d| ("detection", d.photo, &d.mask));
    for (kind, photo, mask) in truths.chain(detections) {
        let place = format!("photo {photo}");
        let Some(mask) = mask else {
            let advice = "give every object one, or measure boxes";
            return Err(Error::input(format!("{kind} without a mask"), place, advice));
        };
        let size = *sizes.entry(photo).or_insert(mask.size);
        if size != mask.size {
            let [[a, b], [c, d]] = [size, mask.size];
            let what = format!("masks of {a} x {b} and of {c} x {d} pixels");
            return Err(Error::input(what, place, "give all masks of a photo at its own size"));
        }
    }
    Ok(())
}
