//! MLS, Fig. 3: how the scores of one photo against a queue are distributed, before and after training.

use super::chart::{Mark, Panel, Series};
use serde::Serialize;

/// Counts of values in bins of equal width.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Lower end of the first bin.
    pub low: f64,
    /// Width of every bin.
    pub width: f64,
    /// Values in each bin; a value on an edge belongs to the upper bin, the largest value to the last.
    pub counts: Vec<usize>,
}

impl Histogram {
    /// `bins` bins from the smallest value to the largest; values that are not finite are left out.
    pub fn new(values: &[f32], bins: usize) -> Histogram {
        let finite = || values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v));
        let (low, high) =
            (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        let mut counts = vec![0; bins.max(1)];
        let (low, width) = match high - low {
            span if span > 0.0 => (low, span / counts.len() as f64),
            _ if low.is_finite() => (low - 0.005, 0.01 / counts.len() as f64),
            _ => (0.0, 1.0),
        };
        let last = counts.len() - 1;
        finite().for_each(|v| counts[(((v - low) / width) as usize).min(last)] += 1);
        Histogram { low, width, counts }
    }
}

/// Count, mean, standard deviation (divided by the count) and range of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moments {
    /// How many.
    pub count: usize,
    /// `m = sum x / n`; 0 of none.
    pub mean: f64,
    /// `sqrt(sum (x - m)^2 / n)`; 0 of none.
    pub std: f64,
    /// The smallest.
    pub min: f32,
    /// The largest.
    pub max: f32,
}

impl Moments {
    /// Of these values, in f64.
    pub fn of(values: &[f32]) -> Moments {
        let n = values.len().max(1) as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        Moments {
            count: values.len(),
            mean,
            std: variance.sqrt(),
            min: values.iter().copied().fold(f32::INFINITY, f32::min),
            max: values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        }
    }
}

/// The scores of one query against every key but its own, by one encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// `before` or `after`.
    pub stage: &'static str,
    /// Backbone scores g1 . Q_g.
    pub backbone: Vec<f32>,
    /// Projector scores z1 . Q_z.
    pub projector: Vec<f32>,
}

impl Scores {
    /// Both kinds with their names.
    pub fn kinds(&self) -> [(&'static str, &[f32]); 2] {
        [("backbone scores g1 . Qg", &self.backbone), ("MLP scores z1 . Qz", &self.projector)]
    }
}

/// Bins of each histogram.
pub const BINS: usize = 40;

/// The panels of Fig. 3, two for each stage: backbone scores on the left, projector scores on the right.
///
/// Panels of one kind share their x axis, so that before and after can be compared; every histogram has bins of its
/// own, so that a narrow one keeps its shape.
///
/// # Source
/// MLS, Fig. 3.
pub fn score_panels(stages: &[Scores]) -> Vec<Panel> {
    let shared = [0, 1].map(|kind| {
        let all =
            || stages.iter().flat_map(|s| s.kinds()[kind].1).filter(|v| v.is_finite()).map(|&v| f64::from(v));
        let (low, high) = (all().fold(1.0, f64::min), all().fold(-1.0, f64::max));
        let margin = (0.03 * (high - low)).max(0.01);
        [low - margin, high + margin]
    });
    let panel = |stage: &str, name: &str, values: &[f32], range| {
        let (bins, Moments { count, mean, std, .. }) = (Histogram::new(values, BINS), Moments::of(values));
        let left = |i: usize| bins.low + i as f64 * bins.width;
        let points = bins.counts.iter().enumerate().map(|(i, &count)| (left(i), count as f64)).collect();
        Panel {
            title: format!("{stage}: mean {mean:.3}, std {std:.4}, {count} keys"),
            x: name.into(),
            y: "keys in a bin".into(),
            x_range: Some(range),
            from_zero: true,
            series: vec![Series::new("", Mark::Bars { width: bins.width }, points)],
            ..Panel::default()
        }
    };
    let panels = stages.iter().flat_map(|scores| {
        let kinds = scores.kinds().into_iter().zip(shared);
        kinds.map(|((name, values), range)| panel(scores.stage, name, values, range)).collect::<Vec<_>>()
    });
    panels.collect()
}

#[cfg(test)]
mod tests {
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
    fn before_and_after_share_an_axis_that_holds_all_scores() {
        let scores = |stage, shift: f32| Scores {
            stage,
            backbone: vec![0.9 - shift, 0.95 - shift],
            projector: vec![-0.1, 0.2 + shift],
        };
        let panels = score_panels(&[scores("before", 0.0), scores("after", 0.6)]);
        assert_eq!(panels.len(), 4);
        assert_eq!(panels[0].x_range, panels[2].x_range);
        let [low, high] = panels[0].x_range.expect("a range");
        assert!(low < 0.3 && high > 0.95, "{low} {high}");
        let counted: f64 = panels[3].series[0].points.iter().map(|p| p.1).sum();
        assert_eq!(counted, 2.0);
        assert!(panels[1].title.contains("before: mean 0.050"), "{}", panels[1].title);
    }
}
