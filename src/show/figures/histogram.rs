//! MLS, Fig. 3: how the scores of one photo against a queue are distributed, before and after training.

use super::chart::{Mark, Panel, Series, Unit};
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
        Histogram::over(extent(values), values, bins)
    }

    /// `bins` bins from `low` to `high`, which hold all values.
    fn over([low, high]: [f64; 2], values: &[f32], bins: usize) -> Histogram {
        let finite = || values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v));
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

/// The smallest and the largest of the finite values; of none infinite ones.
fn extent(values: &[f32]) -> [f64; 2] {
    let finite = values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v));
    finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)])
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

/// The panels of Fig. 3, backbone scores and projector scores, each with a histogram of every stage.
///
/// All are on one scale: the bins are the same, and so are the ends of both axes.
///
/// # Source
/// MLS, Fig. 3.
pub fn score_panels(stages: &[Scores]) -> Vec<Panel> {
    let all = stages.iter().flat_map(|scores| scores.kinds().map(|(_, values)| extent(values)));
    let [low, high] = all.fold([1.0, -1.0], |[a, b], [low, high]| [low.min(a), high.max(b)]);
    let histogram = |values: &[f32]| Histogram::over([low, high.max(low + 0.01)], values, BINS);
    let share = |values: &[f32]| {
        let Histogram { low, width, counts } = histogram(values);
        let count = counts.iter().sum::<usize>().max(1) as f64;
        let point = |(i, n): (usize, &usize)| (low + i as f64 * width, *n as f64 / count);
        counts.iter().enumerate().map(point).collect::<Vec<_>>()
    };
    let panel = |kind: usize| {
        let of_stage = |scores: &Scores| (scores.stage, share(scores.kinds()[kind].1));
        let bars = stages.iter().map(of_stage);
        let width = histogram(&[]).width;
        let moments = stages.iter().map(|scores| {
            let Moments { count, mean, std, .. } = Moments::of(scores.kinds()[kind].1);
            format!("{}: mean {mean:.3}, std {std:.4}, {count} keys", scores.stage)
        });
        Panel {
            title: stages.first().map_or(String::new(), |scores| scores.kinds()[kind].0.into()),
            note: moments.collect::<Vec<_>>().join("; "),
            x: "cosine".into(),
            y: "keys in a bin".into(),
            unit: Unit::Percent,
            x_range: Some([low, high.max(low + 0.01)]),
            from_zero: true,
            series: bars.map(|(stage, points)| Series::new(stage, Mark::Bars { width }, points)).collect(),
            ..Panel::default()
        }
    };
    let mut panels = [panel(0), panel(1)];
    let highest = panels.iter().flat_map(|panel| &panel.series).flat_map(|series| &series.points);
    let highest = highest.map(|point| point.1).fold(0.0, f64::max);
    panels.iter_mut().for_each(|panel| panel.y_to = Some(highest));
    panels.into()
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/histogram.rs"]
mod tests;
