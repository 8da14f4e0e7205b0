use super::*;
use crate::transfer::metrics::ApKind;
use crate::transfer::metrics::detection::{Detection, Truth, voc};

fn judged(classes: usize) -> DetectionAp {
    let rect = [0.0, 0.0, 10.0, 10.0];
    let far = [50.0, 0.0, 10.0, 10.0];
    // Of two objects of each class one is found, behind a wrong one.
    let truths: Vec<Truth> =
        (0..2 * classes).map(|i| Truth::new(i / 2, i / 2, if i % 2 == 0 { rect } else { far })).collect();
    let found = |class, rect, score| Detection { photo: class, class, rect, score, mask: None };
    let detections: Vec<Detection> =
        (0..classes).flat_map(|class| [found(class, [90.0; 4], 0.9), found(class, rect, 0.5)]).collect();
    voc(&truths, &detections, classes + 1, ApKind::Area).unwrap()
}

#[test]
fn precision_is_the_largest_at_a_recall_or_above() {
    let names: Vec<String> = (0..4).map(|i| format!("class {i}")).collect();
    let panels = precision_recall(&judged(3), &names);
    assert_eq!(panels.len(), 2);
    assert!(panels[0].title.ends_with("IoU 0.5") && panels[1].title.ends_with("IoU 0.75"));
    assert_eq!(panels[0].ranges(), [[0.0, 1.0]; 2]);
    // The class without an object has no line.
    let lines: Vec<&str> = panels[0].series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(lines, ["class 0", "class 1", "class 2", "mean"]);
    for series in &panels[0].series {
        assert_eq!(
            (series.points[0], series.points[12], series.points[13]),
            ((0.0, 0.5), (0.48, 0.5), (0.52, 0.0))
        );
    }
    assert!(crate::show::figures::svg(&panels, 2).contains("class 2"));
}

#[test]
fn many_classes_are_not_named_and_none_is_a_chart_too() {
    let names: Vec<String> = (0..31).map(|i| format!("class {i}")).collect();
    let panel = precision_recall(&judged(30), &names).remove(0);
    assert_eq!(
        (panel.series.len(), panel.series[0].name.as_str(), panel.series[30].name.as_str()),
        (31, "", "mean")
    );
    let nothing = precision_recall(&judged(0), &names[..1]).remove(0);
    assert_eq!(nothing.series, []);
    assert!(crate::show::figures::svg(&[nothing], 1).contains("<svg"));
}
