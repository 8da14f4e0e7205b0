use super::*;

#[test]
fn every_value_falls_into_the_bin_that_a_naive_loop_finds() {
    let values: Vec<f32> = (0..997).map(|i| ((i * 131) % 499) as f32 / 499.0 - 0.3).collect();
    let histogram = Histogram::new(&values, 17);
    assert_eq!(histogram.counts.iter().sum::<usize>(), 997);
    for (i, &count) in histogram.counts.iter().enumerate() {
        let edge = |i: usize| histogram.low + i as f64 * histogram.width;
        let inside = |v: f64| edge(i) <= v && (v < edge(i + 1) || i == 16);
        let naive = values.iter().filter(|&&v| inside(f64::from(v))).count();
        assert!(count.abs_diff(naive) <= 1, "bin {i}: {count}, {naive}"); // an edge may round
    }
    assert_eq!(Histogram::new(&[1.0, 2.0, 3.0, 5.0], 4).counts, [1, 1, 1, 1]);
    assert_eq!(Histogram::new(&[0.0, 0.0, 4.0], 2).counts, [2, 1]);
}

#[test]
fn equal_values_none_and_infinite_ones_are_counted_too() {
    assert_eq!(Histogram::new(&[0.7; 9], 4).counts.iter().sum::<usize>(), 9);
    assert_eq!(Histogram::new(&[], 4).counts, [0; 4]);
    assert_eq!(Histogram::new(&[f32::NAN, 1.0, f32::INFINITY, 2.0], 2).counts, [1, 1]);
}

#[test]
fn moments_are_those_of_the_textbook() {
    let moments = Moments::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
    assert_eq!((moments.count, moments.mean, moments.std), (8, 5.0, 2.0));
    assert_eq!((moments.min, moments.max), (2.0, 9.0));
}

#[test]
fn before_and_after_are_on_one_scale_that_holds_all_scores() {
    let scores = |stage, shift: f32| Scores {
        stage,
        backbone: vec![0.9 - shift, 0.95 - shift],
        projector: vec![-0.1, 0.2 + shift],
    };
    let panels = score_panels(&[scores("before", 0.0), scores("after", 0.6)]);
    let [backbone, projector] = &panels[..] else { panic!("{} panels", panels.len()) };
    assert_eq!(backbone.ranges(), projector.ranges());
    let [low, high] = backbone.x_range.expect("a range");
    assert!(low < -0.09 && high > 0.94, "{low} {high}");
    for panel in &panels {
        assert_eq!(
            panel.series.iter().map(|series| series.name.as_str()).collect::<Vec<_>>(),
            ["before", "after"]
        );
        let places = |series: &Series| series.points.iter().map(|p| p.0).collect::<Vec<_>>();
        assert_eq!(places(&panel.series[0]), places(&panel.series[1]), "the same bins");
        for series in &panel.series {
            let all: f64 = series.points.iter().map(|p| p.1).sum();
            assert!((all - 1.0).abs() < 1e-12, "every key is in one bin: {all}");
        }
    }
    assert!(projector.note.contains("before: mean 0.050"), "{}", projector.note);
}
