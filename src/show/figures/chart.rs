//! Charts: panels of lines, points and bars as one SVG text. No fonts, no display, no device.

use crate::error::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Pixels of a panel.
const SIZE: (u32, u32) = (520, 340);
/// Colours that remain apart for colour-blind eyes (Okabe and Ito), in the order of the series.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 86, 86),
];

/// How a series is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A line through the points.
    Line,
    /// A dashed line through the points.
    Dashed,
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

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend; none if empty.
    pub name: String,
    /// How it is drawn.
    pub mark: Mark,
    /// (x, y); points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// One pair of axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Below the x axis.
    pub x: String,
    /// Beside the y axis.
    pub y: String,
    /// Places on the x axis and what is written there; round numbers if absent.
    pub ticks: Option<Vec<(f64, String)>>,
    /// Ends of the x axis; those of the points if absent.
    pub x_range: Option<[f64; 2]>,
    /// Whether the y axis starts at 0.
    pub from_zero: bool,
    /// What is drawn.
    pub series: Vec<Series>,
}

impl Series {
    fn finite(&self) -> impl Iterator<Item = (f64, f64)> + Clone {
        self.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    /// Smallest and largest x and y that it covers.
    fn extent(&self) -> [[f64; 2]; 2] {
        let mut extent = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
        let mut cover = |axis: usize, value: f64| {
            let [low, high] = &mut extent[axis];
            (*low, *high) = (low.min(value), high.max(value));
        };
        for (i, &(x, y)) in self.points.iter().enumerate().filter(|(_, (x, y))| (x + y).is_finite()) {
            cover(0, x);
            cover(1, y);
            match &self.mark {
                Mark::Bars { width } => {
                    cover(0, x + width);
                    cover(1, 0.0);
                }
                Mark::Dots { spread } => {
                    let spread = spread.get(i).copied().filter(|s| s.is_finite()).unwrap_or(0.0);
                    cover(1, y - spread);
                    cover(1, y + spread);
                }
                Mark::Line | Mark::Dashed => {}
            }
        }
        extent
    }
}

impl Panel {
    /// Ends of both axes: what the series cover and a little more above (and below, unless from 0).
    fn ranges(&self) -> [[f64; 2]; 2] {
        let mut all = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
        for extent in self.series.iter().map(Series::extent) {
            for (all, one) in all.iter_mut().zip(extent) {
                *all = [all[0].min(one[0]), all[1].max(one[1])];
            }
        }
        for (low, high) in self.ticks.iter().flatten().map(|(x, _)| (*x, *x)) {
            all[0] = [all[0][0].min(low), all[0][1].max(high)];
        }
        let [mut x, mut y] = all.map(|[low, high]| match high - low {
            width if width > 0.0 => [low, high],
            _ if low.is_finite() => [low - 0.5, low + 0.5],
            _ => [0.0, 1.0],
        });
        let bars = self.series.iter().any(|s| matches!(s.mark, Mark::Bars { .. }));
        let margin = 0.06 * (y[1] - y[0]);
        y = [y[0] - if bars { 0.0 } else { margin }, y[1] + margin];
        if self.has_legend() {
            y[1] += 0.2 * (y[1] - y[0]); // room for it above the lines
        }
        if self.from_zero {
            y = [0.0, y[1].max(0.0)];
        }
        if self.ticks.is_some() {
            let margin = 0.05 * (x[1] - x[0]);
            x = [x[0] - margin, x[1] + margin];
        }
        [self.x_range.unwrap_or(x), y]
    }

    fn has_legend(&self) -> bool {
        self.series.iter().any(|s| !s.name.is_empty())
    }

    fn draw(&self, area: &DrawingArea<SVGBackend, Shift>) -> Result<()> {
        let [x, y] = self.ranges();
        let x_axis = XAxis::new(x, self.ticks.clone());
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(&self.title, ("sans-serif", 15))
            .x_label_area_size(44)
            .y_label_area_size(62)
            .build_cartesian_2d(x_axis, y[0]..y[1])
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.1))
            .x_desc(&self.x)
            .y_desc(&self.y)
            .y_label_formatter(&|at| number(*at))
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .draw()
            .map_err(failed)?;
        for (i, series) in self.series.iter().enumerate() {
            let color = COLORS[i % COLORS.len()];
            let line = color.stroke_width(2);
            let points = series.finite();
            let drawn = match &series.mark {
                Mark::Line => chart.draw_series(LineSeries::new(points, line)).map_err(failed)?,
                Mark::Dashed => {
                    chart.draw_series(DashedLineSeries::new(points, 6, 4, line)).map_err(failed)?
                }
                Mark::Bars { width } => {
                    let bar = |(x, y)| Rectangle::new([(x, 0.0), (x + width, y)], color.mix(0.8).filled());
                    chart.draw_series(points.map(bar)).map_err(failed)?
                }
                Mark::Dots { spread } => {
                    let bars = series.points.iter().zip(spread).filter(|(_, s)| **s > 0.0);
                    let bars = bars.filter(|((x, y), s)| (x + y + **s).is_finite());
                    let bar = |(&(x, y), s): (&(f64, f64), &f64)| {
                        PathElement::new([(x, y - s), (x, y + s)], color.stroke_width(1))
                    };
                    chart.draw_series(bars.map(bar)).map_err(failed)?;
                    let dot = |at| Circle::new(at, 4, color.filled());
                    chart.draw_series(points.clone().map(dot)).map_err(failed)?;
                    chart.draw_series(LineSeries::new(points, line)).map_err(failed)?
                }
            };
            if !series.name.is_empty() {
                drawn.label(&series.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], line));
            }
        }
        if self.has_legend() {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.3))
                .label_font(("sans-serif", 13))
                .draw()
                .map_err(failed)?;
        }
        Ok(())
    }
}

