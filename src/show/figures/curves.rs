//! A run's course: loss, its terms, accuracy and purity over the views seen.

use super::chart::{Mark, Panel, Series, svg, thinned};
use super::study::{Drawing, Figure};
use crate::error::Result;
use serde_json::json;

/// The most points of a line.
const POINTS: usize = 400;

/// The curves of a run; `None` if there is nothing to draw.
///
/// `series(field)` gives a field of the run's log over views, such as `loss`, `terms.NAME` for the loss's `terms`,
/// `top1`, `balanced`, `purity`. Longer series are drawn as means of neighbouring points.
///
/// # Errors
/// As [`svg`].
pub fn curves(terms: &[String], series: &dyn Fn(&str) -> Vec<(f64, f64)>) -> Result<Option<Figure>> {
    let line = |name: &str, field: &str, mark: Mark| Series {
        name: name.into(),
        mark,
        points: thinned(&series(field), POINTS),
    };
    let panel = |title: &str, series: Vec<Series>| Panel {
        title: title.into(),
        x: "views seen".into(),
        y: title.into(),
        series: series.into_iter().filter(|s| !s.points.is_empty()).collect(),
        ..Panel::default()
    };
    let dots = || Mark::Dots { spread: Vec::new() };
    let mut panels = vec![panel("loss", vec![line("", "loss", Mark::Line)])];
    for term in terms.iter().filter(|_| terms.len() > 1) {
        panels.push(panel(&format!("term {term}"), vec![line("", &format!("terms.{term}"), Mark::Line)]));
    }
    let accuracy = vec![line("top-1", "top1", dots()), line("balanced", "balanced", dots())];
    panels.push(panel("kNN accuracy", accuracy));
    panels.push(panel("purity", vec![line("", "purity", dots())]));
    panels.retain(|panel| !panel.series.is_empty());
    if panels.is_empty() {
        return Ok(None);
    }
    let numbers = panels.iter().map(|panel| {
        let series = panel.series.iter().map(|s| json!({"name": s.name, "points": s.points}));
        json!({"title": panel.title, "series": series.collect::<Vec<_>>()})
    });
    let caption = format!("Over views seen; series of more than {POINTS} points as means of neighbours");
    let titles: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
    Ok(Some(Figure {
        name: "curves",
        drawing: Drawing::Svg(svg(&panels, 2)?),
        json: json!({"caption": caption, "panels": numbers.collect::<Vec<_>>()}),
        summary: titles.join(", "),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_panel_for_each_thing_that_was_logged() {
        let steps = |field: &str| match field {
            "loss" | "terms.a" | "terms.b" => (0..1000).map(|i| (f64::from(i), 1.0)).collect(),
            "top1" => vec![(0.0, 0.1), (999.0, 0.2)],
            _ => Vec::new(),
        };
        let figure = curves(&["a".into(), "b".into()], &steps).expect("drawn").expect("a figure");
        assert_eq!(figure.summary, "loss, term a, term b, kNN accuracy");
        assert!(figure.json["panels"][0]["series"][0]["points"].as_array().expect("points").len() <= POINTS);
        assert_eq!(figure.json["panels"][3]["series"].as_array().expect("series").len(), 1);
        let one = curves(&["a".into()], &steps).expect("drawn").expect("a figure");
        assert_eq!(one.summary, "loss, kNN accuracy", "a single term is the loss itself");
        assert!(curves(&[], &|_| Vec::new()).expect("drawn").is_none());
    }
}
