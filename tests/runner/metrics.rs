//! Metrics: average precision, accuracy, and figures of label maps.

use super::case::{GoldenCase, Outputs};
use vista::transfer::metrics::{ApKind, Confusion, average_precision, mean_of_known, top_k_accuracy};
use vista::{Device, Result};

fn kind(case: &GoldenCase) -> ApKind {
    serde_json::from_value(case.attrs["method"].clone()).expect("11point, area or sum")
}

fn labels(case: &GoldenCase) -> Vec<i8> {
    case.array("in.labels").values.iter().map(|&l| l as i8).collect()
}

pub fn voc_ap(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let ap = average_precision(&case.array("in.scores").values, &labels(case), kind(case))?;
    Ok(Outputs::from([("out.ap".into(), ap.into_iter().collect())]))
}

pub fn mean_ap(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let (scores, labels) = (case.array("in.scores"), labels(case));
    let classes = scores.shape[1];
    let ap = (0..classes).map(|class| {
        let scores: Vec<f64> = scores.values.iter().skip(class).step_by(classes).copied().collect();
        let labels: Vec<i8> = labels.iter().skip(class).step_by(classes).copied().collect();
        average_precision(&scores, &labels, kind(case))
    });
    let ap = ap.collect::<Result<Vec<_>>>()?;
    let mean = mean_of_known(&ap);
    Ok(Outputs::from([
        ("out.ap".into(), ap.into_iter().flatten().collect()),
        ("out.mean_ap".into(), vec![mean]),
    ]))
}

pub fn accuracy(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let logits: Vec<f32> = case.array("in.logits").values.iter().map(|&v| v as f32).collect();
    let labels: Vec<usize> = case.array("in.labels").values.iter().map(|&l| l as usize).collect();
    let top = |k| Ok(vec![top_k_accuracy(&logits, &labels, k)?]);
    Ok(Outputs::from([("out.top1".into(), top(1)?), ("out.top5".into(), top(5)?)]))
}

pub fn mean_iou(case: &GoldenCase, _: &Device) -> Result<Outputs> {
    let map = |name: &str| -> Vec<u8> { case.array(name).values.iter().map(|&v| v as u8).collect() };
    let mut confusion = Confusion::new(case.whole("classes"), case.whole("ignore") as u8);
    confusion.add(&map("in.prediction"), &map("in.labels"))?;
    let counts = |counts: Vec<u64>| counts.into_iter().map(|v| v as f64).collect();
    let or_zero = |shares: Vec<Option<f64>>| shares.into_iter().map(|v| v.unwrap_or(0.0)).collect();
    Ok(Outputs::from([
        ("out.intersection".into(), counts(confusion.intersections())),
        ("out.union".into(), counts(confusion.unions())),
        ("out.target".into(), counts(confusion.labelled())),
        ("out.iou".into(), or_zero(confusion.iou())),
        ("out.accuracy".into(), or_zero(confusion.accuracies())),
        ("out.miou".into(), vec![confusion.miou()]),
        ("out.miou_present".into(), vec![confusion.miou_present()]),
        ("out.macc".into(), vec![confusion.macc()]),
        ("out.aacc".into(), vec![confusion.aacc()]),
    ]))
}
