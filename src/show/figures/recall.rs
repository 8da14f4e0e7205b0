//! Precision against recall of a detector.

use super::chart::{Mark, Panel, Series, Unit};
use crate::error::counted;
use crate::transfer::metrics::detection::{ClassAp, DetectionAp, IOUS};

/// Recalls at which a curve is drawn: 0, 1/25, .., 1.
const STEPS: usize = 25;
/// The most classes that are named; the lines of more are all of one pale colour.
const NAMED: usize = 9;

/// Precision against recall at IoU .5 and .75: a pale line for each class, the mean over classes on top. Of an IoU at which nothing is
/// known, that is of a set without objects, there is no line.
///
/// Precision at a recall is the largest at that recall or above, as COCO and VOC take it.
pub fn precision_recall(ap: &DetectionAp, classes: &[String]) -> Vec<Panel> {
    [50, 75].into_iter().map(|iou| panel(ap, classes, iou)).collect()
}

fn panel(ap: &DetectionAp, classes: &[String], iou: u32) -> Panel {
    let known: Vec<(&String, Vec<(f64, f64)>)> = classes
        .iter()
        .zip(&ap.classes)
        .filter_map(|(name, class)| Some((name, drawn(class.as_ref()?, iou))))
        .collect();
    let named = known.len() <= NAMED;
    let mut series: Vec<Series> = Vec::new();
    for (i, (name, points)) in known.iter().enumerate() {
        let name = if named { name.to_string() } else { String::new() };
        let color = if named { i + 1 } else { 5 };
        series.push(Series { color: Some(color), ..Series::new(name, Mark::Pale, points.clone()) });
    }
    if !known.is_empty() {
        let mean = |step: usize| {
            let sum: f64 = known.iter().map(|(_, points)| points[step].1).sum();
            (step as f64 / STEPS as f64, sum / known.len() as f64)
        };
        let points = (0..=STEPS).map(mean).collect();
        series.push(Series { color: Some(0), ..Series::new("mean", Mark::Line, points) });
    }
    let share = f64::from(iou) / 100.0;
    Panel {
        title: format!("precision and recall at IoU {share}"),
        note: format!(
            "{}. Of what was found, how much is right; of what is there, how much was found.",
            counted(known.len(), "class", "classes")
        ),
        x: "recall".into(),
        y: "precision".into(),
        unit: Unit::Percent,
        x_range: Some([0.0, 1.0]),
        y_range: Some([0.0, 1.0]),
        series,
        ..Panel::default()
    }
}

/// A class's curve: at each recall the largest precision from there on.
fn drawn(class: &ClassAp, iou: u32) -> Vec<(f64, f64)> {
    let curve = &class.curves[IOUS.iter().position(|&known| known == iou).expect("an IoU")];
    let from = |recall: f64| {
        let reached = curve.iter().filter(|point| point[0] >= recall - 1e-9);
        reached.map(|point| point[1]).fold(0.0, f64::max)
    };
    (0..=STEPS).map(|step| step as f64 / STEPS as f64).map(|recall| (recall, from(recall))).collect()
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/recall.rs"]
mod tests;
