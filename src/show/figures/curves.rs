//! A run's course over the views seen: loss, accuracy, what shows a collapse, speed, memory.

use super::chart::{Mark, Panel, Series, Unit, thinned};
use super::study::{Drawing, Figure};
use super::svg::svg;
use crate::run::History;
use serde_json::json;

/// The most points of a line.
const POINTS: usize = 400;

/// One chart of a run: its title, what it tells, and of each line the name and the field of the log; a field that ends in
/// `.*` stands for one line a term.
type Chart = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// All charts in the page's order.
const CHARTS: [Chart; 11] = [
    ("Loss", "The whole loss and each of its terms.", &[("loss", "loss"), ("", "terms.*")]),
    (
        "kNN accuracy",
        "Labelled photos classified by their nearest; at 0 views batch norm has statistics of photos.",
        &[("top-1", "top1"), ("balanced", "balanced")],
    ),
    ("Gradient norm", "Of all parameters.", &[("norm", "gradient_norm")]),
    (
        "Gradient norms of the terms",
        "Of each unweighted term, with respect to the embeddings.",
        &[("", "term_gradient_norms.*")],
    ),
    ("Learning rate", "", &[("rate", "lr")]),
    ("Mean cosine", "Collapse: near 1, all embeddings are the same.", &[("cosine", "cosine")]),
    (
        "Effective rank",
        "Collapse: a fall to a fifth of its best while the loss is no better than at equal embeddings.",
        &[("rank", "effective_rank")],
    ),
    ("Purity", "Pseudo-positives that share a label with their query.", &[("purity", "purity")]),
    ("Images a second", "Images, not views.", &[("images/s", "images_per_second")]),
    (
        "Waiting for photos",
        "Share of a step's time; if it is high, see data.threads, data.shrink_to and data.cache_dir.",
        &[("waiting", "waiting")],
    ),
    ("Memory", "Tensors in use on the device.", &[("tensors", "bytes_in_use")]),
];

/// The charts of a run of which something was logged; longer series are drawn as means of neighbouring points.
pub fn course(history: &History) -> Vec<Panel> {
    CHARTS.iter().filter_map(|chart| panel(chart, history)).collect()
}

fn panel(&(title, note, fields): &Chart, history: &History) -> Option<Panel> {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for &(name, field) in fields {
        match field.strip_suffix('*') {
            None => lines.push((name.to_string(), history.series(field))),
            Some(prefix) => lines.extend(history.terms().into_iter().map(|term| {
                let points = history.series(&format!("{prefix}{term}"));
                (term, points)
            })),
        }
    }
    // A loss of one term is that term.
    let same = |(a, b): (&(f64, f64), &(f64, f64))| (a.1 - b.1).abs() <= 1e-5 * a.1.abs();
    if title == "Loss" && lines.len() == 2 && lines[0].1.iter().zip(&lines[1].1).all(same) {
        lines.pop();
    }
    lines.iter_mut().for_each(|(_, points)| points.retain(|p| p.1.is_finite()));
    lines.retain(|(_, points)| !points.is_empty());
    let best = lines.first()?.1.iter().map(|p| p.1).fold(0.0, f64::max);
    // Few points are judgements: each is shown.
    let mark = |points: &[_]| if points.len() > 40 { Mark::Line } else { Mark::Dots { spread: Vec::new() } };
    let drawn = |(name, points): (String, Vec<_>)| {
        let points = thinned(&points, POINTS);
        Series::new(name, mark(&points), points)
    };
    Some(Panel {
        title: title.into(),
        note,
        x: "views seen".into(),
        y: title.into(),
        unit: match title {
            "kNN accuracy" | "Purity" | "Waiting for photos" => Unit::Percent,
            "Memory" => Unit::Bytes,
            _ => Unit::Number,
        },
        limit: match title {
            "Mean cosine" => Some(0.99),
            "Effective rank" => Some(0.2 * best),
            _ => None,
        },
        series: lines.into_iter().map(drawn).collect(),
        ..Panel::default()
    })
}

/// [`course`] as a figure; `None` if there is nothing to draw.
pub fn curves(history: &History) -> Option<Figure> {
    let panels = course(history);
    let numbers = panels.iter().map(|panel| {
        let series = panel.series.iter().map(|s| json!({"name": s.name, "points": s.points}));
        json!({"title": panel.title, "series": series.collect::<Vec<_>>()})
    });
    let caption = format!("Over views seen; series of more than {POINTS} points as means of neighbours");
    let titles: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
    (!panels.is_empty()).then(|| Figure {
        name: "curves",
        drawing: Drawing::Svg(svg(&panels, 2)),
        json: json!({"caption": caption, "panels": numbers.collect::<Vec<_>>()}),
        summary: titles.join(", "),
    })
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/curves.rs"]
mod tests;
