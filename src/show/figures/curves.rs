//! A run's course over the views seen: loss, accuracy, what shows a collapse, speed, memory.

use super::chart::{Level, Mark, Panel, Series, Unit, thinned};
use super::study::{Drawing, Figure};
use crate::run::History;
use serde_json::{Value, json};

/// The most points of a line.
const POINTS: usize = 400;
/// Longer lines than this are smoothed; the points of shorter ones are judgements, and each is shown.
const FEW: usize = 40;
/// Title of the chart that compares runs only where they were judged on the same photos.
pub const JUDGED: &str = "kNN accuracy";

/// One chart of a run.
struct Chart {
    title: &'static str,
    note: &'static str,
    /// Beside the y axis.
    y: &'static str,
    unit: Unit,
    /// Name and field of the log of each line; a field that ends in `.*` stands for one line a term.
    lines: &'static [(&'static str, &'static str)],
}

/// All charts in the page's order.
const CHARTS: [Chart; 13] = [
    Chart {
        title: JUDGED,
        note: "Labelled photos classified by their nearest, ± the standard error; at 0 views batch norm has statistics of photos.",
        y: "photos classified rightly",
        unit: Unit::Percent,
        lines: &[("top-1", "top1"), ("balanced", "balanced")],
    },
    Chart {
        title: "Average precision",
        note: "Of a detector on the photos that it is judged on: the mean over the IoUs .50 to .95, and at .50.",
        y: "average precision",
        unit: Unit::Percent,
        lines: &[
            ("boxes", "ap"),
            ("boxes at .50", "ap50"),
            ("masks", "mask_ap"),
            ("masks at .50", "mask_ap50"),
        ],
    },
    Chart {
        title: "Pixels",
        note: "Of a segmenter on the photos that it is judged on: mean IoU and mean accuracy over classes, accuracy of all pixels.",
        y: "share",
        unit: Unit::Percent,
        lines: &[("mIoU", "miou"), ("mAcc", "macc"), ("aAcc", "aacc")],
    },
    Chart {
        title: "Loss",
        note: "The whole loss and each of its terms.",
        y: "loss",
        unit: Unit::Number,
        lines: &[("loss", "loss"), ("", "terms.*")],
    },
    Chart {
        title: "Mean cosine",
        note: "Of two views' projections: near 1, all are the same.",
        y: "cosine",
        unit: Unit::Number,
        lines: &[("cosine", "cosine")],
    },
    Chart {
        title: "Effective rank",
        note: "Directions that the projections fill.",
        y: "directions",
        unit: Unit::Number,
        lines: &[("rank", "effective_rank")],
    },
    Chart {
        title: "Purity",
        note: "Pseudo-positives that share a label with their query.",
        y: "share of the pseudo-positives",
        unit: Unit::Percent,
        lines: &[("purity", "purity")],
    },
    Chart {
        title: "Gradient norm",
        note: "Of all parameters.",
        y: "2-norm",
        unit: Unit::Number,
        lines: &[("norm", "gradient_norm")],
    },
    Chart {
        title: "Gradient norms of the terms",
        note: "Of each unweighted term, with respect to the embeddings.",
        y: "2-norm",
        unit: Unit::Number,
        lines: &[("", "term_gradient_norms.*")],
    },
    Chart {
        title: "Learning rate",
        note: "Warm-up and schedule.",
        y: "rate",
        unit: Unit::Number,
        lines: &[("rate", "lr")],
    },
    Chart {
        title: "Speed",
        note: "Images, not views.",
        y: "images a second",
        unit: Unit::Number,
        lines: &[("images/s", "images_per_second")],
    },
    Chart {
        title: "Photos",
        note: "Waiting for them, of the step's time: if it is high, see data.threads, data.shrink_to and data.cache_dir. Decoding \
               and augmenting, of the loader's threads' time.",
        y: "share of the time",
        unit: Unit::Percent,
        lines: &[("waiting", "waiting"), ("decoding", "decoding"), ("augmenting", "augmenting")],
    },
    Chart {
        title: "Memory",
        note: "Tensors in use on the device.",
        y: "in use",
        unit: Unit::Bytes,
        lines: &[("tensors", "bytes_in_use")],
    },
];

/// The charts of a run of which something was logged; longer series are drawn as means of neighbouring points.
pub fn course(history: &History) -> Vec<Panel> {
    CHARTS.iter().filter_map(|chart| panel(chart, history)).collect()
}