/// An x axis whose ticks stand where they are asked for.
struct XAxis {
    range: [f64; 2],
    ticks: Vec<(f64, String)>,
}

impl XAxis {
    /// With ticks at round numbers unless some are given.
    fn new(range: [f64; 2], ticks: Option<Vec<(f64, String)>>) -> XAxis {
        let round = || {
            let axis: RangedCoordf64 = (range[0]..range[1]).into();
            axis.key_points(8).into_iter().map(|x| (x, number(x))).collect()
        };
        XAxis { range, ticks: ticks.unwrap_or_else(round) }
    }
}

impl Ranged for XAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = (value - self.range[0]) / (self.range[1] - self.range[0]);
        limit.0 + (part * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let every = self.ticks.len().div_ceil(hint.max_num_points().max(1)).max(1);
        self.ticks.iter().step_by(every).map(|(x, _)| *x).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range[0]..self.range[1]
    }
}

impl ValueFormatter<f64> for XAxis {
    fn format_ext(&self, value: &f64) -> String {
        let known = self.ticks.iter().find(|(x, _)| x == value);
        known.map_or_else(|| number(*value), |(_, text)| text.clone())
    }
}

/// Panels side by side in `columns`, row by row, as the text of an SVG file.
///
/// # Errors
/// [`Error::Run`] if the drawing library refuses.
pub fn svg(panels: &[Panel], columns: usize) -> Result<String> {
    let columns = columns.clamp(1, panels.len().max(1));
    let rows = panels.len().div_ceil(columns).max(1);
    let mut text = String::new();
    let root = SVGBackend::with_string(&mut text, (SIZE.0 * columns as u32, SIZE.1 * rows as u32))
        .into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let areas = root.split_evenly((rows, columns));
    panels.iter().zip(&areas).try_for_each(|(panel, area)| panel.draw(area))?;
    root.present().map_err(failed)?;
    drop(areas);
    drop(root);
    Ok(text)
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
fn number(value: f64) -> String {
    let short = |value: f64, digits: usize| {
        let text = format!("{value:.digits$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
            false => text,
        }
    };
    match value.abs() {
        size if size >= 1e6 => format!("{}M", short(value / 1e6, 2)),
        size if size >= 1e4 => format!("{}k", short(value / 1e3, 1)),
        size if size < 1e-12 => "0".into(),
        size if size < 1e-3 => format!("{value:.1e}"),
        _ => short(value, 4),
    }
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> Error {
    Error::Run(format!("a chart can't be drawn: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tags in order, closed as opened; panics on what is no XML.
    fn tags(text: &str) -> Vec<String> {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        for part in text.split('<').skip(1) {
            let (tag, rest) = part.split_once('>').expect("a tag ends");
            assert!(
                !rest.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").contains('&'),
                "{rest}"
            );
            let name = tag.trim_start_matches('/').split_whitespace().next().expect("a name");
            if tag.starts_with('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "closed as opened");
            } else if !tag.ends_with('/') && !tag.starts_with('!') && !tag.starts_with('?') {
                open.push(name.to_string());
            }
            all.push(name.trim_end_matches('/').to_string());
        }
        assert!(open.is_empty(), "{open:?} stay open");
        all
    }

    fn panel(mark: Mark, points: Vec<(f64, f64)>) -> Panel {
        let series = vec![Series { name: "a < b & c".into(), mark, points }];
        Panel { title: "5 > 4".into(), x: "x & y".into(), y: "z".into(), series, ..Panel::default() }
    }

    #[test]
    fn an_svg_is_well_formed_whatever_the_names_and_holds_every_bar_and_dot() {
        let bars = panel(Mark::Bars { width: 1.0 }, (0..7).map(|i| (f64::from(i), f64::from(i))).collect());
        let dots =
            panel(Mark::Dots { spread: vec![0.1, 0.0] }, vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)]);
        let text = svg(&[bars, dots], 2).expect("svg");
        let tags = tags(&text);
        assert_eq!(tags.iter().filter(|t| *t == "circle").count(), 2, "one for each finite point");
        assert!(tags.iter().filter(|t| *t == "rect").count() >= 7);
        assert!(text.contains("width=\"1040\""));
    }

    #[test]
    fn a_chart_of_nothing_one_point_or_infinite_values_is_still_a_chart() {
        for points in [vec![], vec![(3.0, 3.0)], vec![(1.0, f64::INFINITY)]] {
            for mark in [Mark::Line, Mark::Dashed, Mark::Bars { width: 0.1 }, Mark::Dots { spread: vec![] }] {
                tags(&svg(&[panel(mark, points.clone())], 1).expect("svg"));
            }
        }
        tags(&svg(&[], 1).expect("svg"));
    }

    #[test]
    fn axes_hold_bars_spreads_and_ticks() {
        let mut dots = panel(Mark::Dots { spread: vec![2.0] }, vec![(1.0, 5.0)]);
        let [_, y] = dots.ranges();
        assert!(y[0] < 3.0 && y[1] > 7.0, "{y:?}");
        dots.ticks = Some(vec![(0.0, "none".into()), (9.0, "many".into())]);
        let [x, _] = dots.ranges();
        assert!(x[0] < 0.0 && x[1] > 9.0, "{x:?}");
        assert!(svg(&[dots], 1).expect("svg").contains("many"));
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
        assert_eq!(
            (number(-0.5), number(100.0), number(2e-5)),
            ("-0.5".into(), "100".into(), "2.0e-5".into())
        );
    }
}
