//! A figure of merit against a setting: MLS, Table 8 and Fig. 5; S2R2, Fig. 1.

use super::chart::{Mark, Panel, Series};
use crate::pretrain::Spread;

/// Values that span more than this go on a logarithmic axis.
const LOG_FROM: f64 = 20.0;

/// The first key's values on x (logarithmic if they are above 0 and span more than 20 times; in the given order if
/// they are no numbers), a line for each combination of the other keys' values. A cell is a value of each key and what came
/// of it over seeds.
pub fn sweep_panel(keys: &[String], y: &str, cells: &[(Vec<String>, Spread)]) -> Panel {
    let mut labels: Vec<String> = Vec::new();
    for (values, _) in cells {
        if !labels.contains(&values[0]) {
            labels.push(values[0].clone());
        }
    }
    let numbers: Option<Vec<f64>> =
        labels.iter().map(|l| l.parse().ok().filter(|x: &f64| x.is_finite())).collect();
    let (low, high) =
        numbers.iter().flatten().fold((f64::INFINITY, 0.0f64), |(a, b), &x| (a.min(x), b.max(x)));
    let log = low > 0.0 && high > LOG_FROM * low;
    let place = |label: &String| match &numbers {
        Some(_) => label.parse().map_or(f64::NAN, |x: f64| if log { x.log10() } else { x }),
        None => labels.iter().position(|l| l == label).map_or(f64::NAN, |i| i as f64),
    };
    let line = |values: &[String]| {
        let others = keys.iter().zip(values).skip(1);
        others.map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
    };
    let mut series: Vec<Series> = Vec::new();
    for (values, Spread { mean, std, .. }) in cells {
        let (name, point) = (line(values), (place(&values[0]), *mean));
        match series.iter_mut().find(|s| s.name == name) {
            Some(Series { mark: Mark::Dots { spread }, points, .. }) => {
                spread.push(*std);
                points.push(point);
            }
            _ => {
                let mark = Mark::Dots { spread: vec![*std] };
                series.push(Series::new(name, mark, vec![point]));
            }
        }
    }
    let key = &keys[0];
    let mut ticks: Vec<(f64, String)> = labels.iter().map(|l| (place(l), l.clone())).collect();
    ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    Panel {
        title: format!("{y} against {key}"),
        x: if log { format!("{key} (logarithmic)") } else { key.clone() },
        y: y.into(),
        ticks: Some(ticks),
        series,
        ..Panel::default()
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/sweep.rs"]
mod tests;