/// A line before it is thinned.
struct Line<'a> {
    name: String,
    field: &'a str,
    points: Vec<(f64, f64)>,
}

fn panel(chart: &Chart, history: &History) -> Option<Panel> {
    let &Chart { title, note, y, unit, lines } = chart;
    let mut drawn: Vec<Line> = Vec::new();
    for &(name, field) in lines {
        match field.strip_suffix('*') {
            None => drawn.push(Line { name: name.to_string(), field, points: history.series(field) }),
            Some(prefix) => drawn.extend(history.terms().into_iter().map(|term| {
                let points = history.series(&format!("{prefix}{term}"));
                Line { name: term, field, points }
            })),
        }
    }
    // A loss of one term is that term.
    let same = |(a, b): (&(f64, f64), &(f64, f64))| (a.1 - b.1).abs() <= 1e-5 * a.1.abs();
    if title == "Loss" && drawn.len() == 2 && drawn[0].points.iter().zip(&drawn[1].points).all(same) {
        drawn.pop();
    }
    drawn.iter_mut().for_each(|line| line.points.retain(|p| p.1.is_finite()));
    drawn.retain(|line| !line.points.is_empty());
    let (levels, more) = levels(title, history, &drawn.first()?.points);
    let series = drawn.into_iter().map(|Line { name, field, points }| {
        let points = thinned(&points, POINTS);
        let mark = match points.len() {
            // What is set, not measured, has no noise.
            FEW.. if ["lr", "bytes_in_use"].contains(&field) => Mark::Line,
            FEW.. => Mark::Smoothed { window: points.len() / 15 },
            _ if field == "top1" => {
                Mark::Dots { spread: history.series("top1_error").iter().map(|p| p.1).collect() }
            }
            _ => Mark::Dots { spread: Vec::new() },
        };
        let mark = if field == "balanced" { Mark::Dashed } else { mark };
        Series::new(name, mark, points)
    });
    Some(Panel {
        title: title.into(),
        note: format!("{note}{more}"),
        x: "views seen".into(),
        y: y.into(),
        unit,
        levels,
        series: series.collect(),
        ..Panel::default()
    })
}

/// The floors and limits of a chart, and what is to be said of them; `points` are those of its first line.
fn levels(title: &str, history: &History, points: &[(f64, f64)]) -> (Vec<Level>, String) {
    let limit = |at: f64, name: &str| Level { at, name: name.into(), warns: true };
    match title {
        JUDGED => (floors(history), String::new()),
        "Mean cosine" => {
            let past = past(history, "cosine", "over", |cosine| cosine > 0.99);
            (vec![limit(0.99, "0.99: all the same")], past)
        }
        "Effective rank" => {
            let line = 0.2 * points.iter().map(|p| p.1).fold(0.0, f64::max);
            let mut past = past(history, "effective_rank", "under", |rank| rank < line);
            if !past.is_empty() {
                past += " No collapse as long as the loss is better than at equal embeddings.";
            }
            (vec![limit(line, "a fifth of the best")], past)
        }
        _ => (Vec::new(), String::new()),
    }
}

/// What needed no training, as it was judged at the start.
fn floors(history: &History) -> Vec<Level> {
    let Some(first) = history.of_kind("knn").next() else { return Vec::new() };
    let floor = |name: &str, top1: &Value| {
        let at = top1.as_f64()?;
        Some(Level { at, name: format!("{name} {}", Unit::Percent.write(at)), warns: false })
    };
    let start = if first["initial_statistics"].is_null() { "at the start" } else { "untrained" };
    [floor(start, &first["top1"]), floor("colour alone", &first["colour"]["top1"])]
        .into_iter()
        .flatten()
        .collect()
}

/// Since which step the values have been past a line, up to the last of them.
fn past(history: &History, field: &str, side: &str, is_past: impl Fn(f64) -> bool) -> String {
    let steps = history.pairs("step", field);
    let since = steps.iter().rev().take_while(|(_, value)| is_past(*value)).last();
    since.map_or(String::new(), |(step, _)| format!(" The values are {side} the line since step {step}."))
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
    let (numbers, summary) = (numbers.collect::<Vec<_>>(), titles.join(", "));
    (!panels.is_empty()).then(|| Figure {
        name: "curves",
        drawing: Drawing::Charts(panels, 2),
        json: json!({"caption": caption, "panels": numbers}),
        summary,
    })
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/curves.rs"]
mod tests;
