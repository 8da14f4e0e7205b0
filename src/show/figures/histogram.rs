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
#[path = "../../../tests/unit/show/figures/histogram.rs"]
mod tests;
