//! What a chart holds: panels of lines, points and bars, the ends of their axes, and how numbers are written.

use crate::error::readable_bytes;

/// How a series is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A line through the points.
    Line,
    /// A pale line through the points, and a line of the means of so many neighbouring ones.
    Smoothed {
        /// How many: half of them before a point, half behind it, fewer at the ends.
        window: usize,
    },
    /// A dashed line through the points.
    Dashed,
    /// A pale line through the points, one of many.
    Pale,
    /// A line with a dot at each point and a bar of plus and minus `spread[i]` through it, where that is above 0.
    Dots {
        /// One for each point.
        spread: Vec<f64>,
    },
    /// Bars from 0 to y, from x to x + `width`.
    Bars {
        /// Width of each bar.
        width: f64,
    },
}

/// How the numbers of the y axis are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// `0.25`, `1200`, `45k`, `1.5M`.
    #[default]
    Number,
    /// Shares as `61.2 %`.
    Percent,
    /// `12.3 MiB`.
    Bytes,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend; none if empty.
    pub name: String,
    /// How it is drawn.
    pub mark: Mark,
    /// (x, y); points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Which of the colours; that of its place among the series if absent.
    pub color: Option<usize>,
}

/// A line across a panel, such as a floor.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Where on the y axis.
    pub at: f64,
    /// What is written on it.
    pub name: String,
    /// Whether what passes it is in trouble: drawn only where the points are near.
    pub warns: bool,
}

/// One pair of axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What it tells, beside it on a page.
    pub note: String,
    /// Below the x axis.
    pub x: String,
    /// Beside the y axis.
    pub y: String,
    /// How y is written.
    pub unit: Unit,
    /// Places on the x axis and what is written there; round numbers if absent.
    pub ticks: Option<Vec<(f64, String)>>,
    /// Ends of the x axis; those of the points if absent.
    pub x_range: Option<[f64; 2]>,
    /// Ends of the y axis; round numbers around the points if absent.
    pub y_range: Option<[f64; 2]>,
    /// The least that the y axis reaches up to.
    pub y_to: Option<f64>,
    /// Whether the y axis starts at 0.
    pub from_zero: bool,
    /// Floors and limits.
    pub levels: Vec<Level>,
    /// What is drawn.
    pub series: Vec<Series>,
}

impl Series {
    /// In the colour of its place.
    pub fn new(name: impl Into<String>, mark: Mark, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.into(), mark, points, color: None }
    }

    /// Points with their spreads (0 where there is none).
    pub(super) fn finite(&self) -> Vec<(f64, f64, f64)> {
        let spread = |i: usize| match &self.mark {
            Mark::Dots { spread } => spread.get(i).copied().filter(|s| s.is_finite()).unwrap_or(0.0),
            _ => 0.0,
        };
        let all = self.points.iter().enumerate().map(|(i, &(x, y))| (x, y, spread(i)));
        all.filter(|(x, y, _)| x.is_finite() && y.is_finite()).collect()
    }
}

/// Widens a range to hold a value.
fn cover([low, high]: &mut [f64; 2], value: f64) {
    (*low, *high) = (low.min(value), high.max(value));
}

impl Panel {
    /// Ends of both axes: of x what the series cover, of y round numbers around that.
    pub(super) fn ranges(&self) -> [[f64; 2]; 2] {
        let [mut x, mut y] = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
        for series in &self.series {
            for (at, value, spread) in series.finite() {
                cover(&mut x, at);
                cover(&mut y, value - spread);
                cover(&mut y, value + spread);
                if let Mark::Bars { width } = series.mark {
                    cover(&mut x, at + width);
                    cover(&mut y, 0.0);
                }
            }
        }
        self.ticks.iter().flatten().for_each(|(at, _)| cover(&mut x, *at));
        self.shown_levels(y).for_each(|level| cover(&mut y, level.at));
        self.y_to.iter().for_each(|to| cover(&mut y, *to));
        if self.from_zero {
            cover(&mut y, 0.0);
        }
        let [mut x, mut y] = [x, y].map(|[low, high]| match high - low {
            width if width > 0.0 => [low, high],
            _ if low.is_finite() => {
                let half = if low == 0.0 { 0.5 } else { low.abs() / 2.0 };
                [low - half, low + half]
            }
            _ => [0.0, 1.0],
        });
        // Room for a dot at either end, but none below 0 for what is never negative.
        let margin = 0.02 * (y[1] - y[0]);
        let low = if y[0] >= 0.0 && y[0] < 5.0 * margin { y[0].min(0.0) } else { y[0] - margin };
        let step = self.unit.step([low, y[1] + margin]);
        y = [(low / step + 1e-9).floor() * step, ((y[1] + margin) / step - 1e-9).ceil() * step];
        if self.ticks.is_some() {
            let margin = 0.05 * (x[1] - x[0]);
            x = [x[0] - margin, x[1] + margin];
        }
        [self.x_range.unwrap_or(x), self.y_range.unwrap_or(y)]
    }

