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
mod tests {
    use super::*;

    fn cells(rows: &[(&str, f64)]) -> Vec<(Vec<String>, Spread)> {
        let cell = |&(values, mean): &(&str, f64)| {
            (values.split(' ').map(String::from).collect(), Spread { count: 2, mean, std: 0.01 })
        };
        rows.iter().map(cell).collect()
    }

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn wide_values_go_on_a_logarithmic_axis_with_their_own_names() {
        let panel =
            sweep_panel(&keys(&["method.k"]), "top-1", &cells(&[("1", 0.1), ("40", 0.3), ("10", 0.2)]));
        let xs: Vec<f64> = panel.series[0].points.iter().map(|p| p.0).collect();
        assert_eq!(xs, [0.0, 40.0f64.log10(), 1.0]);
        let ticks = panel.ticks.expect("ticks");
        assert_eq!(ticks.iter().map(|t| t.1.as_str()).collect::<Vec<_>>(), ["1", "10", "40"]);
        assert!(panel.x.contains("logarithmic"));
    }

    #[test]
    fn narrow_zero_and_worded_values_do_not() {
        let place = |rows| sweep_panel(&keys(&["a"]), "y", &cells(rows)).series[0].points[1].0;
        assert_eq!(place(&[("1", 0.0), ("20", 0.0)]), 20.0);
        assert_eq!(place(&[("0", 0.0), ("0.5", 0.0), ("30", 0.0)]), 0.5);
        assert_eq!(place(&[("both", 0.0), ("g_only", 0.0)]), 1.0);
        assert_eq!(place(&[("64", 0.0), ("inf", 0.0)]), 1.0, "not on any axis, so by order");
    }

    #[test]
    fn a_grid_gives_a_line_for_each_value_of_the_second_key() {
        let rows = [("8 2", 0.1), ("8 4", 0.2), ("16 2", 0.3), ("16 4", 0.4)];
        let panel = sweep_panel(&keys(&["train.batch", "method.views"]), "top-1", &cells(&rows));
        assert_eq!(panel.series.len(), 2);
        assert_eq!(panel.series[1].name, "method.views = 4");
        assert_eq!(panel.series[1].points, [(8.0, 0.2), (16.0, 0.4)]);
        assert_eq!(panel.series[1].mark, Mark::Dots { spread: vec![0.01; 2] });
    }
}
