//! Charts as one SVG text. No fonts, no display, no device.
//!
//! Files and the report's page show the same drawings. Colours are attributes, so that any program shows a file; a page's style
//! overrides them by the classes `c0` to `c9`, `grid`, `level`, `limit`, `frame`, `page`. Every point and bar holds its numbers in a
//! `<title>`, which a browser shows beside the pointer and the page reads: a line of the value, a line of the place.

use super::chart::{Level, Mark, Panel, Series, Unit, number, smoothed};

/// Pixels of a panel in a file.
const PANEL: [f64; 2] = [520.0, 340.0];
/// Pixels of a panel on a page, which writes title and legend itself: about those that it has on a phone.
const CARD: [f64; 2] = [360.0, 236.0];
/// Colours in the order of the series, the first ones those that remain apart for colour-blind eyes (Okabe and Ito).
const COLORS: [&str; 10] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#565656", "#6a4fc0", "#0e8a9c", "#b0303a",
    "#6b7a00",
];
/// Patterns of lines.
const DASHED: &str = r#" stroke-dasharray="6 4""#;
const DOTTED: &str = r#" stroke-dasharray="2 4""#;

/// Panels side by side in `columns`, row by row, as the text of an SVG file.
pub fn svg(panels: &[Panel], columns: usize) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let rows = panels.len().div_ceil(columns).max(1);
    let [width, height] = [PANEL[0] * columns as f64, PANEL[1] * rows as f64];
    let placed = panels.iter().enumerate().map(|(i, panel)| {
        let (x, y) = (PANEL[0] * (i % columns) as f64, PANEL[1] * (i / columns) as f64);
        format!("<g transform=\"translate({x} {y})\">{}</g>\n", panel.whole())
    });
    let panels: String = placed.collect();
    format!(
        r##"<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="13">
<rect class="page" width="{width}" height="{height}" fill="#ffffff"/>
{panels}</svg>
"##
    )
}