    /// Floors, and those of the limits that are near values from `low` to `high`.
    pub(super) fn shown_levels(&self, [low, high]: [f64; 2]) -> impl Iterator<Item = &Level> {
        let span = high - low;
        let near = move |level: &&Level| !level.warns || (low - span..=high + span).contains(&level.at);
        self.levels.iter().filter(near)
    }
}

impl Unit {
    pub(super) fn write(self, value: f64) -> String {
        match self {
            Unit::Number => number(value),
            // Halves upwards, as the page's own code rounds.
            Unit::Percent => format!("{:.1} %", (1000.0 * value).round() / 10.0),
            Unit::Bytes => readable_bytes(value.max(0.0) as u64),
        }
    }

    /// The distance of round numbers of which about five lie between two values; of bytes round in KiB, MiB or what fits.
    fn step(self, [low, high]: [f64; 2]) -> f64 {
        let scale = match self {
            Unit::Bytes => binary(high).0,
            Unit::Number | Unit::Percent => 1.0,
        };
        let raw = (high - low) / scale / 5.0;
        let power = 10f64.powf(raw.log10().floor());
        scale * power * [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= 0.999 * raw).unwrap_or(10.0)
    }

    /// Round numbers from low to high, each with what is written there: all with as many decimals.
    pub(super) fn ticks(self, [low, high]: [f64; 2]) -> Vec<(f64, String)> {
        let step = self.step([low, high]);
        let [first, last] = [(low / step - 1e-9).ceil(), (high / step + 1e-9).floor()];
        let values = (first as i64..=last as i64).map(|i| i as f64 * step);
        let (scale, suffix) = match (self, low.abs().max(high.abs())) {
            (Unit::Bytes, most) => binary(most),
            (Unit::Percent, _) => (0.01, " %"),
            (Unit::Number, most) if most >= 1e6 => (1e6, "M"),
            (Unit::Number, most) if most >= 1e4 => (1e3, "k"),
            (Unit::Number, most) if most < 1e-3 => {
                return values.map(|value| (value, number(value))).collect();
            }
            (Unit::Number, _) => (1.0, ""),
        };
        let decimals = (-(step / scale * 1.001).log10().floor()).max(0.0) as usize;
        let written = |value: f64| match value == 0.0 {
            true => "0".into(),
            false => format!("{:.decimals$}{suffix}", value / scale),
        };
        values.map(|value| (value, written(value))).collect()
    }
}

/// What numbers of bytes up to this one are counted in.
fn binary(most: f64) -> (f64, &'static str) {
    let power = ((most.max(1.0).log2() / 10.0) as usize).min(4);
    (1024f64.powi(power as i32), [" B", " KiB", " MiB", " GiB", " TiB"][power])
}

/// The mean of `window` neighbouring points at each point, of fewer at the ends: half before it, half behind it.
pub(super) fn smoothed(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let mean = |i: usize| {
        let half = (window / 2).min(i).min(points.len() - 1 - i);
        let near = &points[i - half..=i + half];
        near.iter().map(|p| p.1).sum::<f64>() / near.len() as f64
    };
    points.iter().enumerate().map(|(i, point)| (point.0, mean(i))).collect()
}

/// At most `limit` points in the same order: each the mean of as many neighbouring points (the last of fewer).
pub fn thinned(points: &[(f64, f64)], limit: usize) -> Vec<(f64, f64)> {
    let together = points.len().div_ceil(limit.max(1)).max(1);
    let mean = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (sum.0 / part.len() as f64, sum.1 / part.len() as f64)
    };
    points.chunks(together).map(mean).collect()
}

/// A number as a person writes it on an axis: `0.25`, `1200`, `45k`, `1.5M`.
pub(super) fn number(value: f64) -> String {
    let digits = |value: f64, significant: i32| {
        let decimals = (significant - 1 - value.abs().log10().floor() as i32).max(0) as usize;
        let text = format!("{value:.decimals$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
            false => text,
        }
    };
    match value.abs() {
        size if size >= 1e6 => format!("{}M", digits(value / 1e6, 3)),
        size if size >= 1e4 => format!("{}k", digits(value / 1e3, 3)),
        size if size < 1e-12 => "0".into(),
        size if size < 1e-3 => format!("{value:.1e}"),
        _ => digits(value, 4),
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/chart.rs"]
mod tests;
