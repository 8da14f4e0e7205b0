//! Charts: panels of lines, points and bars as one SVG text. No fonts, no display, no device.
//!
//! Files and the report's page show the same drawings. Colours are attributes, so that any program shows a file; a page's style
//! overrides them by the classes `c0` to `c5`, `grid`, `limit`, `page`. Every point and bar holds its numbers in a `<title>`,
//! which a browser shows beside the pointer and the page reads: a line of the value, a line of the place.

use crate::error::readable_bytes;

/// Pixels of a panel in a file.
const PANEL: [f64; 2] = [520.0, 340.0];
/// Pixels of a panel on a page, which writes title and legend itself.
const CARD: [f64; 2] = [420.0, 240.0];
/// Colours that remain apart for colour-blind eyes (Okabe and Ito), in the order of the series.
const COLORS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#565656"];

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

/// One pair of axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What it tells, beside it on a page.
    pub note: &'static str,
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
    /// Whether the y axis starts at 0.
    pub from_zero: bool,
    /// A level that warns, drawn across where it is near the points.
    pub limit: Option<f64>,
    /// What is drawn.
    pub series: Vec<Series>,
}

impl Series {
    /// In the colour of its place.
    pub fn new(name: impl Into<String>, mark: Mark, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.into(), mark, points, color: None }
    }

    /// Points with their spreads (0 where there is none).
    fn finite(&self) -> Vec<(f64, f64, f64)> {
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
    /// Ends of both axes: what the series cover and a little more above (and below, unless from 0).
    fn ranges(&self) -> [[f64; 2]; 2] {
        let [mut x, mut y] = [[f64::INFINITY, f64::NEG_INFINITY]; 2];
        let mut bars = false;
        for series in &self.series {
            for (at, value, spread) in series.finite() {
                cover(&mut x, at);
                cover(&mut y, value - spread);
                cover(&mut y, value + spread);
                if let Mark::Bars { width } = series.mark {
                    bars = true;
                    cover(&mut x, at + width);
                    cover(&mut y, 0.0);
                }
            }
        }
        self.ticks.iter().flatten().for_each(|(at, _)| cover(&mut x, *at));
        let span = y[1] - y[0];
        if let Some(limit) = self.limit.filter(|limit| (y[0] - span..y[1] + span).contains(limit)) {
            cover(&mut y, limit);
        }
        let [mut x, y] = [x, y].map(|[low, high]| match high - low {
            width if width > 0.0 => [low, high],
            _ if low.is_finite() => {
                let half = if low == 0.0 { 0.5 } else { low.abs() / 2.0 };
                [low - half, low + half]
            }
            _ => [0.0, 1.0],
        });
        let margin = 0.06 * (y[1] - y[0]);
        let bottom = if bars || y[0] >= 0.0 && y[0] < margin { y[0].min(0.0) } else { y[0] - margin };
        let y = if self.from_zero { [0.0, (y[1] + margin).max(0.0)] } else { [bottom, y[1] + margin] };
        if self.ticks.is_some() {
            let margin = 0.05 * (x[1] - x[0]);
            x = [x[0] - margin, x[1] + margin];
        }
        [self.x_range.unwrap_or(x), y]
    }

    /// The text of an SVG file's element that shows this panel without title and legend, for a page that has them beside it.
    pub fn card(&self) -> String {
        let [width, height] = CARD;
        let said: Vec<String> = self.series.iter().filter_map(|series| self.course(series)).collect();
        let label = escaped(&format!("{}: {}", self.title, said.join("; ")));
        let frame = self.frame([62.0, 10.0, width - 72.0, height - 34.0]);
        let plot = self.plot(&frame);
        format!(
            r#"<svg viewBox="0 0 {width} {height}" tabindex="0" role="img" aria-label="{label}">{plot}</svg>"#
        )
    }

    /// Where a series starts and ends, in words.
    fn course(&self, series: &Series) -> Option<String> {
        let points = series.finite();
        let [first, last] = [points.first()?, points.last()?].map(|p| self.unit.write(p.1));
        Some(format!("{} from {first} to {last}", self.name(series)))
    }

    /// What a series is called beside its numbers.
    fn name<'a>(&'a self, series: &'a Series) -> &'a str {
        if series.name.is_empty() { &self.y } else { &series.name }
    }

    fn frame(&self, place: [f64; 4]) -> Frame {
        let [x, y] = self.ranges();
        Frame { place, x, y }
    }

    /// Title, legend, plot and the names of the axes, of the size of [`PANEL`].
    fn whole(&self) -> String {
        let [width, height] = PANEL;
        let (legend, below) = self.legend(74.0, width - 12.0, 44.0);
        let frame = self.frame([74.0, below, width - 94.0, height - 52.0 - below]);
        let middle = frame.place[0] + frame.place[2] / 2.0;
        let up = frame.place[1] + frame.place[3] / 2.0;
        let [title, x, y] = [&self.title, &self.x, &self.y].map(|text| escaped(text));
        format!(
            "<text x=\"{middle}\" y=\"22\" text-anchor=\"middle\" font-size=\"15\">{title}</text>{legend}{}\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x}</text>\
             <text transform=\"translate(18 {up}) rotate(-90)\" text-anchor=\"middle\">{y}</text>\n",
            self.plot(&frame),
            height - 12.0,
        )
    }

    /// Named series one after the other in lines from `left` to `right`, the first at `top`; and where the plot begins.
    fn legend(&self, left: f64, right: f64, top: f64) -> (String, f64) {
        let (mut text, mut x, mut y) = (String::new(), left, top);
        for (i, series) in self.series.iter().enumerate().filter(|(_, s)| !s.name.is_empty()) {
            let width = 38.0 + 7.2 * series.name.chars().count() as f64;
            if x > left && x + width > right {
                (x, y) = (left, y + 18.0);
            }
            let (color, dash) = (series.color(i), series.dash());
            text += &format!(
                "<path class=\"c{color}\" d=\"M{x} {y}h18\" stroke=\"{}\" stroke-width=\"2\"{dash}/>\
                 <text x=\"{}\" y=\"{}\">{}</text>",
                COLORS[color],
                x + 24.0,
                y + 4.0,
                escaped(&series.name)
            );
            x += width;
        }
        let below = if text.is_empty() { top - 10.0 } else { y + 14.0 };
        (text, below)
    }

    /// Grid, numbers beside the axes, limit and series.
    fn plot(&self, frame: &Frame) -> String {
        let [left, top, width, height] = frame.place;
        let (right, bottom) = (left + width, top + height);
        let mut text = String::new();
        for value in self.unit.ticks(frame.y, height / 45.0) {
            let y = frame.y(value);
            text += &format!(
                "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\" stroke=\"#e0e0e0\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                self.unit.write(value)
            );
        }
        let round =
            || Unit::Number.ticks(frame.x, width / 75.0).into_iter().map(|x| (x, number(x))).collect();
        let ticks: Vec<(f64, String)> = self.ticks.clone().unwrap_or_else(round);
        for (value, said) in ticks.iter().step_by(ticks.len().div_ceil((width / 40.0) as usize).max(1)) {
            let x = frame.x(*value);
            let anchor = if x > right - 20.0 { "end" } else { "middle" };
            text += &format!(
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 17.0,
                escaped(said)
            );
        }
        if let Some(limit) = self.limit.filter(|limit| (frame.y[0]..=frame.y[1]).contains(limit)) {
            let y = frame.y(limit);
            text += &format!(
                "<path class=\"limit\" d=\"M{left} {y:.1}H{right}\" stroke=\"#aa3333\" stroke-dasharray=\"3 4\"/>"
            );
        }
        text += &format!(
            "<rect class=\"frame grid\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" \
             fill=\"none\" stroke=\"#c0c0c0\"/>"
        );
        self.series.iter().enumerate().for_each(|(i, series)| text += &self.drawn(i, series, frame));
        text
    }

    /// A series: its line and spreads, then a dot or bar for each point with its numbers; a line's dots are not seen.
    fn drawn(&self, i: usize, series: &Series, frame: &Frame) -> String {
        let points = series.finite();
        let color = series.color(i);
        let at = |x: f64, y: f64| format!("{:.1} {:.1}", frame.x(x), frame.y(y));
        let mut lines: Vec<String> = Vec::new();
        if points.len() > 1 && !matches!(series.mark, Mark::Bars { .. }) {
            let places: Vec<String> = points.iter().map(|&(x, y, _)| at(x, y)).collect();
            lines.push(format!("<path d=\"M{}\" stroke-width=\"2\"{}/>", places.join("L"), series.dash()));
        }
        for &(x, y, spread) in points.iter().filter(|p| p.2 > 0.0) {
            lines.push(format!("<path d=\"M{}L{}\"/>", at(x, y - spread), at(x, y + spread)));
        }
        let seen = matches!(series.mark, Mark::Dots { .. } | Mark::Bars { .. }) || points.len() == 1;
        let marks = points.iter().map(|&(x, y, spread)| {
            let shape = match series.mark {
                Mark::Bars { width } => {
                    let (x0, x1) = (frame.x(x), frame.x(x + width));
                    let (y0, y1) = (frame.y(y.max(0.0)), frame.y(y.min(0.0)));
                    let (w, h) = (x1 - x0, y1 - y0);
                    format!("rect x=\"{x0:.1}\" y=\"{y0:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"")
                }
                _ => format!("circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"", frame.x(x), frame.y(y)),
            };
            let kind = shape.split(' ').next().unwrap_or_default();
            format!("<{shape}><title>{}</title></{kind}>", escaped(&self.said(series, x, y, spread)))
        });
        format!(
            "<g class=\"series c{color}\" data-name=\"{}\"{} fill=\"{hex}\" fill-opacity=\"{}\">\
             <g fill=\"none\" stroke=\"{hex}\" stroke-linejoin=\"round\">{}</g>{}</g>\n",
            escaped(self.name(series)),
            if series.mark == Mark::Dashed { " data-dashed=\"\"" } else { "" },
            if seen { "0.85" } else { "0" },
            lines.concat(),
            marks.collect::<String>(),
            hex = COLORS[color],
        )
    }

    /// A point's numbers: a line of the value, a line of the place.
    fn said(&self, series: &Series, x: f64, y: f64, spread: f64) -> String {
        let known = self.ticks.iter().flatten().find(|(at, _)| *at == x).map(|(_, text)| text.clone());
        let more = if spread > 0.0 { format!(" ± {}", self.unit.write(spread)) } else { String::new() };
        let value = self.unit.write(y);
        format!("{} {value}{more}\n{} {}", self.name(series), self.x, known.unwrap_or_else(|| number(x)))
    }
}

impl Series {
    fn color(&self, place: usize) -> usize {
        self.color.unwrap_or(place) % COLORS.len()
    }

    fn dash(&self) -> &'static str {
        if self.mark == Mark::Dashed { " stroke-dasharray=\"6 4\"" } else { "" }
    }
}

/// Where a plot lies in its drawing (left, top, width, height), and the ends of its axes.
struct Frame {
    place: [f64; 4],
    x: [f64; 2],
    y: [f64; 2],
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        self.place[0] + self.place[2] * (value - self.x[0]) / (self.x[1] - self.x[0])
    }

    fn y(&self, value: f64) -> f64 {
        self.place[1] + self.place[3] * (self.y[1] - value) / (self.y[1] - self.y[0])
    }
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Unit::Number => number(value),
            Unit::Percent => format!("{:.1} %", 100.0 * value),
            Unit::Bytes => readable_bytes(value.max(0.0) as u64),
        }
    }

    /// Round numbers from low to high, about `count` of them; of bytes round in KiB, MiB or what fits.
    fn ticks(self, [low, high]: [f64; 2], count: f64) -> Vec<f64> {
        let scale = match self {
            Unit::Bytes => 1024f64.powi((high.max(1.0).log2() / 10.0) as i32),
            Unit::Number | Unit::Percent => 1.0,
        };
        let raw = (high - low) / scale / count;
        let power = 10f64.powf(raw.log10().floor());
        let step = power * [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= raw).unwrap_or(10.0);
        let [first, last] = [(low / scale / step - 1e-9).ceil(), (high / scale / step + 1e-9).floor()];
        (first as i64..=last as i64).map(|i| i as f64 * step * scale).collect()
    }
}

