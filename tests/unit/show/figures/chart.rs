use super::*;

fn panel(mark: Mark, points: Vec<(f64, f64)>) -> Panel {
    let series = vec![Series::new("a < b & c", mark, points)];
    Panel { title: "5 > 4".into(), x: "x & y".into(), y: "z".into(), series, ..Panel::default() }
}

#[test]
fn axes_hold_bars_spreads_and_ticks() {
    let mut dots = panel(Mark::Dots { spread: vec![2.0] }, vec![(1.0, 5.0)]);
    let [_, y] = dots.ranges();
    assert!(y[0] < 3.0 && y[1] > 7.0, "{y:?}");
    dots.ticks = Some(vec![(0.0, "none".into()), (9.0, "many".into())]);
    let [x, _] = dots.ranges();
    assert!(x[0] < 0.0 && x[1] > 9.0, "{x:?}");
    let [x, y] = panel(Mark::Bars { width: 0.5 }, vec![(1.0, 5.0), (2.0, 6.0)]).ranges();
    assert_eq!((x, y[0]), ([1.0, 2.5], 0.0));
}

#[test]
fn thinning_keeps_the_mean_and_short_series_as_they_are() {
    let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), f64::from(i % 10))).collect();
    let thin = thinned(&points, 100);
    assert_eq!((thin.len(), thin[0]), (100, (4.5, 4.5)));
    assert_eq!(thinned(&points[..7], 100), points[..7]);
    assert_eq!(thinned(&[], 5), []);
}

#[test]
fn numbers_are_short_and_exact_enough() {
    let pairs = [(0.25, "0.25"), (1200.0, "1200"), (45_000.0, "45k"), (1.5e6, "1.5M"), (0.0, "0")];
    for (value, text) in pairs {
        assert_eq!(number(value), text);
    }
    assert_eq!((number(-0.5), number(100.0), number(2e-5)), ("-0.5".into(), "100".into(), "2.0e-5".into()));
}

#[test]
fn ticks_are_round_with_as_many_decimals_each_and_the_axis_ends_at_them() {
    let written = |unit: Unit, range| unit.ticks(range).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
    assert_eq!(written(Unit::Percent, [0.45, 0.75]), ["50 %", "60 %", "70 %"]);
    assert_eq!(written(Unit::Number, [0.0, 0.5]), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
    assert_eq!(written(Unit::Number, [0.0, 276_992.0]), ["0", "100k", "200k"]);
    assert_eq!(written(Unit::Percent, [0.0, 0.01]), ["0", "0.2 %", "0.4 %", "0.6 %", "0.8 %", "1.0 %"]);
    let [_, y] = panel(Mark::Line, vec![(0.0, 0.61), (1.0, 0.89)]).ranges();
    assert!((y[0] - 0.6).abs() < 1e-12 && (y[1] - 0.9).abs() < 1e-12, "{y:?}");
}

#[test]
fn a_smoothed_line_is_the_mean_of_neighbours_and_of_fewer_at_the_ends() {
    let points: Vec<(f64, f64)> = (0..7).map(|i| (f64::from(i), f64::from(i % 2))).collect();
    let means: Vec<f64> = smoothed(&points, 3).iter().map(|p| p.1).collect();
    assert_eq!(means, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]);
    assert!(smoothed(&[], 3).is_empty());
}

#[test]
fn floors_are_always_in_the_frame_and_limits_where_the_values_come_near_them() {
    let ranges = |at, warns| {
        let levels = vec![Level { at, name: "level".into(), warns }];
        Panel { levels, ..panel(Mark::Line, vec![(0.0, 0.1), (1.0, 0.2)]) }.ranges()[1]
    };
    assert!(ranges(0.9, false)[1] >= 0.9 && ranges(0.9, true)[1] < 0.5 && ranges(0.25, true)[1] >= 0.25);
}
