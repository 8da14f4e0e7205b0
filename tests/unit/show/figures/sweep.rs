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
    let panel = sweep_panel(&keys(&["method.k"]), "top-1", &cells(&[("1", 0.1), ("40", 0.3), ("10", 0.2)]));
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