/// Panels side by side in `columns`, row by row, as the text of an SVG file.
pub fn svg(panels: &[Panel], columns: usize) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let rows = panels.len().div_ceil(columns).max(1);
    let [width, height] = [PANEL[0] * columns as f64, PANEL[1] * rows as f64];
    let placed = panels.iter().enumerate().map(|(i, panel)| {
        let (x, y) = (PANEL[0] * (i % columns) as f64, PANEL[1] * (i / columns) as f64);
        format!("<g transform=\"translate({x} {y})\">{}</g>\n", panel.whole())
    });
    format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
        placed.collect::<String>()
    )
}

/// A text inside an element or an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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
        let series = vec![Series::new("a < b & c", mark, points)];
        Panel { title: "5 > 4".into(), x: "x & y".into(), y: "z".into(), series, ..Panel::default() }
    }

    #[test]
    fn an_svg_is_well_formed_whatever_the_names_and_holds_every_bar_and_dot() {
        let bars = panel(Mark::Bars { width: 1.0 }, (0..7).map(|i| (f64::from(i), f64::from(i))).collect());
        let dots =
            panel(Mark::Dots { spread: vec![0.1, 0.0] }, vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)]);
        let text = svg(&[bars, dots], 2);
        tags(&text);
        assert_eq!(text.matches("<circle").count(), 2, "one for each finite point");
        assert_eq!(text.matches("<rect").count(), 7 + 3, "bars, two frames, the page");
        assert!(text.contains("<title>a &lt; b &amp; c 2 ± 0.1\nx &amp; y 1</title>"), "{text}");
        assert!(text.contains("width=\"1040\""));
    }

    #[test]
    fn a_chart_of_nothing_one_point_or_infinite_values_is_still_a_chart() {
        for points in [vec![], vec![(3.0, 3.0)], vec![(1.0, f64::INFINITY)]] {
            for mark in [Mark::Line, Mark::Dashed, Mark::Bars { width: 0.1 }, Mark::Dots { spread: vec![] }] {
                tags(&svg(&[panel(mark, points.clone())], 1));
            }
        }
        tags(&svg(&[], 1));
    }

    #[test]
    fn axes_hold_bars_spreads_and_ticks() {
        let mut dots = panel(Mark::Dots { spread: vec![2.0] }, vec![(1.0, 5.0)]);
        let [_, y] = dots.ranges();
        assert!(y[0] < 3.0 && y[1] > 7.0, "{y:?}");
        dots.ticks = Some(vec![(0.0, "none".into()), (9.0, "many".into())]);
        let [x, _] = dots.ranges();
        assert!(x[0] < 0.0 && x[1] > 9.0, "{x:?}");
        assert!(svg(&[dots], 1).contains("many"));
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