impl Panel {
    /// The text of an SVG file's element that shows this panel without title and legend, for a page that has them beside it.
    pub fn card(&self) -> String {
        let [width, height] = CARD;
        let said: Vec<String> = self.series.iter().filter_map(|series| self.course(series)).collect();
        let label = escaped(&format!("{}: {}", self.title, said.join("; ")));
        let frame = self.frame([60.0, 24.0, width - 72.0, height - 64.0]);
        let y = text([0.0, 12.0], "start", &self.y);
        let x = text([width - 12.0, height - 6.0], "end", &self.x);
        let plot = self.plot(&frame);
        format!(
            r#"<svg viewBox="0 0 {width} {height}" tabindex="0" role="img" aria-label="{label}">{y}{plot}{x}</svg>"#
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
        let [title, x] = [(&self.title, 22.0), (&self.x, height - 12.0)]
            .map(|(said, y)| text([middle, y], "middle", said));
        let beside = text([0.0, 0.0], "middle", &self.y);
        let up = below + frame.place[3] / 2.0;
        let plot = self.plot(&frame);
        format!("{title}{legend}{plot}{x}<g transform=\"translate(18 {up}) rotate(-90)\">{beside}</g>\n")
    }

    /// Named series one after the other in lines from `left` to `right`, the first at `top`; and where the plot begins.
    fn legend(&self, left: f64, right: f64, top: f64) -> (String, f64) {
        let (mut all, mut x, mut y) = (String::new(), left, top);
        for (i, series) in self.series.iter().enumerate().filter(|(_, s)| !s.name.is_empty()) {
            let width = 38.0 + 7.2 * series.name.chars().count() as f64;
            if x > left && x + width > right {
                (x, y) = (left, y + 18.0);
            }
            all += &format!(r#"<g class="c{}">"#, series.color(i));
            all += &line(&format!("{x} {y}h18"), COLORS[series.color(i)], series.dash());
            all += &(text([x + 24.0, y + 4.0], "start", &series.name) + "</g>");
            x += width;
        }
        let below = if all.is_empty() { top - 10.0 } else { y + 14.0 };
        (all, below)
    }

    /// Grid, numbers beside the axes, limit and series.
    fn plot(&self, frame: &Frame) -> String {
        let [left, top, width, height] = frame.place;
        let (right, bottom) = (left + width, top + height);
        let mut all = String::new();
        let across = |y: f64, color: &str, dash: &str| line(&format!("{left} {y:.1}H{right}"), color, dash);
        for (value, said) in self.unit.ticks(frame.y) {
            let y = frame.y(value);
            all += &format!(r#"<g class="grid">{}</g>"#, across(y, "#e0e0e0", ""));
            all += &text([left - 6.0, y + 4.0], "end", &said);
        }
        let ticks = self.ticks.clone().unwrap_or_else(|| Unit::Number.ticks(frame.x));
        for (value, said) in ticks.iter().step_by(ticks.len().div_ceil((width / 40.0) as usize).max(1)) {
            let x = frame.x(*value);
            all += &text([x, bottom + 17.0], if x > right - 12.0 { "end" } else { "middle" }, said);
        }
        let mut levels: Vec<&Level> = self
            .shown_levels(frame.y)
            .filter(|level| (frame.y[0]..=frame.y[1]).contains(&level.at))
            .collect();
        levels.sort_by(|a, b| b.at.total_cmp(&a.at));
        let mut written = top;
        for level in levels {
            let (class, color) = if level.warns { ("level limit", "#aa3333") } else { ("level", "#777777") };
            let y = frame.y(level.at);
            // Above its line, or below it where another is written there.
            let base = if y - 5.0 - written >= 12.0 { y - 5.0 } else { y + 13.0 };
            written = base;
            let said = text([left + 6.0, base], "start", &level.name);
            all += &format!(r#"<g class="{class}">{}{said}</g>"#, across(y, color, DOTTED));
        }
        all += &format!(
            r##"<rect class="frame" x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#c0c0c0"/>"##
        );
        let series = self.series.iter().enumerate().map(|(i, series)| self.drawn(i, series, frame));
        all + &series.collect::<String>()
    }

    /// A series: its line and spreads, then a dot or bar for each point with its numbers; a line's dots are not seen.
    fn drawn(&self, i: usize, series: &Series, frame: &Frame) -> String {
        let points = series.finite();
        let color = series.color(i);
        let hex = COLORS[color];
        let at = |x: f64, y: f64| format!("{:.1} {:.1}", frame.x(x), frame.y(y));
        let through = |points: &[(f64, f64)]| {
            let places: Vec<String> = points.iter().map(|&(x, y)| at(x, y)).collect();
            line(&places.join("L"), hex, series.dash())
        };
        let mut lines = String::new();
        if points.len() > 1 && !matches!(series.mark, Mark::Bars { .. }) {
            let plain: Vec<(f64, f64)> = points.iter().map(|&(x, y, _)| (x, y)).collect();
            lines += &match series.mark {
                Mark::Smoothed { window } => format!(
                    r#"<g stroke-opacity="0.3">{}</g>{}"#,
                    through(&plain),
                    through(&smoothed(&plain, window))
                ),
                Mark::Pale => format!(r#"<g stroke-opacity="0.45">{}</g>"#, through(&plain)),
                _ => through(&plain),
            };
        }
        for &(x, y, spread) in points.iter().filter(|p| p.2 > 0.0) {
            lines += &line(&format!("{}L{}", at(x, y - spread), at(x, y + spread)), hex, "");
        }
        let seen = matches!(series.mark, Mark::Dots { .. } | Mark::Bars { .. }) || points.len() == 1;
        let marks = points.iter().map(|&(x, y, spread)| {
            let title = format!("<title>{}</title>", escaped(&self.said(series, x, y, spread)));
            if let Mark::Bars { width } = series.mark {
                let [left, right] = [x, x + width].map(|x| frame.x(x));
                let [top, bottom] = [y.max(0.0), y.min(0.0)].map(|y| frame.y(y));
                let (width, height) = (right - left, bottom - top);
                format!(
                    r#"<rect x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}">{title}</rect>"#
                )
            } else {
                format!(r#"<circle cx="{:.1}" cy="{:.1}" r="3.5">{title}</circle>"#, frame.x(x), frame.y(y))
            }
        });
        let bars = matches!(series.mark, Mark::Bars { .. });
        let (name, opacity) = (
            escaped(self.name(series)),
            if bars {
                0.5
            } else if seen {
                0.9
            } else {
                0.0
            },
        );
        let dashed = if series.mark == Mark::Dashed { r#" data-dashed="""# } else { "" };
        let marks: String = marks.collect();
        format!(
            r#"<g class="series c{color}" data-name="{name}"{dashed}>{lines}<g fill="{hex}" fill-opacity="{opacity}">{marks}</g></g>"#
        ) + "\n"
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
        if self.mark == Mark::Dashed { DASHED } else { "" }
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

/// A text whose start, middle or end stands at a place.
fn text([x, y]: [f64; 2], anchor: &str, said: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(said))
}

/// A line along a path.
fn line(path: &str, color: &str, dash: &str) -> String {
    format!(
        r#"<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.8" stroke-linejoin="round"{dash}/>"#
    )
}

/// A text inside an element or an attribute.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
#[path = "../../../tests/unit/show/figures/svg.rs"]
mod tests;
